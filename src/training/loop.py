"""The training loop that all four kinds of Re-MOVE experiment share."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from src.config import RemoveConfig
from src.device import autocast
from src.errors import UserError
from src.files import write_json
from src.training.checkpoint import save_move
from src.training.experiments import Baseline
from src.training.paths import ExperimentFiles
from src.training.ranger import Ranger
from src.training.state import save_state

logger = logging.getLogger(__name__)

MINI_EPOCHS = 4  # parts of an epoch, each with its own training files
VALIDATION_EVERY = 2  # epochs
SMALLEST_GAIN = 0.001  # mAP by which a model must be better to be kept

Batch = tuple[torch.Tensor, torch.Tensor]  # chroma (B, 1, 23, T), labels (B,)
# (cycle, epoch, mini-epoch) -> batches; the same numbers give the same batches.
Loader = Callable[[int, int, int], Iterable[Batch]]


@dataclass
class Progress:
    """What a run remembers beside the weights.

    Attributes:
        cycle: training cycle (pruning has several), from 0.
        epoch: next epoch of the cycle, from 0.
        best: best validation mAP of the cycle so far.
        steps: optimizer steps so far, over all cycles.
        train_loss_log: mean loss of every epoch.
        val_loss_log: mAP of every validation.
    """

    cycle: int = 0
    epoch: int = 0
    best: float = 0.0
    steps: int = 0
    train_loss_log: list[float] = field(default_factory=list)
    val_loss_log: list[float] = field(default_factory=list)


def make_optimizer(config: RemoveConfig, groups: list[dict]) -> torch.optim.Optimizer:
    """SGD or Ranger over the parameter groups of an experiment."""
    if config.optimizer == 1:
        return Ranger(groups, lr=config.learning_rate)
    return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)


def make_schedule(
    config: RemoveConfig, optimizer: torch.optim.Optimizer
) -> torch.optim.lr_scheduler.MultiStepLR:
    """Learning rates of all groups times ``lr_gamma`` after the epochs of ``lr_schedule``."""
    milestones = [] if config.lr_schedule == [0] else config.lr_schedule
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=config.lr_gamma)


def validates_after(epoch: int, num_of_epochs: int) -> bool:
    """Whether the model is validated after ``epoch`` (from 0): every second and the last."""
    return (epoch + 1) % VALIDATION_EVERY == 0 or epoch + 1 == num_of_epochs


class Loop:
    """Trains an experiment, cycle by cycle, epoch by epoch, from wherever it was interrupted.

    Args:
        experiment: network and loss, on their device.
        config: options of the run.
        files: where to write.
        loader: batches of a mini-epoch.
        validate: mAP of the network on the validation set.
        device: where to compute.
        seed: seed of the mining draws.
        amp: mixed precision for the network; losses stay in float32.
        identity: what a later run must share to continue this one.
        metadata: description kept beside the weights.
    """

    def __init__(
        self,
        experiment: Baseline,
        config: RemoveConfig,
        files: ExperimentFiles,
        *,
        loader: Loader,
        validate: Callable[[torch.nn.Module], float],
        device: torch.device,
        seed: int,
        amp: bool,
        identity: dict[str, Any],
        metadata: dict[str, Any],
    ) -> None:
        self.experiment = experiment
        self.config = config
        self.files = files
        self.loader = loader
        self.validate = validate
        self.device = device
        self.seed = seed
        self.amp = amp
        self.identity = identity
        self.metadata = metadata
        self.progress = Progress()
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp and device.type == "cuda")
        self.start_cycle()

    def start_cycle(self) -> None:
        """Fresh optimizer, learning rates and best figure; weights stay as they are."""
        self.optimizer = make_optimizer(self.config, self.experiment.parameter_groups())
        self.schedule = make_schedule(self.config, self.optimizer)
        self.progress.epoch = 0
        self.progress.best = 0.0

    def state(self) -> dict[str, Any]:
        """Everything that decides how training goes on."""
        return {
            "experiment": self.experiment.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "progress": vars(self.progress).copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state` returned."""
        self.experiment.load_state_dict(state["experiment"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.scaler.load_state_dict(state["scaler"])
        self.progress = Progress(**state["progress"])

    def keep_start(self) -> float:
        """Keep the weights that training starts from as the best so far; returns their mAP.

        For weights that are trained already: what is kept in the end is never worse than they are.
        """
        figure = self.progress.best = self.validate(self.experiment.model)
        self._save_best(figure)
        return figure

    def run_cycle(self) -> None:
        """Train from the current epoch to the last one of the cycle."""
        progress, total = self.progress, self.config.num_of_epochs
        purge = progress.steps if progress.steps else None
        with SummaryWriter(str(self.files.events), purge_step=purge) as events:
            while progress.epoch < total:
                self._run_epoch(events)
                save_state(self.files.state, self.state(), self.identity)

    def _run_epoch(self, events: SummaryWriter) -> None:
        progress, epoch = self.progress, self.progress.epoch
        started = perf_counter()
        self.experiment.train()
        self.experiment.start_epoch(epoch)
        # A function of the numbers alone: a resumed run draws what the whole run would draw.
        drawn = np.random.SeedSequence((self.seed, progress.cycle, epoch)).generate_state(1)
        generator = torch.Generator(self.device).manual_seed(int(drawn[0]))
        losses, items = [], 0
        for mini_epoch in range(MINI_EPOCHS):
            batches = self._batches(mini_epoch)
            label = f"epoch {epoch + 1}/{self.config.num_of_epochs} part {mini_epoch + 1}"
            step_losses = []
            for chroma, labels in tqdm(batches, desc=label, unit="batch", leave=False):
                step_losses.append(self._step(chroma, labels, generator))
                items += len(labels)
            if step_losses:
                losses.append(math.fsum(step_losses) / len(step_losses))
        if not losses:
            raise UserError(
                f"no training file holds a whole batch of {self.config.batch_size} recordings; "
                "choose a smaller --batch_size or fewer, larger training files"
            )
        progress.train_loss_log.append(math.fsum(losses) / len(losses))
        seconds = perf_counter() - started
        self._write_scalars(events, items / seconds)
        message = f"epoch {epoch + 1}: loss {progress.train_loss_log[-1]:.4f}, {seconds:.0f} s"
        if validates_after(epoch, self.config.num_of_epochs):
            message += f", validation mAP {self._validate(events):.4f}"
        logger.info(message)
        self.schedule.step()
        progress.epoch += 1
        self._write_log()

    def _batches(self, mini_epoch: int) -> Iterator[Batch]:
        batches = self.loader(self.progress.cycle, self.progress.epoch, mini_epoch)
        if not self.config.overfit_batch:
            yield from batches
            return
        first = None
        for batch in batches:
            first = first or batch
            yield first

    def _step(
        self, chroma: torch.Tensor, labels: torch.Tensor, generator: torch.Generator
    ) -> float:
        chroma = chroma.to(self.device, torch.float32, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, enabled=self.amp):
            loss = self.experiment(chroma, labels, generator)
        value = loss.item()
        if not math.isfinite(value):
            raise UserError(
                f"the loss became {value} in epoch {self.progress.epoch + 1}; "
                "choose a smaller --learning_rate"
            )
        if loss.requires_grad:  # a batch without any pair to learn from has no gradient
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.experiment.after_step()
        self.progress.steps += 1
        return value

    def _validate(self, events: SummaryWriter) -> float:
        progress = self.progress
        figure = self.validate(self.experiment.model)
        progress.val_loss_log.append(figure)
        events.add_scalar("mAP/validation", figure, progress.steps)
        if figure >= progress.best + SMALLEST_GAIN:
            progress.best = figure
            self._save_best(figure, epoch=progress.epoch + 1)
        return figure

    def _save_best(self, figure: float, *, epoch: int = 0) -> None:
        metadata = {
            **self.metadata,
            "cycle": self.progress.cycle,
            "epoch": epoch,
            "steps": self.progress.steps,
            "validation_mAP": figure,
        }
        save_move(self.experiment.model, self.files.model, metadata=metadata)

    def _write_scalars(self, events: SummaryWriter, throughput: float) -> None:
        steps = self.progress.steps
        events.add_scalar("loss/train", self.progress.train_loss_log[-1], steps)
        events.add_scalar("recordings_per_second", throughput, steps)
        for number, group in enumerate(self.optimizer.param_groups):
            events.add_scalar(f"learning_rate/group_{number}", group["lr"], steps)

    def _write_log(self) -> None:
        progress = self.progress
        logs = {"train_loss_log": progress.train_loss_log, "val_loss_log": progress.val_loss_log}
        write_json(logs, self.files.log)
