"""Stop when a loss has not improved for some epochs; remembered across interruptions."""

from dataclasses import dataclass
from typing import Any


@dataclass
class EarlyStopping:
    """Counts the epochs since a loss was last at its lowest.

    Attributes:
        patience: epochs without improvement after which training stops; None: never.
        best: lowest loss so far, None before the first.
        best_epoch: epoch of the lowest loss.
        waited: epochs since then.
    """

    patience: int | None
    best: float | None = None
    best_epoch: int | None = None
    waited: int = 0

    @property
    def stopped(self) -> bool:
        """Whether the loss has not improved for ``patience`` epochs."""
        return self.patience is not None and self.waited >= self.patience

    def update(self, loss: float, epoch: int) -> bool:
        """Take note of the loss of ``epoch``; returns whether it is the lowest so far."""
        improved = self.best is None or loss < self.best
        if improved:
            self.best, self.best_epoch, self.waited = loss, epoch, 0
        else:
            self.waited += 1
        return improved

    def state_dict(self) -> dict[str, Any]:
        """What an interrupted run needs; the patience is the configuration's."""
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned."""
        self.best = state["best"]
        self.best_epoch = state["best_epoch"]
        self.waited = state["waited"]
