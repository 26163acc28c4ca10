"""One embedding a work: the mean direction of its recordings."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.errors import UserError
from src.files import atomic_path, write_json
from src.retrieval.references import References
from src.retrieval.windows import EUCLIDEAN, WindowTable


@dataclass(frozen=True)
class Centroids:
    """Embeddings of works.

    Attributes:
        works: names, sorted.
        embeddings: ``(W, d)`` float32; unit vectors unless the distance is Euclidean.
        recordings: ``(W,)`` number of recordings behind each.
        spread: ``(W,)`` mean distance of the recordings to their centroid.
    """

    works: list[str]
    embeddings: np.ndarray
    recordings: np.ndarray
    spread: np.ndarray


def compute_centroids(references: References) -> Centroids:
    """The centroid of every work: the mean over its recordings of the means over their windows.

    Every recording counts the same, however long it is. Embeddings are scaled as for comparison
    before they are averaged (to unit length, but for the Euclidean distance).
    """
    table, codes = references.table, references.codes
    counts = np.diff(table.offsets)
    means = np.add.reduceat(table.rows, table.offsets[:-1], axis=0) / counts[:, None]
    means = _unit(means, table.distance)
    order = np.argsort(codes, kind="stable")
    works, firsts, recordings = np.unique(codes[order], return_index=True, return_counts=True)
    centroids = np.add.reduceat(means[order], firsts, axis=0) / recordings[:, None]
    centroids = _unit(centroids, table.distance).astype(np.float32)
    own = WindowTable(centroids, np.arange(len(works) + 1), table.distance)
    distances = own.nearest_to(WindowTable(means, np.arange(len(means) + 1), table.distance))
    to_own = distances[np.arange(len(codes)), codes]  # (R,)
    names = sorted(set(references.works))
    return Centroids(names, centroids, recordings, np.bincount(codes, to_own) / recordings)


def write_centroids(references: References, path: str | os.PathLike) -> Centroids:
    """Write centroids as ``.npz`` (works, embeddings, recordings, spread) with a JSON beside it.

    The JSON says which model, features and windows they come from.

    Raises:
        UserError: there are no references, or the files cannot be written.
    """
    if not len(references):
        raise UserError(f"{references.folder} holds no recording; run tools.make_embeds first")
    path = Path(path)
    if path.suffix != ".npz":
        path = path.with_name(path.name + ".npz")
    centroids = compute_centroids(references)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            works=np.array(centroids.works),
            embeddings=centroids.embeddings,
            recordings=centroids.recordings,
            spread=centroids.spread.astype(np.float32),
        )
    description = {
        "model_path": references.model_path,
        **references.identity,
        "works": len(centroids.works),
        "recordings": len(references),
    }
    write_json(description, path.with_suffix(".json"))
    return centroids


def _unit(rows: np.ndarray, distance: str) -> np.ndarray:
    if distance == EUCLIDEAN:
        return rows
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
