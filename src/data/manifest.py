"""Manifests (dataset.txt, full.txt, ...): one recording a line, as CoverHunter writes them.

A line is a JSON object, or tab-separated ``key:value`` fields. Newer data sets call a recording
``perf`` and what it performs ``work``; here they are ``utt`` and ``song`` throughout.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.files import atomic_path

SEED_KEYS = {"perf": "utt", "work": "song", "work_id": "song_id"}
TEXT_KEYS = ("utt", "wav", "song", "version", "feat", "embed")
# Fields of tab-separated lines are text; these have to be numbers all the same.
NUMBER_KEYS: dict[str, type] = {
    "dur_s": float,
    "dur_ms": float,
    "start_s": float,
    "start": int,
    "len": int,
    "feat_len": int,
    "song_id": int,
    "version_id": int,
}


def line_to_dict(line: str) -> dict[str, Any]:
    """Parse one line, without interpreting its keys.

    A line that starts with ``{`` is JSON. Any other is stripped and split at tabs, each field at
    its first colon; a field without colon is a key with an empty value, keys are not trimmed, and
    all values stay text except ``len``, which becomes an integer. (An indented JSON object
    therefore is no JSON here; :func:`read_manifest` strips its lines first.)

    Raises:
        UserError: invalid JSON, or a ``len`` that is no integer.
    """
    if line.startswith("{"):
        try:
            return json.loads(line)
        except ValueError as error:
            raise UserError(f"the line is not valid JSON ({error})") from error
    row: dict[str, Any] = {}
    for field in line.strip().split("\t"):
        key, _, value = field.partition(":")
        row[key] = _number("len", value) if key == "len" else value
    return row


def dict_to_line(row: Mapping[str, Any]) -> str:
    """One line of JSON; characters outside ASCII are written as they are."""
    return json.dumps(row, ensure_ascii=False)


def read_manifest(
    path: str | os.PathLike,
    *,
    required: Iterable[str] = ("utt",),
    unique: bool = True,
) -> list[dict[str, Any]]:
    """Read a manifest; blank lines are dropped, keys are the seed's, numbers are numbers.

    Args:
        path: text file in UTF-8, one recording a line.
        required: keys that every line must have (in the seed's spelling).
        unique: refuse a second line with the same ``utt``.

    Raises:
        UserError: the file cannot be read or holds no line, or a line cannot be parsed, lacks a
            key or repeats an ``utt``; the sentence names file and line.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8 (byte {error.start})") from error
    required = tuple(required)
    rows: list[dict[str, Any]] = []
    first_line: dict[str, int] = {}
    # Only line feeds end a line: str.splitlines would also cut at U+2028 inside a title.
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if not line:
            continue
        try:
            row = _normalise(line_to_dict(line))
            _require(row, required)
        except UserError as error:
            raise UserError(f"{path}, line {number}: {error}") from error
        if unique and "utt" in row:
            earlier = first_line.setdefault(row["utt"], number)
            if earlier != number:
                raise UserError(
                    f"{path}, line {number}: utt {row['utt']!r} already stands on line {earlier}; "
                    "every recording needs a name of its own"
                )
        rows.append(row)
    if not rows:
        raise UserError(f"{path} holds no line; one line describes one recording")
    return rows


def write_manifest(rows: Iterable[Mapping[str, Any]], path: str | os.PathLike) -> None:
    """Write one line of JSON per row, with the seed's keys, atomically.

    Raises:
        UserError: there is no row, or the file cannot be written.
    """
    lines = [dict_to_line(_rename(row)) + "\n" for row in rows]
    if not lines:
        raise UserError(f"{path} was not written, because there is no recording to list in it")
    with atomic_path(path) as temporary:
        temporary.write_text("".join(lines), "utf-8", newline="\n")


def _rename(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with the seed's keys, in the same order; an old key wins over its new name."""
    renamed: dict[str, Any] = {}
    for key, value in row.items():
        new = SEED_KEYS.get(key, key)
        if new == key or new not in row:
            renamed[new] = value
    return renamed


def _normalise(row: dict[str, Any]) -> dict[str, Any]:
    row = _rename({key.strip(): value for key, value in row.items() if key.strip()})
    for key in TEXT_KEYS:
        if isinstance(row.get(key), int | float):
            row[key] = str(row[key])
    for key in NUMBER_KEYS:
        if isinstance(row.get(key), str):
            row[key] = _number(key, row[key])
    return row


def _number(key: str, value: str) -> float | int:
    kind = NUMBER_KEYS[key]
    try:
        return kind(value)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise UserError(f"{key} must be {what}, not {value!r}") from None


def _require(row: Mapping[str, Any], required: tuple[str, ...]) -> None:
    for key in required:
        if row.get(key) in (None, ""):
            newer = next((new for new, seed in SEED_KEYS.items() if seed == key), None)
            hint = f" (or {newer})" if newer else ""
            raise UserError(f"the key {key}{hint} is missing or empty")
