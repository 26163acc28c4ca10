"""Ways to compare recordings, behind one interface: trained models, their controls, baselines.

A method describes every recording by some numbers and ranks recordings by them. Whatever compares
methods (tables, robustness, choices of a corpus) sees no more of a model than this.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from src.data.chroma import double_chroma
from src.data.sound_features import Features
from src.errors import UserError
from src.models.coverhunter import CoverHunter
from src.models.embed import embed_tracks
from src.models.move import MOVEModel
from src.models.window_embedder import Feature2Embeddings
from src.retrieval.chunk_distance import chunk_distances
from src.retrieval.fourier import fourier_magnitude_embedding
from src.retrieval.metrics import rank_distances
from src.retrieval.qmax import prepare, qmax_distances
from src.retrieval.ranking import Ranking, rank_relevant
from src.retrieval.rerank import PairDistance, rerank
from src.retrieval.testset import default_chunk_s
from src.retrieval.window_networks import CoverHunterNetwork, MoveNetwork, open_network
from src.retrieval.windows import COSINE
from src.training.evaluation import DEFAULT_CREMA, rerank_embeddings, versions_to_find

logger = logging.getLogger(__name__)


class Method(ABC):
    """One row of a comparison.

    Attributes:
        name: in tables.
        key: what a person calls it by: a word, or the path of a model.
        features: what it reads.
    """

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

    @abstractmethod
    def rank(
        self, queries: list[Any], labels: list[str], references: list[Any] | None = None
    ) -> Ranking:
        """Every recording a query, all others its references.

        Args:
            queries: descriptions of N recordings.
            labels: the work of each.
            references: other descriptions of the same N recordings to search in; None takes the
                queries. A recording is never its own reference.

        Raises:
            UserError: no recording has another version.
        """

    @abstractmethod
    def rerank(
        self, queries: list[Any], labels: list[str], k: int, pair_distance: PairDistance
    ) -> Ranking:
        """The same, the first K references of each query in the order of ``pair_distance``."""

    def numbers(self, described: Sequence[Any]) -> float:
        """How many numbers describe a recording, on average."""
        return float(np.mean([np.prod(item.shape) for item in described]))


class _ByVector(Method):
    """One vector a recording."""

    distance = COSINE
    device: torch.device | None = None

    def rank(self, queries, labels, references=None):
        return rank_relevant(
            torch.stack(queries),
            None if references is None else torch.stack(references),
            relevant=versions_to_find(labels),
            distance=self.distance,
            device=self.device,
        )

    def rerank(self, queries, labels, k, pair_distance):
        return rerank_embeddings(
            self.rank(queries, labels),
            versions_to_find(labels),
            torch.stack(queries),
            k,
            pair_distance,
            distance=self.distance,
            device=self.device,
        )


class _ByDistances(Method):
    """A matrix of distances between all recordings."""

    @abstractmethod
    def distances(self, queries: list[Any], references: list[Any] | None) -> np.ndarray:
        """``(N, N)``, smaller = closer."""

    def rank(self, queries, labels, references=None):
        versions_to_find(labels)
        itself = np.eye(len(labels), dtype=bool)
        distances = self.distances(queries, references)
        return rank_distances(distances, labels, labels, excluded=itself)

    def rerank(self, queries, labels, k, pair_distance):
        versions_to_find(labels)
        itself = np.eye(len(labels), dtype=bool)
        places = rerank(
            self.distances(queries, None),
            k,
            pair_distance,
            excluded=itself,
            workers=os.cpu_count() or 1,
        )
        return rank_distances(places, labels, labels, excluded=itself)


class Fourier(_ByVector):
    """The unsupervised baseline: 2D Fourier magnitudes of cremaPCP, cosine distance."""

    def __init__(self, crema_version: str = DEFAULT_CREMA) -> None:
        super().__init__("2D Fourier magnitude (unsupervised)", "fourier", crema_version)

    def describe(self, tracks, names):
        return [torch.from_numpy(fourier_magnitude_embedding(track)) for track in tracks]


class Qmax(_ByDistances):
    """The unsupervised mark: every pair of recordings compared frame by frame.

    Args:
        crema_version: of the features.
        progress: show a progress bar.
    """

    def __init__(self, crema_version: str = DEFAULT_CREMA, *, progress: bool = False) -> None:
        super().__init__("Qmax (unsupervised, pair by pair)", "qmax", crema_version)
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
        model: nn.Module,
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


def untrained_move(*, seed: int, crema_version: str, device: torch.device) -> Move:
    """The control: MOVE with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MOVEModel()
    return Move(
        model,
        name=f"MOVE, {model.fin_emb_size}, untrained (control)",
        key="untrained-move",
        crema_version=crema_version,
        distance=COSINE,
        device=device,
    )


def untrained_coverhunter(
    like: CoverHunter, *, seed: int, device: torch.device, as_testset: bool = False
) -> Windows:
    """The control: a CoverHunter of the same configuration with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        control = CoverHunter(like.hparams)
    control.feature_spec = like.feature_spec
    return Windows(
        control,
        name=f"CoverHunter, {control.embed_dim}, untrained (control)",
        key="untrained-coverhunter",
        device=device,
        as_testset=as_testset,
    )


def open_model(
    path: str | os.PathLike, *, device: torch.device, as_testset: bool = False
) -> Move | Windows:
    """A trained model as a method.

    Args:
        path: a CoverHunter directory (or one ``g_...`` file in it) or a Re-MOVE ``.pt``.
        device: where to compute.
        as_testset: see :class:`Windows`.

    Raises:
        UserError: there is no such model, or it is damaged.
    """
    path = Path(path)
    network = open_network(path, device)
    key = path.as_posix()
    if isinstance(network, CoverHunterNetwork):
        named = path.resolve().name
        other = "" if named == "coverhunter" else f" {named}"
        return Windows(
            network.model,
            name=f"CoverHunter{other}, {network.model.embed_dim}",
            key=key,
            device=device,
            as_testset=as_testset,
        )
    assert isinstance(network, MoveNetwork)
    return Move(
        network.model,
        name=f"{_move_name(path)}, {network.model.fin_emb_size}",
        key=key,
        crema_version=network.crema_version,
        distance=network.distance,
        device=device,
    )


def _move_name(path: Path) -> str:
    """``models/model_move.pt`` is MOVE; ``models/lsr_models/...`` is Re-MOVE lsr."""
    folder = path.resolve().parent.name
    if folder.endswith("_models"):
        return f"Re-MOVE {folder.removesuffix('_models')}"
    return "MOVE" if path.stem == "model_move" else path.stem


def find_models(folder: Path) -> list[Path]:
    """Trained models below a folder: MOVE, then Re-MOVE by experiment, then CoverHunters."""
    move = sorted(folder.glob("*.pt")) + sorted(folder.glob("*_models/*.pt"))
    unfinished = ("_initial.pt", ".state.pt")  # what training keeps beside a model
    configurations = sorted(folder.rglob("config/hparams.yaml"))
    return [
        *(path for path in move if not path.name.endswith(unfinished)),
        *(path.parents[1] for path in configurations),
    ]


def open_models(
    paths: Sequence[Path] | None, folder: Path, *, device: torch.device, as_testset: bool = False
) -> list[Move | Windows]:
    """The models that a person names, or else all of a folder.

    Args:
        paths: see :func:`open_model`; None takes what is in ``folder``, where a model that cannot
            be read is left out with a sentence.
        folder: see :func:`find_models`.
        device, as_testset: see :func:`open_model`.

    Raises:
        UserError: a path that was named is no model.
    """
    if paths is not None:
        return [open_model(path, device=device, as_testset=as_testset) for path in paths]
    found = []
    for path in find_models(folder):
        try:
            found.append(open_model(path, device=device, as_testset=as_testset))
        except UserError as error:
            logger.warning("%s is left out: %s", path, error)
    return found


def all_methods(
    models: Iterable[Move | Windows],
    *,
    device: torch.device,
    qmax: bool = True,
    untrained: bool = True,
    seed: int = 0,
    crema_version: str = DEFAULT_CREMA,
    as_testset: bool = False,
    progress: bool = False,
) -> list[Method]:
    """Baselines, then Re-MOVE and CoverHunter models, each kind behind its untrained control.

    CoverHunter's control has the configuration of the first one; without any there is none.

    Args:
        models: trained ones.
        device: where to compute.
        qmax: with Qmax.
        untrained: with controls.
        seed: of their weights.
        crema_version: of the cremaPCP for baselines and controls.
        as_testset: see :class:`Windows`.
        progress: show a progress bar of Qmax.

    Raises:
        UserError: one model is given twice.
    """
    models = list(models)
    moves: list[Method] = [model for model in models if isinstance(model, Move)]
    windows: list[Method] = [model for model in models if isinstance(model, Windows)]
    if untrained:
        control = untrained_move(seed=seed, crema_version=crema_version, device=device)
        moves.insert(0, control)
    if untrained and windows:
        like = windows[0].embed.model
        control = untrained_coverhunter(like, seed=seed, device=device, as_testset=as_testset)
        windows.insert(0, control)
    found: list[Method] = [Fourier(crema_version)]
    if qmax:
        found.append(Qmax(crema_version, progress=progress))
    return _distinct([*found, *moves, *windows])


def _distinct(methods: list[Method]) -> list[Method]:
    """Give methods of the same name the ends of their paths as well.

    Raises:
        UserError: one model is given twice.
    """
    keys = [method.key for method in methods]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise UserError(f"{twice} is given twice")
    names = [method.name for method in methods]
    for method in methods:
        if names.count(method.name) > 1:
            method.name += f" ({'/'.join(Path(method.key).parts[-2:])})"
    return methods
