"""The supervised contrastive loss: among all others, the versions of the same work are near."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from src.losses.precision import flat_labels, full_precision


class SupConLoss(nn.Module):
    """Cross entropy of an item's versions among all other items of the batch, on cosines.

    Khosla et al., "Supervised contrastive learning" (NeurIPS 2020), equation 2: the mean over an
    item's positives stands outside the logarithm. Items without a positive are left out.

    Args:
        temperature: by which cosines are divided; small values look at near neighbours only.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"the temperature must be positive, not {temperature}")
        self.temperature = temperature

    @full_precision
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Embeddings ``(N, D)`` and class numbers ``(N,)`` or ``(N, 1)`` to a scalar."""
        labels = flat_labels(labels)
        units = functional.normalize(embeddings, dim=1)
        itself = torch.eye(len(units), dtype=torch.bool, device=units.device)
        logits = (units @ units.T / self.temperature).masked_fill(itself, -torch.inf)  # (N, N)
        share = torch.log_softmax(logits, dim=1).masked_fill(itself, 0.0)
        positive = (labels[:, None] == labels[None]) & ~itself
        count = positive.sum(1)
        mean = (share * positive).sum(1) / count.clamp(min=1)
        anchors = count > 0
        return -(mean * anchors).sum() / anchors.sum().clamp(min=1)
