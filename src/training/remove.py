"""From options to trained weights: puts data, experiment and loop of a Re-MOVE run together."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from src.config import ADDITIONS, RemoveConfig
from src.data.dataset_file import (
    DatasetFile,
    load_centroids,
    load_dataset_file,
    load_label_index,
    load_ytrue,
    make_label_index,
    number_of_classes,
)
from src.data.move_batches import chunk_order, make_loader
from src.errors import UserError
from src.files import load_tensors, save_tensors
from src.models.move import MOVEModel
from src.retrieval.ranking import DISTANCE_OF_LOSS
from src.training.checkpoint import load_move, read_metadata
from src.training.evaluation import evaluate_network, warn_of_other_features
from src.training.experiments import (
    PRUNED_OUTPUTS,
    Baseline,
    ClusterDistillation,
    DistanceDistillation,
    LatentSpaceReconfiguration,
    Pruning,
    weakest_outputs,
)
from src.training.loop import Loader, Loop
from src.training.paths import ExperimentFiles, find_data, find_model
from src.training.state import load_state, lock_run

logger = logging.getLogger(__name__)

MOVE_FILE = "model_move.pt"  # the network that lsr starts from and kd imitates
HOW_TO_MAKE = "python -m tools.extract_crema_pcp FOLDER --training makes it"


@dataclass(frozen=True)
class TrainingData:
    """Files of a training run.

    Attributes:
        chunks: training files, in the order of their numbers.
        label_index: work to class number.
        validation: validation set.
        ytrue: its ground truth ``(N, N)``, or None to go by its labels.
        crema_version: version of crema behind the training features, None if unknown.
    """

    chunks: list[Path]
    label_index: dict[str, int]
    validation: DatasetFile
    ytrue: torch.Tensor | None
    crema_version: str | None


def load_training_data(config: RemoveConfig, main_path: Path) -> TrainingData:
    """Find and check everything a run reads, before it starts.

    Raises:
        UserError: a file is missing or wrong; the sentence names it.
    """
    chunks = []
    for number in range(1, config.chunks + 1):
        path = find_data(main_path, f"{config.train_file}_{number}.pt")
        if not path.is_file():
            raise UserError(f"training file {path} does not exist; {HOW_TO_MAKE}")
        chunks.append(path)
    validation_path = find_data(main_path, config.val_file)
    if not validation_path.is_file():
        raise UserError(f"validation file {validation_path} does not exist; {HOW_TO_MAKE}")
    ytrue_path = main_path / "data" / "ytrue_val.pt"
    index_path = main_path / "data" / "red_label_idx.pt"
    if index_path.is_file():
        label_index = load_label_index(index_path)
    else:
        label_index = make_label_index(
            [label for path in chunks for label in load_dataset_file(path).labels]
        )
    return TrainingData(
        chunks=chunks,
        label_index=label_index,
        validation=load_dataset_file(validation_path),
        ytrue=load_ytrue(ytrue_path) if ytrue_path.is_file() else None,
        crema_version=load_dataset_file(chunks[0]).crema_version,
    )


def make_experiment(
    exp_type: str,
    config: RemoveConfig,
    num_classes: int,
    main_path: Path,
    crema_version: str | None,
    start_from: Path | None = None,
) -> Baseline:
    """The network and loss of an experiment, with what it needs of a trained network.

    Raises:
        UserError: ``model_move.pt``, ``centroids.pt`` or ``start_from`` is needed and missing or
            wrong, or weights to start from are given to an experiment that has its own.
    """
    if exp_type == "baseline":
        return Baseline(config, num_classes, model=_starting_model(start_from, config))
    if start_from is not None:
        raise UserError(f"--start_from is for baseline training; {exp_type} has its own start")
    if exp_type == "pruning":
        return Pruning(config, num_classes)
    if exp_type == "kd" and config.kd_loss == "cluster":
        centroids = load_centroids(main_path / "data" / "centroids.pt")
        return ClusterDistillation(config, num_classes, centroids)
    path = find_model(main_path, MOVE_FILE)
    warn_of_other_features(path, read_metadata(path), crema_version)
    trained = load_move(path)
    if exp_type == "kd":
        return DistanceDistillation(config, num_classes, trained)
    _fit_to_options(config, trained, path)
    return LatentSpaceReconfiguration(config, num_classes, trained)


def _starting_model(path: Path | None, config: RemoveConfig) -> MOVEModel | None:
    """Weights to start from, with a new last layer where theirs has another size."""
    if path is None:
        return None
    model = load_move(path)
    _fit_to_options(config, model, path)
    if model.fin_emb_size != config.emb_size:
        model.replace_head(config.emb_size)
    return model


def _fit_to_options(config: RemoveConfig, trained: MOVEModel, path: Path) -> None:
    """A trained network keeps its rate (another one that was asked for is refused) and its padding,
    unless another one was asked for."""
    if config.mean_frames not in (ADDITIONS["mean_frames"], trained.mean_frames):
        plural = "s" if trained.mean_frames > 1 else ""
        raise UserError(
            f"{path} averages {trained.mean_frames} frame{plural}; --mean_frames "
            f"{config.mean_frames} needs a network that is trained from scratch"
        )
    trained.padding = config.padding or trained.padding


def make_batches(config: RemoveConfig, data: TrainingData, seed: int) -> Loader:
    """Function from (cycle, epoch, mini-epoch) to the batches of that part of an epoch."""

    def batches(cycle: int, epoch: int, mini_epoch: int):
        # Every cycle of a pruning experiment draws anew; its epochs are numbered on.
        number = cycle * config.num_of_epochs + epoch
        group = chunk_order(len(data.chunks), seed=seed, epoch=number)[mini_epoch]
        return make_loader(
            [data.chunks[i - 1] for i in group],
            label_index=data.label_index,
            loss=config.loss,
            batch_size=config.batch_size,
            patch_len=config.patch_len,
            augment=config.data_aug,
            seed=seed,
            epoch=number,
            mini_epoch=mini_epoch,
            num_workers=config.num_workers,
        )

    return batches


def make_validation(
    config: RemoveConfig, data: TrainingData, device: torch.device, amp: bool
) -> Callable[[nn.Module], float]:
    """Function from a network to its mAP on the validation set."""

    def validate(model: nn.Module) -> float:
        evaluation = evaluate_network(
            model,
            data.validation,
            ytrue=data.ytrue,
            distance=DISTANCE_OF_LOSS[config.loss],
            device=device,
            amp=amp,
        )
        return evaluation.figures["mAP"]

    return validate


def train_experiment(
    exp_type: str,
    config: RemoveConfig,
    name: str,
    *,
    main_path: Path,
    device: torch.device,
    seed: int = 0,
    amp: bool = False,
    start_from: Path | None = None,
) -> Path:
    """Train an experiment, or continue where it was interrupted.

    Args:
        exp_type: ``lsr``, ``kd``, ``pruning`` or ``baseline``.
        config: its options.
        name: its name, from which the names of its files are made.
        main_path: working directory with ``data/`` and ``models/`` (or ``saved_models/``).
        device: where to compute.
        seed: seed of initial weights, batches, augmentation and mining.
        amp: mixed precision.
        start_from: weights from which a baseline starts, in place of random ones.

    Returns:
        Path of the best weights.

    Raises:
        UserError: data or weights are missing or wrong, a folder cannot be written to, another
            run trains the same experiment there, or training never reached a usable model.
    """
    files = ExperimentFiles.of(main_path, exp_type, name)
    start = None if start_from is None else str(start_from)
    identity = {"options": config.model_dump(), "seed": seed, "amp": amp, "start_from": start}
    data = load_training_data(config, main_path)
    with lock_run(files.model):
        state = load_state(files.state, identity)
        torch.manual_seed(seed)
        num_classes = number_of_classes(data.label_index)
        experiment = make_experiment(
            exp_type, config, num_classes, main_path, data.crema_version, start_from
        ).to(device)
        metadata: dict[str, Any] = {
            "exp_type": exp_type,
            "name": name,
            "options": config.model_dump(),
            "seed": seed,
            "start_from": None if start_from is None else start_from.name,
            "crema_version": data.crema_version,
            "works": num_classes,
        }
        loop = Loop(
            experiment,
            config,
            files,
            loader=make_batches(config, data, seed),
            validate=make_validation(config, data, device, amp),
            device=device,
            seed=seed,
            amp=amp,
            identity=identity,
            metadata=metadata,
        )
        if state is not None:
            loop.restore(state)
            logger.info("continuing after epoch %d of %s", loop.progress.epoch, name)
        elif start_from is not None:
            logger.info("before training: validation mAP %.4f", loop.keep_start())
        if exp_type == "pruning":
            _run_pruning(loop, config)
        else:
            loop.run_cycle()
        files.state.unlink(missing_ok=True)
    if not files.model.is_file():
        raise UserError(
            f"training ended without a model: validation never reached mAP {loop.progress.best}; "
            "train longer, or check that the validation set has versions of each work"
        )
    logger.info("best weights: %s", files.model)
    return files.model


def _run_pruning(loop: Loop, config: RemoveConfig) -> None:
    """Train, cut the weakest outputs, rewind, and again, ``pruning_iterations`` times."""
    files, experiment, progress = loop.files, loop.experiment, loop.progress
    assert isinstance(experiment, Pruning)
    if progress.cycle == 0 and progress.epoch == 0:
        save_tensors(experiment.model.state_dict(), files.initial)
    while True:
        progress = loop.progress
        active = int(experiment.kept.sum())
        logger.info("cycle %d: %d of %d outputs", progress.cycle, active, len(experiment.kept))
        experiment.model.fin_emb_size = active
        loop.metadata["active_outputs"] = active
        loop.run_cycle()
        if progress.cycle == config.pruning_iterations:
            return
        cut = weakest_outputs(experiment.model.lin1.weight, PRUNED_OUTPUTS[progress.cycle])
        experiment.kept.copy_(~cut)
        experiment.model.load_state_dict(load_tensors(files.initial))
        experiment.after_step()  # the first forward pass sees the cut weights, too
        progress.cycle += 1
        loop.start_cycle()
