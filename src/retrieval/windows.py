"""Embeddings of windows: of one recording, and of many recordings side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

COSINE, EUCLIDEAN, PEARSON = "cosine", "euclidean", "pearson"
_BLOCK_ELEMENTS = 1 << 24  # distances held at a time: 64 MB


@dataclass(frozen=True)
class Windows:
    """Embeddings of the windows of one recording.

    Attributes:
        embeddings: ``(W, d)`` float32, W at least 1.
        starts_s: ``(W,)`` seconds, ascending.
        ends_s: ``(W,)`` seconds; the end of the recording where that comes first.
    """

    embeddings: np.ndarray
    starts_s: np.ndarray
    ends_s: np.ndarray

    def __len__(self) -> int:
        return len(self.embeddings)


def comparable(embeddings: np.ndarray, distance: str) -> np.ndarray:
    """Scale embeddings so that an inner product or a difference of vectors is the distance.

    Args:
        embeddings: ``(W, d)``.
        distance: ``cosine`` and ``pearson`` give unit vectors (Pearson: of the centred rows), for
            which the distance is 1 minus the inner product; ``euclidean`` divides by the root of
            d, so that the squared difference is the mean one, as Re-MOVE's evaluation has it.

    Returns:
        ``(W, d)`` float32. A row without a direction becomes zeros: distance 1 to everything.
    """
    rows = np.asarray(embeddings, dtype=np.float32)
    if distance == EUCLIDEAN:
        return rows / np.float32(np.sqrt(rows.shape[1]))
    if distance == PEARSON:
        rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def pairwise(x: np.ndarray, y: np.ndarray, distance: str) -> np.ndarray:
    """Distances ``(N, M)`` float32 between rows that :func:`comparable` has scaled; at least 0."""
    products = x @ y.T
    if distance == EUCLIDEAN:
        norms = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)[None, :]
        return np.maximum(norms - 2 * products, 0)
    return np.clip(1 - products, 0, 2)


@dataclass(frozen=True)
class WindowTable:
    """Windows of many recordings in one array.

    Attributes:
        rows: ``(N, d)`` float32, scaled by :func:`comparable`.
        offsets: ``(R + 1,)`` int64; recording i has the rows ``offsets[i]:offsets[i + 1]``.
        distance: ``cosine``, ``euclidean`` or ``pearson``.
    """

    rows: np.ndarray
    offsets: np.ndarray
    distance: str

    @classmethod
    def build(cls, recordings: Sequence[np.ndarray], distance: str) -> "WindowTable":
        """From embeddings ``(W, d)`` per recording."""
        offsets = np.concatenate([[0], np.cumsum([len(windows) for windows in recordings])])
        rows = np.concatenate(recordings) if recordings else np.zeros((0, 1), np.float32)
        return cls(comparable(rows, distance), offsets.astype(np.int64), distance)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def of(self, recording: int) -> np.ndarray:
        """Rows ``(W, d)`` of one recording."""
        return self.rows[self.offsets[recording] : self.offsets[recording + 1]]

    def select(self, recordings: np.ndarray) -> "WindowTable":
        """The table of some recordings, in the order given."""
        counts = np.diff(self.offsets)[recordings]
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        index = np.arange(offsets[-1]) + np.repeat(self.offsets[recordings] - offsets[:-1], counts)
        return WindowTable(self.rows[index], offsets, self.distance)

    def recording_of(self, rows: np.ndarray) -> np.ndarray:
        """Which recording each row belongs to."""
        return np.searchsorted(self.offsets, rows, side="right") - 1

    def nearest_to(self, queries: "WindowTable") -> np.ndarray:
        """Smallest distance between any windows of two recordings: ``(Q, R)`` float32."""
        if not len(self) or not len(queries):
            return np.zeros((len(queries), len(self)), np.float32)
        result = np.empty((len(queries), len(self)), np.float32)
        most = max(1, _BLOCK_ELEMENTS // max(1, len(self.rows)))
        first = 0
        while first < len(queries):
            last = int(np.searchsorted(queries.offsets, queries.offsets[first] + most, "right")) - 1
            last = min(max(last, first + 1), len(queries))
            block = queries.rows[queries.offsets[first] : queries.offsets[last]]
            distances = pairwise(block, self.rows, self.distance)  # (windows, N)
            by_reference = np.minimum.reduceat(distances, self.offsets[:-1], axis=1)
            starts = queries.offsets[first:last] - queries.offsets[first]
            result[first:last] = np.minimum.reduceat(by_reference, starts, axis=0)
            first = last
        return result
