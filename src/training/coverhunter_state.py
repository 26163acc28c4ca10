"""Checkpoints of a CoverHunter run: every epoch a pair of files, the last whole pair counts.

``pt_model/g_XXXXXXXX`` holds the model and is all that evaluation needs; ``pt_model/do_XXXXXXXX``
holds what training needs to go on. The second is written last, so an epoch is complete when both
are there.
"""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from src.errors import UserError
from src.files import load_tensors, save_tensors
from src.training.generator_files import generator_path, read_generator, save_generator

logger = logging.getLogger(__name__)

NAME = re.compile(r"do_(\d{8})")


def training_file(model_dir: Path, epoch: int) -> Path:
    """Where the state of training after ``epoch`` is written."""
    return generator_path(model_dir, epoch).with_name(f"do_{epoch:08d}")


def saved_epochs(model_dir: Path) -> list[int]:
    """Epochs of which both files are there, newest first."""
    folder = training_file(model_dir, 0).parent
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    numbers = sorted((int(m[1]) for m in map(NAME.fullmatch, names) if m), reverse=True)
    return [number for number in numbers if generator_path(model_dir, number).is_file()]


def save_pair(model_dir: Path, epoch: int, model: Any, training: dict[str, Any]) -> None:
    """Write the checkpoint of a complete epoch.

    Args:
        model_dir: the model directory.
        epoch: number of the epoch, from 0.
        model: the CoverHunter model.
        training: tensors and plain values with ``optim_g``, ``steps`` and ``epoch``, as the
            original writes them, and anything else.

    Raises:
        UserError: the folder cannot be written to.
    """
    # A state that is left from a damaged pair must not be taken for the new model's.
    training_file(model_dir, epoch).unlink(missing_ok=True)
    save_generator(model, generator_path(model_dir, epoch))
    save_tensors(training, training_file(model_dir, epoch))


def load_pair(model_dir: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Model and training state of the newest complete epoch; None where there is none.

    A damaged pair is passed over, with a warning that names it.

    Returns:
        State dict of the model and content of the ``do_`` file.

    Raises:
        UserError: there are complete epochs, but none of them can be read.
    """
    epochs = saved_epochs(model_dir)
    for epoch in epochs:
        try:
            return _read_pair(model_dir, epoch)
        except UserError as error:
            logger.warning("epoch %d is passed over: %s", epoch, error)
    if epochs:
        raise UserError(
            f"no checkpoint in {training_file(model_dir, 0).parent} can be read; "
            "remove the folder to train anew"
        )
    return None


def _read_pair(model_dir: Path, epoch: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
    path = training_file(model_dir, epoch)
    training = load_tensors(path)
    if not isinstance(training, dict) or not {"optim_g", "steps", "epoch"} <= training.keys():
        raise UserError(f"{path} is not the training state of a CoverHunter model")
    return read_generator(generator_path(model_dir, epoch)).state, training


def remove_old(model_dir: Path, *, keep: int | None, best: int | None) -> None:
    """Remove all but the newest ``keep`` checkpoints and that of epoch ``best``; None: keep all."""
    if keep is None:
        return
    for epoch in saved_epochs(model_dir)[keep:]:
        if epoch != best:
            training_file(model_dir, epoch).unlink(missing_ok=True)
            generator_path(model_dir, epoch).unlink(missing_ok=True)


def require_optimizer(optimizer: Optimizer, saved: Mapping[str, Any], where: str) -> None:
    """Check that a saved state of AdamW has the shapes of the parameters of ``optimizer``.

    Raises:
        UserError: it has not; the sentence begins with ``where``.
    """
    own = [p for group in optimizer.param_groups for p in group["params"]]
    try:
        numbers = [number for group in saved["param_groups"] for number in group["params"]]
        moments = [saved["state"].get(number, {}).get("exp_avg") for number in numbers]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{where} holds no state of AdamW") from error
    fits = len(own) == len(numbers) and all(
        moment is None or moment.shape == parameter.shape
        for moment, parameter in zip(moments, own, strict=True)
    )
    if not fits:
        raise UserError(
            f"{where} belongs to a model of another size; set hparams.yaml back, or train in "
            "another model directory"
        )
