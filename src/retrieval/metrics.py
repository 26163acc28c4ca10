"""Figures of merit for version identification: Re-MOVE's five and CoverHunter's four.

Both follow from the ranks of the relevant references (:class:`~src.retrieval.ranking.Ranking`);
they differ in what they do with queries that have no other version, and in the denominators.
"""

import numpy as np
import torch

from src.errors import UserError
from src.retrieval.ranking import Array, Labels, Ranking, rank_similarities
from src.retrieval.relevance import Relevance, relevance_from_labels, relevance_from_matrix

# Distances below this are excluded pairs (marked -1); what lies between it and zero is rounding
# of 1 - cosine for two identical recordings, and such a pair is kept.
_EXCLUDED_BELOW = -1e-5


def average_precision(
    similarity: Array, ytrue: Array, k: int | None = None, *, original: bool = False
) -> dict[str, float]:
    """Re-MOVE's figures from a similarity matrix.

    Args:
        similarity: ``(Q, R)`` floats, larger = closer; the query itself is marked -inf.
        ytrue: ``(Q, R)`` of 0 and 1; the query itself is 0.
        k: look only at the first k places; see :func:`summarise`.
        original: count queries without another version as the original program does.

    Returns:
        ``mAP, MRR, MR, Top1, Top10``, see :func:`summarise`.

    Raises:
        UserError: shapes that differ, NaN, a ground truth that is not 0 and 1 or marks a query as
            its own version, or in which no query has another version.
    """
    similarity = torch.as_tensor(similarity)
    validate(similarity, ytrue)
    relevance = relevance_from_matrix(ytrue)
    rows = np.repeat(np.arange(relevance.n_queries), relevance.counts)
    marked = similarity[
        torch.as_tensor(rows, device=similarity.device),
        torch.as_tensor(relevance.columns, device=similarity.device),
    ]
    if bool((marked == -torch.inf).any()):
        raise UserError(
            "the ground truth marks a recording as a version of itself (or another pair whose "
            "similarity is -inf); its diagonal must be 0"
        )
    return summarise(rank_similarities(similarity, relevance), k=k, original=original)


def validate(similarity: Array, ytrue: Array) -> None:
    """Check that a similarity matrix and a ground truth can be evaluated together.

    Raises:
        UserError: not two matrices of the same shape, empty, whole numbers as similarities, or
            NaN among them.
    """
    similarity = torch.as_tensor(similarity)
    shape, truth_shape = tuple(similarity.shape), tuple(np.shape(ytrue))
    if len(shape) != 2 or 0 in shape:
        raise UserError(f"similarities must be a matrix of queries by references, not {shape}")
    if shape != truth_shape:
        raise UserError(
            f"similarities have the shape {shape} but the ground truth {truth_shape}; both must "
            "list the same recordings in the same order"
        )
    if not similarity.is_floating_point():
        raise UserError(f"similarities must be real numbers, not {similarity.dtype}")
    bad = torch.isnan(similarity).any(dim=1).nonzero().flatten()
    if len(bad):
        raise UserError(f"the similarities of query {int(bad[0])} contain NaN")


def average_precisions(ranking: Ranking, k: int | None = None) -> np.ndarray:
    """Average precision of every query.

    The sum of the precision at each relevant rank (up to k), divided by the number of all relevant
    references.

    Returns:
        ``(Q,)`` float64; NaN for queries without another version.
    """
    counts = ranking.counts
    place = np.arange(1, len(ranking.ranks) + 1) - ranking.offsets[ranking.queries]
    precision = place / ranking.ranks
    if k is not None:
        precision[ranking.ranks > k] = 0
    total = np.bincount(ranking.queries, weights=precision, minlength=ranking.n_queries)
    return np.divide(total, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def summarise(
    ranking: Ranking, original: bool = False, *, k: int | None = None
) -> dict[str, float]:
    """Re-MOVE's five figures, in the order in which they are printed.

    * ``mAP``: mean of the average precision over the queries that have another version;
    * ``MRR``: mean of 1 / rank of the first version (0 if that lies beyond k);
    * ``MR``: mean rank of the first version (also beyond k, so that k cannot improve it);
    * ``Top1``, ``Top10``: how many versions stand at rank 1, and within the first 10, over all
      queries together (sums, not rates).

    Queries without another version are left out of all five.

    Args:
        ranking: from :func:`~src.retrieval.ranking.rank_relevant`.
        original: the original's treatment, for figures that must equal published ones: a query
            without another version (or without one among the first k) counts as rank 1 in MRR and
            MR, which improves both.
        k: look only at the first k places.

    Raises:
        UserError: no query has another version, or k is not a positive number.
    """
    if k is not None and k < 1:
        raise UserError(f"k must be at least 1, not {k}")
    if not len(ranking.ranks):
        raise UserError(
            "no query has another version among the references, so nothing can be measured; "
            "check the labels"
        )
    first = ranking.first_ranks
    limit = ranking.n_references if k is None else k
    missed = (first == 0) | (first > limit)
    first = np.where(missed, 1, first) if original else first[first > 0]
    within = ranking.ranks[ranking.ranks <= limit]
    return {
        "mAP": float(np.nanmean(average_precisions(ranking, k))),
        "MRR": float(np.mean(np.where(first <= limit, 1 / first, 0))),
        "MR": float(np.mean(first)),
        "Top1": int((within == 1).sum()),
        "Top10": int((within <= 10).sum()),
    }


def format_figures(figures: dict[str, float]) -> list[str]:
    """Re-MOVE's lines, ``mAP: 0.485`` and so on: counts without decimals, the rest with three."""
    return [
        f"{name}: {value:.0f}" if name.startswith("Top") else f"{name}: {value:.3f}"
        for name, value in figures.items()
    ]


def calc_map(
    distances: Array,
    query_labels: Labels,
    ref_labels: Labels,
    topk: int | None = 10000,
    *,
    excluded: Array | None = None,
) -> dict[str, float]:
    """CoverHunter's figures from a distance matrix.

    Args:
        distances: ``(Q, R)``, smaller = closer; negative (-1) = not a candidate.
        query_labels: ``(Q,)`` texts or numbers.
        ref_labels: ``(R,)``.
        topk: see :func:`summarise_map`.
        excluded: see :func:`rank_distances`.

    Returns:
        ``mean_ap, top10, rank1, hit_rate``, see :func:`summarise_map`.

    Raises:
        UserError: shapes that do not fit, NaN, no queries.
    """
    return summarise_map(
        rank_distances(distances, query_labels, ref_labels, excluded=excluded), topk
    )


def rank_distances(
    distances: Array,
    query_labels: Labels,
    ref_labels: Labels,
    *,
    excluded: Array | None = None,
) -> Ranking:
    """Ranks of the versions of every query, from a distance matrix.

    Args:
        distances: ``(Q, R)``, smaller = closer.
        query_labels: ``(Q,)`` texts or numbers.
        ref_labels: ``(R,)``.
        excluded: ``(Q, R)`` booleans, pairs that are no candidates; distances below zero then
            count as zero. None excludes the negative distances, as the original marks them.

    Raises:
        UserError: shapes that do not fit, NaN, no queries.
    """
    # float64 as it comes: a narrower type would make ties of distances that differ.
    distances = torch.as_tensor(distances)
    if not distances.is_floating_point():
        distances = distances.float()
    if distances.ndim != 2 or 0 in distances.shape:
        raise UserError(
            f"distances must be a matrix of queries by references, not {tuple(distances.shape)}"
        )
    bad = torch.isnan(distances).any(dim=1).nonzero().flatten()
    if len(bad):
        raise UserError(f"the distances of query {int(bad[0])} contain NaN")
    relevance = relevance_from_labels(query_labels, ref_labels, exclude_self=False)
    if (relevance.n_queries, relevance.n_references) != tuple(distances.shape):
        raise UserError(
            f"{relevance.n_queries} query and {relevance.n_references} reference labels do not "
            f"fit a distance matrix of the shape {tuple(distances.shape)}"
        )
    if excluded is None:
        mask = distances < _EXCLUDED_BELOW
    else:
        mask = torch.as_tensor(excluded).to(distances.device, torch.bool)
        if mask.shape != distances.shape:
            raise UserError(
                f"the excluded pairs have the shape {tuple(mask.shape)}, the distances "
                f"{tuple(distances.shape)}"
            )
    largest = torch.finfo(distances.dtype).max
    similarity = -distances.clamp(min=0, max=largest)
    similarity[mask] = -torch.inf
    return rank_similarities(similarity, _without(relevance, mask))


def _without(relevance: Relevance, excluded: torch.Tensor) -> Relevance:
    """Drop the relevant pairs that are excluded ``(Q, R)``."""
    rows = np.repeat(np.arange(relevance.n_queries), relevance.counts)
    keep = ~excluded.cpu().numpy()[rows, relevance.columns]
    counts = np.bincount(rows[keep], minlength=relevance.n_queries)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Relevance(offsets, relevance.columns[keep], relevance.n_references)


def summarise_map(ranking: Ranking, topk: int | None = 10000) -> dict[str, float]:
    """CoverHunter's four figures, each a mean over **all** queries.

    * ``mean_ap``: mean precision at the relevant ranks that lie within ``topk`` (not divided by
      the number of all relevant references); 0 for a query with none;
    * ``top10``: (relevant references within the first 10 and within ``topk``) / 10;
    * ``rank1``: first relevant rank, also beyond ``topk``; a query without any counts as 0;
    * ``hit_rate``: share of queries whose nearest reference is relevant.

    Raises:
        UserError: no queries, or topk is not a positive number.
    """
    if not ranking.n_queries:
        raise UserError("there are no queries, so nothing can be measured")
    return {name: float(np.mean(values)) for name, values in map_per_query(ranking, topk).items()}


def map_per_query(ranking: Ranking, topk: int | None = 10000) -> dict[str, np.ndarray]:
    """What each query adds to CoverHunter's four figures, ``(Q,)`` each; see :func:`summarise_map`.

    Raises:
        UserError: topk is not a positive number.
    """
    if topk is not None and topk < 1:
        raise UserError(f"topk must be at least 1, not {topk}")
    limit = ranking.n_references if topk is None else topk
    queries, inside = ranking.queries, ranking.ranks <= limit
    place = np.arange(1, len(ranking.ranks) + 1) - ranking.offsets[queries]

    def per_query(values: np.ndarray) -> np.ndarray:
        return np.bincount(queries, weights=values, minlength=ranking.n_queries)

    found = per_query(inside)
    first = ranking.first_ranks
    return {
        "mean_ap": per_query(np.where(inside, place / ranking.ranks, 0)) / np.maximum(found, 1),
        "top10": per_query(inside & (ranking.ranks <= 10)) / 10,
        "rank1": first.astype(np.float64),
        "hit_rate": (first == 1).astype(np.float64),
    }
