"""The focal loss: classification that spends its effort on what is still hard."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from src.losses.precision import flat_labels, full_precision


class FocalLoss(nn.Module):
    """``(1 - p)^gamma * -log p`` of the softmax probability p of the right class.

    Lin et al., "Focal loss for dense object detection" (ICCV 2017), with the class weights
    normalised within the batch.

    Args:
        gamma: 0 is plain cross entropy; larger values discount what is already right.
        alpha: one weight a class (list, array or tensor), or None. Item i weighs
            ``N * alpha[label i] / sum of alpha[labels]``.
        reduction: ``mean`` or ``sum`` over the batch.

    Raises:
        ValueError: another reduction.
    """

    def __init__(
        self,
        gamma: float,
        alpha: Sequence[float] | Tensor | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction must be mean or sum, not {reduction!r}")
        self.gamma = gamma
        self.reduction = reduction
        weights = None if alpha is None else torch.as_tensor(alpha).float()
        self.register_buffer("alpha", weights, persistent=False)

    @full_precision
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Scores ``(N, C)`` and class numbers ``(N,)`` or ``(N, 1)`` to a scalar."""
        labels = flat_labels(labels)
        # Added to the probability, not to the logarithm: it bounds the loss of a hopeless item.
        epsilon = torch.finfo(torch.float).eps
        chosen = logits.softmax(1).gather(1, labels[:, None]).squeeze(1) + epsilon
        # p can exceed 1 by epsilon, and a negative base has no fractional power.
        loss = (1 - chosen).clamp(min=0) ** self.gamma * -chosen.log()
        if self.alpha is not None:
            weights = self.alpha[labels]
            loss = loss * weights / weights.sum() * len(labels)
        return loss.mean() if self.reduction == "mean" else loss.sum()
