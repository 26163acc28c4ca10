"""CoverHunter model directories: ``config/hparams.yaml`` beside ``pt_model/g_XXXXXXXX``.

A checkpoint is ``{"generator": state dict}`` under the published names, as the original writes
and reads it; ours also carry the configuration and the features they were trained on. Files are
read without running code they may carry.
"""

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from src.audio.cqt import CQTSpec
from src.errors import UserError
from src.files import atomic_path, load_tensors, save_tensors
from src.models.coverhunter import FOCAL_BLOCKS, CoverHunter
from src.training.state_dicts import fill, halved, without_wrapper

CONFIG = Path("config", "hparams.yaml")
FOLDERS = ("pt_model", "checkpoints")  # the second is that of newer versions of the original
MACHINE_KEYS = ("device", "start_from", "num_workers")  # beside whatever is a path
PREFIX = "g_"
CLASS_LAYER = "_ce_layer.weight"
STATISTICS = ("running_mean", "running_var")  # small variances would vanish in half precision
# Names of the CQT's parameters in configurations, ours first.
SPEC_NAMES = {
    "sample_rate": ("sample_rate",),
    "hop_size": ("hop_size",),
    "octave_resolution": ("octave_resolution", "bins_per_octave"),
    "min_freq": ("min_freq", "fmin"),
    "max_freq": ("max_freq", "fmax"),
    "n_bins": ("n_bins",),
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Generator:
    """What a checkpoint file holds: weights, and for files of ours what they belong to."""

    state: dict[str, Tensor]
    hparams: dict[str, Any] | None
    feature_spec: CQTSpec | None


def generator_path(model_dir: str | os.PathLike, epoch: int) -> Path:
    """Where the weights after ``epoch`` are written."""
    return Path(model_dir, FOLDERS[0], f"{PREFIX}{epoch:08d}")


def list_generators(model_dir: str | os.PathLike) -> dict[int, Path]:
    """The checkpoints of a model directory by epoch, oldest first."""
    found: dict[int, Path] = {}
    for folder in reversed(FOLDERS):
        for path in Path(model_dir, folder).glob(f"{PREFIX}*"):
            if re.fullmatch(r"\d{8}", path.name.removeprefix(PREFIX)) and path.is_file():
                found[int(path.name.removeprefix(PREFIX))] = path
    return dict(sorted(found.items()))


def save_generator(model: CoverHunter, path: str | os.PathLike, *, half: bool = False) -> None:
    """Write weights, configuration and feature specification of a model, atomically.

    Args:
        model: the model; it is not changed. Its attribute ``feature_spec`` is written where
            there is one.
        path: file to write, usually :func:`generator_path`.
        half: store the weights in 16-bit floats (statistics of batch norms stay in float32).

    Raises:
        UserError: the folder cannot be written to, or a weight does not fit into 16 bits.
    """
    state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    content = {
        "generator": halved(state, STATISTICS, path) if half else state,
        "hparams": json.loads(json.dumps(model.hparams)),  # nothing but plain values
    }
    spec = getattr(model, "feature_spec", None)
    if spec is not None:
        content["feature_spec"] = spec.to_dict()
    save_tensors(content, path)


def read_generator(path: str | os.PathLike) -> Generator:
    """Read a checkpoint file, ours or the original's, without a look at what the weights are.

    Raises:
        UserError: the file is missing, damaged, carries code or is no CoverHunter checkpoint.
    """
    path = Path(path)
    content = load_tensors(path)
    if not isinstance(content, dict) or not isinstance(content.get("generator"), dict):
        kind = "it holds no generator"
        if isinstance(content, dict) and any("lin1.weight" in str(name) for name in content):
            kind = "it is a Re-MOVE or MOVE model"
        raise UserError(f"{path} is not a CoverHunter checkpoint: {kind}")
    state = content["generator"]
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UserError(
                f"{path} is not a CoverHunter checkpoint: {name} is a {type(value).__name__}, "
                "not a tensor"
            )
    hparams = content.get("hparams")
    spec = content.get("feature_spec")
    try:
        spec = None if spec is None else CQTSpec.from_dict(spec)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} states features that cannot be: {error}") from error
    return Generator(without_wrapper(state), hparams if isinstance(hparams, dict) else None, spec)


def read_hparams(model_dir: str | os.PathLike) -> dict[str, Any]:
    """The configuration of a model directory as it stands, also with keys nobody knows.

    Raises:
        UserError: the directory or the file is missing, or it is not a YAML mapping.
    """
    model_dir = Path(model_dir)
    if not model_dir.is_dir():
        raise UserError(f"the model directory {model_dir} does not exist")
    path = model_dir / CONFIG
    try:
        hparams = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{path} is missing; a model directory holds {CONFIG} and {FOLDERS[0]}/{PREFIX}XXXXXXXX"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1})" if where else ""
        raise UserError(f"{path} is not valid YAML{line}") from error
    if not isinstance(hparams, dict):
        raise UserError(f"{path} holds no keys and values")
    return hparams


def load_coverhunter(model_dir: str | os.PathLike, epoch: int | None = None) -> CoverHunter:
    """Read a CoverHunter model, ours or the original's, in eval mode on the CPU in float32.

    The number of classes is the checkpoint's, whatever the configuration says: it matters in
    training only.

    Args:
        model_dir: folder with ``config/hparams.yaml`` and ``pt_model/`` (or ``checkpoints/``).
        epoch: number of the checkpoint; None takes the newest. A newest file that is damaged, as
            a machine leaves it that stops while writing, is passed over with a warning.

    Returns:
        The model, with the attributes ``feature_spec`` (:class:`CQTSpec` of the features it was
        trained on: the file's, else the configuration's, else the reference) and ``epoch``.

    Raises:
        UserError: the directory, its configuration or the checkpoint is missing; the checkpoint
            is damaged, carries code, is none of CoverHunter, has other shapes than the
            configuration says, or holds non-finite numbers.
    """
    model_dir = Path(model_dir)
    hparams = read_hparams(model_dir)
    epoch, path, content = _choose(model_dir, epoch)
    hparams = _completed(hparams, content.hparams or {})
    model = build_coverhunter(_with_classes(hparams, content.state, path), model_dir / CONFIG)
    fill(model, content.state, path, f"{path} does not fit {model_dir / CONFIG}")
    model.feature_spec = content.feature_spec or spec_from_hparams(hparams, model_dir / CONFIG)
    if model.feature_spec.bins != model.input_dim:
        raise UserError(
            f"{model_dir / CONFIG} says input_dim {model.input_dim}, but the features of {path} "
            f"have {model.feature_spec.bins} bins; correct input_dim or the cqt section"
        )
    model.epoch = epoch
    return model.eval()


def build_coverhunter(hparams: dict[str, Any], source: object) -> CoverHunter:
    """An untrained model; no random number is consumed.

    Raises:
        UserError: the configuration, from ``source``, makes no model.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            return CoverHunter(hparams)
    except ValueError as error:
        raise UserError(f"{source}: {error}") from error


def spec_from_hparams(hparams: dict[str, Any], source: object) -> CQTSpec:
    """The features that a configuration describes in its ``cqt`` section and ``input_dim``.

    What it does not say is as in the original.

    Raises:
        UserError: the section, from ``source``, makes no CQT.
    """
    section = hparams.get("cqt")
    section = section if isinstance(section, Mapping) else {}
    stated = {
        ours: next((section[name] for name in names if section.get(name) is not None), None)
        for ours, names in SPEC_NAMES.items()
    }
    values = {name: value for name, value in stated.items() if value is not None}
    if "max_freq" not in values:
        values.setdefault("n_bins", hparams.get("input_dim"))
    try:
        return CQTSpec.from_dict(values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{source}, section cqt and input_dim: {error}") from error


def load_averaged(model_dir: str | os.PathLike, count: int) -> CoverHunter:
    """The mean of the weights of the newest ``count`` checkpoints of one training.

    Weights that were visited one after the other lie in one valley, and its middle generalises
    better than its sides: Izmailov et al., "Averaging weights leads to wider optima and better
    generalization" (UAI 2018).

    Raises:
        UserError: there are fewer checkpoints, or one of them cannot be read.
    """
    epochs = list(list_generators(model_dir))[-count:]
    if len(epochs) < max(count, 1):
        raise UserError(f"{model_dir} holds {len(epochs)} checkpoints, of {count} to be averaged")
    model = load_coverhunter(model_dir, epochs[-1])
    own = model.state_dict()
    sums = {name: torch.zeros_like(value, dtype=torch.double) for name, value in own.items()}
    for epoch in epochs:
        for name, value in load_coverhunter(model_dir, epoch).state_dict().items():
            sums[name] += value.double()
    means = {
        name: (sums[name] / count).to(value.dtype) if value.is_floating_point() else value
        for name, value in own.items()
    }
    model.load_state_dict(means)
    return model


def export_coverhunter(
    source: str | os.PathLike, target: str | os.PathLike, *, half: bool = True, average: int = 1
) -> int:
    """Copy configuration and newest checkpoint of a model directory; returns their size in bytes.

    Args:
        source: model directory, see :func:`load_coverhunter`.
        target: model directory to write.
        half: store the weights in 16-bit floats.
        average: take the mean of so many of the newest checkpoints.

    Raises:
        UserError: ``source`` holds no model, or ``target`` cannot be written.
    """
    model = load_coverhunter(source) if average == 1 else load_averaged(source, average)
    return write_coverhunter(model, target, half=half)


def write_coverhunter(model: CoverHunter, target: str | os.PathLike, *, half: bool = False) -> int:
    """Write a model as a new directory; returns its size in bytes.

    The configuration comes last: what is stopped on the way is no model yet.

    Args:
        model: as :func:`load_coverhunter` reads it; its configuration becomes :func:`portable`.
        target: model directory to write.
        half: store the weights in 16-bit floats.

    Raises:
        UserError: ``target`` cannot be written or holds a newer checkpoint, or a weight does not
            fit into 16 bits.
    """
    target = Path(target)
    newest = max(list_generators(target), default=model.epoch)
    if newest > model.epoch:
        raise UserError(
            f"{target} holds a checkpoint of epoch {newest}, which would be read in place of this "
            f"one of epoch {model.epoch}; choose another name or remove it"
        )
    model.hparams = portable(model.hparams)
    weights = generator_path(target, model.epoch)
    save_generator(model, weights, half=half)
    with atomic_path(target / CONFIG) as temporary:
        temporary.write_text(yaml.safe_dump(model.hparams, sort_keys=False), "utf-8")
    return weights.stat().st_size + (target / CONFIG).stat().st_size


def portable(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without what is only true on the machine that trained: lists and paths."""
    return {
        name: value
        for name, value in hparams.items()
        if name not in MACHINE_KEYS
        and not name.endswith("_path")
        and not (isinstance(value, Mapping) and any(key.endswith("path") for key in value))
    }


def _choose(model_dir: Path, epoch: int | None) -> tuple[int, Path, Generator]:
    """The checkpoint that was asked for, or the newest that can be read."""
    found = list_generators(model_dir)
    if not found:
        raise UserError(
            f"{model_dir} holds no checkpoint; {FOLDERS[0]}/{PREFIX}XXXXXXXX was expected there"
        )
    if epoch is not None:
        if epoch not in found:
            raise UserError(
                f"{model_dir} has no checkpoint of epoch {epoch}; there are "
                f"{', '.join(map(str, found))}"
            )
        return epoch, found[epoch], read_generator(found[epoch])
    failure: UserError | None = None
    for number, path in reversed(found.items()):
        try:
            content = read_generator(path)
        except UserError as error:
            failure = failure or error
            continue
        if failure:
            _log.warning("%s; %s is used instead", failure, path)
        return number, path, content
    assert failure is not None
    raise failure


def _completed(hparams: dict[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
    """What hparams.yaml leaves out is as it was in training."""
    values = dict(hparams)
    for name, value in trained.items():
        own = values.get(name)
        if own is None:
            values[name] = value
        elif isinstance(own, dict) and isinstance(value, Mapping):
            values[name] = _completed(own, value)
    return values


def _with_classes(hparams: dict[str, Any], state: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """The configuration with the number of classes of the checkpoint."""
    layer = state.get(CLASS_LAYER)
    name = next((name for name in FOCAL_BLOCKS if isinstance(hparams.get(name), dict)), None)
    if name is None or layer is None or layer.ndim != 2 or len(layer) == 0:
        return hparams  # building or filling the model says what is wrong
    block = dict(hparams[name])
    if block.get("output_dims") in ("auto", None):
        block["output_dims"] = len(layer)
    elif block["output_dims"] != len(layer):
        _log.warning(
            "%s has %d classes, its configuration says %s; this matters in training only",
            path,
            len(layer),
            block.get("output_dims"),
        )
        block["output_dims"] = len(layer)
        block.pop("alpha", None)  # weights of other classes
    return {**hparams, name: block}
