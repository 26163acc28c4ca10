"""Lines of recordings whose features exist: what evaluation and alignment read."""

import os
from pathlib import Path
from typing import Any

from src.data.manifest import read_manifest
from src.data.recordings import locate
from src.errors import UserError

FULL = "full.txt"
FEATURE_KEYS = ("feat", "feat_len", "song_id", "dur_s")


def read_feature_rows(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Read a manifest of recordings with features.

    A ``dataset.txt``, which knows no features, is completed from the ``full.txt`` beside it, or
    from the one in ``<folder>_testset`` (where the features of ``data/covers80`` without
    augmentation are made), line by line through ``utt``.

    Returns:
        The lines in their order, ``feat`` being the path where the features lie now.

    Raises:
        UserError: the manifest cannot be read, or features are missing; the sentence names the
            command that makes them.
    """
    path = Path(path)
    rows = read_manifest(path)
    if not all(row.get("feat") for row in rows):
        rows = _completed(rows, path)
    return [{**row, "feat": str(locate(row["feat"], path.parent))} for row in rows]


def _completed(rows: list[dict[str, Any]], path: Path) -> list[dict[str, Any]]:
    folder = path.parent
    known: dict[str, dict[str, Any]] = {}
    for beside in (folder.with_name(f"{folder.resolve().name}_testset"), folder):
        if (beside / FULL).is_file() and (beside / FULL).resolve() != path.resolve():
            for row in read_manifest(beside / FULL):
                if row.get("feat"):
                    known[row["utt"]] = {**row, "feat": str(locate(row["feat"], beside))}
    completed = []
    for row in rows:
        if not row.get("feat"):
            if row["utt"] not in known:
                raise UserError(
                    f"{path} says of {row['utt']!r} no features (feat), and no {FULL} beside it "
                    f"does; make them with: python -m tools.extract_csi_features {folder}"
                )
            found = known[row["utt"]]
            row = {**row, **{key: found[key] for key in FEATURE_KEYS if key in found}}
        completed.append(row)
    return completed
