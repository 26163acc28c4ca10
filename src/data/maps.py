"""Numbers for works and versions, and the three text files that list them."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from src.files import atomic_path

SONG_ID = "song_id.map"
SONG_ID_NUM = "song_id_num.map"
SONG_NAME_NUM = "song_name_num.map"


def add_ids(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with ``song_id`` and ``version_id`` as their last keys.

    A song gets the next number when it first appears; the text of ``song`` alone tells songs
    apart. ``version_id`` is the number of the line, so it is unique in the whole file: every copy
    of a recording (tempo, noise) counts as a version.
    """
    ids: dict[str, int] = {}
    numbered = []
    for number, row in enumerate(rows):
        row = {key: row[key] for key in row if key not in ("song_id", "version_id")}
        row["song_id"] = ids.setdefault(row["song"], len(ids))
        row["version_id"] = number
        numbered.append(row)
    return numbered


def write_maps(rows: Sequence[Mapping[str, Any]], folder: str | os.PathLike) -> list[Path]:
    """Write the map files of rows that have a ``song_id``; two columns, separated by a tab.

    ``song_id.map``: title and song_id; ``song_id_num.map``: song_id and number of its lines;
    ``song_name_num.map``: title and number of its lines. In the order of song_id. Tabs and line
    ends within a title become spaces.

    Returns:
        The three files.
    """
    folder = Path(folder)
    lines = Counter(row["song_id"] for row in rows)
    titles = {row["song_id"]: " ".join(str(row["song"]).split()) for row in rows}
    ids = sorted(titles)
    return [
        _write_pairs(folder / SONG_ID, ((titles[number], number) for number in ids)),
        _write_pairs(folder / SONG_ID_NUM, ((number, lines[number]) for number in ids)),
        _write_pairs(folder / SONG_NAME_NUM, ((titles[number], lines[number]) for number in ids)),
    ]


def _write_pairs(path: Path, pairs: Iterable[tuple[Any, Any]]) -> Path:
    text = "".join(f"{left}\t{right}\n" for left, right in pairs)
    with atomic_path(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")
    return path
