"""Nearest windows by faiss: exact for small sets, a graph or inverted lists for large ones."""

import logging
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.errors import UserError
from src.files import atomic_path, file_digest
from src.retrieval.windows import EUCLIDEAN

EXACT, GRAPH, LISTS = "exact", "graph", "lists"
EXACT_UP_TO = 200_000  # windows; one query takes a few ms
GRAPH_UP_TO = 2_000_000  # above, a graph takes hours to build and much memory
GRAPH_LINKS = 32
GRAPH_BUILD_BREADTH = 200
GRAPH_BREADTH = (64, 128, 256, 512)
PROBES = (8, 16, 32, 64, 128, 256)
WANTED_RECALL = 0.97
RECALL_AT = 10
RECALL_QUERIES = 200


def faiss_library() -> Any:
    """faiss, imported when needed.

    On macOS, faiss and torch bring an OpenMP library each. Two of them in one process are refused
    unless allowed, and crash when faiss runs on several threads; so there it runs on one.
    """
    if sys.platform == "darwin":
        os.environ.setdefault("KMP_DUPLICATE_LIB_OK", "TRUE")
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it reports every attempt
    try:
        import faiss
    except ImportError as error:
        raise UserError("searching needs faiss: pip install faiss-cpu") from error
    if sys.platform == "darwin":
        faiss.omp_set_num_threads(1)
    return faiss


def kind_for(count: int) -> str:
    """The kind of index for so many windows."""
    return EXACT if count < EXACT_UP_TO else GRAPH if count < GRAPH_UP_TO else LISTS


@dataclass(frozen=True)
class WindowIndex:
    """An index over rows that :func:`src.retrieval.windows.comparable` has scaled.

    Attributes:
        index: faiss' own object.
        kind: ``exact``, ``graph`` (HNSW) or ``lists`` (inverted lists).
        distance: ``cosine``, ``euclidean`` or ``pearson``.
        recall: measured recall of the 10 nearest; 1.0 for an exact index, None if not measured.
    """

    index: Any
    kind: str
    distance: str
    recall: float | None = None

    @classmethod
    def build(
        cls, rows: np.ndarray, distance: str, *, kind: str | None = None, seed: int = 0
    ) -> "WindowIndex":
        """Index rows ``(N, d)``; an approximate one is tuned and its recall measured.

        Args:
            rows: scaled embeddings, float32.
            distance: see :class:`WindowIndex`.
            kind: None chooses by N.
            seed: of the sample of rows that recall is measured with, and of the lists.
        """
        faiss = faiss_library()
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        kind = kind or kind_for(len(rows))
        metric = faiss.METRIC_L2 if distance == EUCLIDEAN else faiss.METRIC_INNER_PRODUCT
        d = rows.shape[1]
        if kind == EXACT:
            index = faiss.IndexFlat(d, metric)
            index.add(rows)
            return cls(index, kind, distance, 1.0)
        if kind == GRAPH:
            index = faiss.IndexHNSWFlat(d, GRAPH_LINKS, metric)
            index.hnsw.efConstruction = GRAPH_BUILD_BREADTH
            index.add(rows)
        elif kind == LISTS:
            count = max(1, min(len(rows) // 39, int(4 * np.sqrt(len(rows)))))
            index = faiss.IndexIVFFlat(faiss.IndexFlat(d, metric), d, count, metric)
            index.cp.seed = seed + 1
            index.train(rows)
            index.add(rows)
        else:
            raise ValueError(f"kind of index must be exact, graph or lists, not {kind!r}")
        recall = _tune(index, rows, kind, metric, np.random.default_rng(seed))
        return cls(index, kind, distance, recall)

    def __len__(self) -> int:
        return self.index.ntotal

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of each query.

        Args:
            queries: ``(Q, d)``, scaled like the rows.
            k: at most the number of rows.

        Returns:
            ``(Q, k)`` float32 distances, ascending, and ``(Q, k)`` int64 row numbers, -1 where an
            approximate index found fewer.
        """
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        values, rows = self.index.search(queries, min(k, len(self)))
        if self.distance != EUCLIDEAN:
            values = 1 - values
        return np.where(rows < 0, np.inf, np.maximum(values, 0)), rows

    def save(self, path: Path) -> dict[str, Any]:
        """Write the index in faiss' format, atomically; returns its description for JSON."""
        faiss = faiss_library()
        with atomic_path(path) as temporary:
            faiss.write_index(self.index, str(temporary))
        return {
            "file": path.name,
            "kind": self.kind,
            "windows": len(self),
            "recall_at_10": self.recall,
            "sha256": file_digest(path),
        }

    @classmethod
    def load(cls, folder: Path, description: dict[str, Any], distance: str) -> "WindowIndex":
        """Read an index that :meth:`save` wrote, after checking that it is that file.

        faiss trusts what it reads, so only a file with the digest noted beside it is given to it.

        Raises:
            UserError: missing, or not the file that was written.
        """
        path = folder / Path(description["file"]).name
        if not path.is_file() or file_digest(path) != description["sha256"]:
            raise UserError(
                f"{path} is missing or not the index that belongs to these references; run "
                "tools.make_embeds again, which makes it anew"
            )
        index = faiss_library().read_index(str(path))
        return cls(index, description["kind"], distance, description["recall_at_10"])


def _tune(
    index: Any, rows: np.ndarray, kind: str, metric: int, generator: np.random.Generator
) -> float:
    """Set the search breadth to the first that reaches the wanted recall; returns the recall.

    Queries lie half way between a row and its neighbour, as versions do, not on a row.
    """
    faiss = faiss_library()
    count = min(RECALL_QUERIES, len(rows))
    picked = rows[generator.choice(len(rows), count, replace=False)]
    noise = generator.standard_normal(picked.shape).astype(np.float32)
    noise *= np.linalg.norm(picked, axis=1, keepdims=True)
    queries = picked + 0.5 * noise / np.sqrt(picked.shape[1])
    k = min(RECALL_AT, len(rows))
    _, true = faiss.knn(queries, rows, k, metric=metric)
    set_breadth: Callable[[int], None]
    if kind == GRAPH:
        choices = GRAPH_BREADTH

        def set_breadth(value: int) -> None:
            index.hnsw.efSearch = value
    else:
        choices = PROBES

        def set_breadth(value: int) -> None:
            index.nprobe = min(value, index.nlist)

    recall = 0.0
    for value in choices:
        set_breadth(value)
        _, found = index.search(queries, k)
        recall = recall_of(found, true)
        if recall >= WANTED_RECALL:
            break
    return recall


def recall_of(found: np.ndarray, true: np.ndarray) -> float:
    """Share of the true neighbours ``(Q, k)`` that are among those found ``(Q, k)``."""
    hits = [np.isin(t, f).mean() for f, t in zip(found, true, strict=True)]
    return float(np.mean(hits))
