"""Distances between recordings of several windows: matrix products beside a double loop.

    python -m benchmarks.chunk_distance [--tracks 2000] [--threads 2]

The double loop is the definition written down: for each pair of recordings the product of their
windows and its maximum. It is timed on some of the queries and scaled up.
"""

import argparse

import numpy as np
import torch

from benchmarks.measuring import peak_bytes, timed
from src.retrieval.chunk_distance import chunk_distances
from src.retrieval.metrics import calc_map

DIMENSIONS = 128
WINDOWS = (2, 3, 4, 5, 6)  # a recording of 135 s windows has about four
LOOP_PAIRS = 40_000


def collection(tracks: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Embeddings of the windows of recordings, ten of each work, and the works."""
    generator = np.random.default_rng(seed)
    labels = np.arange(tracks) // 10
    centres = generator.standard_normal((labels[-1] + 1, DIMENSIONS))
    recordings = []
    for label in labels:
        windows = generator.choice(WINDOWS)
        noise = generator.standard_normal((windows, DIMENSIONS))
        recordings.append((centres[label] + 2 * noise).astype(np.float32))
    return recordings, labels


def double_loop(queries: list[np.ndarray], references: list[np.ndarray]) -> np.ndarray:
    def unit(windows: np.ndarray) -> np.ndarray:
        return windows / np.linalg.norm(windows, axis=1, keepdims=True)

    queries, references = [unit(q) for q in queries], [unit(r) for r in references]
    return np.array([[1 - (q @ r.T).max() for r in references] for q in queries])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=2000, help="default: 2000")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recordings, labels = collection(arguments.tracks)
    n = len(recordings)
    chunk_distances(recordings[:10])  # the first call also starts the threads
    ours, wall, used = timed(lambda: chunk_distances(recordings), runs=3)
    some = max(1, min(n, LOOP_PAIRS // n))
    loop, loop_wall, loop_used = timed(lambda: double_loop(recordings[:some], recordings))
    loop_wall, loop_used = loop_wall * n / some, loop_used * n / some
    excluded = np.eye(n, dtype=bool)
    figures, map_wall, map_used = timed(lambda: calc_map(ours, labels, labels, excluded=excluded))
    windows = sum(map(len, recordings))
    print(f"{n:,} x {n:,} recordings, {windows:,} windows of {DIMENSIONS} dimensions, "
          f"{arguments.threads} threads, torch {torch.__version__}")  # fmt: skip
    print(f"{'':28} {'seconds':>9} {'CPU s':>9}")
    print(f"{'matrix products and maxima':28} {wall:9.2f} {used:9.2f}")
    print(f"{'double loop (scaled up)':28} {loop_wall:9.1f} {loop_used:9.1f}")
    print(f"{'figures (calc_map)':28} {map_wall:9.2f} {map_used:9.2f}")
    print(f"{loop_used / used:.0f} times as fast by CPU time; largest difference "
          f"{np.abs(ours[:some] - loop).max():.1e}; peak memory "
          f"{peak_bytes() / 1e9:.2f} GB; "
          f"mean_ap {figures['mean_ap']:.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
