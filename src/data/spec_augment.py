"""Transposition, another sound, and erased regions of CQT chunks while CoverHunter trains."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.errors import UserError

LOUDEST = 0.0
QUIETEST = -80.0  # dB; erased regions take a value between the two
REGION_SIZE = (0.25, 0.1)  # of the frames and of the bins
ROLL_METHODS = ("octave", "uniform")
EQUALIZER_POINTS = 7  # gains drawn over the whole range of bins, with lines between them
NOISE_SPREAD = 5.6  # dB; standard deviation of the level of narrow-band noise from frame to frame
NEPERS = np.float32(np.log(10) / 10)  # natural logarithm of a power for each dB


@dataclass(frozen=True)
class _Roll:
    prob: float = 0.5
    shift_num: int = 12
    method: str = "octave"


@dataclass(frozen=True)
class _Erase:
    prob: float = 0.5
    erase_num: int = 4
    region_size: tuple[float, float] = REGION_SIZE


@dataclass(frozen=True)
class _Equalizer:
    prob: float = 0.5
    depth: float = 9.0


@dataclass(frozen=True)
class _Noise:
    prob: float = 0.5
    level: tuple[float, float] = (-70.0, -35.0)


class SpecAugment:
    """Rolls the bins, changes the sound, then erases regions, each with its own probability.

    Args:
        config: the block ``spec_augmentation`` of hparams.yaml; a part that is left out is not
            done.

            * ``roll_pitch: {prob, shift_num}`` moves all bins, circularly, by ``-shift_num``, 0
              or ``+shift_num`` with a third each, as the original does; with 12 bins an octave
              and 12 for ``shift_num`` that is an octave down, nothing, or an octave up.
              ``method: uniform`` (an addition of ours; the original's is ``octave``) draws the
              shift from all ``shift_num`` positions within half an octave up or down instead,
              when ``shift_num`` is the number of bins in an octave: every key is equally likely.
            * ``equalizer: {prob, depth}`` (an addition of ours) adds a smooth curve over the bins,
              of at most ``depth`` dB up or down: another microphone, room or mastering.
            * ``noise: {prob, level}`` (an addition of ours) adds noise, in power, whose mean level
              at each end of the bins is drawn from the two dB values in ``level``: real
              recordings are seldom as quiet between the notes as synthesised ones.
            * ``random_erase: {prob, erase_num, region_size}`` fills ``erase_num`` regions with one
              value between -80 and 0 dB; ``region_size`` is their share of the frames and of the
              bins, ``[0.25, 0.1]`` where it is left out.
        original: place regions as the original did, where one whose centre is close to the
            beginning of either axis erases nothing (about a fifth of them). By default every
            region is erased and lies wholly inside, at all places alike.

    Raises:
        UserError: a value is out of range.
    """

    def __init__(self, config: Mapping[str, Any] | None, *, original: bool = False) -> None:
        config = config or {}
        self.roll = _part(_Roll, config, "roll_pitch")
        self.equalizer = _part(_Equalizer, config, "equalizer")
        self.noise = _part(_Noise, config, "noise")
        self.erase = _part(_Erase, config, "random_erase")
        self.original = original

    def __call__(self, chunk: np.ndarray, rng: random.Random) -> np.ndarray:
        """Augment one chunk.

        The draws come in the original's order, so a generator seeded like its global one repeats
        its choices in the ``original`` form.

        Args:
            chunk: ``(T, F)`` dB, already averaged; it is not changed.
            rng: source of all choices.

        Returns:
            new array of the same shape and type.
        """
        if self.roll and rng.random() < self.roll.prob:
            chunk = np.roll(chunk, self._shift(rng), axis=1)
        else:
            chunk = chunk.copy()
        if self.equalizer and rng.random() < self.equalizer.prob:
            chunk = _equalized(chunk, self.equalizer.depth, rng)
        if self.noise and rng.random() < self.noise.prob:
            chunk = _with_noise(chunk, self.noise.level, rng)
        if self.erase and rng.random() < self.erase.prob:
            value = QUIETEST * rng.random() + LOUDEST
            for _ in range(self.erase.erase_num):
                rows, columns = (
                    self._span(size, share, rng)
                    for size, share in zip(chunk.shape, self.erase.region_size, strict=True)
                )
                chunk[rows, columns] = value
        return chunk

    def _shift(self, rng: random.Random) -> int:
        assert self.roll
        if self.roll.method == "uniform":
            return rng.randrange(self.roll.shift_num) - self.roll.shift_num // 2
        return rng.choice((-1, 0, 1)) * self.roll.shift_num

    def _span(self, size: int, share: float, rng: random.Random) -> slice:
        """Part of an axis of ``size`` that a region covers."""
        region = int(size * share)
        if self.original:
            half = region // 2
            centre = int(rng.random() * (size - region))
            return slice(centre - half, centre + half)  # a negative start selects nothing
        start = int(rng.random() * (size - region + 1))
        return slice(start, start + region)


def _equalized(chunk: np.ndarray, depth: float, rng: random.Random) -> np.ndarray:
    """``(T, F)`` dB through a filter; as in features of recordings, the loudest value is 0 dB."""
    gains = [rng.uniform(-depth, depth) for _ in range(EQUALIZER_POINTS)]
    bins = chunk.shape[1]
    curve = np.interp(np.arange(bins), np.linspace(0, bins - 1, EQUALIZER_POINTS), gains)
    chunk = chunk + curve.astype(chunk.dtype)
    return chunk + min(LOUDEST - chunk.max(), 0)


def _with_noise(chunk: np.ndarray, level: Sequence[float], rng: random.Random) -> np.ndarray:
    """``(T, F)`` dB with stationary noise added in power; nothing becomes louder than 0 dB."""
    draws = np.random.default_rng(rng.getrandbits(64))
    mean = np.linspace(rng.uniform(*level), rng.uniform(*level), chunk.shape[1])  # (F,)
    noise = mean.astype(chunk.dtype) + NOISE_SPREAD * draws.standard_normal(
        chunk.shape, chunk.dtype
    )
    # Levels of two powers together; np.logaddexp does the same ten times more slowly.
    louder, apart = np.maximum(chunk, noise), np.abs(chunk - noise)
    together = louder + np.log1p(np.exp(-NEPERS * apart)) / NEPERS
    return np.minimum(together, LOUDEST).astype(chunk.dtype)


def _part(kind: type, config: Mapping[str, Any], name: str) -> Any:
    values = config.get(name)
    if values is None:
        return None
    try:
        part = kind(**{key: value for key, value in values.items() if value is not None})
    except TypeError as error:
        known = ", ".join(kind.__dataclass_fields__)
        raise UserError(f"spec_augmentation, {name}: only {known} can be set") from error
    fault = _fault(part)
    if fault:
        raise UserError(f"spec_augmentation, {name}: {fault}")
    return part


def _fault(part: _Roll | _Equalizer | _Noise | _Erase) -> str | None:
    if not 0 <= part.prob <= 1:
        return f"prob is a probability between 0 and 1, not {part.prob}"
    if isinstance(part, _Roll):
        if part.method not in ROLL_METHODS:
            return f"method is {' or '.join(ROLL_METHODS)}, not {part.method!r}"
        return None if part.shift_num > 0 else f"shift_num must be above 0, not {part.shift_num}"
    if isinstance(part, _Equalizer):
        return None if part.depth >= 0 else f"depth is a number of dB, not {part.depth}"
    if isinstance(part, _Noise):
        if len(part.level) == 2 and part.level[0] <= part.level[1] <= LOUDEST:
            return None
        return f"level is two numbers of dB below 0, the lower one first, not {list(part.level)}"
    if part.erase_num < 0:
        return f"erase_num cannot be {part.erase_num}"
    if len(part.region_size) != 2 or not all(0 <= share <= 1 for share in part.region_size):
        return (
            f"region_size is two shares between 0 and 1, of frames and of bins, not "
            f"{list(part.region_size)}"
        )
    return None
