"""The chroma that MOVE reads: 12 pitch classes doubled to 23 rows, frames along the last axis.

Row r holds pitch class r % 12. Doubling lets a 12-row kernel see every circular shift of the
12 classes without wrapping; the 24th row would only repeat the first shift.
"""

import numpy as np
import torch
from torch import Tensor

PITCH_CLASSES = 12
CHROMA_ROWS = 2 * PITCH_CLASSES - 1  # 23


def double_chroma(pcp: np.ndarray) -> Tensor:
    """Turn pitch-class profiles ``(T, 12)`` into MOVE's input ``(1, 23, T)``; dtype is kept.

    Raises:
        ValueError: another shape.
    """
    pcp = np.asarray(pcp)
    if pcp.ndim != 2 or pcp.shape[1] != PITCH_CLASSES:
        raise ValueError(f"pitch-class profiles have shape (frames, 12), got {pcp.shape}")
    classes = torch.from_numpy(np.ascontiguousarray(pcp.T))  # (12, T)
    return double_classes(classes)[None]


def double_classes(classes: Tensor) -> Tensor:
    """Stack ``(..., 12, T)`` twice and keep the first 23 rows: ``(..., 23, T)``."""
    return torch.cat((classes, classes[..., :-1, :]), dim=-2)


def roll_pitch_classes(chroma: Tensor, semitones: int) -> Tensor:
    """Transpose a doubled chroma ``(..., 23, T)`` upwards by ``semitones``.

    The 12 classes are rolled and doubled afterwards, so that the result is the chroma of the
    transposed recording, exactly. Rolling the 23 rows themselves would shift whatever wraps
    around by one semitone too many.
    """
    classes = chroma[..., :PITCH_CLASSES, :]
    return double_classes(classes.roll(semitones, dims=-2))


def pad_frames(chroma: Tensor, frames: int) -> Tensor:
    """Append silent (zero) frames until there are at least ``frames``; ``(..., T)``."""
    missing = frames - chroma.shape[-1]
    return torch.nn.functional.pad(chroma, (0, missing)) if missing > 0 else chroma


def crop_frames(chroma: Tensor, start: int, frames: int) -> Tensor:
    """The ``frames`` frames from ``start``, a view; zeros follow where the recording ends."""
    return pad_frames(chroma[..., start : start + frames], frames)
