"""Two distances of the same references that share no scale, added up to one order."""

import numpy as np

from src.errors import UserError

# The share of the distance of pairs in the new order, chosen on the bundled demo and on rendered
# works that no model was trained on. From 0.4 to 0.6 the figures hardly differ.
BLEND = 0.5


def check_rerank(k: int, blend: float = BLEND) -> None:
    """Refuse what cannot be done, before the long work.

    Raises:
        UserError: k is not positive, or blend is no share.
    """
    if k < 1:
        raise UserError(f"the number of references to re-rank must be 1 or more, not {k}")
    if not 0 <= blend <= 1:
        raise UserError(
            "the share of Qmax in re-ranking lies between 0 (the embedding alone) and 1 (Qmax "
            f"alone), not at {blend}"
        )


def blend_order(
    near: np.ndarray, pairs: np.ndarray, *, blend: float = BLEND, valid: np.ndarray | None = None
) -> np.ndarray:
    """The order of the first K references of each query, by two distances that share no scale.

    Both become scores, larger = closer: the negative distance of the embeddings, and the inverse
    of the pair distance, in which few true versions stand out from many others. Each is put on the
    scale of its own mean and standard deviation over the K references of the query, and they are
    added with the weights ``1 - blend`` and ``blend``. So only differences between the references
    of one query count: constants and factors of the embeddings' distance change nothing.

    Args:
        near: ``(Q, K)`` distances by embedding, smaller = closer; infinite counts as the largest
            of the others.
        pairs: ``(Q, K)`` pair distances, 0 or more, may be infinite.
        blend: 0 = ``near`` alone, 1 = ``pairs`` alone.
        valid: ``(Q, K)`` booleans, False: there is no reference, so it goes to the end.

    Returns:
        ``(Q, K)`` int64 positions in the rows, the first one first; ties keep their order.

    Raises:
        UserError: a pair distance is negative or not a number, or blend is no share.
    """
    check_rerank(1, blend)
    valid = np.ones(near.shape, bool) if valid is None else valid
    if not (pairs[valid] >= 0).all():
        raise UserError("a distance of the re-ranking is negative or not a number")
    if blend == 1:  # exactly, even where rounding makes two scores equal
        costs = pairs
    else:
        scores = 1 / _above_zero(pairs.astype(np.float64), valid)
        costs = (1 - blend) * _standardised(near, valid) - blend * _standardised(scores, valid)
    return np.lexsort((costs, ~valid), axis=1)


def _above_zero(pairs: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Pair distances with 0 replaced by half of the smallest other one of its row."""
    others = valid & (pairs > 0) & np.isfinite(pairs)
    smallest = np.min(pairs, axis=1, keepdims=True, initial=np.inf, where=others)
    return np.maximum(pairs, np.where(np.isfinite(smallest), smallest / 2, 1))


def _standardised(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Rows with mean 0 and standard deviation 1 over what is valid; all 0 where all are equal."""
    values = values.astype(np.float64)
    finite = valid & (np.abs(values) < np.finfo(np.float32).max)
    with np.errstate(invalid="ignore"):
        highest = np.max(values, axis=1, keepdims=True, initial=-np.inf, where=finite)
        lowest = np.min(values, axis=1, keepdims=True, initial=np.inf, where=finite)
        values = np.clip(values, lowest, highest)
    values = np.where(valid & np.isfinite(values), values, 0)
    counts = np.maximum(valid.sum(axis=1, keepdims=True), 1)
    centred = np.where(valid, values - values.sum(axis=1, keepdims=True) / counts, 0)
    deviation = np.sqrt((centred**2).sum(axis=1, keepdims=True) / counts)
    # What rounding leaves of equal values is no difference.
    equal = deviation <= 1e-12 * np.abs(values).max(axis=1, keepdims=True, initial=0)
    return np.where(equal, 0, centred / np.where(equal, 1, deviation))
