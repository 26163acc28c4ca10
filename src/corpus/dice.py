"""Seeded chance: generators from (seed, work, version), and quick weighted picks."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def generator(*parts: int | str) -> np.random.Generator:
    """A generator that depends on every part and on nothing else.

    Strings enter by a cryptographic hash, so the stream is the same on every machine and run.
    """
    words: list[int] = []
    for part in parts:
        digest = hashlib.sha256(f"{type(part).__name__}:{part}".encode()).digest()
        words += [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]
    return np.random.default_rng(np.random.SeedSequence(words))


class Dice:
    """Draws from a generator one number at a time, cheaply (numbers are fetched in blocks)."""

    BLOCK = 512

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self._uniform: list[float] = []
        self._normal: list[float] = []

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        if not self._uniform:
            self._uniform = self.rng.random(self.BLOCK).tolist()
        return low + (high - low) * self._uniform.pop()

    def normal(self, scale: float = 1.0) -> float:
        """A normal number with mean 0."""
        if not self._normal:
            self._normal = self.rng.standard_normal(self.BLOCK).tolist()
        return scale * self._normal.pop()

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return self.uniform() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return low + int(self.uniform() * (high - low + 1))

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, all alike."""
        return options[int(self.uniform() * len(options))]

    def weighted(self, options: Mapping[T, float]) -> T:
        """One key, by weight."""
        at = self.uniform() * sum(options.values())
        for option, weight in options.items():
            at -= weight
            if at < 0:
                return option
        return option

    def split(self) -> "Dice":
        """An independent source, so that draws in one part do not shift another part."""
        return Dice(self.rng.spawn(1)[0])
