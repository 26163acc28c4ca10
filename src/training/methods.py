"""Ways to compare recordings, behind one interface: trained models, their controls, baselines.

A method describes every recording by some numbers and ranks recordings by them. Whatever compares
methods (tables, robustness, choices of a corpus) sees no more of a model than this.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from src.data.chroma import double_chroma
from src.data.crema_features import DEFAULT_CREMA
from src.data.sound_features import Features
from src.models.coverhunter import CoverHunter
from src.models.embed import embed_tracks
from src.models.move import MOVEModel
from src.models.window_embedder import Feature2Embeddings
from src.retrieval.blend import BLEND
from src.retrieval.chunk_distance import chunk_distances
from src.retrieval.collection import Collection
from src.retrieval.fourier import fourier_magnitude_embedding
from src.retrieval.joint import joint_distances, scale_of
from src.retrieval.metrics import rank_distances
from src.retrieval.qmax import prepare, qmax_distances
from src.retrieval.ranking import Ranking, rank_relevant
from src.retrieval.rerank import PairDistance, rerank
from src.retrieval.testset import default_chunk_s
from src.retrieval.windows import COSINE, WindowTable
from src.training.evaluation import rerank_embeddings, versions_to_find

FOURIER, QMAX = "fourier", "qmax"
TOGETHER = " + "  # between the names, and the keys, of several methods at once


class Method(ABC):
    """One row of a comparison.

    Attributes:
        name: in tables.
        key: what a person calls it by: a word, or the path of a model.
        features: what it reads.
        parts: the methods that it consists of, if it is several.
        by_matrix: whether it ranks by a matrix of all distances.
    """

    parts: tuple["Method", ...] = ()
    by_matrix = False

    def __init__(self, name: str, key: str, features: Features) -> None:
        self.name = name
        self.key = key
        self.features = features

    @abstractmethod
    def describe(self, tracks: Sequence[np.ndarray], names: Sequence[str]) -> list[Any]:
        """A description of each recording.

        Args:
            tracks: features of each recording, ``(frames, bins)``.
            names: of the recordings, for the sentences of errors.
        """

    def describe_set(self, collection: Collection) -> list[Any]:
        """A description of each recording of a set."""
        return self.describe(collection.features(self.features), collection.names)

    @abstractmethod
    def distances(self, queries: list[Any], references: list[Any] | None) -> np.ndarray:
        """``(N, M)`` between descriptions, smaller = closer; None compares queries themselves."""

    @abstractmethod
    def rank(
        self,
        queries: list[Any],
        labels: list[str],
        references: list[Any] | None = None,
        *,
        distances: np.ndarray | None = None,
    ) -> Ranking:
        """Every recording a query, all others its references.

        Args:
            queries: descriptions of N recordings.
            labels: the work of each.
            references: other descriptions of the same N recordings to search in; None takes the
                queries. A recording is never its own reference.
            distances: what :meth:`distances` gives for them, if that is known; of use to a method
                that is :attr:`by_matrix`.

        Raises:
            UserError: no recording has another version.
        """

    @abstractmethod
    def rerank(
        self,
        queries: list[Any],
        labels: list[str],
        k: int,
        pair_distance: PairDistance,
        *,
        blend: float = BLEND,
        distances: np.ndarray | None = None,
    ) -> Ranking:
        """The same, the first K references of each query ordered anew with ``pair_distance``.

        See :mod:`src.retrieval.rerank`; ``blend`` is the share of that distance in the order.
        """

    def numbers(self, described: Sequence[Any]) -> float:
        """How many numbers describe a recording, on average."""
        return float(np.mean([np.prod(item.shape) for item in described]))


class _ByVector(Method):
    """One vector a recording."""

    distance = COSINE
    device: torch.device | None = None

    def distances(self, queries, references):
        own = self._table(queries)
        return (own if references is None else self._table(references)).nearest_to(own)

    def _table(self, vectors: list[torch.Tensor]) -> WindowTable:
        """Each vector is the only window of its recording."""
        return WindowTable.build(list(torch.stack(vectors).cpu().numpy()[:, None]), self.distance)

    def rank(self, queries, labels, references=None, *, distances=None):
        return rank_relevant(
            torch.stack(queries),
            None if references is None else torch.stack(references),
            relevant=versions_to_find(labels),
            distance=self.distance,
            device=self.device,
        )

    def rerank(self, queries, labels, k, pair_distance, *, blend=BLEND, distances=None):
        return rerank_embeddings(
            self.rank(queries, labels),
            versions_to_find(labels),
            torch.stack(queries),
            k,
            pair_distance,
            blend=blend,
            distance=self.distance,
            device=self.device,
        )


class _ByDistances(Method):
    """A matrix of distances between all recordings."""

    by_matrix = True

    def rank(self, queries, labels, references=None, *, distances=None):
        versions_to_find(labels)
        itself = np.eye(len(labels), dtype=bool)
        distances = self.distances(queries, references) if distances is None else distances
        return rank_distances(distances, labels, labels, excluded=itself)

    def rerank(self, queries, labels, k, pair_distance, *, blend=BLEND, distances=None):
        versions_to_find(labels)
        itself = np.eye(len(labels), dtype=bool)
        places = rerank(
            self.distances(queries, None) if distances is None else distances,
            k,
            pair_distance,
            blend=blend,
            excluded=itself,
            workers=os.cpu_count() or 1,
        )
        return rank_distances(places, labels, labels, excluded=itself)


class Fourier(_ByVector):
    """The unsupervised baseline: 2D Fourier magnitudes of cremaPCP, cosine distance."""

    def __init__(self, crema_version: str = DEFAULT_CREMA) -> None:
        super().__init__("2D Fourier magnitude (unsupervised)", FOURIER, crema_version)

    def describe(self, tracks, names):
        return [torch.from_numpy(fourier_magnitude_embedding(track)) for track in tracks]


class Qmax(_ByDistances):
    """The unsupervised mark: every pair of recordings compared frame by frame.

    Args:
        crema_version: of the features.
        progress: show a progress bar.
    """

    def __init__(self, crema_version: str = DEFAULT_CREMA, *, progress: bool = False) -> None:
        super().__init__("Qmax (unsupervised, pair by pair)", QMAX, crema_version)
        self.progress = progress

    def describe(self, tracks, names):
        return [prepare(track, name=name) for track, name in zip(tracks, names, strict=True)]

    def distances(self, queries, references):
        return qmax_distances(
            queries, references, progress=self.progress, workers=os.cpu_count() or 1
        )

    def numbers(self, described):
        return float(np.mean([item.frames.size for item in described]))


class Move(_ByVector):
    """A MOVE or Re-MOVE model, on whole recordings."""

    def __init__(
        self,
        model: MOVEModel,
        *,
        name: str,
        key: str,
        crema_version: str,
        distance: str,
        device: torch.device,
    ) -> None:
        super().__init__(name, key, crema_version)
        self.model = model.to(device)
        self.distance = distance
        self.device = device

    def describe(self, tracks, names):
        chroma = (double_chroma(track) for track in tracks)
        return list(embed_tracks(self.model, chroma, device=self.device))


class Windows(_ByDistances):
    """A CoverHunter: two recordings are as near as the nearest pair of their windows.

    Args:
        model: the network.
        name, key: see :class:`Method`.
        device: where to compute.
        as_testset: cut windows as ``tools.eval_testset`` does: side by side, without what is left
            at the end. Otherwise they overlap by half, and nothing of a recording is lost.
    """

    def __init__(
        self,
        model: CoverHunter,
        *,
        name: str,
        key: str,
        device: torch.device,
        as_testset: bool = False,
    ) -> None:
        super().__init__(name, key, model.feature_spec)
        chunk_s = default_chunk_s(model)
        self.embed = Feature2Embeddings(
            model.to(device),
            chunk_s=chunk_s,
            hop_s=chunk_s if as_testset else chunk_s / 2,
            keep_tail=not as_testset,
            device=device,
        )

    def describe(self, tracks, names):
        return [embeddings for embeddings, _ in self.embed.embed_features(tracks)]

    def distances(self, queries, references):
        return chunk_distances(queries, references, device=self.embed.device)


class Together(_ByDistances):
    """Several methods at once, see :mod:`src.retrieval.joint`.

    The scale of each method is that of its distances between all recordings of the set, whatever
    their works.

    Args:
        parts: the methods. The first that reads cremaPCP says which version re-ranks.
    """

    def __init__(self, parts: Sequence[Method]) -> None:
        features = [part.features for part in parts]
        super().__init__(
            TOGETHER.join(part.name for part in parts),
            TOGETHER.join(part.key for part in parts),
            next((known for known in features if isinstance(known, str)), features[0]),
        )
        self.parts = tuple(parts)

    def describe(self, tracks, names):
        raise TypeError("several methods do not read the same features; use describe_set")

    def describe_set(self, collection):
        return self.together([part.describe_set(collection) for part in self.parts])

    @staticmethod
    def together(described: Sequence[list[Any]]) -> list[Any]:
        """Descriptions of each part, as a description of each recording."""
        return list(zip(*described, strict=True))

    def numbers(self, described):
        each = zip(self.parts, zip(*described, strict=True), strict=True)
        return sum(part.numbers(own) for part, own in each)

    def distances(self, queries, references):
        each = []
        for number, part in enumerate(self.parts):
            own = [query[number] for query in queries]
            others = None if references is None else [item[number] for item in references]
            each.append(part.distances(own, others))
        return self.joined(each)

    @staticmethod
    def joined(distances: Sequence[np.ndarray]) -> np.ndarray:
        """Distances ``(N, N)`` of each part, as one."""
        return joint_distances(distances, [scale_of(own) for own in distances])
