"""A query beside some of the references by Qmax: cremaPCP of both, made when first needed."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from src.data.crema_features import CACHE_FOLDER, extract_collection
from src.data.recordings import Recording
from src.errors import UserError
from src.retrieval.qmax import QmaxFeature, prepare, qmax_distances
from src.retrieval.references import References

CREMA_VERSION = "0.2.0"


class QmaxReferences:
    """Distances by Qmax from a query to references, by their positions.

    The cremaPCP of the recordings that are compared is kept in the folder of the references, so
    the first queries take longer than the later ones.

    Args:
        references: the set; its recordings must still be where they were.
        device: where to compute cremaPCP.
        workers: threads; None uses all cores.
    """

    def __init__(
        self, references: References, *, device: torch.device, workers: int | None = None
    ) -> None:
        self.references = references
        self.device = device
        self.workers = workers or os.cpu_count() or 1

    def __call__(self, query: str | os.PathLike, positions: Sequence[int]) -> np.ndarray:
        """``(len(positions),)`` distances, smaller = closer.

        Raises:
            UserError: sound (or cremaPCP) of the query or of a reference cannot be used.
        """
        rows = [self.references.rows[position] for position in positions]
        # Names of references are unique, but the query may be one of them.
        recordings = [Recording("query", "", Path(query))]
        recordings += [Recording(f"reference {row.name}", row.work, Path(row.path)) for row in rows]
        features = self._features(recordings)
        return qmax_distances(features[:1], features[1:], workers=self.workers)[0]

    def _features(self, recordings: list[Recording]) -> list[QmaxFeature]:
        found = extract_collection(
            recordings,
            cache=self.references.folder / CACHE_FOLDER,
            crema_version=CREMA_VERSION,
            device=self.device,
            workers=self.workers,
        )
        if found.failures:
            reason = next(iter(found.failures.values()))
            raise UserError(f"re-ranking compares sound or cremaPCP: {reason}")
        return [
            prepare(found.load(position), name=str(recording.path))
            for position, recording in enumerate(found.recordings)
        ]
