"""Distances between recordings that are described by several embeddings each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from src.errors import UserError

_BLOCK_ELEMENTS = 1 << 24  # similarities held at a time: 64 MB

Windows = Sequence[np.ndarray | torch.Tensor]


def chunk_distances(
    query: Windows,
    reference: Windows | None = None,
    *,
    device: torch.device | None = None,
    block_elements: int = _BLOCK_ELEMENTS,
) -> np.ndarray:
    """Smallest cosine distance between any window of one and any window of the other recording.

    All windows of a block of queries are multiplied with the first windows of all references,
    then with the second ones, and so on, keeping the largest product; the references lie sorted
    by their number of windows, so that each of these is one matrix product. Nothing larger than a
    block is held beside the result.

    Args:
        query: Q arrays ``(W, d)``, W at least 1.
        reference: R arrays ``(W, d)``; None takes the queries.
        device: where to compute; None is the CPU.
        block_elements: products held at a time.

    Returns:
        ``(Q, R)`` float32 in 0..2: the minimum of ``1 - cosine``. Rounding below 0 is cut off. An
        embedding of zeros has the distance 1 to everything.

    Raises:
        UserError: a recording without windows, embeddings that are not finite, or of different
            sizes.
    """
    device = torch.device("cpu") if device is None else device
    queries = _layers(query, "query", device)
    references = queries if reference is None else _layers(reference, "reference", device)
    if queries.dimensions != references.dimensions:
        raise UserError(
            f"queries have {queries.dimensions} dimensions but references "
            f"{references.dimensions}; both must come from the same model"
        )
    n_queries, n_references = len(queries.order), len(references.order)
    result = torch.empty(n_queries, n_references)
    rows = max(1, block_elements // n_references)
    for start in range(0, n_queries, rows):
        best = torch.full((min(rows, n_queries - start), n_references), -1.0, device=device)
        for query_layer in queries.layers:
            block = query_layer[start : start + rows]
            if not len(block):
                break
            for layer in references.layers:
                part = best[: len(block), : len(layer)]
                torch.maximum(part, block @ layer.T, out=part)
        result[start : start + rows] = best.cpu()
    result = (1 - result).clamp_(0, 2)
    ordered = torch.empty_like(result)
    ordered[queries.order[:, None], references.order[None, :]] = result
    return ordered.numpy()


class _Layers(NamedTuple):
    """Embeddings sorted by recordings with most windows first.

    Attributes:
        layers: the k-th window of every recording that has one, ``(n_k, d)``; n_k decreases.
        order: ``(N,)`` which recording stands at each place.
        dimensions: d.
    """

    layers: list[torch.Tensor]
    order: torch.Tensor
    dimensions: int


def _layers(recordings: Windows, what: str, device: torch.device) -> _Layers:
    """Normalised embeddings in layers of one window a recording."""
    if not len(recordings):
        raise UserError(f"there is no {what} recording, so no distance can be computed")
    arrays = [torch.as_tensor(windows).detach().cpu() for windows in recordings]
    for number, windows in enumerate(arrays):
        if windows.ndim != 2 or 0 in windows.shape:
            raise UserError(
                f"{what} recording {number} has no windows by dimensions, but the shape "
                f"{tuple(windows.shape)}"
            )
        if windows.shape[1] != arrays[0].shape[1]:
            raise UserError(
                f"{what} recording {number} has embeddings of {windows.shape[1]} dimensions, the "
                f"first of {arrays[0].shape[1]}; all must come from the same model"
            )
    counts = torch.tensor([len(windows) for windows in arrays])
    flat = torch.cat([windows.float() for windows in arrays])  # (all windows, d)
    bad = (~torch.isfinite(flat).all(dim=1)).nonzero().flatten()
    if len(bad):
        number = int(torch.searchsorted(counts.cumsum(0), bad[0], right=True))
        raise UserError(f"an embedding of {what} recording {number} is not finite")
    flat = torch.nn.functional.normalize(flat, dim=1).to(device)
    firsts = counts.cumsum(0) - counts
    counts, order = counts.sort(descending=True, stable=True)
    firsts = firsts[order]
    layers = []
    for place in range(int(counts[0])):
        n = int((counts > place).sum())
        layers.append(flat[(firsts[:n] + place).to(device)])
    return _Layers(layers, order, flat.shape[1])
