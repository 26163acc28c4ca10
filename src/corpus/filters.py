"""Microphones, loudspeakers and band limits as curves over frequency, applied by FFT."""

from typing import Any

import numpy as np
from scipy import fft
from scipy.interpolate import PchipInterpolator


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
    # Half a second of zeros keeps the zero-phase filters from wrapping end to start.
    taps = len(response) if response is not None else 0
    size = fft.next_fast_len(len(signal) + max(taps, sample_rate // 2), real=True)
    spectrum = fft.rfft(signal, size)
    if response is not None:
        spectrum *= fft.rfft(response, size)
    if eq is not None or band is not None:
        # The curves are smooth: 4096 points are exact enough, and far cheaper than millions.
        grid = np.concatenate([[0.0], np.geomspace(5.0, sample_rate / 2, 4095)])
        gain = np.ones(len(grid))
        if eq is not None:
            gain *= eq_gain(grid, eq)
        if band is not None:
            gain *= band_gain(grid, **band)
        spectrum *= np.interp(fft.rfftfreq(size, 1 / sample_rate), grid, gain).astype(np.float32)
    return fft.irfft(spectrum, size)[: len(signal)]
