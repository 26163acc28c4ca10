"""The one place that chooses a device and a precision."""

import contextlib
import importlib.util
import os
import shutil

import torch

from src.errors import UserError

DEVICE_NAMES = ("auto", "cpu", "cuda", "mps")


def select_device(name: str = "auto") -> torch.device:
    """Turn a device name from a person into a device that exists here.

    Args:
        name: ``auto`` (CUDA, else MPS, else CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        UserError: the name is unknown or this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise UserError("device mps: no Apple GPU is available here; use auto or cpu")
        return torch.device("mps")
    kind, _, number = name.partition(":")
    if kind != "cuda" or (":" in name and not number.isdecimal()):
        raise UserError(f"unknown device {name!r}; use auto, cpu, cuda, cuda:N or mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(number or 0) >= count:
        raise UserError(
            f"device {name}: this machine has {count} usable CUDA device(s); use auto or cpu"
        )
    return torch.device(name)


def low_precision(device: torch.device) -> torch.dtype:
    """The 16-bit type for mixed precision on ``device``: bfloat16 where it is native, else float16.

    CUDA cards before Ampere and Apple GPUs compute in float16; CPUs and newer cards in bfloat16.
    """
    if device.type == "cpu" or (device.type == "cuda" and torch.cuda.is_bf16_supported()):
        return torch.bfloat16
    return torch.float16


def autocast(device: torch.device, *, enabled: bool) -> contextlib.AbstractContextManager:
    """Context in which matrix products on ``device`` run in :func:`low_precision`."""
    if not enabled:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=low_precision(device))


def has_fast_low_precision(device: torch.device) -> bool:
    """Whether mixed precision is likely to pay on ``device``.

    On CUDA always; on a CPU if it has instructions for bfloat16; on Apple GPUs no.
    """
    if device.type == "cpu":
        # Older releases of torch do not say.
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return device.type == "cuda"


def can_compile(device: torch.device) -> bool:
    """Whether ``torch.compile`` has what it needs: Triton on CUDA, a C++ compiler on a CPU."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    names = [name for name in (os.environ.get("CXX"), "g++", "clang++") if name]
    return device.type == "cpu" and any(map(shutil.which, names))
