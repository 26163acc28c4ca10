"""Random transposition, time stretching and warping of a doubled chroma, as MOVE is trained.

Yesiler, Serrà and Gómez, "Accurate and scalable version identification using musically-motivated
embeddings" (ICASSP 2020). All of it moves whole frames or whole rows, so it is decided first, as
a short plan, and only the frames that a training patch needs are then gathered.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from src.data.chroma import PITCH_CLASSES, roll_pitch_classes

STRETCH_PROBABILITY = 0.3
WARP_PROBABILITY = 0.3
SHORTEST, LONGEST = 0.7, 1.5  # limits of the stretching factor
SILENCE_BELOW, DUPLICATE_BELOW = 0.3, 0.7  # which warp a uniform number chooses; else dropping
SILENCED, DUPLICATED, DROPPED = 0.1, 0.15, 0.1  # share of the frames that a warp touches

FrameDraws = np.random.Generator | np.random.RandomState


class Augmenter(Protocol):
    """What cuts augmented training patches from recordings."""

    def cut(
        self,
        chroma: Tensor,
        frames: int,
        *,
        decisions: torch.Generator | None,
        frame_draws: np.random.Generator,
    ) -> Tensor:
        """A random patch of ``(..., 23, T)`` with ``frames`` frames, or all where it is shorter."""
        ...


def random_start(length: int, frames: int, draws: np.random.Generator) -> int:
    """Any legal start of ``frames`` frames in ``length``, all equally likely; 0 if too short."""
    return int(draws.integers(max(length - frames, 0) + 1))


@dataclass(frozen=True)
class AugmentationPlan:
    """What an augmentation does to a recording.

    Attributes:
        semitones: transposition, 1 to 11.
        frames: ``(T',)`` for every frame of the result the frame it is taken from.
        silent: ``(T',)`` which frames of the result are silenced, or None.
    """

    semitones: int
    frames: np.ndarray
    silent: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.frames)

    def crop(self, start: int, frames: int) -> "AugmentationPlan":
        """The plan of (at most) ``frames`` frames of the result from ``start``."""
        part = slice(start, start + frames)
        silent = None if self.silent is None else self.silent[part]
        return replace(self, frames=self.frames[part], silent=silent)


@dataclass(frozen=True)
class ChromaAugmenter:
    """Always a transposition, with probability 0.3 a time stretch, with 0.3 a warp.

    * transposition by 1 to 11 semitones, all equally likely;
    * stretch to 0.7 .. 1.5 of the length by repeating or skipping frames evenly;
    * warp: single frames silenced (0.1 of them), doubled (0.15) or dropped (0.1).

    Attributes:
        original: roll the 23 doubled rows instead of the 12 pitch classes, as the original
            program did; whatever wraps around then lands one semitone off.
    """

    original: bool = False

    def plan(
        self, width: int, decisions: torch.Generator | None, frame_draws: FrameDraws
    ) -> AugmentationPlan:
        """Draw an augmentation of a recording with ``width`` frames.

        The draws come in the original's order; generators seeded like its global ones (a
        ``RandomState`` for numpy) repeat its choices.

        Args:
            width: length of the recording in frames, at least 1.
            decisions: what is done and how much; None is torch's default generator.
            frame_draws: which single frames are warped.
        """

        def uniform() -> Tensor:
            return torch.rand(1, generator=decisions)

        uniform()  # whether to transpose: always, but the original asks
        semitones = 0
        while semitones == 0:
            semitones = int(torch.randint(0, PITCH_CLASSES, (1,), generator=decisions))
        frames = np.arange(width)
        if uniform() <= STRETCH_PROBABILITY:
            frames = _stretched(width, _stretch_factor(uniform()))
        silent = None
        if uniform() <= WARP_PROBABILITY:
            kind = float(uniform())
            draws = frame_draws.random_sample if _is_legacy(frame_draws) else frame_draws.random
            chance = draws(len(frames))
            if kind < SILENCE_BELOW:
                silent = chance >= 1 - SILENCED
            elif kind < DUPLICATE_BELOW:
                frames = np.repeat(frames, 1 + (chance >= 1 - DUPLICATED))
            elif (chance >= DROPPED).any():  # something has to remain
                frames = frames[chance >= DROPPED]
        return AugmentationPlan(semitones, frames, silent)

    def apply(self, chroma: Tensor, plan: AugmentationPlan) -> Tensor:
        """Carry out ``plan``: ``(..., 23, T)`` -> ``(..., 23, T')``; the type is kept."""
        rows = chroma if self.original else chroma[..., :PITCH_CLASSES, :]
        gathered = rows[..., torch.from_numpy(plan.frames)]
        if plan.silent is not None:
            gathered[..., torch.from_numpy(plan.silent)] = 0
        if self.original:
            return gathered.roll(plan.semitones, dims=-2)
        return roll_pitch_classes(gathered, plan.semitones)

    def cut(
        self,
        chroma: Tensor,
        frames: int,
        *,
        decisions: torch.Generator | None,
        frame_draws: np.random.Generator,
    ) -> Tensor:
        """A random patch of the augmented recording: ``(..., 23, T)`` -> ``(..., 23, T')``.

        Only the frames of the patch are gathered. T' is ``frames``, or less where the augmented
        recording is shorter. Generators as in :meth:`plan`.
        """
        plan = self.plan(chroma.shape[-1], decisions, frame_draws)
        return self.apply(chroma, plan.crop(random_start(len(plan), frames, frame_draws), frames))

    def __call__(
        self, chroma: Tensor, *, decisions: torch.Generator | None, frame_draws: FrameDraws
    ) -> Tensor:
        """Augment a whole recording ``(1, 23, T)``; arguments as in :meth:`plan`."""
        return self.apply(chroma, self.plan(chroma.shape[-1], decisions, frame_draws))


def _stretch_factor(p: Tensor) -> float:
    """From one uniform number: half of the time shorter, half of the time longer.

    Stays a single-precision tensor up to here, because the limit 0.7 is slightly below 0.7 there
    and decides about a frame: 0.7 of 200 frames are 139.
    """
    shorter = bool(p <= 0.5)
    factor = (1 - p).clamp(min=SHORTEST) if shorter else (2 * p).clamp(max=LONGEST)
    return float(factor)


def _stretched(width: int, factor: float) -> np.ndarray:
    """Nearest original frame for each of ``width * factor`` evenly spaced ones; half goes down."""
    positions = np.linspace(0, width - 1, max(int(width * factor), 1))
    return np.ceil(positions - 0.5).astype(np.int64)


def _is_legacy(draws: FrameDraws) -> bool:
    return isinstance(draws, np.random.RandomState)
