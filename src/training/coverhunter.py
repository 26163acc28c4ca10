"""A CoverHunter run: puts configuration, recordings, model and loop together."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from src.config import Hparams, load_hparams
from src.device import can_compile, has_fast_low_precision
from src.errors import UserError
from src.models.coverhunter import TRIPLET_OFF, CoverHunter
from src.models.subsampling import SHORTEST
from src.retrieval.testset import evaluate_testset
from src.training.checkpoint import load_coverhunter
from src.training.coverhunter_data import Batches, TrainingRows, read_rows
from src.training.coverhunter_loop import EvaluatedSet, Loop, Plan, Sources
from src.training.coverhunter_state import load_pair, training_file
from src.training.distributed import Team, join_team
from src.training.state import lock_run
from src.training.state_dicts import fill
from src.training.teacher import teacher_targets

logger = logging.getLogger(__name__)

DEFAULT_RUN = "run"
TEACHER_FILE = "teacher.state.pt"
# What depends on the number of classes, which another model's need not be.
CLASS_KEYS = ("_ce_layer.weight", "_center_loss.centers")


@dataclass(frozen=True)
class RunOptions:
    """What the command line says.

    Attributes:
        runid: name of the run, a folder below ``logs``.
        first_eval: evaluate the first epoch instead of training it.
        only_eval: evaluate and end.
        debug: a few batches an epoch, and much to read.
        device: instead of that of hparams.yaml.
    """

    runid: str = DEFAULT_RUN
    first_eval: bool = False
    only_eval: bool = False
    debug: bool = False
    device: str | None = None

    def __post_init__(self) -> None:
        name = self.runid
        if not name.strip() or name in (".", "..") or any(c in name for c in "/\\\0"):
            raise UserError(f"--runid {name!r} cannot be the name of a folder; choose another")


def train_coverhunter(model_dir: Path, options: RunOptions | None = None) -> dict[str, Any] | None:
    """Train a model directory, or continue where it was interrupted.

    Writes ``pt_model/g_XXXXXXXX`` and ``pt_model/do_XXXXXXXX`` after each epoch,
    ``embed_<epoch>_<test set>`` and ``logs/<runid>``. Started by ``torchrun``, all processes
    train one model and the first one writes.

    Args:
        model_dir: folder with ``config/hparams.yaml``.
        options: the command line's.

    Returns:
        Figures of an evaluation (``only_eval``), otherwise None.

    Raises:
        UserError: configuration, recordings or checkpoints are missing or wrong, the folder
            cannot be written to, another process trains there, or the loss is no longer a number.
    """
    options = options or RunOptions()
    hp = load_hparams(model_dir)
    with join_team(options.device or hp.device) as team:
        return train_with(team, model_dir, hp, options)


def train_with(
    team: Team, model_dir: Path, hp: Hparams, options: RunOptions
) -> dict[str, Any] | None:
    """The part of :func:`train_coverhunter` that every process of a team does.

    Args:
        team: the processes that train together.
        model_dir: where to write.
        hp: configuration; that of ``model_dir`` is not read.
        options: the command line's.
    """
    check_training(hp)
    rows = read_rows(hp)
    check_tests(hp)
    if options.only_eval or not team.leads:
        return _run(team, model_dir, hp, rows, options)
    with lock_run(training_file(model_dir, 0).with_name("training"), "model directory"):
        return _run(team, model_dir, hp, rows, options)


def _run(
    team: Team, model_dir: Path, hp: Hparams, rows: TrainingRows, options: RunOptions
) -> dict[str, Any] | None:
    found = load_pair(model_dir)
    if options.only_eval and found is None:
        raise UserError(f"{model_dir} holds no checkpoint to evaluate; train it first")
    model = make_model(hp, rows)
    if found is not None:
        fill(model, found[0], model_dir, f"the checkpoint in {model_dir} does not fit its hparams")
    elif hp.start_from is not None:
        start_from(model, Path(hp.start_from))
    model.to(team.device)
    loop = _make_loop(team, model_dir, hp, rows, options, model, found[1] if found else None)
    if options.only_eval:
        return loop.evaluate()
    loop.run()
    return None


def _make_loop(
    team: Team,
    model_dir: Path,
    hp: Hparams,
    rows: TrainingRows,
    options: RunOptions,
    model: CoverHunter,
    training: dict[str, Any] | None,
) -> Loop:
    """The loop, set to where the state ``training`` left off."""
    plan = make_plan(hp, team, options, training or {})
    targets = _targets(team, model_dir, hp, rows, options, amp=plan.amp)
    batches = Batches(hp, rows, team, debug=options.debug, targets=targets)
    sources = Sources(
        train=batches.train,
        count=batches.count,
        validation=batches.validation,
        tests=[_test(name, test, plan) for name, test in hp.test_sets.items()],
    )
    log_dir = model_dir / "logs" / options.runid
    loop = Loop(model, plan, sources, model_dir=model_dir, log_dir=log_dir, team=team)
    loop.facts = {
        "seed": hp.seed,
        "start_from": hp.start_from,
        "alignment_path": hp.alignment_path,
        "debug": options.debug,
        "first_eval": options.runid if options.first_eval else None,
    }
    if training is not None:
        epoch = training["epoch"]
        loop.restore(training, str(training_file(model_dir, epoch)))
        _warn_of_changes(model_dir, training, loop.facts)
        logger.info("continuing after epoch %d of %s", epoch, model_dir)
    return loop


def make_model(hp: Hparams, rows: TrainingRows) -> CoverHunter:
    """A new model; its weights are a function of the seed.

    Raises:
        UserError: the configuration makes no model.
    """
    values = hp.to_dict()
    block = "foc" if hp.foc else "ce"
    values[block] = {**hp.focal.model_dump(exclude_none=True), "output_dims": rows.classes}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(hp.seed)
            model = CoverHunter(values)
    except ValueError as error:
        raise UserError(f"hparams.yaml makes no model: {error}") from error
    model.feature_spec = rows.spec
    return model


def start_from(model: CoverHunter, model_dir: Path) -> None:
    """Copy the weights of another model directory; the class head only if it fits.

    Raises:
        UserError: there is no model, or its architecture or features are others.
    """
    other = load_coverhunter(model_dir)
    if other.feature_spec != model.feature_spec:
        raise UserError(
            f"start_from {model_dir}: that model takes {other.feature_spec.describe()}, but the "
            f"recordings have features of {model.feature_spec.describe()}"
        )
    own, theirs = model.state_dict(), other.state_dict()
    if any(own[key].shape != theirs[key].shape for key in CLASS_KEYS):
        logger.info("the classes are not those of %s, so their layer is new", model_dir)
        theirs.update({key: own[key] for key in CLASS_KEYS})
    fill(model, theirs, model_dir, f"start_from {model_dir} does not fit hparams.yaml")


def make_plan(hp: Hparams, team: Team, options: RunOptions, training: Mapping[str, Any]) -> Plan:
    """How to train, from configuration, command line and the state that is continued."""
    mixed = hp.mixed_precision
    amp = has_fast_low_precision(team.device) if mixed == "auto" else mixed
    if amp and team.device.type == "mps":
        logger.warning("mixed precision is for CUDA and CPUs; here it is left out")
        amp = False
    compiled = hp.compile and can_compile(team.device)
    if hp.compile and not compiled:
        logger.warning("compile: true needs a C++ compiler, or Triton on CUDA; it is left out")
    return Plan(
        max_epochs=hp.max_epochs,
        learning_rate=hp.learning_rate,
        betas=(hp.adam_b1, hp.adam_b2),
        weight_decay=hp.weight_decay,
        lr_warmup_steps=hp.lr_warmup_steps,
        lr_decay=hp.lr_decay,
        lr_decay_steps=hp.lr_decay_steps,
        min_lr=hp.min_lr,
        patience=hp.early_stopping_patience,
        save_every=hp.every_n_epoch_to_save,
        keep=hp.keep_checkpoints,
        seed=hp.seed,
        amp=bool(amp),
        compiled=compiled,
        # Continued after an interruption, the run has had its evaluation.
        first_eval=options.first_eval and training.get("first_eval") != options.runid,
    )


def _targets(
    team: Team,
    model_dir: Path,
    hp: Hparams,
    rows: TrainingRows,
    options: RunOptions,
    *,
    amp: bool,
) -> dict[str, Tensor] | None:
    """What the teacher says, if there is one; the first process asks it, the others wait."""
    if hp.teacher is None or not hp.teacher.listens or options.only_eval:
        return None

    def ask() -> dict[str, Tensor]:
        assert hp.teacher is not None
        return teacher_targets(
            rows.train,
            Path(hp.teacher.path),
            size=hp.embed_dim,
            device=team.device,
            cache=model_dir / TEACHER_FILE,
            amp=amp,
        )

    if team.leads:
        targets = ask()
        team.wait()
        return targets
    team.wait()
    return ask()


def check_training(hp: Hparams) -> None:
    """Refuse settings that are right for a model and leave nothing to train.

    Raises:
        UserError: the sentence names the key.
    """
    if min(hp.chunk_frame) < SHORTEST:
        raise UserError(
            f"chunk_frame {min(hp.chunk_frame)} in hparams.yaml is too short for the model, which "
            f"takes at least {SHORTEST} frames"
        )
    if hp.batch_size < 2:
        raise UserError("batch_size in hparams.yaml must be at least 2")
    by_labels = hp.focal.weight > 0 or hp.triplet.weight > TRIPLET_OFF
    by_labels = by_labels or hp.center.weight > 0 or hp.contrastive.weight > 0
    validated = hp.train_sample_path or hp.dev_path
    if not by_labels and (validated or hp.teacher is None or not hp.teacher.listens):
        raise UserError(
            "the weights of ce, triplet, center and contrastive in hparams.yaml are all 0 (or, of "
            f"triplet, not above {TRIPLET_OFF}), so nothing is measured; raise one of them"
        )


def check_tests(hp: Hparams) -> None:
    """Refuse test sets whose files are missing, before anything is trained.

    Raises:
        UserError: the sentence names test set and file.
    """
    for name, test in hp.test_sets.items():
        for path in (test.query_path, test.ref_path, test.query_in_ref_path):
            if path is not None and not Path(path).is_file():
                raise UserError(
                    f"test set {name}: {path} does not exist; correct the path in hparams.yaml or "
                    "remove the test set"
                )


def _test(name: str, test: Any, plan: Plan) -> EvaluatedSet:
    def evaluate(model: nn.Module, folder: Path) -> dict[str, float]:
        return evaluate_testset(
            model,
            test.query_path,
            test.ref_path,
            query_in_ref_path=test.query_in_ref_path,
            embed_dir=folder,
            amp=plan.amp,
            progress=True,
        )

    return EvaluatedSet(name, test.every_n_epoch_to_dev, evaluate)


def _warn_of_changes(model_dir: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Say what makes a continued run another than the uninterrupted one."""
    for name in ("seed", "alignment_path"):
        if name in before and before[name] != now[name]:
            logger.warning(
                "%s was trained with %s %s and goes on with %s",
                model_dir, name, before[name], now[name],
            )  # fmt: skip
    if before.get("debug") and not now["debug"]:
        logger.warning("%s was begun with --debug; remove pt_model to begin anew", model_dir)
