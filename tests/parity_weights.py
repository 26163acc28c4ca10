"""Seeded weights and inputs of the reference numbers in ``tests/fixtures``.

Every weight of a reference model is rebuilt from the list of its keys and shapes, so that no
weight file is needed: see :func:`rebuild_weights`.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

FIXTURES = Path(__file__).parent / "fixtures"
BASE_SEED = 100_000


def normal(seed: int, shape: Iterable[int] = ()) -> np.ndarray:
    """Standard normal numbers in float64 from a fresh generator."""
    return np.asarray(np.random.RandomState(seed).standard_normal(tuple(shape)))


def uniform(seed: int, shape: Iterable[int] = ()) -> np.ndarray:
    """Uniform numbers of [0, 1) in float64 from a fresh generator."""
    return np.asarray(np.random.RandomState(seed).random_sample(tuple(shape)))


def rebuild_weights(
    keys: Iterable[tuple[str, list[int], str]], base: int, *, gain: float = 1.0
) -> dict[str, torch.Tensor]:
    """State dict drawn by the rule of the reference numbers.

    Args:
        keys: entries ``[key, shape, dtype]`` in the order of the state dict.
        base: seed; the i-th key in alphabetical order draws from ``base + i``.
        gain: factor on every tensor with two or more dimensions, applied after the cast.
    """
    keys = [(key, list(shape)) for key, shape, *_ in keys]
    position = {key: i for i, key in enumerate(sorted(key for key, _ in keys))}
    return {key: _weight(key, shape, base + position[key], gain) for key, shape in keys}


def _weight(key: str, shape: list[int], seed: int, gain: float) -> torch.Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(1)
    n = normal(seed, shape)
    if key.endswith("_global_cmvn.running_mean"):
        value = -40 + 5 * n
    elif key.endswith("_global_cmvn.running_var"):
        value = 200 * (0.5 + np.abs(n))
    elif key.endswith("running_mean"):
        value = 0.1 * n
    elif key.endswith("running_var"):
        value = 0.5 + np.abs(n)
    elif len(shape) >= 2:
        value = n / math.sqrt(math.prod(shape[1:]))
    elif len(shape) == 0:
        value = 2 + n
    elif key.endswith(".weight") and shape[0] > 1:
        value = 1 + 0.1 * n
    else:
        value = 0.1 * n
    weight = torch.from_numpy(np.asarray(value, dtype=np.float32))
    return weight * gain if len(shape) >= 2 and gain != 1.0 else weight


def move_chroma(seed: int, n: int, T: int, hold: int, **_: Any) -> torch.Tensor:
    """Doubled chroma ``(n, 1, 23, T)``; every random frame is held for ``hold`` frames."""
    frames = uniform(seed, (n, 12, math.ceil(T / hold)))
    chroma = np.repeat(frames, hold, axis=2)[:, :, :T].astype(np.float32)
    return torch.from_numpy(np.concatenate([chroma, chroma], axis=1)[:, None, :23])


def read_fixture(name: str) -> Any:
    """A fixture file: the parsed JSON, or the arrays of an ``.npz`` as a dict."""
    path = FIXTURES / name
    if path.suffix == ".json":
        return json.loads(path.read_text("utf-8"))
    with np.load(path) as arrays:
        return dict(arrays)
