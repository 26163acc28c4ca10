"""Which methods a comparison has: models by their paths, baselines and controls by words."""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from src.data.crema_features import DEFAULT_CREMA
from src.errors import UserError
from src.models.coverhunter import CoverHunter
from src.models.move import MOVEModel
from src.retrieval.window_networks import CoverHunterNetwork, MoveNetwork, open_network
from src.retrieval.windows import COSINE
from src.training.methods import FOURIER, QMAX, Fourier, Method, Move, Qmax, Windows

logger = logging.getLogger(__name__)

UNTRAINED_MOVE, UNTRAINED_COVERHUNTER = "untrained-move", "untrained-coverhunter"


def untrained_move(
    *, seed: int, crema_version: str, device: torch.device, like: MOVEModel | None = None
) -> Move:
    """The control: MOVE with random weights, that averages and pads as ``like`` does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        same = {} if like is None else {"mean_frames": like.mean_frames, "padding": like.padding}
        model = MOVEModel(**same)
    return Move(
        model,
        name=f"MOVE, {model.fin_emb_size}, untrained (control)",
        key=UNTRAINED_MOVE,
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
        key=UNTRAINED_COVERHUNTER,
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


def open_method(
    name: str, *, device: torch.device, seed: int = 0, crema_version: str = DEFAULT_CREMA
) -> Method:
    """A method by the word for it, or a model by its path.

    Args:
        name: ``fourier``, ``qmax``, ``untrained-move`` or a path, see :func:`open_model`.
        device: where to compute.
        seed: of untrained weights.
        crema_version: of the cremaPCP for what was not trained.

    Raises:
        UserError: it is none of these.
    """
    if name == FOURIER:
        return Fourier(crema_version)
    if name == QMAX:
        return Qmax(crema_version)
    if name == UNTRAINED_MOVE:
        return untrained_move(seed=seed, crema_version=crema_version, device=device)
    return open_model(name, device=device)


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

    A control has the configuration of the first model of its kind; without a CoverHunter there is
    none of that kind.

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
        like = next((model.model for model in models if isinstance(model, Move)), None)
        control = untrained_move(seed=seed, crema_version=crema_version, device=device, like=like)
        moves.insert(0, control)
    if untrained and windows:
        like = windows[0].embed.model
        control = untrained_coverhunter(like, seed=seed, device=device, as_testset=as_testset)
        windows.insert(0, control)
    found: list[Method] = [Fourier(crema_version)]
    if qmax:
        found.append(Qmax(crema_version, progress=progress))
    return distinct([*found, *moves, *windows])


def distinct(methods: list[Method]) -> list[Method]:
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
