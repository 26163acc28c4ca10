"""Several ways to compare recordings, evaluated on one data set, in one table."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from tqdm import tqdm

from src.data.chroma import PITCH_CLASSES
from src.data.dataset_file import DatasetFile
from src.models.move import MOVEModel
from src.retrieval.fourier import fourier_magnitude_embedding
from src.training.checkpoint import load_move
from src.training.evaluation import (
    Evaluation,
    evaluate_embeddings,
    evaluate_network,
    versions_to_find,
)

FIGURES = ("mAP", "MRR", "MR", "Top1", "Top10")


def evaluate_fourier(dataset: DatasetFile) -> Evaluation:
    """The unsupervised baseline: 2D Fourier magnitudes of the same cremaPCP, cosine distance."""
    embeddings = [
        torch.from_numpy(fourier_magnitude_embedding(track[0, :PITCH_CLASSES].T.float().numpy()))
        for track in dataset.data
    ]
    relevance = versions_to_find(dataset.labels)
    return evaluate_embeddings(torch.stack(embeddings), relevance, distance="cosine")


def evaluate_untrained(dataset: DatasetFile, *, seed: int, device: torch.device) -> Evaluation:
    """The control: MOVE with random weights, cosine distance."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MOVEModel().to(device)
    return evaluate_network(model, dataset, distance="cosine", device=device)


def evaluate_weights(
    path: Path, dataset: DatasetFile, *, distance: str, device: torch.device
) -> Evaluation:
    """A trained MOVE or Re-MOVE model from its file."""
    model = load_move(path).to(device)
    return evaluate_network(model, dataset, distance=distance, device=device)


def figure_table(
    rows: Iterable[tuple[str, Callable[[], Evaluation]]], *, progress: bool = True
) -> str:
    """Evaluate each row and lay the figures out as a Markdown table.

    Args:
        rows: name of the method and how to evaluate it.
        progress: show a progress bar over the rows.
    """
    lines = [
        "| method | " + " | ".join(FIGURES) + " |",
        "| --- |" + " ---: |" * len(FIGURES),
    ]
    for name, evaluate in tqdm(list(rows), desc="methods", disable=not progress, leave=False):
        figures = evaluate().figures
        values = [
            f"{figures[key]:.0f}" if "Top" in key else f"{figures[key]:.3f}" for key in FIGURES
        ]
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return "\n".join(lines)
