"""What a training run shows in TensorBoard.

The horizontal axis is always the optimizer step.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from src.data.manifest import read_manifest
from src.errors import UserError
from src.files import atomic_path

PREFIX = "csi"  # cover song identification, as in the original's scalars
PROJECTED = 1000  # windows of a test set in the projector


class Scalars:
    """Writes the curves of a run; does nothing without a folder.

    Args:
        folder: log folder, or None in processes that do not write.
        from_step: forget what an interrupted run wrote from this step on.

    Raises:
        UserError: the folder cannot be written to.
    """

    def __init__(self, folder: Path | None, *, from_step: int | None = None) -> None:
        self._writer = None
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._writer = SummaryWriter(str(folder), purge_step=from_step)
            except OSError as error:
                raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error

    def step(self, step: int, *, losses: Mapping[str, float], rate: float, norm: float) -> None:
        """One optimizer step: ``csi/lr``, ``csi/grad_norm``, ``csi/train_ce_loss``, ..."""
        self._add("lr", rate, step)
        self._add("grad_norm", norm, step)
        self._add_all("train", losses, step)

    def epoch(self, step: int, *, epoch: int, chunks_per_second: float) -> None:
        """After an epoch: ``csi/epoch`` and ``csi/chunks_per_second``."""
        self._add("epoch", epoch, step)
        self._add("chunks_per_second", chunks_per_second, step)

    def validation(self, step: int, name: str, losses: Mapping[str, float]) -> None:
        """``csi/train_sample_ce_loss``, ``csi/dev_ce_loss``, ..."""
        self._add_all(name, losses, step)

    def test(self, step: int, name: str, figures: Mapping[str, float]) -> None:
        """``csi/<test set>_mean_ap`` and the other figures."""
        self._add_all(name, figures, step)

    def projector(self, step: int, name: str, folder: Path) -> None:
        """Embeddings of a test set, evenly picked, for the projector."""
        if self._writer is None:
            return
        vectors, labels = read_embeddings(folder / "query.txt", PROJECTED)
        if len(vectors) > 1:
            self._writer.add_embedding(
                vectors, metadata=labels, global_step=step, tag=f"{PREFIX}/{name}"
            )

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()

    def _add(self, name: str, value: float, step: int) -> None:
        if self._writer is not None:
            self._writer.add_scalar(f"{PREFIX}/{name}", value, step)

    def _add_all(self, prefix: str, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            if isinstance(value, int | float):
                self._add(f"{prefix}_{name}", value, step)


def read_embeddings(windows: Path, limit: int) -> tuple[np.ndarray, list[str]]:
    """Embeddings and names of at most ``limit`` windows of a test set, evenly picked.

    Args:
        windows: ``query.txt`` or ``ref.txt`` of an embeddings folder, whose lines have ``embed``.
        limit: largest number of windows.

    Returns:
        ``(N, d)`` float32 and N names, ``<work> | <window>``.
    """
    rows = read_manifest(windows)
    picked = np.unique(np.linspace(0, len(rows) - 1, min(limit, len(rows))).round().astype(int))
    chosen = [rows[i] for i in picked]
    vectors = [np.load(row["embed"], allow_pickle=False) for row in chosen]
    names = [f"{row.get('song', row.get('work', ''))} | {row['utt']}" for row in chosen]
    # A tab or line break would end the field in the projector's table.
    names = [" ".join(name.split()) for name in names]
    return np.stack(vectors), names


def write_epochs(lines: Iterable[Mapping], path: Path) -> None:
    """Write one JSON line an epoch, all or nothing."""
    with atomic_path(path) as temporary:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        temporary.write_text(text, "utf-8")
