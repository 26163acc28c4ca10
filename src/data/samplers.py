"""Which lines make a batch: m lines of each of batch / m works."""

import math
import random
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from src.errors import UserError

_CLASSES, _LINES = 0, 1  # streams of random numbers


class MPerClassSampler(Sampler[int]):
    """Batches of ``batch_size // m`` different classes with ``m`` lines each.

    All epochs together are one long series in which the classes come round by round, each once a
    round, and so do the lines of a class: no line waits longer than a round of its class, and a
    batch never holds a line twice, unless its class has fewer than m. The series is a function of
    the seed; an epoch is a piece of it, so a continued run needs no state but the epoch's number.

    An epoch has as many lines as all classes together, each counted as often as it takes to
    reach m, rounded down to whole batches: as in the original.

    Args:
        labels: class number of every line.
        m: lines of a class in a batch.
        batch_size: lines in a batch of one process.
        seed: decides the order.
        rank, world_size: this process and the number of processes. Each takes every
            ``world_size``-th batch; an epoch ends where not enough batches are left for all.
        max_batches: ends an epoch of this process earlier; the next goes on from there.
        original: draw each batch anew, as the original did, with Python's generator seeded with
            ``seed + epoch``; a line may then wait for ever. With fewer than ``batch_size // m``
            classes, places remain filled with line 0, and with fewer lines than a batch there is
            no batch, both without a word.

    Raises:
        UserError: m does not divide the batch size, or there are too few classes or lines for a
            batch; the sentence names both numbers.
    """

    def __init__(
        self,
        labels: Sequence[int],
        *,
        m: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        max_batches: int | None = None,
        original: bool = False,
    ) -> None:
        if m < 1 or batch_size < 1 or batch_size % m:
            raise UserError(
                f"batch_size must be a multiple of m_per_class, but {batch_size} is none of {m}"
            )
        if not 0 <= rank < world_size:
            raise ValueError(f"there is no process {rank} among {world_size}")
        self.m = m
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.original = original
        self.epoch = 0
        members: dict[int, list[int]] = {}
        for line, label in enumerate(labels):
            members.setdefault(int(label), []).append(line)
        self._members = list(members.values())
        self.classes_per_batch = batch_size // m
        expanded = [_expanded_size(len(lines), m) for lines in self._members]
        self._all_batches = sum(expanded) // batch_size
        if not original:
            self._check(len(labels))
        available = self._all_batches // world_size
        self.num_batches = available if max_batches is None else min(available, max_batches)
        """Batches of this process in an epoch."""

    def _check(self, lines: int) -> None:
        classes, needed = len(self._members), self.classes_per_batch
        if classes < needed:
            raise UserError(
                f"there are recordings of {classes} work(s), but a batch of {self.batch_size} with "
                f"m_per_class {self.m} takes {needed} works; lower batch_size or raise m_per_class"
            )
        if self._all_batches < self.world_size:
            raise UserError(
                f"{lines} recording(s) give {self._all_batches} batch(es) of {self.batch_size}, "
                f"but {self.world_size} are needed, one a process; lower batch_size"
            )

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is iterated next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Lines in an epoch of this process."""
        return self.num_batches * self.batch_size

    def __iter__(self) -> Iterator[int]:
        for _, batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[tuple[int, list[int]]]:
        """Number within the epoch, over all processes, and lines of each batch of this process."""
        every = self._original_batches() if self.original else self._even_batches()
        for number, batch in enumerate(every):
            if number == self.num_batches * self.world_size:
                break
            if number % self.world_size == self.rank:
                yield number, batch

    def _even_batches(self) -> Iterator[list[int]]:
        width, classes = self.classes_per_batch, len(self._members)
        count = self.num_batches * self.world_size * width
        first = self.epoch * count
        slots = even_series(classes, width, first=first, count=count, key=(self.seed, _CLASSES))
        # A class is drawn once in each round, so the number of the round counts its draws.
        rounds = np.arange(first, first + len(slots)) // classes
        lines: list[list[int]] = [[]] * len(slots)
        by_class = np.argsort(slots, kind="stable")
        present, begins = np.unique(slots[by_class], return_index=True)
        for number, at in zip(present.tolist(), np.split(by_class, begins[1:]), strict=True):
            members = self._members[number]
            series = even_series(
                len(members),
                self.m,
                first=int(rounds[at[0]]) * self.m,
                count=len(at) * self.m,
                key=(self.seed, _LINES, number),
            ).reshape(len(at), self.m)
            for slot, chosen in zip(at, series, strict=True):
                lines[slot] = [members[c] for c in chosen]
        for start in range(0, len(slots), width):
            yield [line for group in lines[start : start + width] for line in group]

    def _original_batches(self) -> Iterator[list[int]]:
        rng = random.Random(self.seed + self.epoch)
        order = list(range(len(self._members)))
        for _ in range(self._all_batches):
            rng.shuffle(order)  # not from the initial order: it stays shuffled
            batch: list[int] = []
            for number in order[: self.classes_per_batch]:
                members = self._members[number]
                lines = members * (_expanded_size(len(members), self.m) // len(members))
                rng.shuffle(lines)
                batch += lines[: self.m]
            yield batch + [0] * (self.batch_size - len(batch))


def even_series(size: int, width: int, *, first: int, count: int, key: Sequence[int]) -> np.ndarray:
    """A piece of an endless random series of the numbers 0 .. size-1.

    Numbers ``size * k`` to ``size * (k + 1)`` of the series are a permutation, for every k; and if
    ``size >= width``, numbers ``width * k`` to ``width * (k + 1)`` hold none twice. The series is
    a function of ``key``, whatever piece of it is asked for.

    Args:
        size: how many numbers there are.
        width: length of the groups without repetition.
        first: where the piece begins.
        count: length of the piece.
        key: seed, non-negative integers.

    Returns:
        ``(count,)`` int64.
    """
    if not count:
        return np.empty(0, np.int64)
    # Rounds and groups end together every so many rounds; there the series can be entered.
    cycle = width // math.gcd(size, width) if size >= width else 1
    entry = first // size // cycle * cycle
    rounds: list[np.ndarray] = []
    for number in range(entry, (first + count - 1) // size + 1):
        order = np.random.default_rng((*key, number)).permutation(size)
        begun = (number * size) % width  # members of a group that the last round began
        if rounds and begun and size >= width:
            # Its rest must not repeat them: the first others come first, the order stays else.
            free = np.flatnonzero(~np.isin(order, rounds[-1][-begun:]))[: width - begun]
            order = np.concatenate([order[free], np.delete(order, free)])
        rounds.append(order)
    offset = first - entry * size
    return np.concatenate(rounds)[offset : offset + count]


def fitting_batch_size(labels: Sequence[int], *, m: int, batch_size: int) -> int:
    """The largest batch size up to ``batch_size`` that :class:`MPerClassSampler` can fill.

    For small validation sets. At least ``m``: one class.
    """
    sizes: dict[int, int] = {}
    for label in labels:
        sizes[label] = sizes.get(label, 0) + 1
    lines = sum(_expanded_size(size, m) for size in sizes.values())
    return max(min(batch_size // m, len(sizes), lines // m), 1) * m


def _expanded_size(size: int, m: int) -> int:
    """Lines of a class, repeated as a whole until there are at least m."""
    return size * -(-m // size)
