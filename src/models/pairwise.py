"""All pairwise distances and similarities between two sets of embeddings.

Losses differentiate them and retrieval ranks by them. They compute in single precision (or double,
if the input is double) also under autocast: the difference of two large squared norms would not
survive a 16-bit product.
"""

import torch
from torch import Tensor

EUCLIDEAN_OFFSET = 1e-12


def squared_euclidean(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Squared Euclidean distances ``|x|^2 + |y|^2 - 2 x.y + 1e-12``.

    Args:
        x: ``(N, D)``.
        y: ``(M, D)``; None compares ``x`` with itself.

    Returns:
        ``(N, M)``. Rounding can make an entry slightly negative.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = _operands(x, y)
        norms = x.square().sum(1)[:, None] + y.square().sum(1)[None, :]  # (N, M)
        return torch.addmm(norms, x, y.T, alpha=-2) + EUCLIDEAN_OFFSET


def cosine(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Cosine similarities, ``(N, D)`` and ``(M, D)`` -> ``(N, M)`` in -1..1.

    There is no epsilon: a vector of zeros has no direction and gives NaN.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = _operands(x, y)
        norm_x = x.norm(dim=1)
        norm_y = norm_x if x is y else y.norm(dim=1)
        # Dividing the small product is three times as fast, with gradients, as first writing
        # thousands of proxies or references anew.
        return (x @ y.T) / (norm_x[:, None] * norm_y[None, :])


def pearson(x: Tensor, y: Tensor | None = None) -> Tensor:
    """Pearson correlations between rows, ``(N, D)`` and ``(M, D)`` -> ``(N, M)`` in -1..1.

    Covariance and variances have the same denominator (D - 1), which cancels: the correlation is
    the cosine of the centred rows. A constant row has no correlation and gives NaN.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = _operands(x, y)
        centred_x = x - x.mean(dim=1, keepdim=True)
        centred_y = centred_x if x is y else y - y.mean(dim=1, keepdim=True)
        return cosine(centred_x, centred_y)


def _operands(x: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """Both operands in one type of at least single precision; the same object if y is None."""
    kind = x.dtype if y is None else torch.promote_types(x.dtype, y.dtype)
    kind = torch.promote_types(kind, torch.float)
    x = x.to(kind)
    return x, x if y is None else y.to(kind)
