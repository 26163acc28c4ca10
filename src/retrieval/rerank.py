"""The nearest references of each query, put in a new order by a distance that costs more.

An embedding finds the nearest K of all references at once; only those are compared pair by pair
(:mod:`src.retrieval.qmax`), and both distances together decide their order, since each knows what
the other does not. What is not among the first K stays behind them, in its order.
"""

from collections.abc import Callable, Sequence

import numpy as np

from src.errors import UserError
from src.retrieval.blend import BLEND, blend_order, check_rerank
from src.retrieval.qmax import in_threads
from src.retrieval.ranking import Ranking
from src.retrieval.relevance import Relevance

PairDistance = Callable[[int, int], float]
_NONE = -1  # in a list of references: there is none


def rerank(
    distances: np.ndarray,
    k: int,
    pair_distance: PairDistance,
    *,
    blend: float = BLEND,
    excluded: np.ndarray | None = None,
    workers: int = 1,
    progress: bool = False,
) -> np.ndarray:
    """Order the first K references of each query anew.

    Args:
        distances: ``(Q, R)``, smaller = closer; negative = not a candidate.
        k: references of each query to compare; more than there are is all.
        pair_distance: from query number and reference number; 0 or more, smaller = closer.
        blend: its share in the order, see :func:`blend_order`.
        excluded: ``(Q, R)`` booleans, pairs that are no candidates; None takes the negative ones.
        workers: threads that compare.
        progress: show a progress bar.

    Returns:
        ``(Q, R)`` float64: the place of each reference in the new order, from 0; -1 where it is no
        candidate. References at the same distance keep their order.

    Raises:
        UserError: k is not positive, not a matrix, or a distance is not a number.
    """
    check_rerank(k, blend)
    distances = np.asarray(distances)
    if distances.ndim != 2:
        raise UserError(
            f"distances must be a matrix of queries by references, not {distances.shape}"
        )
    mask = distances < 0 if excluded is None else np.asarray(excluded, dtype=bool)
    if mask.shape != distances.shape:
        raise UserError(
            f"the excluded pairs have the shape {mask.shape}, the distances {distances.shape}"
        )
    if np.isnan(distances[~mask]).any():
        raise UserError("the distances contain NaN, so they cannot be ordered")
    # What is no candidate goes to the end; a candidate may be infinitely far and still be one.
    order = np.lexsort((distances, mask), axis=1)  # (Q, R)
    filled = np.arange(order.shape[1]) < (~mask).sum(axis=1)[:, None]
    nearest = np.where(filled, order, _NONE)[:, :k]
    near = np.take_along_axis(distances, order[:, :k], axis=1)
    order[:, : nearest.shape[1]] = np.where(
        nearest == _NONE,
        order[:, : nearest.shape[1]],
        reorder(nearest, near, pair_distance, blend=blend, workers=workers, progress=progress),
    )
    places = np.empty(order.shape)
    np.put_along_axis(places, order, np.arange(order.shape[1], dtype=float)[None], axis=1)
    places[mask] = -1
    return places


def rerank_ranking(
    ranking: Ranking,
    relevance: Relevance,
    nearest: np.ndarray,
    near: np.ndarray,
    pair_distance: PairDistance,
    *,
    blend: float = BLEND,
    workers: int = 1,
    progress: bool = False,
) -> Ranking:
    """The same for ranks that are known without a matrix of distances.

    Args:
        ranking: ranks of the relevant references.
        relevance: which they are.
        nearest: ``(Q, K)`` int64, the first K references of each query in the order of
            ``ranking``; -1 behind the last.
        near: ``(Q, K)`` their distances.
        pair_distance, blend, workers, progress: see :func:`rerank`.

    Returns:
        Ranks after the first K of each query were ordered anew.
    """
    first = reorder(nearest, near, pair_distance, blend=blend, workers=workers, progress=progress)
    ranks = ranking.ranks.copy()
    for query in range(ranking.n_queries):
        part = slice(ranking.offsets[query], ranking.offsets[query + 1])
        behind = ranks[part][ranks[part] > nearest.shape[1]]
        found = np.flatnonzero(np.isin(first[query], relevance.columns[part])) + 1
        ranks[part] = np.concatenate([found, behind])
    return Ranking(ranking.offsets, ranks, ranking.n_references)


def reorder(
    nearest: Sequence[Sequence[int]] | np.ndarray,
    near: Sequence[Sequence[float]] | np.ndarray,
    pair_distance: PairDistance,
    *,
    blend: float = BLEND,
    workers: int = 1,
    progress: bool = False,
) -> np.ndarray:
    """Sort each row of ``nearest`` ``(Q, K)``, at the distances ``near``, by :func:`blend_order`.

    -1 in ``nearest`` stays behind. All pairs of all queries are one queue for the threads.

    Raises:
        UserError: a distance of a pair is negative or not a number.
    """
    nearest, near = np.asarray(nearest), np.asarray(near)
    rows, places = np.nonzero(nearest != _NONE)

    def distance(item: int) -> float:
        return pair_distance(int(rows[item]), int(nearest[rows[item], places[item]]))

    found = in_threads(distance, len(rows), workers=workers, label="re-ranking", progress=progress)
    pairs = np.full(nearest.shape, np.inf)
    pairs[rows, places] = found
    order = blend_order(near, pairs, blend=blend, valid=nearest != _NONE)
    return np.take_along_axis(nearest, order, axis=1)
