"""The centre loss: every class gathers around a trained centre."""

import torch
from torch import Tensor, nn

from src.losses.precision import flat_labels, full_precision

SMALLEST, LARGEST = 1e-12, 1e12


class CenterLoss(nn.Module):
    """Sum of the squared distances of items to the centres of their classes, divided by N.

    Wen et al., "A discriminative feature learning approach for deep face recognition"
    (ECCV 2016). A squared distance is limited to 1e-12 .. 1e12.

    Args:
        num_classes: number of centres.
        feat_dim: size of the embeddings.

    Attributes:
        centers: parameter ``(num_classes, feat_dim)``, normally distributed at first.
    """

    def __init__(self, num_classes: int, feat_dim: int) -> None:
        super().__init__()
        self.centers = nn.Parameter(torch.randn(num_classes, feat_dim))

    @full_precision
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Embeddings ``(N, feat_dim)`` and class numbers ``(N,)`` or ``(N, 1)`` to a scalar."""
        own = self.centers[flat_labels(labels)]  # (N, D)
        squared = (embeddings - own).square().sum(1)
        return squared.clamp(SMALLEST, LARGEST).sum() / len(embeddings)
