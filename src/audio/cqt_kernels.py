"""The kernels of the constant-Q transform, and their factors for sound that comes hop by hop."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal.windows import hamming

KERNEL_THRESHOLD = 0.01  # magnitude in the FFT of a kernel whose window sums to about 0.54
SMALLEST_DIRECTION = 1e-7  # of the greatest: what is left out is 130 dB below full scale


def kernels(frequencies: Sequence[float], *, q: float, sample_rate: int, length: int) -> np.ndarray:
    """The transform of one frame of sound as weights of its samples.

    Args:
        frequencies: centres of the bins in Hz.
        q: periods in a window.
        sample_rate: Hz.
        length: samples of a frame, a power of two.

    Returns:
        ``(bins, length)`` complex128.
    """
    table = np.zeros((len(frequencies), length))
    for row, frequency in zip(table, frequencies, strict=True):
        half = round(q * sample_rate / frequency / 2)
        n = 2 * half + 1
        m = np.arange(-half, half + 1)
        padded = np.zeros(length, complex)
        padded[m] = hamming(n) * np.exp(2j * np.pi * q * m / n) / n
        spectrum = np.fft.fft(padded).real  # a window symmetric about 0 has a real spectrum
        row[:] = np.where(np.abs(spectrum) < KERNEL_THRESHOLD, 0, spectrum)
    table *= (-1.0) ** np.arange(length)  # moves the middle of the window to that of the frame
    return np.fft.fft(table) / length


@dataclass(frozen=True)
class Half:
    """What a group of bins takes from the even or the odd part of one hop of sound."""

    directions: np.ndarray  # ((hop + 1) // 2, directions)
    weights: np.ndarray  # (directions, hops of a frame * 2 bins): real parts, imaginary parts


def halves(weights: np.ndarray, hop: int) -> tuple[Half, Half]:
    """Factors of some kernels, ``(bins, frame_length)``, for the even and for the odd part.

    Even and odd about the middle of a hop, ``x + x reversed`` and ``x - x reversed``, halve the
    products: both have half the length, and a band takes as many numbers of both together.
    """
    bins, length = weights.shape
    hops = -(-length // hop)
    before = (hops * hop - length) // 2
    taps = np.zeros((hops * hop, 2 * bins))
    taps[before : before + length] = np.concatenate([weights.real, weights.imag]).T
    # (place in a hop, hop of the frame, output)
    taps = taps.reshape(hops, hop, -1).swapaxes(0, 1).reshape(hop, -1)
    pair = []
    for sign in (1, -1):
        part = ((taps + sign * taps[::-1]) / 2)[: (hop + 1) // 2]
        if hop % 2 and sign == 1:
            part[-1] /= 2  # the sample in the middle is its own mirror
        directions, sizes, _ = np.linalg.svd(part, full_matrices=False)
        kept = directions[:, sizes > SMALLEST_DIRECTION * np.linalg.norm(taps, axis=0).max()]
        pair.append(Half(kept, kept.T @ part))
    return pair[0], pair[1]
