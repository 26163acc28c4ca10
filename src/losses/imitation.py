"""A network learns to point where a teacher points."""

from torch import Tensor
from torch.nn import functional

from src.losses.precision import full_precision


@full_precision
def imitation_loss(embeddings: Tensor, targets: Tensor) -> Tensor:
    """Mean of ``1 - cosine`` between embeddings and what a teacher says of the same recordings.

    Args:
        embeddings: ``(N, D)``.
        targets: ``(N, D)``; they receive no gradient.
    """
    return (1 - functional.cosine_similarity(embeddings, targets.detach(), dim=1)).mean()
