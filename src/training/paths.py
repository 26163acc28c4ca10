"""Where the files of a Re-MOVE experiment lie below the main path."""

from dataclasses import dataclass
from pathlib import Path

from src.config import REPOSITORY
from src.errors import UserError

MODELS = "models"
ORIGINAL_MODELS = "saved_models"  # the folder of the original; found too when it exists

# What the fronts use when no model is named; every choice of a shipped model is made here.
DEFAULT_MODEL = REPOSITORY / MODELS / "lsr_models" / "model_re-move_lsr.pt"
DEFAULT_COVERHUNTER = REPOSITORY / MODELS / "coverhunter"  # where only CoverHunter will do


def find_model(main_path: Path, relative: str) -> Path:
    """Path of an existing weights file below ``saved_models/`` or ``models/``.

    ``saved_models/`` comes first: it exists only where a person has put it.

    Args:
        main_path: working directory.
        relative: path below those folders, for example ``lsr_models/model_re-move_lsr.pt``.

    Raises:
        UserError: neither folder has the file; the sentence names it.
    """
    folders = [main_path / ORIGINAL_MODELS, main_path / MODELS]
    for folder in folders:
        if (folder / relative).is_file():
            return folder / relative
    raise UserError(
        f"no weights: {relative} is neither in {folders[1]} nor in {folders[0]}; train it, "
        "copy it there, or repeat the options it was trained with"
    )


def model_file(exp_type: str, name: str) -> str:
    """Weights of an experiment, relative to ``models/`` or ``saved_models/``."""
    return f"{exp_type}_models/model_{name}.pt"


def find_data(main_path: Path, path: str) -> Path:
    """A data file as typed: absolute, below the main path, or below the current directory.

    The path below the main path is returned when the file is in neither place.
    """
    below = main_path / path
    return below if below.exists() or not Path(path).exists() else Path(path)


@dataclass(frozen=True)
class ExperimentFiles:
    """What training writes.

    Attributes:
        model: best weights (a plain state dict), a JSON with its history beside it.
        initial: starting weights of a pruning experiment, to which every cycle rewinds.
        state: everything needed to continue after an interruption; removed at the end.
        log: ``train_loss_log`` and ``val_loss_log`` as JSON.
        events: TensorBoard folder.
    """

    model: Path
    initial: Path
    state: Path
    log: Path
    events: Path

    @classmethod
    def of(cls, main_path: Path, exp_type: str, name: str) -> "ExperimentFiles":
        """Files of one experiment; in ``saved_models/`` where that folder exists."""
        original = main_path / ORIGINAL_MODELS
        folder = original if original.is_dir() else main_path / MODELS
        model = folder / model_file(exp_type, name)
        logs = main_path / "experiment_logs" / f"{exp_type}_logs"
        return cls(
            model=model,
            initial=model.with_name(f"{model.stem}_initial.pt"),
            state=model.with_name(f"{model.stem}.state.pt"),
            log=logs / f"{name}.json",
            events=logs / name,
        )
