"""What a Re-MOVE model says of the training recordings, for CoverHunter to imitate at first.

A CoverHunter that starts from random weights learns nothing for a long time: it must find out by
itself that a melody in another key is the same melody. MOVE knows that by construction.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from src.data.chroma import double_chroma
from src.data.crema_features import FEATURE_KEYS, heard_version, read_first
from src.data.recordings import locate
from src.errors import UserError
from src.files import load_tensors, save_tensors
from src.models.embed import embed_tracks
from src.training.checkpoint import load_move, read_metadata

Row = Mapping[str, Any]


def teacher_targets(
    rows: Sequence[Row],
    teacher: Path,
    *,
    size: int,
    device: torch.device,
    cache: Path | None = None,
    amp: bool = False,
) -> dict[str, Tensor]:
    """Unit vectors that a CoverHunter can imitate, by name of recording.

    The teacher's embeddings without their mean, in their ``size`` strongest directions.

    Args:
        rows: lines with ``utt`` and ``features``, the ``.npz`` with the recording's cremaPCP.
        teacher: weights of a MOVE or Re-MOVE model.
        size: of CoverHunter's embeddings.
        device: where to compute.
        cache: file that keeps the teacher's embeddings.
        amp: mixed precision.

    Returns:
        For every ``utt`` a tensor ``(size,)``, float32 on the CPU.

    Raises:
        UserError: a line has no cremaPCP, a file is damaged, or there are too few recordings or
            directions for ``size``.
    """
    embeddings = _embeddings(rows, teacher, device=device, cache=cache, amp=amp)  # (N, E)
    if size > min(embeddings.shape):
        raise UserError(
            f"{len(embeddings)} recordings with embeddings of {embeddings.shape[1]} from {teacher} "
            f"do not span {size} directions; use more recordings, another teacher or a smaller "
            "embed_dim"
        )
    units = functional.normalize(embeddings, dim=1)
    centred = functional.normalize(units - units.mean(0), dim=1)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    targets = functional.normalize(centred @ directions[:size].T, dim=1)
    return {row["utt"]: target for row, target in zip(rows, targets, strict=True)}


def _embeddings(
    rows: Sequence[Row], teacher: Path, *, device: torch.device, cache: Path | None, amp: bool
) -> Tensor:
    model = load_move(teacher)
    digest = hashlib.sha256(Path(teacher).read_bytes())
    for row in rows:
        digest.update(f"{row['utt']} {row.get('features')}\n".encode())
    fingerprint = digest.hexdigest()
    if cache is not None and cache.is_file():
        kept = load_tensors(cache)
        if isinstance(kept, dict) and kept.get("fingerprint") == fingerprint:
            return kept["embeddings"]
    version = read_metadata(teacher).get("crema_version")
    tracks = [double_chroma(_read_pcp(row, version)) for row in rows]
    embeddings = embed_tracks(model.to(device), tracks, device=device, amp=amp, progress=True)
    if cache is not None:
        save_tensors({"fingerprint": fingerprint, "embeddings": embeddings}, cache)
    return embeddings


def _read_pcp(row: Row, version: str | None) -> np.ndarray:
    """cremaPCP ``(T, 12)`` of a recording, of the teacher's crema version if there is a choice."""
    if not row.get("features"):
        raise UserError(
            f"{row['utt']} has no cremaPCP (key 'features') for the teacher to listen to; render "
            "the corpus with crema_pcp among its features, or remove the block 'teacher'"
        )
    heard = None if version is None else heard_version(version)
    versions = sorted(FEATURE_KEYS, key=lambda name: (name != version, name != heard))
    return read_first(locate(row["features"], Path()), versions)
