"""Several lists of recordings as one: works joined by name, numbered anew."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.data.manifest import read_manifest
from src.data.maps import add_ids
from src.data.recordings import located_rows
from src.errors import UserError


@dataclass(frozen=True)
class Joined:
    """Lists, joined.

    Attributes:
        rows: lines of all, with ``song_id`` and ``version_id`` that hold for the whole.
        works: number of works among them.
        excluded: number of lines left out, because their works were to be.
    """

    rows: list[dict[str, Any]]
    works: int
    excluded: int


def join_datasets(
    lists: Sequence[str | os.PathLike], *, exclude: Sequence[str | os.PathLike] = ()
) -> Joined:
    """Join lists of recordings.

    Recordings of one ``song`` are versions of one work, whichever list they come from. A
    recording whose ``utt`` is taken gets the name of its list's folder before it.

    Args:
        lists: ``dataset.txt``, ``train.txt``, ``full.txt``, ...
        exclude: lists whose works are left out, such as those of a test set.

    Raises:
        UserError: a list cannot be read, two recordings cannot be told apart, or nothing is left.
    """
    unwanted = {row["song"] for path in exclude for row in read_manifest(path, required=("song",))}
    rows: list[dict[str, Any]] = []
    taken: set[str] = set()
    excluded = 0
    for path in map(Path, lists):
        folder = path.resolve().parent.name
        for row in located_rows(path):
            if row["song"] in unwanted:
                excluded += 1
                continue
            if row["utt"] in taken:
                row["utt"] = f"{folder}_{row['utt']}"
            if row["utt"] in taken:
                raise UserError(f"{path}: there is another recording called {row['utt']}")
            taken.add(row["utt"])
            rows.append(row)
    if not rows:
        raise UserError("no recording is left: all works are among those to exclude")
    return Joined(add_ids(rows), len({row["song"] for row in rows}), excluded)
