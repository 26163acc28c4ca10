"""Several ways to compare recordings, evaluated on one data set, in one table."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from src.data.chroma import PITCH_CLASSES
from src.data.dataset_file import DatasetFile
from src.models.coverhunter import CoverHunter
from src.models.move import MOVEModel
from src.models.window_embedder import Feature2Embeddings
from src.retrieval.chunk_distance import chunk_distances
from src.retrieval.fourier import fourier_magnitude_embedding
from src.retrieval.metrics import rank_distances, summarise
from src.retrieval.qmax import qmax_distances
from src.retrieval.ranking import rank_similarities
from src.training.checkpoint import load_move
from src.training.evaluation import (
    Evaluation,
    evaluate_embeddings,
    evaluate_network,
    qmax_features,
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


def evaluate_qmax(
    dataset: DatasetFile, *, workers: int | None = None, progress: bool = False
) -> Evaluation:
    """The unsupervised mark: every pair of recordings compared by Qmax.

    Args:
        dataset: cremaPCP.
        workers: threads; None uses all cores.
        progress: show a progress bar.
    """
    versions_to_find(dataset.labels)  # before the long work
    features = qmax_features(dataset)
    distances = qmax_distances(features, progress=progress, workers=workers or os.cpu_count() or 1)
    itself = np.eye(len(features), dtype=bool)
    ranking = rank_distances(distances, dataset.labels, dataset.labels, excluded=itself)
    return Evaluation(summarise(ranking), ranking)


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


def untrained_like(model: CoverHunter, *, seed: int) -> CoverHunter:
    """The control: a CoverHunter of the same configuration with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        control = CoverHunter(model.hparams)
    control.feature_spec = model.feature_spec
    return control


def evaluate_coverhunter(
    model: CoverHunter, features: list[np.ndarray], labels: list[str], *, device: torch.device
) -> Evaluation:
    """CoverHunter on features of whole recordings, by the nearest pair of their windows.

    Windows overlap by half and what is left at the end is used, so nothing of a recording is lost.

    Args:
        model: in the precision and with the ``chunk_frame`` it was trained with.
        features: ``(frames, bins)`` dB for each recording.
        labels: works.
        device: where to compute.
    """
    relevance = versions_to_find(labels)
    chunk_s = model.hparams["chunk_s"]
    embed = Feature2Embeddings(
        model.to(device), chunk_s=chunk_s, hop_s=chunk_s / 2, keep_tail=True, device=device
    )
    windows = [embeddings for embeddings, _ in embed.embed_features(features)]
    similarity = torch.from_numpy(1 - chunk_distances(windows, device=device))
    similarity.fill_diagonal_(-torch.inf)
    ranking = rank_similarities(similarity, relevance)
    return Evaluation(summarise(ranking), ranking)


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
