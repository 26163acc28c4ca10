"""What comes of comparing a test set: distances, ranks and figures, as text and as files."""

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from src.errors import UserError
from src.files import atomic_path
from src.retrieval.confidence import bootstrap_intervals, bootstrap_map_intervals
from src.retrieval.metrics import rank_distances, summarise, summarise_map
from src.retrieval.ranking import Ranking

logger = logging.getLogger(__name__)

TOPK = 10000
Row = Mapping[str, Any]


def names_of_work(row: Row) -> set[str]:
    """What a person may call the work of a recording: ``song`` or ``song_id``, as text."""
    return {str(row[key]) for key in ("song", "song_id") if row.get(key) is not None}


@dataclass(frozen=True)
class Evaluated:
    """A test set, compared; recordings that could not be embedded are not in it.

    Attributes:
        queries, references: lines of the recordings.
        query_embeddings, reference_embeddings: ``(W, d)`` float32 of each.
        query_labels, reference_labels: the work of each, as text.
        distances: ``(Q, R)`` float32, -1 where a pair is excluded.
        excluded: ``(Q, R)`` booleans.
        ranking: ranks of the versions of each query among the references.
        figures: ``mean_ap, top10, rank1, hit_rate``, and Re-MOVE's ``mAP, MRR, MR, Top1, Top10``
            where any query has a version.
        failures: what was wrong with the recordings left out, by ``utt``.
    """

    queries: list[dict[str, Any]]
    references: list[dict[str, Any]]
    query_embeddings: list[np.ndarray]
    reference_embeddings: list[np.ndarray]
    query_labels: list[str]
    reference_labels: list[str]
    distances: np.ndarray
    excluded: np.ndarray
    ranking: Ranking
    figures: dict[str, float]
    failures: dict[str, str] = field(default_factory=dict)

    def intervals(
        self, resamples: int, *, seed: int = 0, level: float = 0.95
    ) -> dict[str, tuple[float, float] | None]:
        """Bootstrap intervals over works of all figures, see :mod:`src.retrieval.confidence`."""
        options = {"resamples": resamples, "level": level}
        found = bootstrap_map_intervals(
            self.ranking, self.query_labels, generator=np.random.default_rng(seed), **options
        )
        if len(self.ranking.ranks):
            found |= bootstrap_intervals(
                self.ranking, self.query_labels, generator=np.random.default_rng(seed), **options
            )
        return found

    def restricted(self, labels: Iterable[str]) -> "Evaluated":
        """The same with the queries of some works only; all references stay.

        Args:
            labels: ``song`` or ``song_id`` of works.

        Raises:
            UserError: no query belongs to one of the works.
        """
        wanted = {str(label) for label in labels}
        keep = [i for i, row in enumerate(self.queries) if names_of_work(row) & wanted]
        if not keep:
            raise UserError("no query belongs to one of the works that were asked for")
        return evaluated(
            [self.queries[i] for i in keep],
            self.references,
            [self.query_embeddings[i] for i in keep],
            self.reference_embeddings,
            [self.query_labels[i] for i in keep],
            self.reference_labels,
            self.distances[keep],
            self.excluded[keep],
            self.failures,
        )


def evaluated(
    queries: list[dict[str, Any]],
    references: list[dict[str, Any]],
    query_embeddings: list[np.ndarray],
    reference_embeddings: list[np.ndarray],
    query_labels: list[str],
    reference_labels: list[str],
    distances: np.ndarray,
    excluded: np.ndarray,
    failures: dict[str, str],
) -> Evaluated:
    """Rank and measure; the arguments are the attributes of :class:`Evaluated`."""
    ranking = rank_distances(distances, query_labels, reference_labels, excluded=excluded)
    figures = summarise_map(ranking, TOPK)
    if len(ranking.ranks):
        figures |= summarise(ranking)
    else:
        logger.warning("no query has a version among the references, so all figures are 0")
    return Evaluated(
        queries, references, query_embeddings, reference_embeddings, query_labels,
        reference_labels, distances, excluded, ranking, figures, failures,
    )  # fmt: skip


def format_result(
    result: Evaluated, intervals: Mapping[str, tuple[float, float] | None] | None = None
) -> list[str]:
    """The figures, one a line, CoverHunter's first; then what they were measured on."""
    intervals = intervals or {}
    lines = []
    for name, value in result.figures.items():
        line = f"{name}: {value:d}" if isinstance(value, int) else f"{name}: {value:.6f}"
        if name in intervals:
            interval = intervals[name]
            line += (
                " (no interval: one work)"
                if interval is None
                else (f" (95 %: {interval[0]:.4f} to {interval[1]:.4f})")
            )
        lines.append(line)
    alone = result.ranking.n_without_version
    lines.append(
        f"{len(result.queries)} queries, {len(result.references)} references"
        + (f"; {alone} queries have no version among them" if alone else "")
        + (f"; {len(result.failures)} recordings left out" if result.failures else "")
    )
    return lines


def save_distances(result: Evaluated, path: str | os.PathLike) -> None:
    """Write the distance matrix, -1 where a pair is excluded.

    A name ending in ``.npz`` also holds ``query_utt``, ``ref_utt``, ``query_label`` and
    ``ref_label``; any other is a ``.npy`` file with the bare matrix.
    """
    path = Path(path)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if path.suffix == ".npz":
            np.savez_compressed(
                file,
                distances=result.distances,
                query_utt=np.array([row["utt"] for row in result.queries]),
                ref_utt=np.array([row["utt"] for row in result.references]),
                query_label=np.array(result.query_labels),
                ref_label=np.array(result.reference_labels),
            )
        else:
            np.save(file, result.distances, allow_pickle=False)
