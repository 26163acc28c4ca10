"""Which positive and which negative an anchor is compared with.

All strategies work on a matrix of distances within a batch. Anchors without a positive, or
without a negative, take part in no triplet.
"""

from typing import NamedTuple

import torch
from torch import Tensor

RANDOM, SEMI_HARD, HARD, SEMI_HARD_ALL_POSITIVES = range(4)
ALL_POSITIVES_ROUNDS = 3  # a clique gives four recordings to a batch: three positives an anchor


class Triplets(NamedTuple):
    """Positions in the batch, each ``(K,)`` int64: triplet k is anchor, positive, negative k."""

    anchors: Tensor
    positives: Tensor
    negatives: Tensor


def label_masks(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Who is a positive and who a negative of whom.

    Args:
        labels: ``(N,)`` or ``(N, 1)``, any type.

    Returns:
        two ``(N, N)`` boolean matrices; the diagonal belongs to neither.
    """
    labels = labels.reshape(-1)
    same = labels[:, None] == labels[None, :]
    self_pairs = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return same & ~self_pairs, ~same


def mine_triplets(
    distances: Tensor,
    labels: Tensor,
    mining_strategy: int,
    *,
    generator: torch.Generator | None = None,
) -> Triplets:
    """Choose triplets within a batch.

    Args:
        distances: ``(N, N)``; only compared, never differentiated.
        labels: ``(N,)`` or ``(N, 1)``.
        mining_strategy: 0 random: any positive, any negative. 1 semi-hard: any positive, and any
            of the negatives that are closer than it; if there are none, any negative. 2 hard:
            farthest positive, closest negative. 3 semi-hard with all positives: the first three
            positives in batch order, one a round, each with a negative as in 1; the triplets are
            ordered round by round.
        generator: source of the random choices; None is torch's default CPU generator. The draws
            are made on the generator's device, so a seed chooses the same on every machine.

    Raises:
        ValueError: unknown strategy.
    """
    distances = distances.detach()
    positive_mask, negative_mask = label_masks(labels)
    if mining_strategy == HARD:
        chosen = _hard(distances, positive_mask, negative_mask)
    elif mining_strategy in (RANDOM, SEMI_HARD):
        positives = _any_of(positive_mask, generator)
        preferred = None
        if mining_strategy == SEMI_HARD:
            preferred = _closer_than(distances, positives, negative_mask)
        chosen = _existing(
            positives, _any_of(negative_mask, generator, preferred), positive_mask, negative_mask
        )
    elif mining_strategy == SEMI_HARD_ALL_POSITIVES:
        chosen = _each_positive(distances, positive_mask, negative_mask, generator)
    else:
        raise ValueError(f"mining strategy must be 0, 1, 2 or 3, not {mining_strategy!r}")
    return chosen


def _hard(distances: Tensor, positive_mask: Tensor, negative_mask: Tensor) -> Triplets:
    infinity = float("inf")
    positives = distances.masked_fill(~positive_mask, -infinity).argmax(1)
    negatives = distances.masked_fill(~negative_mask, infinity).argmin(1)
    return _existing(positives, negatives, positive_mask, negative_mask)


def _each_positive(
    distances: Tensor,
    positive_mask: Tensor,
    negative_mask: Tensor,
    generator: torch.Generator | None,
) -> Triplets:
    remaining = positive_mask.clone()
    rounds = []
    for _ in range(ALL_POSITIVES_ROUNDS):
        positives = remaining.int().argmax(1)  # the first that is left
        closer = _closer_than(distances, positives, negative_mask)
        negatives = _any_of(negative_mask, generator, closer)
        rounds.append(_existing(positives, negatives, remaining, negative_mask))
        remaining.scatter_(1, positives[:, None], False)
    return Triplets(*(torch.cat(parts) for parts in zip(*rounds, strict=True)))


def _any_of(
    mask: Tensor, generator: torch.Generator | None, preferred: Tensor | None = None
) -> Tensor:
    """A uniform choice per row among ``preferred`` entries, else among ``mask``; ``(N,)``.

    Every number drawn lies in [0, 1); adding 1 for allowed and 1 more for preferred entries makes
    the largest sum a uniform choice within the best rank that the row offers.
    """
    draws = torch.rand(
        mask.shape, generator=generator, device=generator.device if generator else None
    ).to(mask.device)
    rank = mask.to(draws.dtype)
    if preferred is not None:
        rank = rank + preferred.to(draws.dtype)
    return (rank + draws).argmax(1)


def _closer_than(distances: Tensor, positives: Tensor, negative_mask: Tensor) -> Tensor:
    return negative_mask & (distances < distances.gather(1, positives[:, None]))


def _existing(
    positives: Tensor, negatives: Tensor, positive_mask: Tensor, negative_mask: Tensor
) -> Triplets:
    """The triplets of those anchors that have a positive and a negative at all."""
    anchors = (positive_mask.any(1) & negative_mask.any(1)).nonzero().flatten()
    return Triplets(anchors, positives[anchors], negatives[anchors])
