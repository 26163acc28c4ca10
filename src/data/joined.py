"""Several lists of recordings as one: works joined by name, numbered anew."""

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.data.manifest import read_manifest
from src.data.maps import add_ids
from src.data.names import RecordingNames, work_key
from src.data.recordings import FILE_KEYS, located_rows
from src.errors import UserError

Row = Mapping[str, Any]


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
    lists: Sequence[str | os.PathLike],
    *,
    exclude: Sequence[str | os.PathLike] = (),
    same_works: Mapping[str, str] | None = None,
) -> Joined:
    """Join lists of recordings.

    Recordings of one ``song`` are versions of one work, whichever list they come from and
    however its accents are encoded. A recording whose ``utt`` is taken gets the name of its
    list's folder before it.

    Args:
        lists: ``dataset.txt``, ``train.txt``, ``full.txt``, ...
        exclude: lists whose works are left out, such as those of a test set.
        same_works: family by work, see :func:`src.corpus.families.read_same_works`. As in a
            corpus, works of a family are one work, called by the name of the family, and are left
            out together.

    Raises:
        UserError: a list cannot be read, two lists name the same recording, two recordings cannot
            be told apart, or nothing is left.
    """
    families = {work_key(work): first for work, first in (same_works or {}).items()}

    def family(song: str) -> str:
        return families.get(work_key(song), song)

    unwanted = {
        work_key(family(row["song"]))
        for path in exclude
        for row in read_manifest(path, required=("song",))
    }
    songs: dict[str, str] = {}  # a work is called what it is called first
    names = RecordingNames("_")
    rows: list[dict[str, Any]] = []
    excluded = 0
    for path in map(Path, lists):
        found = [{**row, "song": family(row["song"])} for row in located_rows(path)]
        kept = [row for row in found if work_key(row["song"]) not in unwanted]
        excluded += len(found) - len(kept)
        free = names.add([(row["utt"], _marks(row)) for row in kept], path)
        for row, utt in zip(kept, free, strict=True):
            song = songs.setdefault(work_key(row["song"]), row["song"])
            rows.append({**row, "utt": utt, "song": song})
    if not rows:
        raise UserError("no recording is left: all works are among those to exclude")
    return Joined(add_ids(rows), len(songs), excluded)


def _marks(row: Row) -> list[Hashable]:
    """What says which recording a line is: its features, or its sound where there are none.

    Copies with noise have the sound of their original, so that the sound of a line with features
    says it only together with the name.
    """
    files = {key: Path(row[key]).resolve() for key in FILE_KEYS if row.get(key)}
    sound = files.pop("wav", None)
    if sound is None:
        return list(files.values())
    return [*(files.values() or [sound]), (row["utt"], sound)]
