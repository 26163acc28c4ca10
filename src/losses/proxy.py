"""Losses that compare embeddings with one trained proxy a class instead of with each other."""

import torch
from torch import Tensor
from torch.nn import functional

from src.losses.precision import flat_labels, full_precision
from src.models.pairwise import cosine, squared_euclidean

EPSILON = 1e-8
TEMPERATURE = 0.05


@full_precision
def proxy_nca_loss(embeddings: Tensor, labels: Tensor, proxies: Tensor, emb_size: int) -> Tensor:
    """ProxyNCA: ``-log(exp(-d(x, own)) / sum over other proxies of exp(-d(x, other)))``, the mean.

    Movshovitz-Attias et al., "No fuss distance metric learning using proxies" (ICCV 2017). d is
    the squared Euclidean distance divided by ``emb_size``; neither items nor proxies are
    normalised, and the own proxy is not part of the denominator.

    Args:
        embeddings: ``(N, D)``.
        labels: class numbers below C, ``(N,)`` or ``(N, 1)``.
        proxies: ``(C, D)``.
        emb_size: divisor of the distances.
    """
    labels = flat_labels(labels)[:, None]  # (N, 1)
    closeness = torch.exp(-squared_euclidean(embeddings, proxies) / emb_size)  # (N, C)
    own = closeness.gather(1, labels).squeeze(1)
    others = closeness.scatter(1, labels, 0.0).sum(1)
    return -torch.log(own / (others + EPSILON) + EPSILON).mean()


@full_precision
def normalized_softmax_loss(embeddings: Tensor, labels: Tensor, proxies: Tensor) -> Tensor:
    """Cross entropy of the cosine similarities to the proxies, divided by 0.05.

    Zhai and Wu, "Classification is a strong baseline for deep metric learning" (BMVC 2019).

    Args:
        embeddings: ``(N, D)``; one item is enough.
        labels: class numbers below C, ``(N,)`` or ``(N, 1)``.
        proxies: ``(C, D)``.
    """
    logits = cosine(embeddings, proxies) / TEMPERATURE  # (N, C)
    return functional.cross_entropy(logits, flat_labels(labels))
