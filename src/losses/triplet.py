"""Triplet losses: a version of a work should be closer than any other work, by a margin."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from src.losses.mining import label_masks, mine_triplets
from src.losses.precision import full_precision
from src.models.pairwise import squared_euclidean


@full_precision
def triplet_loss(
    embeddings: Tensor,
    labels: Tensor,
    margin: float,
    mining_strategy: int,
    emb_size: int,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean of ``relu(d(anchor, positive) + margin - d(anchor, negative))`` over mined triplets.

    d is the squared Euclidean distance divided by ``emb_size``, so that one margin suits all
    embedding sizes. Anchors without a positive or a negative in the batch are left out of the
    mean; if no triplet is left, the loss is 0.

    Args:
        embeddings: ``(N, D)``.
        labels: ``(N,)`` or ``(N, 1)``.
        margin: at least 0.
        mining_strategy: 0 to 3, see :func:`src.losses.mining.mine_triplets`.
        emb_size: divisor of the distances (D, except while pruning).
        generator: source of random choices; None is torch's default generator.

    Raises:
        ValueError: unknown strategy.
    """
    distances = squared_euclidean(embeddings) / emb_size  # (N, N)
    triplets = mine_triplets(distances, labels, mining_strategy, generator=generator)
    to_positive = distances[triplets.anchors, triplets.positives]
    to_negative = distances[triplets.anchors, triplets.negatives]
    excess = functional.relu(to_positive + margin - to_negative)
    return excess.sum() / max(len(excess), 1)


class HardTripletLoss(nn.Module):
    """Batch-hard triplet loss of CoverHunter, on plain (not squared) Euclidean distances.

    Hermans, Beyer and Leibe, "In defense of the triplet loss for person re-identification" (2017).
    Each anchor meets its farthest positive and its closest negative, and every anchor counts:
    without a positive that distance is 0, without a negative it is the largest distance of the
    row, so a batch of one label costs exactly the margin.

    Args:
        margin: by how much a negative should be farther than a positive.
    """

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.margin = margin

    @full_precision
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Embeddings ``(N, D)`` and labels ``(N,)`` or ``(N, 1)`` to a scalar."""
        distances = euclidean(embeddings)  # (N, N)
        positive_mask, negative_mask = label_masks(labels)
        farthest_positive = (distances * positive_mask).max(1).values
        # A row without negatives: its largest distance is the positive itself, only the margin
        # remains, and nothing can be learnt from it.
        row_maximum = distances.detach().amax(1, keepdim=True)
        closest_negative = torch.where(negative_mask, distances, row_maximum).min(1).values
        excess = functional.relu(farthest_positive + self.margin - closest_negative)
        return torch.where(negative_mask.any(1), excess, self.margin).mean()


def euclidean(x: Tensor) -> Tensor:
    """Plain Euclidean distances within ``(N, D)`` -> ``(N, N)``; an exact 0 has gradient 0.

    The slope of a square root at 0 is infinite; identical embeddings must not turn into NaN.
    """
    products = x @ x.T
    # The norms from the same product: identical rows then cancel to 0.
    norms = products.diagonal()
    squared = norms[:, None] + norms[None, :] - 2 * products
    apart = squared > 0
    return torch.where(apart, squared, 1).sqrt() * apart
