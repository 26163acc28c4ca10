"""How far a figure may be trusted: bootstrap intervals over works."""

import numpy as np

from src.errors import UserError
from src.retrieval.metrics import average_precisions, map_per_query
from src.retrieval.ranking import Labels, Ranking

FIGURES = ("mAP", "MRR", "MR", "Top1", "Top10")
MAP_FIGURES = ("mean_ap", "top10", "rank1", "hit_rate")
_RESAMPLES_AT_ONCE = 256


def bootstrap_intervals(
    ranking: Ranking,
    works: Labels,
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
    original: bool = False,
) -> dict[str, tuple[float, float] | None]:
    """Percentile intervals of Re-MOVE's five figures.

    Works are drawn with replacement, each with all its queries: versions of one work succeed and
    fail together, so that drawing single queries would promise too much. The collection of
    references stays as it is.

    Args:
        ranking: ranks of the versions of each of the Q queries.
        works: ``(Q,)`` the work of each query.
        generator: source of the draws.
        resamples: number of draws.
        level: share of the draws inside the interval.
        original: the original's treatment of queries without another version, as in
            :func:`~src.retrieval.metrics.summarise`.

    Returns:
        ``{"mAP": (low, high), ...}``; None where fewer than two works can be drawn.

    Raises:
        UserError: the number of works is not that of the queries.
    """
    work = _work_numbers(works, ranking.n_queries)
    # Per query: how often it counts in mAP, in MRR and MR, and what it adds to each sum.
    has = ranking.counts > 0
    first = np.where(has, ranking.first_ranks, 1)
    counted = np.ones_like(has) if original else has

    def within(rank: int) -> np.ndarray:
        inside = ranking.ranks <= rank
        return np.bincount(ranking.queries[inside], minlength=ranking.n_queries)

    columns = [
        has, counted, np.nan_to_num(average_precisions(ranking)), counted / first, counted * first,
        within(1), within(10),
    ]  # fmt: skip
    sums = np.stack([np.bincount(work, weights=column) for column in columns], axis=1)  # (W, 7)
    sums = sums[sums[:, 1] > 0]
    if len(sums) < 2 or not has.any():
        return dict.fromkeys(FIGURES)
    total = _draw(sums, resamples, generator)  # (resamples, 7)
    total = total[total[:, 0] > 0]
    with_version, counted_in_all, ap, reciprocal, rank, top1, top10 = total.T
    values = np.stack(
        [ap / with_version, reciprocal / counted_in_all, rank / counted_in_all, top1, top10]
    )
    return _intervals(FIGURES, values, level)


def bootstrap_map_intervals(
    ranking: Ranking,
    works: Labels,
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
    topk: int | None = 10000,
) -> dict[str, tuple[float, float] | None]:
    """Percentile intervals of CoverHunter's four figures; see :func:`bootstrap_intervals`.

    Every query counts, also one without another version, as in
    :func:`~src.retrieval.metrics.summarise_map`.

    Returns:
        ``{"mean_ap": (low, high), ...}``; None where fewer than two works can be drawn.

    Raises:
        UserError: the number of works is not that of the queries.
    """
    work = _work_numbers(works, ranking.n_queries)
    columns = [np.ones(ranking.n_queries), *map_per_query(ranking, topk).values()]
    sums = np.stack([np.bincount(work, weights=column) for column in columns], axis=1)  # (W, 5)
    if len(sums) < 2:
        return dict.fromkeys(MAP_FIGURES)
    total = _draw(sums, resamples, generator)  # (resamples, 5)
    return _intervals(MAP_FIGURES, total.T[1:] / total.T[0], level)


def bootstrap_mean(
    values: np.ndarray,
    works: Labels,
    *,
    generator: np.random.Generator,
    resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Percentile interval of a mean over queries; see :func:`bootstrap_intervals`.

    With the differences of two methods' average precision as values, it is the interval of the
    difference of their mAP: both are measured on the same draws.

    Args:
        values: ``(Q,)``, one number a query; NaN leaves a query out.
        works: ``(Q,)`` the work of each query.
        generator, resamples, level: as there.

    Returns:
        ``(low, high)``; None where fewer than two works can be drawn.

    Raises:
        UserError: the number of works is not that of the queries.
    """
    work = _work_numbers(works, len(values))
    counts = ~np.isnan(values)
    columns = [counts, np.where(counts, values, 0)]
    sums = np.stack([np.bincount(work, weights=column) for column in columns], axis=1)  # (W, 2)
    sums = sums[sums[:, 0] > 0]
    if len(sums) < 2:
        return None
    total = _draw(sums, resamples, generator)  # (resamples, 2)
    return _intervals(("mean",), total[:, 1:].T / total[:, 0], level)["mean"]


def _work_numbers(works: Labels, queries: int) -> np.ndarray:
    _, work = np.unique(np.asarray(works), return_inverse=True)
    work = work.reshape(-1)
    if len(work) != queries:
        raise UserError(f"{len(work)} works are named for {queries} queries")
    return work


def _draw(sums: np.ndarray, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """Sums over works drawn with replacement: ``(W, columns)`` to ``(resamples, columns)``."""
    drawn = []
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        size = min(_RESAMPLES_AT_ONCE, resamples - start)
        times = generator.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=size)
        drawn.append(times @ sums)
    return np.concatenate(drawn)


def _intervals(
    names: tuple[str, ...], values: np.ndarray, level: float
) -> dict[str, tuple[float, float] | None]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=1)
    return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
