"""The three inner loops of Qmax, compiled when first needed.

They are written as plain loops over float32 arrays whose innermost one has no dependencies, so
that the compiler turns it into vector instructions; they run outside the interpreter lock, so that
threads share the work. Nothing is compiled, and numba is not imported, until a pair is compared.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np


class Kernels(NamedTuple):
    """Compiled forms of the functions of this module."""

    frame_distances: Callable[..., None]
    sum_diagonals: Callable[..., None]
    longest_alignment: Callable[..., float]


@lru_cache(maxsize=1)
def kernels() -> Kernels:
    """Compile the loops, once a process; the first call with arrays takes a few seconds."""
    from numba import njit

    compiled: Any = njit(nogil=True)
    return Kernels(compiled(frame_distances), compiled(sum_diagonals), compiled(longest_alignment))


def frame_distances(first: np.ndarray, second: np.ndarray, out: np.ndarray) -> None:
    """Squared Euclidean distances between all frames of two recordings.

    Differences are squared, and not the product of frames taken from their squares, so that equal
    frames have the distance 0 and ties stay ties.

    Args:
        first: ``(N, C)`` float32.
        second: ``(C, M)`` float32, frames along the last axis.
        out: ``(N, M)`` float32, written.
    """
    frames, channels = first.shape
    columns = second.shape[1]
    for i in range(frames):
        row = out[i]
        row[:] = 0
        for c in range(channels):
            value, others = first[i, c], second[c]
            for j in range(columns):
                difference = value - others[j]
                row[j] += difference * difference


def sum_diagonals(distances: np.ndarray, length: int, out: np.ndarray) -> None:
    """Sums of ``length`` neighbours along the diagonals: distances of delay-embedded frames.

    Args:
        distances: ``(N, M)`` float32, squared, between single frames.
        length: frames in an embedded frame.
        out: ``(N - length + 1, M - length + 1)`` float32, written.
    """
    rows, columns = out.shape
    for i in range(rows):
        row = out[i]
        row[:] = 0
        for step in range(length):
            others = distances[i + step, step : step + columns]
            for j in range(columns):
                row[j] += others[j]


def longest_alignment(
    distances: np.ndarray,
    row_limits: np.ndarray,
    column_limits: np.ndarray,
    onset: np.float32,
    extension: np.float32,
) -> float:
    """Qmax: the best score of a path through the cross recurrence plot of two recordings.

    The plot has a point where a distance is within the limits of its row and of its column. A path
    goes by one of the steps (1, 1), (2, 1), (1, 2), gains 1 at each point, and loses ``onset``
    when it leaves a point for a gap and ``extension`` for every further step in a gap; it starts
    anew where its score would be negative. Values depend on the two rows before only.

    Args:
        distances: ``(N, M)`` float32.
        row_limits: ``(N,)`` float32, largest distance of a point in each row.
        column_limits: ``(M,)`` float32.
        onset, extension: penalties of a gap, float32.
    """
    rows, columns = distances.shape
    score = np.zeros((3, columns), np.float32)  # of this row and the two before
    loss = np.zeros((3, columns), np.float32)  # of a step from there into a gap
    best = np.zeros(columns, np.float32)
    none, gain = np.float32(0), np.float32(1)
    for i in range(rows):
        row, limit = distances[i], row_limits[i]
        now, before, earlier = i % 3, (i - 1) % 3, (i - 2) % 3
        score0, score1, score2 = score[now], score[before], score[earlier]
        loss0, loss1, loss2 = loss[now], loss[before], loss[earlier]
        for j in range(columns):
            near = row[j] <= limit and row[j] <= column_limits[j]
            loss0[j] = onset if near else extension
        if i < 2:
            continue
        for j in range(2, columns):
            straight, down, along = score1[j - 1], score2[j - 1], score1[j - 2]
            point = straight if straight > down else down
            point = (point if point > along else along) + gain
            straight -= loss1[j - 1]
            down -= loss2[j - 1]
            along -= loss1[j - 2]
            gap = straight if straight > down else down
            gap = gap if gap > along else along
            gap = gap if gap > none else none
            near = row[j] <= limit and row[j] <= column_limits[j]
            value = point if near else gap
            score0[j] = value
            best[j] = value if value > best[j] else best[j]
    return best.max()
