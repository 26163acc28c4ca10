"""Random erasing and transposition of CQT chunks while CoverHunter trains."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.errors import UserError

LOUDEST = 0.0
QUIETEST = -80.0  # dB; erased regions take a value between the two
REGION_SIZE = (0.25, 0.1)  # of the frames and of the bins
ROLL_METHODS = ("octave", "uniform")


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


class SpecAugment:
    """Rolls the bins, then erases regions, each with its own probability.

    Args:
        config: the block ``spec_augmentation`` of hparams.yaml; a part that is left out is not
            done.

            * ``roll_pitch: {prob, shift_num}`` moves all bins, circularly, by ``-shift_num``, 0
              or ``+shift_num`` with a third each, as the original does; with 12 bins an octave
              and 12 for ``shift_num`` that is an octave down, nothing, or an octave up.
              ``method: uniform`` (an addition of ours; the original's is ``octave``) draws the
              shift from all ``shift_num`` positions within half an octave up or down instead,
              when ``shift_num`` is the number of bins in an octave: every key is equally likely.
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


def _fault(part: _Roll | _Erase) -> str | None:
    if not 0 <= part.prob <= 1:
        return f"prob is a probability between 0 and 1, not {part.prob}"
    if isinstance(part, _Roll):
        if part.method not in ROLL_METHODS:
            return f"method is {' or '.join(ROLL_METHODS)}, not {part.method!r}"
        return None if part.shift_num > 0 else f"shift_num must be above 0, not {part.shift_num}"
    if part.erase_num < 0:
        return f"erase_num cannot be {part.erase_num}"
    if len(part.region_size) != 2 or not all(0 <= share <= 1 for share in part.region_size):
        return (
            f"region_size is two shares between 0 and 1, of frames and of bins, not "
            f"{list(part.region_size)}"
        )
    return None
