"""The group loss: class probabilities that agree with the similarities within the batch."""

import torch
from torch import Tensor
from torch.nn import functional

from src.losses.precision import flat_labels, full_precision
from src.models.pairwise import pearson

GROUP_SIZE = 4  # recordings of one label that follow each other in a batch
REFINEMENTS = 3
EPSILON = 1e-8
SHORTEST_PROXY = 1e-12


@full_precision
def group_loss(embeddings: Tensor, labels: Tensor, proxies: Tensor) -> Tensor:
    """Cross entropy after three refinements of the class probabilities by replicator dynamics.

    Elezi et al., "The group loss for deep metric learning" (ECCV 2020). The first item of every
    four is an anchor, whose class is given; the others start from their similarity to the
    proxies and are drawn to the classes of those they correlate with. The support
    ``S = W X`` is computed once, from the first probabilities. A batch of anchors only gives 0.

    Args:
        embeddings: ``(N, D)``, groups of four consecutive items of one label.
        labels: class numbers below C, ``(N,)`` or ``(N, 1)``.
        proxies: ``(C, D)``.
    """
    labels = flat_labels(labels)
    position = torch.arange(len(labels), device=labels.device)
    anchor = position % GROUP_SIZE == 0  # (N,)
    both_given = (anchor[:, None] & anchor[None, :]) | (position[:, None] == position[None, :])
    weights = functional.relu(pearson(embeddings)).masked_fill(both_given, 0.0)  # (N, N)

    given = functional.one_hot(labels, len(proxies)).to(weights.dtype)
    # The products are divided, not the proxies: they are far fewer numbers.
    lengths = proxies.norm(dim=1).clamp(min=SHORTEST_PROXY)
    guessed = torch.softmax(embeddings @ proxies.T / lengths, dim=1)
    start = torch.where(anchor[:, None], given, guessed)  # (N, C)

    support = (weights @ start)[~anchor]  # the rows of anchors do not enter the loss
    probabilities = start[~anchor]
    for _ in range(REFINEMENTS):
        product = probabilities * support
        probabilities = product / (product.sum(1, keepdim=True) + EPSILON)
    own = probabilities.gather(1, labels[~anchor][:, None])
    return -torch.log(own + EPSILON).sum() / max(len(own), 1)
