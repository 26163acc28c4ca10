"""The training loop of CoverHunter: epochs, validation, test sets, checkpoints."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from src.device import autocast
from src.errors import UserError
from src.training.coverhunter_state import remove_old, require_optimizer, save_pair
from src.training.distributed import Team, parallel
from src.training.early_stopping import EarlyStopping
from src.training.schedule import UserDefineExponentialLR
from src.training.tensorboard import Scalars, write_epochs

logger = logging.getLogger(__name__)

CLIP_NORM = 1.0
LOG_EVERY = 10  # optimizer steps
STOPPING_SET, STOPPING_LOSS = "dev", "ce_loss"

# Chunks (B, T, bins) in dB, class numbers (B,), and with a teacher its targets (B, embed_dim).
Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Plan:
    """What decides how a run goes, beside model and data.

    Attributes:
        max_epochs: epochs of the whole training.
        learning_rate: rate of AdamW at the start.
        betas: its averaging factors.
        weight_decay: of AdamW.
        lr_warmup_steps: number of first steps in which the rate rises in a line to where it begins.
        lr_decay: factor of the rate every ``lr_decay_steps`` steps.
        min_lr: lowest rate.
        patience: epochs without a better dev loss after which training stops; None: never.
        save_every: a checkpoint every so many epochs, and after the last.
        keep: newest checkpoints to keep beside the best; None: all.
        seed: seed of dropout (batches have their own).
        amp: mixed precision.
        compiled: ``torch.compile``.
        first_eval: the first epoch is evaluated and not trained.
    """

    max_epochs: int
    learning_rate: float
    betas: tuple[float, float]
    lr_decay: float
    min_lr: float
    weight_decay: float = 0.01
    lr_decay_steps: int = 1000
    lr_warmup_steps: int = 0
    patience: int | None = None
    save_every: int = 1
    keep: int | None = None
    seed: int = 0
    amp: bool = False
    compiled: bool = False
    first_eval: bool = False


@dataclass(frozen=True)
class EvaluatedSet:
    """A test set that is evaluated during training.

    Attributes:
        name: its name in the configuration.
        every: evaluated every so many epochs, and after the last.
        evaluate: from the model and the folder for its embeddings to figures such as ``mean_ap``.
    """

    name: str
    every: int
    evaluate: Callable[[nn.Module, Path], Mapping[str, float]]


@dataclass
class Sources:
    """Where batches come from.

    Attributes:
        train: epoch number to batches; the same number gives the same batches.
        count: number of training batches in an epoch, for the progress bar.
        validation: name (``train_sample``, ``dev``) to a function that returns its batches.
        tests: the test sets.
    """

    train: Callable[[int], Iterable[Batch]]
    count: int
    validation: dict[str, Callable[[], Iterable[Batch]]] = field(default_factory=dict)
    tests: list[EvaluatedSet] = field(default_factory=list)


class Loop:
    """Trains a model epoch by epoch, from wherever it was interrupted.

    Args:
        model: network with ``compute_loss(x, labels) -> (total, parts)``, on ``team.device``.
        plan: how to train.
        sources: batches and test sets; every process of the team has its own share.
        model_dir: where checkpoints and embeddings are written.
        log_dir: where curves and ``epochs.jsonl`` are written.
        team: the processes that train together.
    """

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        sources: Sources,
        *,
        model_dir: Path,
        log_dir: Path,
        team: Team,
    ) -> None:
        self.model, self.plan, self.sources, self.team = model, plan, sources, team
        self.model_dir, self.log_dir = model_dir, log_dir
        self.module = parallel(model, team, compiled=plan.compiled)
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            lr=plan.learning_rate,
            betas=plan.betas,
            weight_decay=plan.weight_decay,
        )
        self.schedule = UserDefineExponentialLR(
            self.optimizer, gamma=plan.lr_decay, min_lr=plan.min_lr
        )
        scaled = plan.amp and team.device.type == "cuda"
        self.scaler = torch.amp.GradScaler(team.device.type, enabled=scaled)
        self.stopping = EarlyStopping(plan.patience)
        self.epoch, self.steps = 0, 1  # the next ones
        self.record: dict[str, Any] | None = None  # figures of the last complete epoch
        self.first_eval = plan.first_eval
        self.facts: dict[str, Any] = {}  # written into every checkpoint
        self.lines: list[dict[str, Any]] = []
        self.scalars = Scalars(None)

    # --- state ----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything beside the weights that decides how training goes on.

        Batches, augmentation and dropout are functions of the seed and the epoch alone.
        """
        return {
            "optim_g": self.optimizer.state_dict(),
            "steps": self.steps,
            "epoch": self.epoch,
            "scheduler": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "early_stopping": self.stopping.state_dict(),
            "record": self.record,
            **self.facts,
        }

    def restore(self, training: Mapping[str, Any], where: str) -> None:
        """Continue after the epoch of a ``do_`` file, ours or the original's.

        Args:
            training: its content.
            where: its name, for messages.

        Raises:
            UserError: the optimizer state belongs to another model.
        """
        require_optimizer(self.optimizer, training["optim_g"], where)
        self.optimizer.load_state_dict(training["optim_g"])
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", self.plan.learning_rate)
        self.steps = int(training["steps"])
        self.epoch = int(training["epoch"]) + 1
        if "scheduler" in training:
            self.schedule.load_state_dict(training["scheduler"])
        if training.get("scaler"):
            self.scaler.load_state_dict(training["scaler"])
        if "early_stopping" in training:
            self.stopping.load_state_dict(training["early_stopping"])
        self.record = training.get("record")

    # --- the run --------------------------------------------------------------------------------

    def run(self) -> None:
        """Train until the last epoch, or until the dev loss no longer improves."""
        self._open_logs()
        try:
            last = self.record
            if last is not None and not any(line["epoch"] == last["epoch"] for line in self.lines):
                self._finish(last)  # it was interrupted while it was tested
            while self.epoch < self.plan.max_epochs and not self.stopping.stopped:
                trained = not self.first_eval
                self.first_eval = False
                self.record = self._epoch(trained)
                if trained and self._due(self.plan.save_every):
                    self._save()
                self._finish(self.record)
                self.epoch += 1
        finally:
            self.scalars.close()
        if self.stopping.stopped:
            logger.info(
                "stopped: the dev loss has not improved for %d epochs (best: epoch %s)",
                self.stopping.waited,
                self.stopping.best_epoch,
            )

    def evaluate(self) -> dict[str, Any]:
        """Validation losses and all test sets of the model as it is; nothing is logged."""
        epoch = max(self.epoch - 1, 0)
        losses = {name: self._validate(name) for name in self.sources.validation}
        return {"epoch": epoch, **losses, "tests": self._test(epoch, self.sources.tests)}

    def _open_logs(self) -> None:
        path = self.log_dir / "epochs.jsonl"
        if path.is_file():
            lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
            self.lines = [line for line in lines if line["epoch"] < self.epoch]
        if self.team.leads:
            self.scalars = Scalars(self.log_dir, from_step=self.steps if self.steps > 1 else None)

    def _due(self, every: int) -> bool:
        """Whether something done every so many epochs is due after this one, or it is the last."""
        last = self.epoch + 1 >= self.plan.max_epochs or self.stopping.stopped
        return last or (self.epoch + 1) % every == 0

    def _epoch(self, trained: bool) -> dict[str, Any]:
        """Train and validate; returns the figures of the epoch."""
        record: dict[str, Any] = {"epoch": self.epoch}
        if trained:
            record["train"] = self._train()
            record["seconds"] = record["train"].pop("seconds")
            record["chunks_per_second"] = record["train"].pop("chunks_per_second")
            self.scalars.epoch(
                self.steps, epoch=self.epoch, chunks_per_second=record["chunks_per_second"]
            )
        record["steps"] = self.steps
        record["lr"] = self.optimizer.param_groups[0]["lr"]
        self.team.share_state(self.model)
        for name in self.sources.validation:
            record[name] = self._validate(name)
            self.scalars.validation(self.steps, name, record[name])
        if STOPPING_SET in self.sources.validation:
            losses = record[STOPPING_SET]
            self.stopping.update(losses.get(STOPPING_LOSS, losses["loss"]), self.epoch)
        return record

    def _save(self) -> None:
        if self.team.leads:
            save_pair(self.model_dir, self.epoch, self.model, self.state())
            remove_old(self.model_dir, keep=self.plan.keep, best=self.stopping.best_epoch)
        self.team.wait()

    def _finish(self, record: dict[str, Any]) -> None:
        """Evaluate the test sets that are due and write the line of the epoch."""
        epoch = record["epoch"]
        following, self.epoch = self.epoch, epoch
        due = [test for test in self.sources.tests if self._due(test.every)]
        self.epoch = following
        record = {**record, "tests": self._test(epoch, due)}
        if self.team.leads:
            self.lines.append(record)
            write_epochs(self.lines, self.log_dir / "epochs.jsonl")
        logger.info(describe(record))

    def _test(self, epoch: int, tests: Iterable[EvaluatedSet]) -> dict[str, dict[str, float]]:
        figures: dict[str, dict[str, float]] = {}
        if self.team.leads:
            self.model.eval()
            for test in tests:
                folder = self.model_dir / f"embed_{epoch}_{test.name}"
                figures[test.name] = dict(test.evaluate(self.model, folder))
                self.scalars.test(self.steps, test.name, figures[test.name])
                self.scalars.projector(self.steps, test.name, folder)
        self.team.wait()
        return figures

    def _validate(self, name: str) -> dict[str, float]:
        """Mean of every loss over the batches, of all processes."""
        self.model.eval()
        sums = {"batches": 0.0}
        with torch.inference_mode():
            for batch in self.sources.validation[name]():
                with autocast(self.team.device, enabled=self.plan.amp):
                    total, parts = self.model.compute_loss(*self._move(batch))
                for part, value in {"loss": total, **parts}.items():
                    sums[part] = sums.get(part, 0.0) + value.item()
                sums["batches"] += 1
        sums = self.team.total(sums)
        count = sums.pop("batches")
        return {part: value / count for part, value in sums.items()}

    def _move(self, batch: Batch) -> Batch:
        return tuple(part.to(self.team.device, non_blocking=True) for part in batch)

    def _train(self) -> dict[str, float]:
        """One pass over the batches of the epoch; means of losses and gradient norm."""
        started = perf_counter()
        # A function of the numbers alone: a resumed run draws what the whole run would draw.
        numbers = (self.plan.seed, self.epoch, self.team.rank)
        seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
        device = self.team.device
        sums, steps, items = {}, 0, 0
        self.model.train()
        self.module.train()
        batches = tqdm(
            self.sources.train(self.epoch),
            desc=f"epoch {self.epoch}",
            total=self.sources.count,
            unit="batch",
            leave=False,
            disable=not self.team.leads,
        )
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            for batch in batches:
                losses = self._step(batch)
                steps, items = steps + 1, items + len(batch[0])
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + value
                batches.set_postfix(loss=f"{losses['loss']:.3f}", refresh=False)
        if not steps:
            raise UserError(
                "the training data hold no whole batch; choose a smaller batch_size or add "
                "recordings"
            )
        totals = self.team.total({**sums, "steps": steps, "items": items})
        count, items = totals.pop("steps"), totals.pop("items")
        means = {name: value / count for name, value in totals.items()}
        seconds = perf_counter() - started
        return {**means, "seconds": seconds, "chunks_per_second": items / seconds}

    def _step(self, batch: Batch) -> dict[str, float]:
        """One optimizer step; returns the losses and the gradient norm before clipping."""
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.team.device, enabled=self.plan.amp):
            total, parts = self.module(*self._move(batch))
        names = ["loss", *parts]
        values = torch.stack([total.detach(), *(part.detach() for part in parts.values())])
        losses = dict(zip(names, values.tolist(), strict=True))
        self._require_finite("loss", losses["loss"])
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimizer)
        norm = float(clip_grad_norm_(self.model.parameters(), CLIP_NORM))
        if not self.scaler.is_enabled():  # which skips steps whose gradients overflow
            self._require_finite("gradient", norm)
        if self.steps % self.plan.lr_decay_steps == 0:
            self.schedule.step()
        rate = self._update()
        self.scaler.update()
        if self.steps % LOG_EVERY == 0:
            self.scalars.step(self.steps, losses=losses, rate=rate, norm=norm)
        logger.debug("step %d: %s chunks, %s", self.steps, tuple(batch[0].shape), losses)
        self.steps += 1
        return {**losses, "grad_norm": norm}

    def _update(self) -> float:
        """Let the optimizer step, at the schedule's rate or on the way to it; returns the rate."""
        groups = self.optimizer.param_groups
        rates = [group["lr"] for group in groups]
        share = min(1.0, self.steps / max(self.plan.lr_warmup_steps, 1))  # steps count from 1
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * share
        self.scaler.step(self.optimizer)
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        return rates[0] * share

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            raise UserError(
                f"the {what} became {value} at step {self.steps}; the last checkpoint in "
                f"{self.model_dir} is good: choose a smaller learning_rate (or mixed_precision: "
                "false) and start again from there"
            )


def describe(record: Mapping[str, Any]) -> str:
    """The figures of an epoch in one line."""
    parts = [f"epoch {record['epoch']}"]
    for name in ("train", "train_sample", "dev"):
        if name in record:
            parts.append(f"{name} loss {record[name]['loss']:.4f}")
    if "seconds" in record:
        parts.append(f"{record['seconds']:.0f} s")
    for name, figures in record.get("tests", {}).items():
        if "mean_ap" in figures:
            parts.append(f"{name} mAP {figures['mean_ap']:.4f}")
    return ", ".join(parts)
