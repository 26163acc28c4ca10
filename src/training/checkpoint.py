"""Trained models on disk.

A MOVE model is a plain ``state_dict`` (tensors under the published names), as the original
Re-MOVE writes and reads it; what else is known about the model stands in a JSON file of the same
name beside it. Files are read without running code they may carry.
"""

import os
from pathlib import Path
from typing import Any

import torch

from src.errors import UserError
from src.files import load_tensors, read_json, save_tensors, write_json
from src.models.move import MOVEModel

PARALLEL_PREFIX = "module."  # what DataParallel puts before every name
STATISTICS = "lin_bn."  # small variances would vanish in half precision
NAMES_SHOWN = 3


def metadata_path(path: str | os.PathLike) -> Path:
    """Where the description of the model file ``path`` stands: the same name with ``.json``."""
    return Path(path).with_suffix(".json")


def read_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """What is written beside the model file ``path``; empty when there is no such file.

    Raises:
        UserError: the description is not a JSON object.
    """
    beside = metadata_path(path)
    if not beside.is_file():
        return {}
    metadata = read_json(beside)
    if not isinstance(metadata, dict):
        raise UserError(f"{beside} is not a JSON object; remove it or write it anew")
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
    if half:
        for name, value in state.items():
            if value.is_floating_point() and not name.startswith(STATISTICS):
                state[name] = value.half()
                if not torch.isfinite(state[name]).all():
                    raise UserError(
                        f"{name} does not fit into half precision; write {path} in full precision"
                    )
    save_tensors(state, path)
    description = {
        "model": "MOVE",
        "emb_size": model.lin1.out_features,
        "sum_method": model.sum_method,
        "final_activation": model.final_activation,
        "precision": "float16" if half else "float32",
    }
    write_json({**(metadata or {}), **description}, metadata_path(path))


def load_move(path: str | os.PathLike, *, emb_size: int | None = None) -> MOVEModel:
    """Read a MOVE model, ours or the original's, in eval mode on the CPU in float32.

    The embedding size is the file's. Summary and final activation are those of the description
    beside the file, by default the published ones (4 and 3).

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
    _require_fit(state, model.state_dict(), path)
    state = {
        name: value.to(expected.dtype, copy=True, memory_format=torch.contiguous_format)
        for (name, value), expected in zip(
            ((name, state[name]) for name in model.state_dict()),
            model.state_dict().values(),
            strict=True,
        )
    }
    model.load_state_dict(state, assign=True)
    return model.eval()


def _plain_state(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """The state dict in ``content``, without the prefix of DataParallel."""
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise UserError(f"{path} is not a MOVE model: it holds no dictionary of named tensors")
    if "generator" in content:
        raise UserError(f"{path} is a CoverHunter checkpoint, not a MOVE model")
    if content and all(name.startswith(PARALLEL_PREFIX) for name in content):
        content = {name.removeprefix(PARALLEL_PREFIX): value for name, value in content.items()}
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
    options = {"sum_method": metadata.get("sum_method", 4)}
    options["final_activation"] = metadata.get("final_activation", 3)
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise UserError(f"{metadata_path(path)}: {name} must be an integer, not {value!r}")
    try:
        with torch.device("meta"):
            return MOVEModel(emb_size, **options)
    except ValueError as error:
        raise UserError(f"{metadata_path(path)}: {error}") from error


def _require_fit(
    state: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], path: Path
) -> None:
    """Raise a sentence that names what in ``state`` is not as in ``expected``."""
    if missing := [name for name in expected if name not in state]:
        raise UserError(f"{path} is not a MOVE model: {_some(missing)} missing")
    if unknown := [name for name in state if name not in expected]:
        raise UserError(f"{path} is not a MOVE model: {_some(unknown)} not expected")
    for name, wanted in expected.items():
        found = state[name]
        if found.shape != wanted.shape:
            raise UserError(
                f"{path} is not a MOVE model: {name} has shape {tuple(found.shape)} instead of "
                f"{tuple(wanted.shape)}"
            )
        same_kind = found.is_floating_point() == wanted.is_floating_point()
        if not same_kind or found.is_complex() or found.dtype is torch.bool:
            raise UserError(
                f"{path} is not a MOVE model: {name} is of type {_name(found.dtype)} instead of "
                f"{_name(wanted.dtype)}"
            )
        if found.is_meta or found.layout is not torch.strided or found.is_quantized:
            raise UserError(f"{path} is not a MOVE model: {name} is not an ordinary tensor")
        if not torch.isfinite(found).all():
            raise UserError(
                f"{path} holds numbers that are not finite (in {name}); it was damaged or its "
                "training diverged"
            )


def _some(names: list[str]) -> str:
    """The first few of ``names``, with their verb."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more + (" is" if len(names) == 1 else " are")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def export_move(source: str | os.PathLike, target: str | os.PathLike, *, half: bool = True) -> int:
    """Copy a MOVE model with its description; returns the size of the new file in bytes.

    Args:
        source: file to read, see :func:`load_move`.
        target: file to write, see :func:`save_move`.
        half: store the weights in 16-bit floats.

    Raises:
        UserError: ``source`` is no MOVE model, or ``target`` cannot be written.
    """
    save_move(load_move(source), target, half=half, metadata=read_metadata(source))
    return Path(target).stat().st_size
