"""Rooms: synthetic impulse responses with early reflections and a decay that differs by band."""

from typing import Any

import numpy as np
from scipy import fft

_BAND_EDGES = (250.0, 2000.0)  # Hz, between the low, middle and high decay


def draw_room(rng: np.random.Generator, *, size: str) -> dict[str, Any]:
    """Draw a room: ``dry``, ``small``, ``medium`` or ``large``.

    Returns:
        ``decay_s`` (time to -60 dB at middle frequencies), ``bass_ratio`` and ``treble_ratio``
        (decay at low and high frequencies relative to it), ``pre_delay_ms``, ``wet_db`` (energy of
        the reverberation relative to the direct sound), ``seed`` of the response.
    """
    decay, wet, delay = {
        "dry": ((0.1, 0.25), (-22, -14), (0, 4)),
        "small": ((0.2, 0.6), (-15, -6), (1, 10)),
        "medium": ((0.5, 1.3), (-12, -3), (5, 25)),
        "large": ((1.2, 3.0), (-10, 0), (10, 60)),
    }[size]
    return {
        "size": size,
        "decay_s": round(float(np.exp(rng.uniform(*np.log(decay)))), 3),
        "bass_ratio": round(float(rng.uniform(0.9, 1.5)), 3),
        "treble_ratio": round(float(rng.uniform(0.3, 0.8)), 3),
        "pre_delay_ms": round(float(rng.uniform(*delay)), 2),
        "wet_db": round(float(rng.uniform(*wet)), 2),
        "seed": int(rng.integers(2**31)),
    }


def impulse_response(room: dict[str, Any], sample_rate: int) -> np.ndarray:
    """The impulse response of a room from :func:`draw_room`.

    A direct impulse of 1, then 6 to 18 early reflections in the first 80 ms and Gaussian noise
    that decays exponentially, with its own time in three bands (Moorer's model of late
    reverberation).

    Returns:
        float32 ``(taps,)``, as long as the longest decay, 3.5 s at most.
    """
    rng = np.random.default_rng(room["seed"])
    decays = room["decay_s"] * np.array([room["bass_ratio"], 1.0, room["treble_ratio"]])
    length = min(int(decays.max() * sample_rate), int(3.5 * sample_rate)) + 1
    late = _banded_decay(rng, decays, length, sample_rate)
    early = np.zeros(length, dtype=np.float32)
    count = int(rng.integers(6, 19))
    at = (np.sort(rng.uniform(0.002, 0.08, count)) * sample_rate).astype(int)
    level = rng.choice([-1.0, 1.0], count) * 10 ** (-at / sample_rate / room["decay_s"] * 3)
    np.add.at(early, np.minimum(at, length - 1), level.astype(np.float32))
    share = rng.uniform(0.2, 0.6)
    wet = np.sqrt(share) * _unit_energy(early) + np.sqrt(1 - share) * _unit_energy(late)
    wet *= 10 ** (room["wet_db"] / 20)
    delay = int(room["pre_delay_ms"] * sample_rate / 1000)
    response = np.zeros(length + delay + 1, dtype=np.float32)
    response[0] = 1.0
    response[delay + 1 :] += wet
    return response


def _banded_decay(
    rng: np.random.Generator, decays: np.ndarray, length: int, sample_rate: int
) -> np.ndarray:
    """Noise of ``length`` samples whose three bands decay by 60 dB in ``decays`` seconds."""
    size = fft.next_fast_len(length, real=True)
    spectrum = fft.rfft(rng.standard_normal(length, dtype=np.float32), size)
    band = np.searchsorted(_BAND_EDGES, fft.rfftfreq(size, 1 / sample_rate))
    seconds = np.arange(length, dtype=np.float32) / sample_rate
    late = np.zeros(length, dtype=np.float32)
    for index, decay in enumerate(decays):
        part = fft.irfft(np.where(band == index, spectrum, 0), size)[:length]
        late += part * np.exp(-6.9078 * seconds / np.float32(decay))  # ln(1000) = 60 dB
    return late


def _unit_energy(signal: np.ndarray) -> np.ndarray:
    return signal / np.sqrt(max(float(np.sum(signal**2)), 1e-12))
