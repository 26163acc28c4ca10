"""Speed errors of tapes and records: wow, flutter and a constant deviation."""

import numpy as np


def vary_speed(
    signal: np.ndarray,
    sample_rate: int,
    *,
    speed: float = 1.0,
    wow_percent: float = 0.0,
    wow_hz: float = 0.6,
    flutter_percent: float = 0.0,
    flutter_hz: float = 8.0,
    phase: float = 0.0,
) -> np.ndarray:
    """Play a signal with a speed that deviates and wavers; pitch and tempo move together.

    Args:
        signal: float32 ``(samples,)``.
        speed: constant factor, 1.02 plays two per cent faster and higher.
        wow_percent, flutter_percent: peak deviation of the speed at the slow and the fast rate.

    Returns:
        float32, ``round(samples / speed)`` long, by cubic interpolation.
    """
    length = round(len(signal) / speed)
    position = np.arange(length, dtype=np.float64) * speed
    for percent, rate in ((wow_percent, wow_hz), (flutter_percent, flutter_hz)):
        if percent:
            turn = 2 * np.pi * rate / sample_rate
            swing = percent / 100 / turn
            position += swing * np.sin(turn * np.arange(length) + phase)
    return _cubic(signal, position)


def _cubic(signal: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Catmull-Rom interpolation; positions outside are held inside."""
    position = np.clip(position, 1, max(len(signal) - 3, 1))
    index = position.astype(np.int64)
    t = (position - index).astype(np.float32)
    before, here = signal[index - 1], signal[index]
    after, beyond = signal[index + 1], signal[index + 2]
    slope_here, slope_after = (after - before) / 2, (beyond - here) / 2
    gap = after - here
    a = slope_here + slope_after - 2 * gap
    b = 3 * gap - 2 * slope_here - slope_after
    return ((a * t + b) * t + slope_here) * t + here
