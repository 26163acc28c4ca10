"""The learning-rate schedule of CoverHunter."""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler


class UserDefineExponentialLR(LRScheduler):
    """Multiplies the learning rate by ``gamma`` at every step, down to ``min_lr``.

    The new rate is computed from the present one, not from the initial one. To continue a run
    restore the ``state_dict`` of optimizer and schedule: constructing the schedule with a
    ``last_epoch`` of 0 or more decays once, as the original did at every restart.

    Args:
        optimizer: optimizer whose groups are scheduled.
        gamma: factor per step.
        min_lr: lowest rate. It holds for the first group of parameters only (recorded behaviour
            of the original, whose trainer has one group); others decay further.
        last_epoch: position of a run that is continued without its state; -1 starts anew.
    """

    def __init__(
        self, optimizer: Optimizer, gamma: float, min_lr: float, last_epoch: int = -1
    ) -> None:
        self.gamma = gamma
        self.min_lr = min_lr
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Rates of all groups at the present position; called by :meth:`step`."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        if self.last_epoch == 0:
            return rates
        first, *others = (rate * self.gamma for rate in rates)
        return [max(first, self.min_lr), *others]
