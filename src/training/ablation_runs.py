"""One run of an ablation: recordings and options in, a trained model out."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from src.config import experiment_name, load_hparams, remove_config
from src.data.crema_dataset import write_split
from src.data.crema_features import CACHE_FOLDER, extract_collection
from src.data.manifest import write_manifest
from src.data.recordings import find_recordings
from src.errors import UserError
from src.files import atomic_path
from src.training.checkpoint import export_coverhunter
from src.training.coverhunter import RunOptions, train_coverhunter
from src.training.coverhunter_data import Batches, read_rows
from src.training.distributed import Team
from src.training.loop import MINI_EPOCHS
from src.training.paths import MODELS
from src.training.remove import MOVE_FILE, load_training_data, make_batches, train_experiment

Row = Mapping[str, Any]
TRAINING_LIST, VALIDATION_LIST, DATA = "train.txt", "validation.txt", "data"
# Options of main.py that are no part of an experiment's configuration, and where MOVE is.
RUN_OPTIONS = ("exp_type", "amp", "start_from", "move")


@dataclass(frozen=True)
class Trained:
    """What training made.

    Attributes:
        model: a Re-MOVE file or a CoverHunter directory.
        steps: optimizer steps that were made.
    """

    model: Path
    steps: int


def train_coverhunter_run(
    folder: Path,
    rows: Sequence[Row],
    options: Mapping[str, Any],
    *,
    steps: int,
    average: int,
    seed: int,
    device: torch.device,
) -> Trained:
    """Train a CoverHunter on some recordings, or continue where that was interrupted.

    Args:
        folder: of the run.
        rows: with ``feat``.
        options: keys of hparams.yaml.
        steps: optimizer steps; rounded up to whole epochs of equal length.
        average: how many of the last checkpoints the model is the mean of.
        seed: of everything that is drawn.
        device: where to compute.

    Raises:
        UserError: options or recordings that cannot be trained.
    """
    numbers = {work: n for n, work in enumerate(sorted({str(row["song"]) for row in rows}))}
    path = folder / TRAINING_LIST
    write_manifest([{**_plain(row), "song_id": numbers[str(row["song"])]} for row in rows], path)
    values = {"ce": {"output_dims": "auto"}, **options, "seed": seed, "train_path": str(path)}
    values |= {"keep_checkpoints": max(average, 1)}
    _write_hparams(folder, values)
    hp = load_hparams(folder)
    available = Batches(hp, read_rows(hp), Team(device)).count
    epochs = max(-(-steps // available), average)
    per_epoch = -(-steps // epochs)
    _write_hparams(folder, {**values, "max_epochs": epochs, "steps_per_epoch": per_epoch})
    train_coverhunter(folder, RunOptions(device=str(device)))
    if average == 1:
        return Trained(folder, epochs * per_epoch)
    mean = folder / "mean"
    if not mean.exists():
        export_coverhunter(folder, mean, half=False, average=average)
    return Trained(mean, epochs * per_epoch)


def train_remove_run(
    folder: Path,
    rows: Sequence[Row],
    validation: Sequence[Row],
    options: Mapping[str, Any],
    *,
    steps: int,
    decay_at: Sequence[float],
    crema_version: str,
    seed: int,
    device: torch.device,
) -> Trained:
    """Train a Re-MOVE experiment on some recordings, or continue where that was interrupted.

    Args:
        folder: of the run; takes the place of ``--main_path``.
        rows: with ``features`` (or sound).
        validation: recordings of other works, by which the best epoch is chosen.
        options: of main.py by their long names; ``move`` is the path of the MOVE that lsr starts
            from and kd imitates.
        steps: optimizer steps; rounded to whole epochs.
        decay_at: shares of the epochs after which the learning rate falls.
        crema_version: of the features.
        seed: of everything that is drawn.
        device: where to compute.

    Raises:
        UserError: options or recordings that cannot be trained.
    """
    exp_type = str(options.get("exp_type", "baseline"))
    own = {key: value for key, value in options.items() if key not in RUN_OPTIONS}
    config = remove_config(exp_type, {"chunks": MINI_EPOCHS, **own})
    _write_remove_data(folder, rows, validation, crema_version, chunks=config.chunks, device=device)
    if move := options.get("move"):
        _copy_move(Path(str(move)), folder / MODELS / MOVE_FILE)
    batches = make_batches(config, load_training_data(config, folder), seed)
    available = sum(len(batches(0, 0, part)) for part in range(MINI_EPOCHS))  # type: ignore[arg-type]
    if not available:
        raise UserError(
            f"{len(rows)} recordings in {config.chunks} chunks make no batch of "
            f"{config.batch_size}; lower batch_size or chunks"
        )
    epochs = max(1, round(steps / available))
    schedule = sorted({max(1, round(share * epochs)) for share in decay_at}) or [0]
    config = remove_config(
        exp_type,
        config.model_dump() | {"num_of_epochs": epochs, "lr_schedule": schedule},
    )
    start = options.get("start_from")
    model = train_experiment(
        exp_type,
        config,
        experiment_name(exp_type, config),
        main_path=folder,
        device=device,
        seed=seed,
        amp=bool(options.get("amp", False)),
        start_from=None if start is None else Path(str(start)),
    )
    shutil.rmtree(folder / DATA)  # the model is what is kept
    return Trained(model, epochs * available)


def _plain(row: Row) -> dict[str, Any]:
    """What training reads of a row."""
    return {key: value for key, value in row.items() if not isinstance(value, Mapping)}


def _write_hparams(folder: Path, values: Mapping[str, Any]) -> None:
    with atomic_path(folder / "config" / "hparams.yaml") as temporary:
        temporary.write_text(yaml.safe_dump(dict(values)), "utf-8")


def _write_remove_data(
    folder: Path,
    rows: Sequence[Row],
    validation: Sequence[Row],
    crema_version: str,
    *,
    chunks: int,
    device: torch.device,
) -> None:
    recordings = []
    for name, part in ((TRAINING_LIST, rows), (VALIDATION_LIST, validation)):
        write_manifest([_plain(row) for row in part], folder / name)
        recordings.append(find_recordings(folder / name))
    training, held_out = recordings
    features = extract_collection(
        [*training, *held_out],
        cache=folder.parent / CACHE_FOLDER,
        crema_version=crema_version,
        device=device,
        workers=1,
    )
    first = {recording.name for recording in held_out}
    sides: tuple[list[int], list[int]] = ([], [])
    for position, recording in enumerate(features.recordings):
        sides[recording.name in first].append(position)
    write_split(features, *sides, folder / DATA, chunks=chunks)


def _copy_move(source: Path, target: Path) -> None:
    if not source.is_file():
        raise UserError(f"the option move names {source}, which is not there")
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in (source, source.with_suffix(".json")):
        if path.is_file():
            shutil.copyfile(path, target.with_suffix(path.suffix))
