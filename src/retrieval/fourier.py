"""An embedding that nobody trained: the 2D Fourier magnitude of a chromagram.

A transposition rolls the pitch classes and a delay shifts the frames; both only change the phases
of a two-dimensional Fourier transform, so its magnitude stays. The baseline of the field since

    T. Bertin-Mahieux and D. P. W. Ellis. Large-scale cover song recognition using the 2D Fourier
    transform magnitude. Proc. of the Int. Soc. for Music Information Retrieval Conf., 2012

and the mark that a trained model has to beat. Compare the embeddings by cosine.
"""

import numpy as np
import torch

from src.errors import UserError

MEAN_FRAMES = 6  # of cremaPCP at 10.77 frames a second: 0.56 s
PATCH = 50  # averaged frames, 28 s
POWER = 1.96  # of the paper: makes the strong pitch classes stand out
_PITCH_CLASSES = 12


def fourier_magnitude_embedding(
    pcp: np.ndarray | torch.Tensor,
    *,
    mean_frames: int = MEAN_FRAMES,
    patch: int = PATCH,
    power: float = POWER,
) -> np.ndarray:
    """Embed one recording.

    Frames are averaged, raised to a power and scaled to unit length; every patch of consecutive
    frames is transformed; the embedding is the median of the magnitudes over the patches. A
    recording shorter than a patch is padded with silence. The magnitudes of a real signal come in
    equal pairs, of which one is kept with the weight of both, so that lengths and angles are those
    of the full plane.

    Args:
        pcp: ``(T, 12)`` non-negative, one frame per 4096 samples at 44.1 kHz (10.77 a second).
        mean_frames: frames to average; a rest at the end is dropped.
        patch: averaged frames per patch.
        power: exponent of the averaged values.

    Returns:
        ``(12 * (patch // 2 + 1),)`` float32 of unit length (zeros for silence).

    Raises:
        UserError: another shape, no frames, or values that are negative or not finite.
    """
    pcp = np.asarray(pcp, dtype=np.float32)
    if pcp.ndim != 2 or pcp.shape[1] != _PITCH_CLASSES or not len(pcp):
        raise UserError(f"cremaPCP must be a table of frames by 12 pitch classes, not {pcp.shape}")
    if not np.isfinite(pcp).all() or pcp.min() < 0:
        raise UserError("cremaPCP has values that are negative or not finite; extract it again")
    mean_frames = min(mean_frames, len(pcp))
    count = len(pcp) // mean_frames
    frames = pcp[: count * mean_frames].reshape(count, mean_frames, _PITCH_CLASSES).mean(axis=1)
    frames = _unit(frames**power)  # (count, 12)
    if count < patch:
        frames = np.pad(frames, ((0, patch - count), (0, 0)))
    patches = np.lib.stride_tricks.sliding_window_view(frames, patch, axis=0)  # (n, 12, patch)
    magnitude = np.abs(np.fft.rfft2(patches))  # (n, 12, patch // 2 + 1)
    typical = np.median(magnitude, axis=0)
    twice = np.full(typical.shape[1], np.sqrt(2))
    twice[0] = 1  # this column and, for even lengths, the last hold both of each pair
    if patch % 2 == 0:
        twice[-1] = 1
    return _unit((typical * twice).reshape(1, -1))[0].astype(np.float32)


def _unit(rows: np.ndarray) -> np.ndarray:
    """Scale each row to unit length; rows of zeros stay."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
