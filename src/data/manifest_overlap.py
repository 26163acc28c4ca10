"""What two manifests share: recordings and works."""

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.data.manifest import read_manifest
from src.data.recordings import FILE_KEYS, locate
from src.errors import UserError
from src.files import atomic_path, file_digest

KEYS = ("utt", "file", "content")
# CoverHunter's name of a copy at another tempo: sp_0.9-<utt>.
COPY_PREFIX = "sp_"


@dataclass(frozen=True)
class Overlap:
    """What two lists of recordings have in common.

    Attributes:
        sizes: number of recordings of each.
        works: number of works of each.
        utts: names that both have.
        songs: works that both have.
        contents: pairs of names whose files hold the same bytes; None if that was not asked for.
        copies: pairs of names that are the same recording but for the tempo.
        conflicts: names that both have, for different works.
    """

    sizes: tuple[int, int]
    works: tuple[int, int]
    utts: list[str]
    songs: list[str]
    contents: list[tuple[str, str]] | None
    copies: list[tuple[str, str]]
    conflicts: list[str]


def compare_manifests(
    a_path: str | os.PathLike, b_path: str | os.PathLike, *, by_content: bool = False
) -> Overlap:
    """Compare two manifests.

    Args:
        a_path: dataset.txt, full.txt or any other list.
        b_path: another one.
        by_content: read the files and compare their bytes as well.

    Raises:
        UserError: a manifest cannot be read, or a file that is to be compared.
    """
    a, b = (read_manifest(path, required=("utt", "song")) for path in (a_path, b_path))
    in_b = {row["utt"]: row["song"] for row in b}
    utts = [row["utt"] for row in a if row["utt"] in in_b]
    originals: dict[str, list[str]] = {}
    for row in b:
        originals.setdefault(original_utt(row["utt"]), []).append(row["utt"])
    copies = [
        (row["utt"], other)
        for row in a
        for other in originals.get(original_utt(row["utt"]), ())
        if other != row["utt"]
    ]
    contents = None
    if by_content:
        contents = [
            (a[i]["utt"], b[j]["utt"])
            for i, j in same_recordings(a, b, Path(a_path), Path(b_path), key="content")
        ]
    return Overlap(
        sizes=(len(a), len(b)),
        works=(len({row["song"] for row in a}), len({row["song"] for row in b})),
        utts=utts,
        songs=sorted({row["song"] for row in a} & {row["song"] for row in b}),
        contents=contents,
        copies=copies,
        conflicts=[row["utt"] for row in a if in_b.get(row["utt"], row["song"]) != row["song"]],
    )


def original_utt(utt: str) -> str:
    """The name of the recording that a copy at another tempo was made from."""
    while utt.startswith(COPY_PREFIX):
        speed, dash, rest = utt[len(COPY_PREFIX) :].partition("-")
        if not dash or not speed.replace(".", "", 1).isdigit():
            break
        utt = rest
    return utt


def same_recordings(
    a: Sequence[Mapping[str, Any]],
    b: Sequence[Mapping[str, Any]],
    a_path: Path,
    b_path: Path,
    *,
    key: str,
) -> list[tuple[int, int]]:
    """Pairs of positions (in ``a``, in ``b``) that are the same recording, ascending.

    Args:
        a: rows of a manifest.
        b: rows of another one.
        a_path: the manifest, for its folder.
        b_path: the other one.
        key: ``utt`` (the same name), ``file`` (the same path) or ``content`` (the same bytes).

    Raises:
        UserError: a row names no file, or the file is missing, where that is needed.
    """
    places: dict[Hashable, list[int]] = {}
    for j, row in enumerate(b):
        places.setdefault(_identity(row, b_path, key), []).append(j)
    return [(i, j) for i, row in enumerate(a) for j in places.get(_identity(row, a_path, key), ())]


def write_query_in_ref(
    query_path: str | os.PathLike,
    ref_path: str | os.PathLike,
    out: str | os.PathLike,
    *,
    key: str = "utt",
) -> list[tuple[int, int]]:
    """Write the pairs of positions that tools.eval_testset leaves out: one line of JSON.

    Positions are those of the lines in each file, from 0.

    Raises:
        UserError: a manifest cannot be read, or ``out`` not written.
    """
    queries, references = read_manifest(query_path), read_manifest(ref_path)
    pairs = same_recordings(queries, references, Path(query_path), Path(ref_path), key=key)
    inner = ", ".join(f"[{i}, {j}]" for i, j in pairs)
    with atomic_path(out) as temporary:
        temporary.write_text(f'{{"query_in_ref": [{inner}]}}\n', "utf-8")
    return pairs


def _identity(row: Mapping[str, Any], manifest: Path, key: str) -> Hashable:
    if key == "utt":
        return row["utt"]
    named = [str(row[name]) for name in reversed(FILE_KEYS) if row.get(name)]
    if not named:
        raise UserError(f"{manifest}: utt {row['utt']!r} names no file; add the key wav")
    path = locate(named[0], manifest.parent)
    if key == "file":
        return path.resolve()
    if not path.is_file():
        raise UserError(f"{manifest}: the file {path} of utt {row['utt']!r} does not exist")
    return file_digest(path)
