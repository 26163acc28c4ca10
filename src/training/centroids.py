"""Centroids of a teacher's embeddings, which the cluster loss of distillation draws to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from src.data.crema_dataset import LABEL_INDEX
from src.data.dataset_file import TEACHER_SIZE, load_dataset_file, load_label_index
from src.files import save_tensors
from src.models.embed import embed_tracks
from src.training.checkpoint import load_move, read_metadata
from src.training.evaluation import warn_of_other_features

CENTROIDS = "centroids.pt"


def teacher_centroids(
    chunks: Sequence[Path],
    label_index: Mapping[str, int],
    teacher: Path,
    *,
    device: torch.device,
    progress: bool = False,
) -> dict[int, torch.Tensor]:
    """Mean embedding of the training recordings of every work.

    Args:
        chunks: training files.
        label_index: label -> class number.
        teacher: MOVE model of embedding size 16000.
        device: where to compute.
        progress: show a progress bar over the files.

    Returns:
        Class number -> ``(1, 16000)`` float32.

    Raises:
        UserError: a file is missing or wrong, or the teacher has another embedding size.
    """
    model = load_move(teacher, emb_size=TEACHER_SIZE).to(device)
    sums: dict[int, torch.Tensor] = {}
    counts: dict[int, int] = {}
    for path in tqdm(chunks, desc="centroids", unit="file", disable=not progress):
        dataset = load_dataset_file(path)
        if path == chunks[0]:
            warn_of_other_features(teacher, read_metadata(teacher), dataset.crema_version)
        embeddings = embed_tracks(model, dataset.data, device=device)
        for label, embedding in zip(dataset.labels, embeddings, strict=True):
            number = label_index[label]
            sums[number] = sums.get(number, 0) + embedding
            counts[number] = counts.get(number, 0) + 1
    return {number: (sums[number] / counts[number])[None] for number in sorted(sums)}


def write_centroids(
    chunks: Sequence[Path], teacher: Path, folder: Path, *, device: torch.device
) -> Path:
    """Write ``centroids.pt`` for the training files and ``red_label_idx.pt`` in ``folder``.

    Raises:
        UserError: see :func:`teacher_centroids`, or the file cannot be written.
    """
    index = load_label_index(folder / LABEL_INDEX)
    path = folder / CENTROIDS
    save_tensors(teacher_centroids(chunks, index, teacher, device=device, progress=True), path)
    return path
