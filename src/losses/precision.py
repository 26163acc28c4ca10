"""Losses compute in single precision, whatever precision the network ran in."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def full_precision(loss: Callable) -> Callable:
    """Run ``loss`` outside autocast, with 16-bit floating-point arguments as single precision.

    Exponentials, differences of squared norms and sums over thousands of proxies lose in 16 bits
    what they are there to measure; beside the network their cost is nothing.
    """

    @functools.wraps(loss)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        device = next((a.device.type for a in given if isinstance(a, Tensor)), "cpu")
        with torch.autocast(device, enabled=False):
            return loss(
                *(_widen(value) for value in args),
                **{key: _widen(value) for key, value in kwargs.items()},
            )

    return run


def flat_labels(labels: Tensor) -> Tensor:
    """Class numbers ``(N,)`` int64 from ``(N,)`` or ``(N, 1)`` of any type."""
    return labels.reshape(-1).long()


def _widen(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.to(torch.promote_types(value.dtype, torch.float))
    return value
