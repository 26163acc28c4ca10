"""An evaluation on paper: a row for each query, figures with intervals, two plots."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.errors import UserError
from src.files import atomic_path, write_json
from src.retrieval.confidence import bootstrap_intervals
from src.retrieval.metrics import average_precisions, summarise
from src.retrieval.plots import plot_precision_recall, plot_ranks
from src.retrieval.ranking import Labels, Ranking

QUERIES_FILE = "queries.csv"
FIGURES_FILE = "figures.json"
RANKS_FILE = "ranks.png"
PRECISION_RECALL_FILE = "precision_recall.png"
LEVEL = 0.95


def write_report(
    ranking: Ranking,
    directory: str | os.PathLike,
    *,
    works: Labels,
    query_ids: Sequence[Any] | None = None,
    original: bool = False,
    seed: int = 0,
    resamples: int = 2000,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``queries.csv``, ``figures.json``, ``ranks.png`` and ``precision_recall.png``.

    ``queries.csv`` has the columns ``query``, ``work``, ``average_precision``, ``first_rank`` and
    ``relevant`` (number of other versions); the third and fourth are empty for a query without
    another version. ``figures.json`` has the five figures, their 95 % bootstrap intervals over
    works, and what they were computed from. The same input gives the same files.

    Args:
        ranking: from :func:`~src.retrieval.ranking.rank_relevant`.
        directory: folder, created if necessary; an older report in it is replaced.
        works: ``(Q,)`` the work of each query.
        query_ids: ``(Q,)`` names of the queries; None numbers them from 0.
        original: the original's treatment of queries without another version.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        about: further entries for ``figures.json`` (model, distance, data), put first.

    Returns:
        What ``figures.json`` holds.

    Raises:
        UserError: nothing to measure, lists of different lengths, a folder that cannot be written.
    """
    directory = Path(directory)
    names = [str(work) for work in np.asarray(works).reshape(-1).tolist()]
    ids = list(range(ranking.n_queries)) if query_ids is None else list(query_ids)
    if not len(names) == len(ids) == ranking.n_queries:
        raise UserError(
            f"{len(names)} works and {len(ids)} names are given for {ranking.n_queries} queries"
        )
    figures = summarise(ranking, original)
    content: dict[str, Any] = {
        **(about or {}),
        "figures": figures,
        "interval": bootstrap_intervals(
            ranking,
            names,
            generator=np.random.default_rng(seed),
            resamples=resamples,
            level=LEVEL,
            original=original,
        ),
        "interval_level": LEVEL,
        "interval_method": f"bootstrap over works, {resamples} resamples, seed {seed}",
        "queries": ranking.n_queries,
        "queries_without_version": ranking.n_without_version,
        "queries_without_version_are": "counted as rank 1" if original else "left out",
        "references": ranking.n_references,
        "works": len(set(names)),
    }
    _write_queries(ranking, names, ids, directory / QUERIES_FILE)
    plot_ranks(ranking, directory / RANKS_FILE)
    plot_precision_recall(ranking, directory / PRECISION_RECALL_FILE)
    write_json(content, directory / FIGURES_FILE)
    return content


def _write_queries(ranking: Ranking, works: Sequence[str], ids: Sequence[Any], path: Path) -> None:
    rows = zip(
        ids,
        works,
        average_precisions(ranking).tolist(),
        ranking.first_ranks.tolist(),
        ranking.counts.tolist(),
        strict=True,
    )
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["query", "work", "average_precision", "first_rank", "relevant"])
        for query, work, ap, first, relevant in rows:
            found = [f"{ap:.6f}", first] if relevant else ["", ""]
            writer.writerow([query, work, *found, relevant])
