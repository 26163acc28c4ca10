"""Ranger: rectified Adam inside Lookahead.

Liu et al., "On the variance of the adaptive learning rate and beyond" (ICLR 2020); Zhang et al.,
"Lookahead optimizer: k steps forward, 1 step back" (NeurIPS 2019).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer


class Ranger(Optimizer):
    """RAdam steps; every ``k`` of them, go back part of the way towards where they began.

    Every parameter counts its own steps: one that is frozen at first begins its count, its
    moments and its slow copy with its first gradient. Weight decay is decoupled.

    Args:
        params: parameters or parameter groups.
        lr: learning rate.
        betas: decay of the averages of the gradient and of its square.
        eps: added to the root of the second moment.
        weight_decay: share of the weights, times lr, taken away at every step.
        alpha: share of the way from the slow weights to the fast ones that is kept.
        k: steps between two meetings of slow and fast weights.
        n_sma_threshold: below this length of the averaging window the second moment says too
            little, and the step is made with the first moment only.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 0.0,
        alpha: float = 0.5,
        k: int = 6,
        n_sma_threshold: float = 5.0,
    ) -> None:
        if lr < 0 or eps <= 0 or weight_decay < 0:
            raise ValueError(f"lr {lr}, eps {eps} and weight decay {weight_decay} must be positive")
        if not (0 <= betas[0] < 1 and 0 < betas[1] < 1 and 0 <= alpha <= 1 and k >= 1):
            raise ValueError(f"betas {betas}, alpha {alpha} or k {k} is out of range")
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "alpha": alpha,
                "k": k,
                "n_sma_threshold": n_sma_threshold,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update the parameters that have a gradient.

        Args:
            closure: evaluates the loss and its gradients anew; its result is returned.

        Raises:
            RuntimeError: a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            # What shares device, type and step count is updated together, in one kernel a formula.
            together: dict[tuple, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.grad.is_sparse:
                    raise RuntimeError("Ranger does not take sparse gradients")
                state = self.state[parameter]
                if not state:
                    state["step"] = 0
                    state["exp_avg"] = torch.zeros_like(parameter)
                    state["exp_avg_sq"] = torch.zeros_like(parameter)
                    state["slow_buffer"] = parameter.clone()
                state["step"] += 1
                key = (parameter.device, parameter.dtype, state["step"])
                together[key].append(parameter)
            for (_, _, step), parameters in together.items():
                self._update(parameters, step, group)
        return loss

    def _update(self, parameters: list[Tensor], step: int, group: dict[str, Any]) -> None:
        """One step number ``step`` for parameters of one device and type."""
        beta1, beta2 = group["betas"]
        learning_rate = float(group["lr"])
        states = [self.state[parameter] for parameter in parameters]
        gradients = [parameter.grad for parameter in parameters]
        first = [state["exp_avg"] for state in states]
        second = [state["exp_avg_sq"] for state in states]
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)

        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["weight_decay"] * learning_rate)
        step_size = learning_rate / (1 - beta1**step)
        rectification = _rectification(step, beta2, group["n_sma_threshold"])
        if rectification is None:
            torch._foreach_add_(parameters, first, alpha=-step_size)
        else:
            denominators = torch._foreach_sqrt(second)
            torch._foreach_add_(denominators, group["eps"])
            torch._foreach_addcdiv_(parameters, first, denominators, -step_size * rectification)

        if step % group["k"] == 0:
            slow = [state["slow_buffer"] for state in states]
            torch._foreach_lerp_(slow, parameters, group["alpha"])
            torch._foreach_copy_(parameters, slow)


def _rectification(step: int, beta2: float, threshold: float) -> float | None:
    """Factor of the adaptive step, bias correction included; None while the window is short."""
    longest = 2 / (1 - beta2) - 1
    power = beta2**step
    length = longest - 2 * step * power / (1 - power)
    if length <= threshold:
        return None
    ratio = (length - 4) / (longest - 4) * (length - 2) / length * longest / (longest - 2)
    return math.sqrt((1 - power) * ratio)
