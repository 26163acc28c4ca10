"""From a model and a manifest to an alignment file; interrupted, it continues."""

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from src.data.feature_rows import read_feature_rows
from src.errors import UserError
from src.models.window_embedder import Feature2Embeddings
from src.retrieval.alignment import WINDOW_S, align_rows, works_of, write_alignment
from src.retrieval.embedding_folder import embed_rows

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alignment:
    """What an alignment came to.

    Attributes:
        lines: number of lines written.
        recordings: number of recordings aligned.
        works: number of their works.
        failures: what was wrong with the recordings left out, by ``utt``.
    """

    lines: int
    recordings: int
    works: int
    failures: dict[str, str] = field(default_factory=dict)


def align_manifest(
    model: nn.Module,
    manifest: str | os.PathLike,
    output: str | os.PathLike,
    *,
    embed_dir: str | os.PathLike,
    chunk_s: float = WINDOW_S,
    hop_s: float | None = None,
    original: bool = False,
    agreement: bool = True,
    device: torch.device | None = None,
    batch_size: int = 64,
    amp: bool = False,
    progress: bool = False,
) -> Alignment:
    """Embed the windows of all recordings and write the shifts between versions of each work.

    Args:
        model: CoverHunter model, on its device.
        manifest: ``full.txt`` with ``song_id`` and features.
        output: file to write, one line for each ordered pair of recordings of a work.
        embed_dir: folder for the embeddings; what an earlier run with the same weights, features
            and windows left there is used.
        chunk_s: length of the windows in seconds.
        hop_s: distance of the windows, and the step of the shifts; None makes it ``chunk_s``.
        original, agreement: see :func:`~src.retrieval.alignment.align_work`.
        device, batch_size, amp: see :class:`~src.models.window_embedder.Feature2Embeddings`.
        progress: show a progress bar.

    Raises:
        UserError: the manifest is not one of works, features do not fit the model, nothing could
            be embedded, or a file cannot be written.
    """
    if hop_s is not None and not 0 < hop_s <= chunk_s:
        raise UserError(f"the step of the windows must lie between 0 and {chunk_s:g} s")
    rows = read_feature_rows(manifest)
    works_of(rows)  # before the long work
    embedder = Feature2Embeddings(
        model, chunk_s=chunk_s, hop_s=hop_s, device=device, batch_size=batch_size, amp=amp
    )
    found = embed_rows(embedder, rows, Path(embed_dir), reuse=True, progress=progress)
    kept = [i for i, embeddings in enumerate(found.embeddings) if embeddings is not None]
    if not kept:
        reason = next(iter(found.failures.values()))
        raise UserError(f"no recording of {manifest} could be embedded; the first: {reason}")
    kept_rows: list[dict[str, Any]] = [rows[i] for i in kept]
    lines = write_alignment(
        align_rows(
            kept_rows,
            [found.embeddings[i] for i in kept],
            [found.starts_s(i) for i in kept],
            hop_s=embedder.hop_s,
            original=original,
            agreement=agreement,
        ),
        output,
    )
    return Alignment(lines, len(kept), len(works_of(kept_rows)), found.failures)
