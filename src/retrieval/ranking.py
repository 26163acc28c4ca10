"""Where the versions of each query stand among the references, without an N x N matrix.

A figure such as mAP needs only the ranks of the relevant references. The rank of one of them is
one more than the number of references that are more similar to the query, so a block of queries is
multiplied with all references and compared; nothing is sorted (unless a query has very many
versions) and nothing larger than the block is ever held.

Ties are broken by position: of two equally similar references the earlier one ranks first, which
is what a stable sort does.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from src.errors import UserError
from src.retrieval.relevance import Relevance, relevance_from_labels, relevance_from_matrix

Labels = Sequence | np.ndarray | torch.Tensor
Array = np.ndarray | torch.Tensor

DISTANCES = ("euclidean", "cosine", "pearson")
# The distance by which a Re-MOVE model is evaluated, by the loss it was trained with
# (0 triplet, 1 ProxyNCA, 2 NormalizedSoftmax, 3 group loss, 4 supervised contrastive loss).
DISTANCE_OF_LOSS = {0: "euclidean", 1: "euclidean", 2: "cosine", 3: "pearson", 4: "cosine"}

_BLOCK_ELEMENTS = 1 << 24  # similarities held at a time: 64 MB
_ROWS_AT_ONCE = 4096
_SORT_FROM = 64  # versions per query from which one sort beats counting for each of them
_EXACT_COUNT = 1 << 24  # integers up to here are exact in a float32 sum


@dataclass(frozen=True)
class Ranking:
    """Ranks of the relevant references of every query.

    Attributes:
        offsets: ``(Q + 1,)`` int64; the ranks of query i are ``ranks[offsets[i]:offsets[i + 1]]``.
        ranks: ``(pairs,)`` int64, 1 = nearest, ascending within a query.
        n_references: number of references R.
    """

    offsets: np.ndarray
    ranks: np.ndarray
    n_references: int

    @property
    def n_queries(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> np.ndarray:
        """``(Q,)`` number of relevant references of each query."""
        return np.diff(self.offsets)

    @property
    def n_without_version(self) -> int:
        """Number of queries without any other version among the references."""
        return int((self.counts == 0).sum())

    @property
    def first_ranks(self) -> np.ndarray:
        """``(Q,)`` rank of the nearest relevant reference, 0 where there is none."""
        first = np.zeros(self.n_queries, np.int64)
        has = self.counts > 0
        first[has] = self.ranks[self.offsets[:-1][has]]
        return first

    @property
    def queries(self) -> np.ndarray:
        """``(pairs,)`` the query that each rank belongs to."""
        return np.repeat(np.arange(self.n_queries), self.counts)

    def of_query(self, query: int) -> np.ndarray:
        """Ranks of the relevant references of one query, ascending."""
        return self.ranks[self.offsets[query] : self.offsets[query + 1]]


def rank_relevant(
    query_embeddings: Array,
    reference_embeddings: Array | None,
    query_labels: Labels | None = None,
    reference_labels: Labels | None = None,
    *,
    relevant: Array | Relevance | None = None,
    distance: str = "euclidean",
    exclude_self: bool = True,
    block: int | None = None,
    device: torch.device | None = None,
    progress: bool = False,
) -> Ranking:
    """Rank all references for every query and keep the ranks of the query's versions.

    Args:
        query_embeddings: ``(Q, d)``.
        reference_embeddings: ``(R, d)``; None takes the queries themselves.
        query_labels: ``(Q,)`` texts or numbers; references with the same label are versions.
        reference_labels: ``(R,)``; None takes the labels of the queries.
        relevant: ``(Q, R)`` matrix of 0 and 1 (also memory-mapped) or a :class:`Relevance`, in
            place of labels.
        distance: ``euclidean`` (squared), ``cosine`` or ``pearson``. An embedding without a
            direction (all zeros; for Pearson all equal) is the last of every list.
        exclude_self: reference i is query i and is left out of its list (needs Q = R).
        block: queries per block; None holds about 64 MB of similarities.
        device: where to compute; None stays where the query embeddings are.
        progress: show a progress bar.

    Raises:
        UserError: shapes that do not fit, NaN or infinite embeddings, unknown distance.
    """
    queries = _embeddings(query_embeddings, "query", device)
    same = reference_embeddings is None or reference_embeddings is query_embeddings
    references = queries if same else _embeddings(reference_embeddings, "reference", queries.device)
    if queries.shape[1] != references.shape[1]:
        raise UserError(
            f"queries have {queries.shape[1]} dimensions but references {references.shape[1]}; "
            "both must come from the same model"
        )
    if exclude_self and len(queries) != len(references):
        raise UserError(
            f"{len(queries)} queries and {len(references)} references: a query can only be "
            "excluded from its own references when both lists are the same"
        )
    if (relevant is None) == (query_labels is None):
        raise UserError("give either labels or a ground-truth matrix, and not both")
    if relevant is None:
        relevance = relevance_from_labels(query_labels, reference_labels, exclude_self=exclude_self)
    else:
        relevance = relevant if isinstance(relevant, Relevance) else relevance_from_matrix(relevant)
    if (relevance.n_queries, relevance.n_references) != (len(queries), len(references)):
        raise UserError(
            f"the ground truth is for {relevance.n_queries} queries and {relevance.n_references} "
            f"references, but there are {len(queries)} and {len(references)} embeddings"
        )
    if exclude_self:
        rows = np.repeat(np.arange(relevance.n_queries), relevance.counts)
        if (rows == relevance.columns).any():
            raise UserError(
                "the ground truth marks a recording as a version of itself; its diagonal must be 0"
            )
    block_of = _block_function(queries, references, distance, exclude_self)
    return _rank_blocks(block_of, relevance, block=block, progress=progress)


def nearest_others(
    embeddings: Array, k: int, *, distance: str, device: torch.device | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The first K references of every recording among all others, in the order of the ranks.

    Args:
        embeddings: ``(N, d)``.
        k: references to name.
        distance, device: see :func:`rank_relevant`.

    Returns:
        ``(N, min(K, N - 1))`` int64 positions, nearest first; and their distances, float32,
        but for a constant and a factor that are the same within a row.

    Raises:
        UserError: k is not positive; see also :func:`rank_relevant`.
    """
    if k < 1:
        raise UserError(f"k must be at least 1, not {k}")
    embeddings = _embeddings(embeddings, "query", device)
    block_of = _block_function(embeddings, embeddings, distance, exclude_self=True)
    n = len(embeddings)
    found = np.empty((n, min(k, n - 1)), np.int64)
    distances = np.empty(found.shape, np.float32)
    step = max(1, _BLOCK_ELEMENTS // n)
    for start in range(0, n, step):
        rows = np.arange(start, min(start + step, n))
        similarity, order = block_of(rows).sort(dim=1, descending=True, stable=True)
        found[rows] = order[:, : found.shape[1]].cpu().numpy()
        distances[rows] = -similarity[:, : found.shape[1]].cpu().numpy()
    return found, distances


def rank_similarities(similarity: torch.Tensor, relevance: Relevance) -> Ranking:
    """The same from a similarity matrix ``(Q, R)``, larger = closer, -inf = not a candidate."""
    return _rank_blocks(
        lambda rows: similarity[torch.as_tensor(rows, device=similarity.device)], relevance
    )


def _embeddings(value: Array, kind: str, device: torch.device | None) -> torch.Tensor:
    tensor = torch.as_tensor(value)
    if tensor.ndim != 2 or not len(tensor):
        raise UserError(
            f"{kind} embeddings must be a table of recordings by dimensions, not of the shape "
            f"{tuple(tensor.shape)}"
        )
    tensor = tensor.detach().float().to(device)  # float first: Apple GPUs have no doubles
    # A row's absolute sum is finite exactly if all its values are (or it overflows: useless too).
    bad = (~torch.isfinite(tensor.abs().sum(dim=1))).nonzero().flatten()
    if len(bad):
        raise UserError(
            f"{kind} embedding {int(bad[0])} has values that are not finite numbers "
            f"({len(bad)} such embeddings in all); extract it again or leave it out"
        )
    return tensor


def _similarity(
    queries: torch.Tensor, references: torch.Tensor, distance: str
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Function from a block of queries ``(B, d)`` to similarities ``(B, R)``.

    What is constant for a query is left out, because it cannot change a rank: its squared length
    in the Euclidean distance, its length in cosine and Pearson, the division by the size of the
    embedding.
    """
    if distance == "euclidean":
        squares = _squared_length(references)

        def similarity(block: torch.Tensor) -> torch.Tensor:
            return torch.addmm(squares, block, references.T, beta=-1, alpha=2)

    elif distance == "cosine":
        inverse = 1 / _squared_length(references).sqrt()

        def similarity(block: torch.Tensor) -> torch.Tensor:
            return (block @ references.T).mul_(inverse)

    elif distance == "pearson":
        inverse = 1 / references.std(dim=1, correction=0)

        def similarity(block: torch.Tensor) -> torch.Tensor:
            # Centring one side is enough: a centred vector is orthogonal to every constant.
            return ((block - block.mean(dim=1, keepdim=True)) @ references.T).mul_(inverse)

    else:
        raise UserError(f"unknown distance {distance!r}; use {', '.join(DISTANCES)}")
    return similarity


def _squared_length(x: torch.Tensor) -> torch.Tensor:
    """``(R,)`` without a second table of the size of ``x``."""
    return torch.cat([rows.square().sum(dim=1) for rows in x.split(_ROWS_AT_ONCE)])


def _block_function(
    queries: torch.Tensor, references: torch.Tensor, distance: str, exclude_self: bool
) -> Callable[[np.ndarray], torch.Tensor]:
    """Function from positions of queries ``(B,)`` to similarities ``(B, R)``, -inf: left out."""
    similarity_of = _similarity(queries, references, distance)

    def block_of(rows: np.ndarray) -> torch.Tensor:
        index = torch.as_tensor(rows, device=queries.device)
        # A product of huge numbers may overflow and a zero vector has no cosine: such a reference
        # is the farthest of all, but still nearer than the query itself, which is left out.
        lowest = torch.finfo(queries.dtype).min
        similarity = similarity_of(queries[index]).nan_to_num_(lowest, neginf=lowest)
        if exclude_self:
            similarity[torch.arange(len(rows), device=index.device), index] = -torch.inf
        return similarity

    return block_of


def _rank_blocks(
    block_of: Callable[[np.ndarray], torch.Tensor],
    relevance: Relevance,
    *,
    block: int | None = None,
    progress: bool = False,
) -> Ranking:
    if block is None:
        block = max(1, _BLOCK_ELEMENTS // max(1, relevance.n_references))
    if block < 1:
        raise UserError(f"a block needs at least one query, not {block}")
    counts = relevance.counts
    # Queries without versions need no similarities at all; the others go in order of their number
    # of versions, so that the rectangle of a block has little padding.
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    ranks = np.zeros(len(relevance.columns), np.int64)
    with tqdm(total=len(order), desc="ranking", unit="query", disable=not progress) as bar:
        for start in range(0, len(order), block):
            rows = order[start : start + block]
            columns, filled = relevance.padded(rows)
            similarity = block_of(rows)  # (B, R)
            found = _ranks_in_rows(similarity, torch.as_tensor(columns, device=similarity.device))
            found = np.where(filled, found.cpu().numpy(), np.iinfo(np.int64).max)
            found.sort(axis=1)  # padding goes to the end
            place = relevance.offsets[rows][:, None] + np.arange(found.shape[1])
            ranks[place[filled]] = found[filled]
            bar.update(len(rows))
    return Ranking(relevance.offsets, ranks, relevance.n_references)


def _ranks_in_rows(similarity: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Ranks that some columns have within their rows, by descending value, then by position.

    Args:
        similarity: ``(B, R)``, no NaN.
        columns: ``(B, P)`` int64.

    Returns:
        ``(B, P)`` int64 ranks from 1.
    """
    if columns.shape[1] >= _SORT_FROM or similarity.shape[1] > _EXACT_COUNT:
        order = similarity.sort(dim=1, descending=True, stable=True).indices
        ranks = torch.empty_like(order)
        ranks.scatter_(
            1, order, torch.arange(1, order.shape[1] + 1, device=order.device).expand_as(order)
        )
        return ranks.gather(1, columns)
    values = similarity.gather(1, columns)  # (B, P)
    # Comparing into a float buffer and summing that is eight times faster on a CPU than counting
    # booleans, and exact up to 2^24 references.
    buffer = torch.empty_like(similarity).float()
    greater, equal = torch.empty_like(columns), torch.empty_like(columns)
    for place in range(columns.shape[1]):
        value = values[:, place : place + 1]
        greater[:, place] = torch.gt(similarity, value, out=buffer).sum(dim=1).long()
        equal[:, place] = torch.eq(similarity, value, out=buffer).sum(dim=1).long()
    ranks = greater + 1
    rows, places = (equal > 1).nonzero(as_tuple=True)
    step = max(1, _BLOCK_ELEMENTS // (4 * similarity.shape[1]))
    position = torch.arange(similarity.shape[1], device=similarity.device)
    for row, place in zip(rows.split(step), places.split(step), strict=True):
        tied = similarity[row] == values[row, place, None]
        before = position < columns[row, place, None]
        ranks[row, place] += (tied & before).sum(dim=1)
    return ranks
