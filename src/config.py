"""The one place that reads a configuration: defaults of the Re-MOVE experiments and their names."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from src.errors import UserError
from src.extract_hparams import ExtractHparams, load_extract_hparams
from src.files import read_json
from src.hparams import Hparams, load_hparams

__all__ = [
    "ExtractHparams",
    "Hparams",
    "RemoveConfig",
    "experiment_name",
    "load_extract_hparams",
    "load_hparams",
    "remove_config",
    "remove_defaults",
]

REPOSITORY = Path(__file__).resolve().parents[1]

EXPERIMENT_TYPES = ("lsr", "kd", "pruning", "baseline")
RUN_TYPES = ("train", "test")

# Losses of ``--loss`` by number.
TRIPLET, PROXY_NCA, NORMALIZED_SOFTMAX, GROUP, CONTRASTIVE = range(5)
# Those that compare versions within a batch, which is therefore made of cliques.
CLIQUE_LOSSES = (TRIPLET, GROUP, CONTRASTIVE)

# Short forms of the options, as they stand in experiment names (and so in file names).
ABBREVIATIONS = {
    "chunks": "ch",
    "emb_size": "emb",
    "momentum": "mo",
    "train_file": "tf",
    "val_file": "vf",
    "batch_size": "bs",
    "optimizer": "o",
    "num_of_epochs": "noe",
    "num_workers": "nw",
    "learning_rate": "lr",
    "finetune_learning_rate": "flr",
    "overfit_batch": "ofb",
    "loss": "l",
    "lr_schedule": "lrs",
    "lr_gamma": "lrg",
    "patch_len": "pl",
    "data_aug": "da",
    "mining_strategy": "ms",
    "margin": "ma",
    "kd_loss": "kdl",
    "pruning_iterations": "pri",
}

# Options that this project adds, with their defaults. They are absent from the defaults files,
# and stand at the end of a name; models trained without them keep theirs.
ADDITIONS = {"temperature": 0.2, "mean_frames": 1, "padding": 0}
ADDED_ABBREVIATIONS = {"temperature": "t", "mean_frames": "mf", "padding": "pad"}
FRAMES_TO_AVERAGE = (1, 2, 4, 5, 10, 20)  # divisors of 20, the longest step in time of MOVE

Number = int | float  # an integer stays an integer: it is part of the experiment's name


class RemoveConfig(BaseModel):
    """Every option that decides what a Re-MOVE experiment computes, in the order of its name.

    The order of the fields is that of the defaults files and hence of the name. ``chunks`` is the
    number of training files, ``patch_len`` is in frames of 4096 / 44100 s, ``lr_schedule`` in
    epochs (``[0]``: constant learning rate). The last fields are the additions of this project.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    chunks: int = Field(ge=1)
    emb_size: int = Field(ge=1)
    momentum: Number = Field(ge=0, lt=1)
    train_file: str = Field(min_length=1)
    val_file: str = Field(min_length=1)
    batch_size: int = Field(ge=1)
    optimizer: Literal[0, 1]
    num_of_epochs: int = Field(ge=1)
    num_workers: int = Field(ge=0)
    learning_rate: Number = Field(gt=0)
    finetune_learning_rate: Number = Field(ge=0)
    overfit_batch: Literal[0, 1]
    loss: Literal[0, 1, 2, 3, 4]
    lr_schedule: list[int]
    lr_gamma: Number = Field(gt=0)
    patch_len: int = Field(ge=1)
    data_aug: Literal[0, 1, 2]
    mining_strategy: Literal[0, 1, 2, 3]
    margin: Number = Field(ge=0)
    kd_loss: Literal["distance", "cluster"]
    pruning_iterations: int = Field(ge=0, le=7)
    temperature: Number = Field(default=ADDITIONS["temperature"], gt=0)
    mean_frames: Literal[FRAMES_TO_AVERAGE] = ADDITIONS["mean_frames"]
    padding: int = Field(default=ADDITIONS["padding"], ge=0)

    @model_validator(mode="after")
    def _batches_hold_cliques(self) -> "RemoveConfig":
        if self.uses_cliques and self.batch_size < 4:
            raise ValueError("batch_size must be at least 4: one clique is four recordings")
        return self

    @property
    def uses_cliques(self) -> bool:
        """Whether batches are made of four recordings a work."""
        return self.loss in CLIQUE_LOSSES


def remove_defaults(exp_type: str) -> dict[str, Any]:
    """Default options of an experiment type, in naming order, from ``data/<type>_defaults.json``.

    Raises:
        UserError: the file is missing or damaged.
    """
    return read_json(REPOSITORY / "data" / f"{exp_type}_defaults.json")


def remove_config(exp_type: str, options: dict[str, Any] | None = None) -> RemoveConfig:
    """Defaults of ``exp_type`` overridden by the ``options`` that are not None.

    Raises:
        UserError: an option is unknown, of a wrong type or out of range.
    """
    given = {key: value for key, value in (options or {}).items() if value is not None}
    values = remove_defaults(exp_type) | given
    try:
        return RemoveConfig(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "options"
        raise UserError(f"{exp_type} experiment, {where}: {first['msg']}") from error


def experiment_name(exp_type: str, config: RemoveConfig) -> str:
    """Name of an experiment: ``re-move_<type>`` and every option that is not at its default.

    Dots become hyphens; nothing else is escaped, so a path among the options puts slashes into
    the name, and file names made of it lie in sub-folders (as in the original).
    """
    defaults = remove_defaults(exp_type) | ADDITIONS
    abbreviations = ABBREVIATIONS | ADDED_ABBREVIATIONS
    name = f"re-move_{exp_type}"
    for key, default in defaults.items():
        value = getattr(config, key)
        if value != default:
            name += f"_{abbreviations[key]}_{value}"
    return name.replace(".", "-")
