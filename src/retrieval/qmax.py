"""Qmax: how long two recordings follow the same course of pitches, found without training.

A cross recurrence plot marks which moments of two recordings are alike; a version shows as a
diagonal trace in it, bent where the tempo differs and broken where the music does. Qmax is the
score of the best such trace, by dynamic programming:

    J. Serrà, X. Serra and R. G. Andrzejak. Cross recurrence quantification for cover song
    identification. New Journal of Physics 11, 093017, 2009

It compares pairs, so its cost grows with queries times references: for large collections an
embedding chooses the nearest references and Qmax puts those in order (:mod:`src.retrieval.rerank`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from src.errors import UserError
from src.retrieval.recurrence import kernels

_PITCH_CLASSES = 12
# Row k: the pitch classes of a recording that is transposed k semitones up.
_TRANSPOSED = (np.arange(_PITCH_CLASSES) - np.arange(_PITCH_CLASSES)[:, None]) % _PITCH_CLASSES
_ITEMS_AT_ONCE = 16  # done by a thread between two looks at the queue


@dataclass(frozen=True)
class QmaxSettings:
    """What Qmax is computed with; the defaults suit cremaPCP at 10.77 frames a second.

    Attributes:
        mean_frames: frames averaged beforehand: 0.37 s.
        embedding: averaged frames that are compared as one moment: 3.3 s.
        neighbours: share of the moments of the other recording that may count as alike.
        onset: loss where a trace breaks off.
        extension: loss for each further moment of a break.
    """

    mean_frames: int = 4
    embedding: int = 9
    neighbours: float = 0.095
    onset: float = 0.5
    extension: float = 0.7

    def __post_init__(self) -> None:
        if self.mean_frames < 1 or self.embedding < 1:
            raise UserError("mean_frames and embedding of Qmax must be 1 or more")
        if not 0 < self.neighbours <= 1:
            raise UserError(
                f"neighbours of Qmax is a share above 0 and at most 1, not {self.neighbours}"
            )
        if not (0 <= self.onset < np.inf and 0 <= self.extension < np.inf):
            raise UserError("the penalties of Qmax (onset, extension) must be 0 or more")

    @property
    def shortest(self) -> int:
        """Fewest frames of a recording that can be compared."""
        return self.mean_frames * self.embedding


DEFAULT_SETTINGS = QmaxSettings()


@dataclass(frozen=True, eq=False)
class QmaxFeature:
    """A recording, ready to be compared.

    Attributes:
        frames: ``(N, 12)`` float32, averaged cremaPCP, each with the maximum 1 (0 for silence).
        profile: ``(12,)`` float64, mean over the recording, by which two are transposed.
        settings: what it was made with.
    """

    frames: np.ndarray
    profile: np.ndarray
    settings: QmaxSettings

    def __len__(self) -> int:
        return len(self.frames)


def prepare(
    pcp: np.ndarray, *, settings: QmaxSettings = DEFAULT_SETTINGS, name: str = "the recording"
) -> QmaxFeature:
    """Make a recording ready to be compared: frames averaged and scaled to a maximum of 1.

    Args:
        pcp: ``(T, 12)`` non-negative, one frame per 4096 samples at 44.1 kHz (10.77 a second).
        settings: of all recordings that are to be compared.
        name: of the recording, for the sentence of an error.

    Raises:
        UserError: another shape, values that are negative or not finite, or too short.
    """
    pcp = np.asarray(pcp)
    if pcp.ndim != 2 or pcp.shape[1] != _PITCH_CLASSES or pcp.dtype.kind not in "fiu":
        raise UserError(
            f"cremaPCP of {name} must be a table of frames by 12 pitch classes, not "
            f"{pcp.dtype} {pcp.shape}"
        )
    if len(pcp) < settings.shortest:
        raise UserError(
            f"{name} has {len(pcp)} frames of cremaPCP, but Qmax needs {settings.shortest} "
            f"({settings.embedding} times {settings.mean_frames}); leave it out or give more of it"
        )
    pcp = pcp.astype(np.float32)
    if not np.isfinite(pcp).all() or pcp.min() < 0:
        raise UserError(
            f"cremaPCP of {name} has values that are negative or not finite; extract it again"
        )
    count = len(pcp) // settings.mean_frames
    pooled = pcp[: count * settings.mean_frames].reshape(count, -1, _PITCH_CLASSES)
    frames = np.ascontiguousarray(pooled.mean(axis=1))  # (N, 12)
    loudest = frames.max(axis=1, keepdims=True)
    frames /= np.where(loudest > 0, loudest, 1)
    return QmaxFeature(frames, frames.mean(axis=0, dtype=np.float64), settings)


def transposition(first: QmaxFeature, second: QmaxFeature) -> int:
    """Semitones (0 to 11) by which ``second`` is moved up to have the pitches of ``first``.

    The optimal transposition index: the shift with the largest product of the two profiles.
    """
    return int(np.argmax(second.profile[_TRANSPOSED] @ first.profile))


def qmax(first: QmaxFeature, second: QmaxFeature) -> float:
    """Score of the longest trace that two recordings share, 0 or more; larger = more alike.

    Raises:
        UserError: the recordings were prepared with different settings.
    """
    settings = first.settings
    if settings != second.settings:
        raise UserError("two recordings were prepared for Qmax with different settings")
    loops = kernels()
    rows = _TRANSPOSED[transposition(first, second)]
    moved = np.ascontiguousarray(second.frames[:, rows].T)  # (12, M)
    n, m = len(first), len(second)
    # One allocation for all tables: several would be handed back to the system after every pair,
    # and fetching fresh pages takes as long as half of the arithmetic.
    space, scratch = np.empty((2, n * m), np.float32)
    between_frames = scratch.reshape(n, m)  # only needed for the sums
    loops.frame_distances(first.frames, moved, between_frames)
    n, m = n - settings.embedding + 1, m - settings.embedding + 1
    distances = space[: n * m].reshape(n, m)
    loops.sum_diagonals(between_frames, settings.embedding, distances)
    return float(
        loops.longest_alignment(
            distances,
            nearest_limits(distances, settings.neighbours, scratch),
            nearest_limits(distances.T, settings.neighbours, scratch),
            np.float32(settings.onset),
            np.float32(settings.extension),
        )
    )


def nearest_limits(
    distances: np.ndarray, share: float, scratch: np.ndarray | None = None
) -> np.ndarray:
    """Distance of the last of the nearest ``share`` of each row, at least one.

    Args:
        distances: ``(N, M)`` float32.
        share: above 0 and at most 1.
        scratch: at least ``N * M`` float32 to write over; None makes it.

    Returns:
        ``(N,)`` float32.
    """
    nearest = max(1, int(share * distances.shape[1]))
    scratch = np.empty(distances.size, np.float32) if scratch is None else scratch
    table = scratch[: distances.size].reshape(distances.shape)
    table[...] = distances
    table.partition(nearest - 1, axis=1)
    return table[:, nearest - 1].copy()


def qmax_distance(query: QmaxFeature, reference: QmaxFeature) -> float:
    """Distance from a query to a reference: sqrt(length of the reference) / Qmax.

    A long reference has long traces by chance; the root makes up for it. Infinite where the two
    have no moment in common.

    Raises:
        UserError: see :func:`qmax`.
    """
    return _distance(qmax(query, reference), reference)


def _distance(score: float, reference: QmaxFeature) -> float:
    return float(np.sqrt(len(reference)) / score) if score > 0 else float("inf")


def qmax_distances(
    queries: Sequence[QmaxFeature],
    references: Sequence[QmaxFeature] | None = None,
    *,
    progress: bool = False,
    workers: int = 1,
) -> np.ndarray:
    """Distances from every query to every reference.

    Args:
        queries: Q recordings.
        references: R recordings; None takes the queries, and compares each pair once, since Qmax
            itself does not depend on which of the two is the query. A recording is then at the
            distance 0 from itself.
        progress: show a progress bar.
        workers: threads.

    Returns:
        ``(Q, R)`` float64.

    Raises:
        UserError: no recordings, or different settings.
    """
    same = references is None
    references = queries if same else references
    if not len(queries) or not len(references):
        raise UserError("Qmax needs at least one query and one reference")
    if same:
        rows, columns = np.triu_indices(len(queries), 1)
    else:
        rows, columns = (axis.ravel() for axis in np.indices((len(queries), len(references))))

    def score(pair: int) -> float:
        return qmax(queries[rows[pair]], references[columns[pair]])

    scores = np.zeros((len(queries), len(references)))
    found = in_threads(score, len(rows), workers=workers, label="Qmax", progress=progress)
    scores[rows, columns] = found
    if same:
        scores += scores.T
    lengths = np.array([len(reference) for reference in references])
    with np.errstate(divide="ignore"):
        distances = np.sqrt(lengths) / scores
    if same:
        np.fill_diagonal(distances, 0)
    return distances


class QmaxPairs:
    """Distances of pairs by their positions, for :func:`src.retrieval.rerank.rerank`.

    If queries and references are the same recordings, the score of a pair is kept until it is
    asked for the other way round.

    Args:
        queries: Q recordings.
        references: R recordings; None takes the queries.
    """

    def __init__(
        self, queries: Sequence[QmaxFeature], references: Sequence[QmaxFeature] | None = None
    ) -> None:
        self._queries = queries
        self._references = queries if references is None else references
        self._known: dict[tuple[int, int], float] | None = {} if references is None else None

    def __call__(self, query: int, reference: int) -> float:
        """:func:`qmax_distance` of query number ``query`` and reference number ``reference``."""
        score = None if self._known is None else self._known.pop((reference, query), None)
        if score is None:
            score = qmax(self._queries[query], self._references[reference])
            if self._known is not None:
                self._known[query, reference] = score
        return _distance(score, self._references[reference])


def in_threads(
    work: Callable[[int], Any], count: int, *, workers: int, label: str, progress: bool
) -> list[Any]:
    """``work(0)`` to ``work(count - 1)`` in threads; errors are raised as they come."""
    if workers < 1:
        raise UserError(f"workers must be 1 or more, not {workers}")
    with tqdm(total=count, desc=label, disable=not progress, leave=False) as bar:

        def block(start: int) -> list[Any]:
            results = [work(item) for item in range(start, min(start + _ITEMS_AT_ONCE, count))]
            bar.update(len(results))
            return results

        pool = ThreadPoolExecutor(workers)
        try:
            blocks = pool.map(block, range(0, count, _ITEMS_AT_ONCE))
            return [result for results in blocks for result in results]
        finally:
            pool.shutdown(cancel_futures=True)
