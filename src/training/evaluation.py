"""A trained Re-MOVE model on a data set: from weights and features to the five figures."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from src.config import RemoveConfig
from src.data.chroma import PITCH_CLASSES
from src.data.crema_features import TRAINED_ON, fits, version_for_sound
from src.data.dataset_file import DatasetFile, load_dataset_file, load_ytrue
from src.data.demo import demo_dataset
from src.errors import UserError
from src.models.embed import embed_tracks
from src.retrieval.blend import BLEND
from src.retrieval.metrics import format_figures, summarise
from src.retrieval.qmax import QmaxFeature, QmaxPairs, prepare
from src.retrieval.ranking import DISTANCE_OF_LOSS, Ranking, nearest_others, rank_relevant
from src.retrieval.relevance import Relevance, relevance_from_labels, relevance_from_matrix
from src.retrieval.report import write_report
from src.retrieval.rerank import PairDistance, rerank_ranking
from src.training.checkpoint import load_move, read_metadata
from src.training.paths import find_model, model_file

logger = logging.getLogger(__name__)

BENCHMARK_FILE = "benchmark_crema.pt"
BENCHMARK_YTRUE = "ytrue_benchmark.pt"


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one data set.

    Attributes:
        figures: ``mAP, MRR, MR, Top1, Top10`` in this order.
        ranking: ranks of all versions of all queries.
    """

    figures: dict[str, float]
    ranking: Ranking

    def __str__(self) -> str:
        """One figure a line, in the order and with the decimals of the original."""
        lines = format_figures(self.figures)
        alone = self.ranking.n_without_version
        if alone:
            lines.append(f"queries without another version: {alone} of {self.ranking.n_queries}")
        return "\n".join(lines)


def versions_to_find(labels: list[str], ytrue: torch.Tensor | None = None) -> Relevance:
    """Which recordings are versions of each other, by label or by a ground truth ``(N, N)``.

    Raises:
        UserError: the ground truth is not for so many recordings, or no recording has another
            version.
    """
    relevance = relevance_from_labels(labels) if ytrue is None else relevance_from_matrix(ytrue)
    if relevance.n_queries != len(labels):
        raise UserError(
            f"the ground truth is for {relevance.n_queries} recordings, but there are "
            f"{len(labels)}; make both from the same list"
        )
    if not relevance.counts.any():
        raise UserError("no recording has another version of its work; check the labels")
    return relevance


def evaluate_embeddings(
    embeddings: torch.Tensor,
    relevance: Relevance,
    *,
    distance: str,
    original: bool = False,
    device: torch.device | None = None,
) -> Evaluation:
    """Every recording a query, all others its references.

    Args:
        embeddings: ``(N, d)``.
        relevance: from :func:`versions_to_find`.
        distance: ``euclidean``, ``cosine`` or ``pearson``.
        original: count queries without another version as the original program did.
        device: where to compare; None where the embeddings are.
    """
    ranking = rank_relevant(embeddings, None, relevant=relevance, distance=distance, device=device)
    return Evaluation(summarise(ranking, original=original), ranking)


def evaluate_network(
    model: nn.Module,
    dataset: DatasetFile,
    *,
    ytrue: torch.Tensor | None = None,
    distance: str,
    device: torch.device,
    amp: bool = False,
    original: bool = False,
    rerank: int | None = None,
    blend: float = BLEND,
    progress: bool = False,
) -> Evaluation:
    """Embed a data set, one recording at a time and at full length, and evaluate it.

    With ``rerank``, the first so many recordings of every list are ordered anew, by the embedding
    and Qmax together; ``blend`` is the share of Qmax.

    Raises:
        UserError: nothing to find, or (with ``rerank``) a recording that is too short for Qmax.
    """
    relevance = versions_to_find(dataset.labels, ytrue)  # before the long work
    features = qmax_features(dataset) if rerank else []
    embeddings = embed_tracks(model, dataset.data, device=device, amp=amp, progress=progress)
    evaluation = evaluate_embeddings(
        embeddings, relevance, distance=distance, original=original, device=device
    )
    if not rerank:
        return evaluation
    ranking = rerank_embeddings(
        evaluation.ranking,
        relevance,
        embeddings,
        rerank,
        QmaxPairs(features),
        blend=blend,
        distance=distance,
        device=device,
        progress=progress,
    )
    return Evaluation(summarise(ranking, original=original), ranking)


def rerank_embeddings(
    ranking: Ranking,
    relevance: Relevance,
    embeddings: torch.Tensor,
    k: int,
    pair_distance: PairDistance,
    *,
    blend: float = BLEND,
    distance: str,
    device: torch.device | None = None,
    progress: bool = False,
) -> Ranking:
    """The first K recordings of every list of :func:`evaluate_embeddings` in a new order.

    Args:
        ranking, relevance, embeddings, distance, device: of that evaluation.
        k: recordings of each list.
        pair_distance: from two positions; smaller = closer.
        blend: its share in the new order.
        progress: show a progress bar.
    """
    nearest, near = nearest_others(embeddings, k, distance=distance, device=device)
    return rerank_ranking(
        ranking,
        relevance,
        nearest,
        near,
        pair_distance,
        blend=blend,
        workers=os.cpu_count() or 1,
        progress=progress,
    )


def qmax_features(dataset: DatasetFile) -> list[QmaxFeature]:
    """The recordings of a data set, ready for Qmax.

    Raises:
        UserError: one of them is too short.
    """
    return [
        prepare(track[0, :PITCH_CLASSES].T.float().numpy(), name=f"recording {number} ({label})")
        for number, (track, label) in enumerate(zip(dataset.data, dataset.labels, strict=True))
    ]


def warn_of_other_features(path: Path, metadata: dict[str, Any], crema_version: str | None) -> None:
    """Say in one line when a model was trained on features of another version of crema."""
    if not fits(metadata, crema_version):
        logger.warning(
            "warning: %s was trained on cremaPCP of crema %s, these features are of crema %s",
            path.name,
            metadata[TRAINED_ON],
            crema_version,
        )


def load_test_data(
    main_path: Path, crema_version: str, device: torch.device
) -> tuple[DatasetFile, torch.Tensor | None]:
    """``data/benchmark_crema.pt`` with its ground truth where they exist, else the bundled demo.

    Raises:
        UserError: a file is damaged, or there is neither a benchmark nor the demo.
    """
    path = main_path / "data" / BENCHMARK_FILE
    if path.is_file():
        ytrue = main_path / "data" / BENCHMARK_YTRUE
        return load_dataset_file(path), load_ytrue(ytrue) if ytrue.is_file() else None
    logger.info("%s does not exist: evaluating the bundled demo", path)
    return demo_dataset(crema_version, device=device), None


def evaluate_experiment(
    exp_type: str,
    config: RemoveConfig,
    name: str,
    *,
    main_path: Path,
    device: torch.device,
    amp: bool = False,
    original: bool = False,
    rerank: int | None = None,
    blend: float = BLEND,
    report: Path | None = None,
) -> Evaluation:
    """Evaluate the weights of an experiment on the benchmark, or else on the bundled demo.

    Args:
        exp_type, config, name: the experiment, with the options it was trained with.
        main_path: working directory with ``data/`` and ``models/`` (or ``saved_models/``).
        device: where to compute.
        amp: mixed precision.
        original: count queries without another version as the original program did.
        rerank: order the first so many recordings of every list anew, with Qmax.
        blend: the share of Qmax in that order.
        report: folder for per-query figures, bootstrap intervals and plots.

    Raises:
        UserError: weights or data are missing or wrong.
    """
    path = find_model(main_path, model_file(exp_type, name))
    emb_size = None if exp_type == "pruning" else config.emb_size
    model = load_move(path, emb_size=emb_size).to(device)
    metadata = read_metadata(path)
    logger.info("weights: %s", path)
    crema_version = version_for_sound(metadata)
    dataset, ytrue = load_test_data(main_path, crema_version, device)
    warn_of_other_features(path, metadata, dataset.crema_version)
    evaluation = evaluate_network(
        model,
        dataset,
        ytrue=ytrue,
        distance=DISTANCE_OF_LOSS[config.loss],
        device=device,
        amp=amp,
        original=original,
        rerank=rerank,
        blend=blend,
        progress=True,
    )
    if report is not None:
        write_report(
            evaluation.ranking,
            report,
            works=dataset.labels,
            original=original,
            about={
                "model": path.name,
                "recordings": len(dataset),
                **({"re-ranked": rerank, "share of Qmax": blend} if rerank else {}),
                **metadata,
            },
        )
        logger.info("report: %s", report)
    return evaluation
