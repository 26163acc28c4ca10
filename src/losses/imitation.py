"""A network learns to point where a teacher points, and to see what a teacher sees as alike."""

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


@full_precision
def relation_loss(embeddings: Tensor, targets: Tensor) -> Tensor:
    """Mean squared difference between cosines of pairs in a batch, here and in a teacher's eyes.

    Embeddings are taken from the mean of the batch: where all of them point nearly the same way,
    as those of random weights do, what they differ in still counts in full.

    Args:
        embeddings: ``(N, D)``.
        targets: ``(N, E)``; they receive no gradient.
    """
    units = functional.normalize(embeddings - embeddings.mean(0), dim=1)
    theirs = functional.normalize(targets.detach(), dim=1)
    return functional.mse_loss(units @ units.T, theirs @ theirs.T)
