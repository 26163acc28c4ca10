"""Which references are versions of which query: from labels, or from a ground-truth matrix."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from src.errors import UserError

_ROWS_AT_ONCE = 256  # of a ground-truth matrix: 15,000 columns of float32 are 15 MB


@dataclass(frozen=True)
class Relevance:
    """Relevant (query, reference) pairs, stored row by row.

    Attributes:
        offsets: ``(Q + 1,)`` int64; the references of query i are
            ``columns[offsets[i]:offsets[i + 1]]``.
        columns: ``(pairs,)`` int64 reference indices, ascending within a query.
        n_references: number of references R.
    """

    offsets: np.ndarray
    columns: np.ndarray
    n_references: int

    @property
    def n_queries(self) -> int:
        return len(self.offsets) - 1

    @property
    def counts(self) -> np.ndarray:
        """``(Q,)`` number of relevant references of each query."""
        return np.diff(self.offsets)

    def padded(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Reference indices of some queries as a rectangle.

        Args:
            rows: ``(B,)`` query indices.

        Returns:
            ``(B, P)`` int64 reference indices (0 where there is none) and a ``(B, P)`` mask of
            the places that are filled; P is the largest count among the rows.
        """
        starts, counts = self.offsets[rows], self.counts[rows]
        place = np.arange(counts.max(initial=0))
        filled = place < counts[:, None]  # (B, P)
        index = np.where(filled, starts[:, None] + place, 0)
        return np.where(filled, self.columns[index] if len(self.columns) else 0, 0), filled


def _codes(
    query_labels: Sequence | np.ndarray | torch.Tensor,
    reference_labels: Sequence | np.ndarray | torch.Tensor,
) -> tuple[np.ndarray, np.ndarray]:
    """Number the labels: equal label, equal number, over both lists."""
    queries, references = _label_array(query_labels), _label_array(reference_labels)
    if (
        len(queries)
        and len(references)
        and (queries.dtype.kind in "US") != (references.dtype.kind in "US")
    ):
        raise UserError(
            "the labels of queries and references differ in type (text and numbers), "
            "so none could ever agree; use the same kind of label for both"
        )
    _, codes = np.unique(np.concatenate([queries, references]), return_inverse=True)
    codes = codes.reshape(-1)
    return codes[: len(queries)], codes[len(queries) :]


def _label_array(labels: Sequence | np.ndarray | torch.Tensor) -> np.ndarray:
    if isinstance(labels, torch.Tensor):
        labels = labels.cpu().numpy()
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:  # Re-MOVE's batches carry (N, 1)
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iufbUSO":
        raise UserError(
            f"labels must be one list of texts or numbers, but they have the shape {array.shape}"
        )
    if array.dtype.kind == "O":
        if not all(isinstance(label, str) for label in array):
            raise UserError("labels must be all texts or all numbers")
        array = array.astype(str)
    return array


def relevance_from_labels(
    query_labels: Sequence | np.ndarray | torch.Tensor,
    reference_labels: Sequence | np.ndarray | torch.Tensor | None = None,
    *,
    exclude_self: bool = True,
) -> Relevance:
    """Versions are the references with the label of the query.

    Args:
        query_labels: ``(Q,)`` texts or numbers.
        reference_labels: ``(R,)``; None takes the queries themselves.
        exclude_self: reference i is query i and does not count (needs Q = R).

    Raises:
        UserError: labels that cannot be compared, or ``exclude_self`` with Q other than R.
    """
    if reference_labels is None:
        reference_labels = query_labels
    queries, references = _codes(query_labels, reference_labels)
    if exclude_self and len(queries) != len(references):
        raise UserError(
            f"{len(queries)} queries and {len(references)} references: a query can only be "
            "excluded from its own references when both lists are the same"
        )
    order = np.argsort(references, kind="stable")  # references grouped by label
    sorted_codes = references[order]
    starts = np.searchsorted(sorted_codes, queries, side="left")
    counts = np.searchsorted(sorted_codes, queries, side="right") - starts
    offsets = np.concatenate([[0], np.cumsum(counts)])
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts, counts)
    columns = order[place]
    if exclude_self:
        rows = np.repeat(np.arange(len(queries)), counts)
        keep = rows != columns
        columns = columns[keep]
        lost = np.bincount(rows[~keep], minlength=len(queries))
        offsets = np.concatenate([[0], np.cumsum(counts - lost)])
    return Relevance(offsets.astype(np.int64), columns.astype(np.int64), len(references))


def relevance_from_matrix(ytrue: torch.Tensor | np.ndarray) -> Relevance:
    """Versions are the ones of a ground-truth matrix.

    Args:
        ytrue: ``(Q, R)`` of zeros and ones, any dtype; may be a memory-mapped file, which is read
            a few rows at a time.

    Raises:
        UserError: not two-dimensional, or values other than 0 and 1.
    """
    ytrue = torch.as_tensor(ytrue)
    if ytrue.ndim != 2:
        raise UserError(
            f"the ground truth must be a matrix of queries by references, not {tuple(ytrue.shape)}"
        )
    rows, columns = [], []
    for start in range(0, len(ytrue), _ROWS_AT_ONCE):
        block = ytrue[start : start + _ROWS_AT_ONCE].cpu().reshape(-1)
        found = np.flatnonzero(block.ne(0).numpy())  # ten times as fast as torch's nonzero
        if bool((block[torch.from_numpy(found)] != 1).any()):
            raise UserError("the ground truth must hold nothing but 0 and 1")
        rows.append(found // ytrue.shape[1] + start)
        columns.append(found % ytrue.shape[1])
    all_rows = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    counts = np.bincount(all_rows, minlength=len(ytrue))
    return Relevance(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate(columns).astype(np.int64) if columns else np.zeros(0, np.int64),
        ytrue.shape[1],
    )
