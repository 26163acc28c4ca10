"""Search among reference windows: recall of the 10 nearest and speed, beside exact search.

    python -m benchmarks.search_speed [--windows 300000] [--threads 2]

Embeddings are synthetic: works in random directions, versions around them, windows around those.
Queries are windows of further versions, so their true neighbours are neither copies nor chance.
"""

import argparse

import numpy as np

from benchmarks.measuring import timed
from src.retrieval.search import RECALL_AT, WindowIndex, faiss_library, kind_for, recall_of
from src.retrieval.windows import comparable

DIMENSIONS = 128
VERSIONS, WINDOWS = 4, 6  # versions of a work, windows of a version
VERSION_SPREAD, WINDOW_SPREAD = 0.7, 0.5
SEED = 0


def collection(windows: int, queries: int) -> tuple[np.ndarray, np.ndarray]:
    """Reference windows ``(N, 128)`` and windows of further versions ``(Q, 128)``, unit length."""
    generator = np.random.default_rng(SEED)
    works = -(-windows // (VERSIONS * WINDOWS))
    centres = generator.standard_normal((works, DIMENSIONS), dtype=np.float32)

    def versions_of(chosen: np.ndarray, each: int) -> np.ndarray:
        rows = np.repeat(centres[chosen], VERSIONS if each > 1 else 1, axis=0)
        rows += VERSION_SPREAD * generator.standard_normal(rows.shape, dtype=np.float32)
        rows = np.repeat(rows, each, axis=0)
        rows += WINDOW_SPREAD * generator.standard_normal(rows.shape, dtype=np.float32)
        return comparable(rows, "cosine")

    references = versions_of(np.arange(works), WINDOWS)[:windows]
    return references, versions_of(generator.integers(0, works, queries), 1)


def search(index: WindowIndex, queries: np.ndarray, *, at_once: int) -> np.ndarray:
    """Row numbers of the nearest references ``(Q, 10)``, so many queries at once."""
    parts = [queries[first : first + at_once] for first in range(0, len(queries), at_once)]
    return np.concatenate([index.search(part, RECALL_AT)[1] for part in parts])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--windows", type=int, default=300_000, help="default: 300,000")
    parser.add_argument("--queries", type=int, default=1000, help="default: 1000")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--kinds", nargs="+", default=["exact", "graph", "lists"])
    arguments = parser.parse_args()
    faiss = faiss_library()
    faiss.omp_set_num_threads(arguments.threads)
    references, queries = collection(arguments.windows, arguments.queries)
    _, true = faiss.knn(queries, references, RECALL_AT, metric=faiss.METRIC_INNER_PRODUCT)
    chosen = kind_for(len(references))
    print(
        f"{len(references):,} windows of {DIMENSIONS} dimensions, {len(queries):,} queries, "
        f"{arguments.threads} threads, faiss {faiss.__version__}; chosen by size: {chosen}"
    )
    print(
        f"{'index':8} {'build CPU s':>11} {'recall@10':>10} {'at build':>9} {'queries/s':>10} "
        f"{'queries/CPU s':>14}"
    )
    for kind in arguments.kinds:
        # Processor time is of all threads, and fair also on a busy machine.
        index, _, built = timed(lambda k=kind: WindowIndex.build(references, "cosine", kind=k))
        found, seconds, cpu = timed(lambda i=index: search(i, queries, at_once=len(queries)))
        print(
            f"{kind:8} {built:11.1f} {recall_of(found, true):10.3f} {index.recall:9.3f} "
            f"{len(queries) / seconds:10.0f} {len(queries) / cpu:14.0f}"
        )


if __name__ == "__main__":
    main()
