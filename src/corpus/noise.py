"""Noises of recordings: hiss, hum, a crowd, crackle. All have unit RMS before they are scaled."""

import numpy as np
from scipy import fft
from scipy import signal as sp_signal

_LOOP_S = 11.0  # coloured noise is made once for 11 s (seamless) and repeated


def coloured_noise(
    rng: np.random.Generator,
    length: int,
    sample_rate: int,
    *,
    slope_db: float,
    low: float = 20.0,
    high: float | None = None,
) -> np.ndarray:
    """Gaussian noise whose power falls by ``slope_db`` an octave between ``low`` and ``high`` Hz.

    Returns:
        float32 ``(length,)`` of unit RMS; a seamless loop of 11 s where longer.
    """
    wanted = min(int(_LOOP_S * sample_rate), max(length, 2))
    size = fft.next_fast_len(wanted, real=True)
    frequencies = fft.rfftfreq(size, 1 / sample_rate)
    shape = np.zeros(len(frequencies), dtype=np.float32)
    high = min(high or sample_rate / 2, sample_rate / 2)
    inside = (frequencies >= low) & (frequencies <= high)
    shape[inside] = (frequencies[inside] / 1000.0) ** (-slope_db / 6.02)
    phases = rng.standard_normal((len(frequencies), 2), dtype=np.float32)
    loop = fft.irfft((phases[:, 0] + 1j * phases[:, 1]) * shape, size).astype(np.float32)
    return unit_rms(np.resize(loop, length))


def hum(
    rng: np.random.Generator, length: int, sample_rate: int, *, mains: float, harmonics: int
) -> np.ndarray:
    """Mains hum: ``mains`` Hz (50 or 60) with falling harmonics."""
    period = sample_rate / mains
    time = np.arange(length, dtype=np.float32) * np.float32(2 * np.pi / period)
    result = np.zeros(length, dtype=np.float32)
    for k in range(1, harmonics + 1):
        level = rng.uniform(0.3, 1.0) / k
        result += np.float32(level) * np.sin(k * time + np.float32(rng.uniform(0, 2 * np.pi)))
    return unit_rms(result)


def babble(
    rng: np.random.Generator, length: int, sample_rate: int, *, voices: int, clapping: bool
) -> np.ndarray:
    """A crowd: bands of noise like vowels, each with the rhythm of syllables, and maybe clapping.

    It has the spectrum and the modulation of distant talk but no words.
    """
    result = np.zeros(length, dtype=np.float32)
    for _ in range(voices):
        centre = float(np.exp(rng.uniform(np.log(250), np.log(1800))))
        voice = coloured_noise(
            rng, length, sample_rate, slope_db=3.0, low=centre / 1.6, high=centre * 1.6
        )
        result += voice * _slow_curve(rng, length, sample_rate, rate=rng.uniform(2.5, 5.5)) ** 2
    if clapping:
        claps = _impulses(rng, length, sample_rate, rate=rng.uniform(15, 60), decay_s=0.012)
        bright = claps - np.roll(claps, 1)
        swell = _slow_curve(rng, length, sample_rate, rate=0.15) ** 2
        result = unit_rms(result) + np.float32(0.8) * unit_rms(bright) * swell
    return unit_rms(result)


def crackle(
    rng: np.random.Generator, length: int, sample_rate: int, *, rate: float, rpm: float | None
) -> np.ndarray:
    """Clicks of a record, ``rate`` a second with heavy-tailed levels; ``rpm`` adds a scratch."""
    result = _impulses(rng, length, sample_rate, rate=rate, decay_s=0.0004, tail=1.2)
    if rpm:
        turn = 60.0 / rpm * sample_rate
        at = (np.arange(rng.uniform(0, turn), length, turn)).astype(int)
        if len(at):
            result[at] += np.float32(3.0 * np.max(np.abs(result), initial=1.0) / 4)
    return unit_rms(result)


def mix_at_snr(signal: np.ndarray, noise: np.ndarray, *, snr_db: float) -> np.ndarray:
    """Add ``noise`` (unit RMS) at ``snr_db`` below the RMS of the signal."""
    rms = float(np.sqrt(np.mean(signal.astype(np.float64) ** 2)))
    return signal + noise * np.float32(rms * 10 ** (-snr_db / 20))


def unit_rms(signal: np.ndarray) -> np.ndarray:
    """Scale to an RMS of 1; silence stays silence."""
    rms = float(np.sqrt(np.mean(signal.astype(np.float64) ** 2))) if len(signal) else 0.0
    return (signal / np.float32(rms) if rms > 0 else signal).astype(np.float32, copy=False)


def _slow_curve(
    rng: np.random.Generator, length: int, sample_rate: int, *, rate: float
) -> np.ndarray:
    """A random curve from 0 to 1 that changes about ``rate`` times a second."""
    points = max(int(length / sample_rate * rate) + 2, 2)
    values = rng.uniform(0, 1, points)
    return np.interp(np.arange(length), np.linspace(0, length, points), values).astype(np.float32)


def _impulses(
    rng: np.random.Generator,
    length: int,
    sample_rate: int,
    *,
    rate: float,
    decay_s: float,
    tail: float = 0.5,
) -> np.ndarray:
    """Poisson impulses with log-normal levels (``tail`` their spread), each decaying in noise."""
    result = np.zeros(length, dtype=np.float32)
    count = int(rng.poisson(rate * length / sample_rate))
    if count == 0:
        return result
    at = rng.integers(0, length, count)
    level = np.exp(rng.normal(0, tail, count)) * rng.choice([-1.0, 1.0], count)
    np.add.at(result, at, level.astype(np.float32))
    taps = max(int(5 * decay_s * sample_rate), 2)
    kernel = np.exp(-np.arange(taps) / max(decay_s * sample_rate, 0.5))
    kernel *= rng.choice([-1.0, 1.0], taps)
    return sp_signal.oaconvolve(result, kernel.astype(np.float32))[:length]
