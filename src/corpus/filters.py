"""Microphones, loudspeakers and band limits as curves over frequency, applied by FFT."""

from typing import Any

import numpy as np
from scipy import fft
from scipy.interpolate import PchipInterpolator

_BLOCK = 1 << 17  # samples


def draw_eq(rng: np.random.Generator, *, depth_db: float) -> dict[str, Any]:
    """Draw a smooth frequency response of a microphone or loudspeaker.

    Returns:
        ``gains_db`` at ``frequencies`` (Hz), within ``+-depth_db``.
    """
    frequencies = [60.0, 180.0, 500.0, 1500.0, 4500.0, 12000.0]
    gains = np.clip(rng.normal(0, depth_db / 2, len(frequencies)), -depth_db, depth_db)
    return {"frequencies": frequencies, "gains_db": [round(float(g), 2) for g in gains]}


def eq_gain(frequencies: np.ndarray, eq: dict[str, Any]) -> np.ndarray:
    """Linear gain of an equaliser from :func:`draw_eq` at ``frequencies`` (Hz)."""
    curve = PchipInterpolator(np.log(eq["frequencies"]), eq["gains_db"])
    clipped = np.clip(frequencies, eq["frequencies"][0], eq["frequencies"][-1])
    return 10 ** (curve(np.log(clipped)) / 20)


def band_gain(
    frequencies: np.ndarray, *, low: float | None, high: float | None, order: int = 4
) -> np.ndarray:
    """Butterworth magnitude of a band from ``low`` to ``high`` Hz; None leaves a side open."""
    gain = np.ones(len(frequencies))
    if low:
        ratio = low / np.maximum(frequencies, 1e-3)
        gain /= np.sqrt(1 + np.minimum(ratio, 1e3) ** (2 * order))
    if high:
        gain /= np.sqrt(1 + np.minimum(frequencies / high, 1e3) ** (2 * order))
    return gain


def apply_linear(
    signal: np.ndarray,
    sample_rate: int,
    *,
    response: np.ndarray | None = None,
    eq: dict[str, Any] | None = None,
    band: dict[str, Any] | None = None,
) -> np.ndarray:
    """Convolve with a room and weigh by frequency, all in one pass of an FFT.

    Equaliser and band have zero phase, so nothing is delayed. The reverberation that would ring
    on after the end is cut off.

    Args:
        signal: float32 ``(samples,)``.
        response: impulse response ``(taps,)``.
        eq: from :func:`draw_eq`.
        band: keywords of :func:`band_gain`.

    Returns:
        float32 ``(samples,)``.
    """
    kernel, advance = _kernel(sample_rate, response, eq, band)
    # Blocks that fit into the processor's cache are twice as fast as one transform of it all.
    size = fft.next_fast_len(
        min(max(_BLOCK, 4 * len(kernel)), len(signal) + len(kernel)), real=True
    )
    step = size - len(kernel) + 1
    spectrum = fft.rfft(kernel, size)
    result = np.zeros(len(signal) + len(kernel) + size, dtype=np.float32)
    for start in range(0, len(signal), step):
        block = fft.rfft(signal[start : start + step], size)
        result[start : start + size] += fft.irfft(block * spectrum, size)
    return result[advance : advance + len(signal)]


def _kernel(
    sample_rate: int,
    response: np.ndarray | None,
    eq: dict[str, Any] | None,
    band: dict[str, Any] | None,
) -> tuple[np.ndarray, int]:
    """Room and curves as one impulse response, and its place of time 0 in samples."""
    if eq is None and band is None:
        return (np.ones(1, np.float32) if response is None else response), 0
    # Zero-phase filters ring before and after: half a second each is more than the lowest need.
    taps = 1 if response is None else len(response)
    size = fft.next_fast_len(taps + sample_rate, real=True)
    at = fft.rfftfreq(size, 1 / sample_rate)
    gain = np.ones(len(at))
    if eq is not None:
        gain *= eq_gain(np.maximum(at, 1.0), eq)
    if band is not None:
        gain *= band_gain(at, **band)
    spectrum = gain.astype(np.float32)
    if response is not None:
        spectrum = spectrum * fft.rfft(response, size)
    advance = sample_rate // 2
    return np.roll(fft.irfft(spectrum, size).astype(np.float32), advance), advance
