"""Qmax: pairs a second of compiled loops, beside the same written as plain loops and in numpy.

    python -m benchmarks.qmax_speed [--minutes 4] [--pairs 40] [--threads 1]

Chords are synthetic; the speed depends on the lengths alone. On a busy machine look at CPU time
(of all threads) and at the fastest pair: others take turns and empty the caches. The plain loops
are timed on shorter recordings and scaled by the size of the recurrence plot.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from src.retrieval.qmax import QmaxFeature, nearest_limits, prepare, qmax, transposition

FRAMES_PER_SECOND = 44100 / 4096
SHORT_S = 40  # of the plain loops
NUMPY_PAIRS = 3


def chroma(seed: int, seconds: float) -> np.ndarray:
    """``(T, 12)``: a chord every two seconds, with noise."""
    generator = np.random.default_rng(seed)
    frames = round(seconds * FRAMES_PER_SECOND)
    chords = np.repeat(generator.random((frames // 20 + 1, 12)) ** 3, 20, axis=0)[:frames]
    return (chords + 0.2 * generator.random(chords.shape)).astype(np.float32)


def embedded(first: QmaxFeature, second: QmaxFeature) -> tuple[np.ndarray, np.ndarray]:
    """Delay-embedded frames of both, the second transposed to the first: ``(N, 12 * 9)``."""

    def stack(frames: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(frames, first.settings.embedding, axis=0)
        return windows.reshape(len(windows), -1)

    return stack(first.frames), stack(np.roll(second.frames, transposition(first, second), axis=1))


def points_of(distances: np.ndarray, share: float) -> np.ndarray:
    """The recurrence plot: near in its row and in its column."""
    rows, columns = nearest_limits(distances, share), nearest_limits(distances.T, share)
    return (distances <= rows[:, None]) & (distances <= columns)


def by_loops(first: QmaxFeature, second: QmaxFeature) -> float:
    """Every cell of plot and score by itself."""
    settings = first.settings
    x, y = embedded(first, second)
    distances = np.array([[((a - b) ** 2).sum() for b in y] for a in x])
    points = points_of(distances, settings.neighbours).tolist()
    score = np.zeros(distances.shape).tolist()
    best = 0.0
    for i in range(2, len(x)):
        for j in range(2, len(y)):
            steps = ((i - 1, j - 1), (i - 2, j - 1), (i - 1, j - 2))
            if points[i][j]:
                score[i][j] = 1 + max(score[p][q] for p, q in steps)
            else:
                gap = max(
                    score[p][q] - (settings.onset if points[p][q] else settings.extension)
                    for p, q in steps
                )
                score[i][j] = max(0.0, gap)
            best = max(best, score[i][j])
    return best


def by_rows(first: QmaxFeature, second: QmaxFeature) -> float:
    """Matrix products and numpy: a row of the score at a time, since it needs earlier rows only."""
    settings = first.settings
    x, y = embedded(first, second)
    distances = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * x @ y.T
    points = points_of(distances, settings.neighbours)
    loss = np.where(points, np.float32(settings.onset), np.float32(settings.extension))
    score = np.zeros(distances.shape, np.float32)
    for i in range(2, len(x)):
        before, earlier = score[i - 1], score[i - 2]
        steps = np.stack([before[1:-1], earlier[1:-1], before[:-2]])
        losses = np.stack([loss[i - 1, 1:-1], loss[i - 2, 1:-1], loss[i - 1, :-2]])
        gaps = np.maximum(0, (steps - losses).max(axis=0))
        score[i, 2:] = np.where(points[i, 2:], steps.max(axis=0) + 1, gaps)
    return float(score.max())


Pair = tuple[QmaxFeature, QmaxFeature]


def timed(
    function: Callable, pairs: list[Pair], *, threads: int = 1
) -> tuple[list, tuple[float, float, float]]:
    """Scores; seconds a pair, CPU seconds a pair, CPU seconds of the fastest pair."""

    def one(pair: Pair) -> tuple[float, float]:
        start = time.thread_time()
        return function(*pair), time.thread_time() - start

    wall, used = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        scores, each = zip(*pool.map(one, pairs), strict=True)
    wall, used = time.perf_counter() - wall, time.process_time() - used
    return list(scores), (wall / len(pairs), used / len(pairs), min(each))


def random_pairs(minutes: float, count: int) -> list[Pair]:
    """Pairs of ten recordings of so many minutes."""
    recordings = [prepare(chroma(seed, 60 * minutes)) for seed in range(10)]
    return [(recordings[i % 10], recordings[(i * 3 + 1) % 10]) for i in range(count)]


def short_pair() -> Pair:
    """Two short recordings: for the plain loops, and to compile ours."""
    return prepare(chroma(0, SHORT_S)), prepare(chroma(1, SHORT_S))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=4, help="of each recording (default: 4)")
    parser.add_argument("--pairs", type=int, default=40, help="default: 40")
    parser.add_argument("--threads", type=int, default=1, help="of the compiled form (default: 1)")
    arguments = parser.parse_args()
    pairs = random_pairs(arguments.minutes, arguments.pairs)
    short = [short_pair()]
    _, compiling = timed(qmax, short)
    ours, ours_times = timed(qmax, pairs, threads=arguments.threads)
    rows, rows_times = timed(by_rows, pairs[:NUMPY_PAIRS])
    loops, loops_times = timed(by_loops, short)
    cells = [(len(a) - 8) * (len(b) - 8) for a, b in (pairs[0], short[0])]
    scale = cells[0] / cells[1]
    found = [*ours[:NUMPY_PAIRS], qmax(*short[0])]
    difference = np.abs(np.subtract(found, [*rows, *loops])).max()
    length = round(60 * arguments.minutes * FRAMES_PER_SECOND)
    print(f"recordings of {length:,} frames ({arguments.minutes:g} min), {len(pairs[0][0])} "
          f"after averaging; {arguments.threads} threads")  # fmt: skip
    print(f"{'pairs per':24} {'second':>9} {'CPU second':>11} {'(fastest)':>10}")
    for name, times in [
        ("compiled", ours_times),
        ("numpy, row by row", rows_times),
        ("plain loops (scaled up)", tuple(scale * seconds for seconds in loops_times)),
    ]:
        second, cpu, fastest = (1 / seconds for seconds in times)
        print(f"{name:24} {second:9.2f} {cpu:11.2f} {fastest:10.2f}")
    print(f"compiling once: {compiling[0]:.1f} s ({compiling[1]:.1f} CPU s); largest difference of "
          f"a score: {difference:.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
