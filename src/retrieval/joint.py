"""Several models as one: distances that share no scale, added up.

One model may hear the harmony and another the melody; where both say that two recordings are
near, that is worth more than either. The joint distance of two recordings is the exponential of
the mean, over the models, of ``(log d - m) / s``: m and s are mean and standard deviation of
the logarithms of a model's distances between different recordings. 1 is what is usual. (Added
without logarithms, what is very near counts less, and the figures are a little lower.)
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.retrieval.windows import WindowTable

SMALLEST_DISTANCE = 1e-6  # below it rounding speaks
SMALLEST_SPREAD = 1e-6  # of logarithms; below it rounding speaks as well
LARGEST_EXPONENT = 80.0  # exp of it, and of its negative, are numbers of single precision
MOST_RECORDINGS = 2000  # whose distances a scale is taken from
BLOCK_ELEMENTS = 1 << 20  # distances put together at a time: 4 MB
Scale = tuple[float, float]


def logarithm(distances: np.ndarray | float) -> np.ndarray:
    """Natural logarithm of distances; what rounding makes of identical recordings stays finite."""
    return np.log(np.maximum(distances, SMALLEST_DISTANCE))


def sample_recordings(n: int, seed: int = 0) -> np.ndarray:
    """Positions of the recordings, of ``n``, whose distances a scale is taken from; ascending."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:MOST_RECORDINGS])


def scale_of(distances: np.ndarray, *, seed: int = 0) -> Scale:
    """Mean and standard deviation of the logarithms, the diagonal left out.

    Args:
        distances: ``(N, N)`` between N recordings; what is infinite does not count. Where all are
            equal but for rounding, or N is 1, the standard deviation is taken as 1: a model that
            tells no recordings apart then has no say.
        seed: of the sample of recordings, where there are many.
    """
    some = sample_recordings(len(distances), seed)
    between = distances[np.ix_(some, some)][~np.eye(len(some), dtype=bool)]
    between = logarithm(between[np.isfinite(between)])
    if not len(between):
        return 0.0, 1.0
    middle, spread = float(between.mean()), float(between.std())
    # Rounding moves distances by up to SMALLEST_DISTANCE, the logarithms of small ones by more.
    rounding = max(SMALLEST_SPREAD, SMALLEST_DISTANCE / float(np.exp(middle)))
    return middle, spread if spread > rounding else 1.0


def joint_distances(distances: Sequence[np.ndarray], scales: Sequence[Scale]) -> np.ndarray:
    """One distance of several, ``(Q, R)`` each, with the scale of each.

    Returns:
        ``(Q, R)`` float32, above 0 and finite. Nothing as large is held beside it.
    """
    result = np.zeros(distances[0].shape, np.float32)
    rows = max(1, BLOCK_ELEMENTS // max(1, result.shape[1]))
    for start in range(0, len(result), rows):
        block = result[start : start + rows]  # a view
        for own, (middle, spread) in zip(distances, scales, strict=True):
            block += (logarithm(own[start : start + rows]) - middle) / (spread * len(scales))
        np.exp(np.clip(block, -LARGEST_EXPONENT, LARGEST_EXPONENT, out=block), out=block)
    return result


@dataclass(frozen=True)
class JointTable:
    """Windows of the same recordings by several models, compared as one.

    It answers what :class:`src.retrieval.windows.WindowTable` answers.

    Attributes:
        tables: one of each model, with the same recordings in the same order.
        scales: of the distances of each.
    """

    tables: tuple[WindowTable, ...]
    scales: tuple[Scale, ...]

    @classmethod
    def build(cls, tables: Sequence[WindowTable], *, seed: int = 0) -> "JointTable":
        """With the scales of the distances between the recordings themselves.

        Args:
            tables: one of each model.
            seed: of the sample of recordings, where there are many.
        """
        some = sample_recordings(len(tables[0]), seed)
        chosen = [table.select(some) for table in tables]
        return cls(tuple(tables), tuple(scale_of(table.nearest_to(table)) for table in chosen))

    def __len__(self) -> int:
        return len(self.tables[0])

    def select(self, recordings: np.ndarray) -> "JointTable":
        """The table of some recordings, in the order given."""
        return JointTable(tuple(table.select(recordings) for table in self.tables), self.scales)

    def like(self, tables: Sequence[WindowTable]) -> "JointTable":
        """Other recordings, measured by the scales of these."""
        return JointTable(tuple(tables), self.scales)

    def nearest_to(self, queries: "JointTable") -> np.ndarray:
        """Joint distances ``(Q, R)`` float32, see :func:`joint_distances`."""
        pairs = zip(self.tables, queries.tables, strict=True)
        return joint_distances([table.nearest_to(query) for table, query in pairs], self.scales)
