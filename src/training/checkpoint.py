"""Trained models on disk.

A MOVE model is a plain ``state_dict`` (tensors under the published names), as the original
Re-MOVE writes and reads it; what else is known about the model stands in a JSON file of the same
name beside it. Files are read without running code they may carry.
"""

import os
from pathlib import Path
from typing import Any

import torch

from src.data.crema_features import FEATURE_KEYS, SOUND_WITH, TRAINED_ON
from src.errors import UserError
from src.files import load_tensors, read_json, save_tensors, write_json
from src.models.move import MOVEModel
from src.training.generator_files import export_coverhunter, load_coverhunter, save_generator
from src.training.state_dicts import fill, halved, without_wrapper

__all__ = [
    "export_coverhunter",
    "export_move",
    "load_coverhunter",
    "load_move",
    "metadata_path",
    "read_metadata",
    "save_generator",
    "save_move",
]

STATISTICS = "lin_bn."  # small variances would vanish in half precision


def metadata_path(path: str | os.PathLike) -> Path:
    """Where the description of the model file ``path`` stands: the same name with ``.json``."""
    return Path(path).with_suffix(".json")


def read_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """What is written beside the model file ``path``; empty when there is no such file.

    Raises:
        UserError: the description is not a JSON object, or names a version of crema that is not
            known.
    """
    beside = metadata_path(path)
    if not beside.is_file():
        return {}
    metadata = read_json(beside)
    if not isinstance(metadata, dict):
        raise UserError(f"{beside} is not a JSON object; remove it or write it anew")
    for key in (TRAINED_ON, SOUND_WITH):
        version = metadata.get(key)
        if version is not None and version not in list(FEATURE_KEYS):  # a list: any JSON may stand
            raise UserError(f"{beside}: {key} must be one of {', '.join(FEATURE_KEYS)}")
    return metadata


def save_move(
    model: MOVEModel,
    path: str | os.PathLike,
    *,
    half: bool = False,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Write a MOVE model as a plain state dict, with a JSON description beside it.

    Args:
        model: the model; it is not changed.
        path: file to write, usually ``model_<name>.pt``.
        half: store the weights in 16-bit floats (batch norm statistics stay in float32).
        metadata: anything JSON can hold, added to the description (cremaPCP version, recipe).

    Raises:
        UserError: the folder cannot be written to, or a weight does not fit into 16 bits.
    """
    state = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    state = halved(state, (STATISTICS,), path) if half else state
    description = {
        "model": "MOVE",
        "emb_size": model.lin1.out_features,
        "sum_method": model.sum_method,
        "final_activation": model.final_activation,
        "mean_frames": model.mean_frames,
        "padding": model.padding,
        "precision": "float16" if half else "float32",
    }
    # First, so that weights never stand there without what says how they are to be read.
    write_json({**(metadata or {}), **description}, metadata_path(path))
    save_tensors(state, path)


def load_move(path: str | os.PathLike, *, emb_size: int | None = None) -> MOVEModel:
    """Read a MOVE model, ours or the original's, in eval mode on the CPU in float32.

    The embedding size is the file's. Summary, final activation, averaged frames and padding
    are those of the description beside the file, by default the published ones (4, 3, 1 and 0).

    Args:
        path: a plain state dict written by ``torch.save``; 16-bit weights are widened.
        emb_size: refuse a model of another embedding size.

    Raises:
        UserError: the file is missing, damaged, carries code, is not a MOVE model, has other
            sizes than MOVE, holds non-finite numbers, or is not of size ``emb_size``.
    """
    path = Path(path)
    state = _plain_state(load_tensors(path), path)
    rows = state["lin1.weight"].shape[0] if state["lin1.weight"].ndim == 2 else 0
    if rows == 0:
        raise UserError(f"{path} is not a MOVE model: lin1.weight is not a matrix")
    if emb_size is not None and rows != emb_size:
        raise UserError(
            f"{path} holds a model of embedding size {rows}, but size {emb_size} was asked for; "
            f"use --emb_size {rows} or another model file"
        )
    model = _empty_move(rows, read_metadata(path), path)
    fill(model, state, path, f"{path} is not a MOVE model")
    return model.eval()


def _plain_state(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The state dict in ``content``, without the prefix of a wrapped model."""
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise UserError(f"{path} is not a MOVE model: it holds no dictionary of named tensors")
    if "generator" in content:
        raise UserError(f"{path} is a CoverHunter checkpoint, not a MOVE model")
    content = without_wrapper(content)
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise UserError(
                f"{path} is not a MOVE model: {name} is a {type(value).__name__}, not a tensor"
            )
    if "lin1.weight" not in content:
        raise UserError(f"{path} is not a MOVE model: lin1.weight is missing")
    return content


def _empty_move(emb_size: int, metadata: dict[str, Any], path: Path) -> MOVEModel:
    """A MOVE model without weights: nothing is drawn, so no random state is touched."""
    published = {"sum_method": 4, "final_activation": 3, "mean_frames": 1, "padding": 0}
    options = {name: metadata.get(name, value) for name, value in published.items()}
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise UserError(f"{metadata_path(path)}: {name} must be an integer, not {value!r}")
    try:
        with torch.device("meta"):
            return MOVEModel(emb_size, **options)
    except ValueError as error:
        raise UserError(f"{metadata_path(path)}: {error}") from error


def export_move(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    half: bool = True,
    crema_for_sound: str | None = None,
    padding: int | None = None,
) -> int:
    """Copy a MOVE model with its description; returns the size of the new file in bytes.

    Args:
        source: file to read, see :func:`load_move`.
        target: file to write, see :func:`save_move`.
        half: store the weights in 16-bit floats.
        crema_for_sound: version of crema to describe recordings with from now on; None leaves that
            as it is.
        padding: silent frames that the model puts around a recording from now on; None leaves that
            as it is.

    Raises:
        UserError: ``source`` is no MOVE model, or ``target`` cannot be written.
    """
    metadata = read_metadata(source)
    if crema_for_sound is not None:
        metadata = {**metadata, SOUND_WITH: crema_for_sound}
    model = load_move(source)
    if padding is not None:
        model.padding = padding
    save_move(model, target, half=half, metadata=metadata)
    return Path(target).stat().st_size
