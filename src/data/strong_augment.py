"""A stronger augmentation of doubled chroma than MOVE's own, for the contrastive loss.

MOVE's augmentation leaves about half of the patches at the tempo and with the values of their
recording (Yesiler, Serrà and Gómez, ICASSP 2020). This one stretches every patch, and changes the
values as other performances, instruments and recognition errors change them. It does not
transpose: the network hears all keys alike.
"""

import math

import numpy as np
import torch
from torch import Tensor

from src.data.augment import random_start
from src.data.chroma import PITCH_CLASSES, double_classes

SLOWEST, FASTEST = 1.4, 0.7  # length of a stretched patch as a share of the original's
POWER_PROBABILITY, POWER_SPREAD = 0.5, 0.25  # the spread is that of the exponent's logarithm
SILENCE_PROBABILITY, SILENCED = 0.3, 0.1  # share of the frames
NOISE_PROBABILITY, NOISE_SPREAD = 0.3, 0.08
GAP_PROBABILITY, SHORTEST_GAP, LONGEST_GAP = 0.3, 5, 60  # frames
GAP_IS_SILENT, LOUDEST_GAP = 0.5, 0.5  # probability; largest value of a constant chroma
GAIN_PROBABILITY, GAIN_SPREAD = 0.3, 0.2  # the spread is that of the gain's logarithm


class StrongAugmenter:
    """Always a time stretch, and with a probability each five changes of the values.

    * stretch by a factor from 0.7 to 1.4, its logarithm evenly distributed, to the nearest frames;
    * 0.5: a power of the values, ``exp(0.25 n)`` (n: a standard normal number);
    * 0.3: single frames silenced, 0.1 of them;
    * 0.3: normal noise of standard deviation 0.08;
    * 0.3: 5 to 60 frames together silenced or, as often, one constant chroma of 0 to 0.5;
    * 0.3: gains of the 12 pitch classes, ``exp(0.2 n)``.

    Values stay within 0 to 1, and the 23 rows a doubled chroma.
    """

    def cut(
        self,
        chroma: Tensor,
        frames: int,
        *,
        decisions: torch.Generator | None = None,
        frame_draws: np.random.Generator,
    ) -> Tensor:
        """A random patch of the stretched recording, changed.

        Args:
            chroma: recording ``(..., 23, T)``, T at least 1; it is not changed.
            frames: length of the patch.
            decisions: not used; everything is drawn from ``frame_draws``.
            frame_draws: makes all choices.

        Returns:
            ``(..., 23, T')`` in single precision; T' is ``frames``, or less where the stretched
            recording is shorter.
        """
        kept = torch.from_numpy(_stretched_frames(chroma.shape[-1], frames, frame_draws))
        classes = chroma[..., :PITCH_CLASSES, :][..., kept].float()  # a copy
        _change(classes.numpy(), frame_draws)
        return double_classes(classes)


def _stretched_frames(width: int, frames: int, draws: np.random.Generator) -> np.ndarray:
    """For each frame of the patch ``(T',)`` the frame of the recording it is taken from."""
    factor = math.exp(draws.uniform(math.log(FASTEST), math.log(SLOWEST)))
    length = max(int(width * factor), 1)
    start = random_start(length, frames, draws)
    middles = np.arange(start, min(start + frames, length)) + 0.5
    return (middles / factor).astype(np.int64)


def _change(classes: np.ndarray, draws: np.random.Generator) -> None:
    """Change the values of ``(..., 12, T)``, single precision, in place."""
    frames = classes.shape[-1]
    np.clip(classes, 0, 1, out=classes)  # a negative value would have no power
    if draws.random() < POWER_PROBABILITY:
        classes **= np.float32(math.exp(POWER_SPREAD * draws.standard_normal()))
    if draws.random() < SILENCE_PROBABILITY:
        classes[..., draws.random(frames, dtype=np.float32) < SILENCED] = 0
    if draws.random() < NOISE_PROBABILITY:
        classes += NOISE_SPREAD * draws.standard_normal(classes.shape, dtype=np.float32)
        np.clip(classes, 0, 1, out=classes)
    if draws.random() < GAP_PROBABILITY:
        gap = min(int(draws.integers(SHORTEST_GAP, LONGEST_GAP + 1)), frames)
        start = random_start(frames, gap, draws)
        silent = draws.random() < GAP_IS_SILENT
        constant = 0 if silent else LOUDEST_GAP * draws.random((PITCH_CLASSES, 1), np.float32)
        classes[..., start : start + gap] = constant
    if draws.random() < GAIN_PROBABILITY:
        gains = np.exp(GAIN_SPREAD * draws.standard_normal((PITCH_CLASSES, 1), np.float32))
        np.clip(classes * gains, 0, 1, out=classes)
