"""What an evaluation reads and writes beside embeddings: works, pairs to leave out, distances."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.data.manifest import line_to_dict
from src.errors import UserError

logger = logging.getLogger(__name__)

Row = Mapping[str, Any]


def labels_of(
    queries: Sequence[Row],
    references: Sequence[Row],
    query_path: object,
    ref_path: object,
) -> tuple[list[str], list[str]]:
    """The work of each recording: ``song_id``, or the title where the ids cannot be compared.

    ``song_id`` is numbered anew in every extraction, so ids of two files may speak of different
    works. If they do (one id, two titles), or no id but some titles agree, the titles decide.

    Raises:
        UserError: a line has neither ``song_id`` nor ``song``, or neither kind can be compared.
    """
    both = [*queries, *references]
    with_id = all(row.get("song_id") is not None for row in both)
    with_title = all(row.get("song") for row in both)
    if not with_id and not with_title:
        bad = next(row for row in both if row.get("song_id") is None and not row.get("song"))
        path = query_path if any(bad is row for row in queries) else ref_path
        raise UserError(
            f"{path} does not say which work {bad['utt']!r} performs; add song_id or song"
        )
    key = "song_id" if with_id else "song"
    if with_id and with_title and not _ids_agree(queries, references):
        logger.warning(
            "song_id means different works in %s and %s, so works are told apart by their titles",
            query_path,
            ref_path,
        )
        key = "song"
    return [str(row[key]) for row in queries], [str(row[key]) for row in references]


def _ids_agree(queries: Sequence[Row], references: Sequence[Row]) -> bool:
    query_titles: dict[str, str] = {}
    reference_titles: dict[str, str] = {}
    for rows, titles in ((queries, query_titles), (references, reference_titles)):
        for row in rows:
            titles.setdefault(str(row["song_id"]), row["song"])
    shared = query_titles.keys() & reference_titles.keys()
    if shared:
        return all(query_titles[number] == reference_titles[number] for number in shared)
    return not set(query_titles.values()) & set(reference_titles.values())


def read_query_in_ref(path: str | os.PathLike, shape: tuple[int, int]) -> np.ndarray:
    """Pairs (query index, reference index) that are the same recording.

    Args:
        path: file of one line, ``{"query_in_ref": [[0, 3], ...]}`` or ``query_in_ref:[[0, 3]]``.
        shape: number of queries and of references.

    Returns:
        ``(pairs, 2)`` int64.

    Raises:
        UserError: the file cannot be read, is no such list, or an index is out of range.
    """
    path = Path(path)
    wanted = 'one line such as {"query_in_ref": [[0, 3], [1, 7]]}'
    try:
        text = path.read_text("utf-8-sig").strip()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file; it must hold {wanted}") from error
    try:
        content = json.loads(text) if text.startswith("{") else line_to_dict(text)
        pairs = content.get("query_in_ref")
        if isinstance(pairs, str):
            pairs = json.loads(pairs.replace("(", "[").replace(")", "]"))
    except (ValueError, UserError) as error:
        raise UserError(f"{path} is not valid; it must hold {wanted}") from error
    if not isinstance(pairs, list):
        raise UserError(f"{path} has no list query_in_ref; it must hold {wanted}")
    for pair in pairs:
        whole = isinstance(pair, list) and all(type(index) is int for index in pair)
        if not whole or len(pair) != 2:
            raise UserError(
                f"{path}: {pair!r} is no pair of a query index and a reference index; it must hold "
                f"{wanted}"
            )
        for index, size, what in zip(pair, shape, ("queries", "references"), strict=True):
            if not 0 <= index < size:
                raise UserError(
                    f"{path}: {pair!r} is out of range, there are {size} {what} (counted from 0)"
                )
    return np.asarray(pairs, dtype=np.int64).reshape(-1, 2)


def read_labels(path: str | os.PathLike) -> list[str]:
    """Works from a file: a JSON list, or one ``song`` or ``song_id`` a line.

    Raises:
        UserError: the file cannot be read or is empty.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    labels: Any = [line.strip() for line in text.split("\n") if line.strip()]
    if text.startswith("["):
        try:
            labels = json.loads(text)
        except ValueError as error:
            raise UserError(f"{path} is not a valid JSON list ({error})") from error
    if not labels:
        raise UserError(f"{path} names no work; write one song or song_id a line")
    return [str(label) for label in labels]
