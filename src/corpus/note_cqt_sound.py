"""What a recording does to the powers of a CQT: rooms, filters, levels, noises.

The steps are those of :mod:`src.corpus.recording`, in their order and with their numbers, as far
as they can be heard in power spectra; what a waveform would decide (phases, clicks, overtones of
clipping, codecs) is replaced by something of the same size.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from src.audio.cqt import CQT
from src.corpus import filters, noise
from src.corpus.note_cqt_bank import FRAME_S, SPEC
from src.corpus.note_cqt_loops import kernels

FREQUENCIES = SPEC.min_freq * 2 ** (np.arange(SPEC.bins) / SPEC.octave_resolution)
_OCTAVES = np.log2(FREQUENCIES / 1000.0)
_ROOM_BANDS = (250.0, 2000.0)  # as in src.corpus.rooms
_EARLY = 0.4  # of a room's reverberation
_TINY = 1e-20


@dataclass(frozen=True)
class Textures:
    """Powers of noises that go on, ``(frames, 96)`` float32 each, with a total of 1 on average.

    Attributes:
        white: one stretch of white noise.
        crowds: stretches of babble, with clapping in every other one.
        crackles: stretches of clicks.
    """

    white: np.ndarray
    crowds: tuple[np.ndarray, ...]
    crackles: tuple[np.ndarray, ...]


@lru_cache(maxsize=1)
def textures() -> Textures:
    """Noises, made once a process; always the same."""
    rng = np.random.default_rng(20_24)
    rate, cqt = SPEC.sample_rate, CQT(SPEC)

    def powers(sound: np.ndarray) -> np.ndarray:
        power = cqt.magnitudes(torch.from_numpy(sound.astype(np.float32))[None])[0].numpy() ** 2
        return (power / power.sum(1).mean()).astype(np.float32)

    crowds = [
        noise.babble(rng, 24 * rate, rate, voices=3 + i, clapping=i % 2 == 1) for i in range(6)
    ]
    crackles = [
        noise.crackle(rng, 24 * rate, rate, rate=r, rpm=rpm)
        for r, rpm in ((3, 33.333), (12, None), (30, 45.0), (60, 78.26), (200, None))
    ]
    white = rng.standard_normal(60 * rate)
    return Textures(powers(white), tuple(map(powers, crowds)), tuple(map(powers, crackles)))


def stretch(texture: np.ndarray, frames: int, rng: np.random.Generator) -> np.ndarray:
    """``(frames, 96)`` of a texture from a random place, going round; forwards or backwards."""
    start = int(rng.integers(len(texture)))
    step = 1 if rng.random() < 0.5 else -1
    return texture[(start + step * np.arange(frames)) % len(texture)]


def decibel_curve(rng: np.random.Generator, *, knots: int, depth: float) -> np.ndarray:
    """``(96,)`` smooth random curve with a spread of ``depth`` dB."""
    places = np.linspace(0, SPEC.bins - 1, knots)
    return np.interp(np.arange(SPEC.bins), places, rng.normal(0, depth, knots))


def add_room(power: np.ndarray, room: Mapping[str, Any], speed: float) -> None:
    """Reverberation: single reflections colour the sound, the rest is an exponential smear."""
    ratios = (room["bass_ratio"], 1.0, room["treble_ratio"])
    decay = room["decay_s"] * np.array(ratios)[np.searchsorted(_ROOM_BANDS, FREQUENCIES)] / speed
    energy = 10 ** (room["wet_db"] / 10)
    rng = np.random.default_rng(room["seed"])
    # Reflections add to the direct sound with random phases that differ from bin to bin.
    reflected = rng.normal(0, np.sqrt(_EARLY * energy / 2), (2, SPEC.bins))
    direct = (1 + reflected[0]) ** 2 + reflected[1] ** 2
    uneven = rng.exponential(1.0, SPEC.bins) ** 0.5
    wet = (1 - _EARLY) * energy * uneven
    keep = 10 ** (-6 * FRAME_S / np.maximum(decay, 1e-3))
    kernels().smear(power, *(values.astype(np.float32) for values in (keep, wet, direct)))


def compress(
    power: np.ndarray, *, threshold_db: float, ratio: float, attack_ms: float, release_ms: float
) -> None:
    """Downward compression, as :func:`src.corpus.dynamics.compress`, frame by frame."""
    total = power.sum(1, dtype=np.float64)
    loudest = total.max()
    if loudest <= 0:
        return
    level = 10 * np.log10(np.maximum(total / loudest, 1e-12))
    over = np.maximum(level - threshold_db, 0.0) * (1 - 1 / ratio)
    rise, fall = (1 - float(np.exp(-1000 * FRAME_S / ms)) for ms in (attack_ms, release_ms))
    kernels().follow(over, rise, fall)
    power *= (10 ** (-over / 10)).astype(np.float32)[:, None]


def add_distortion(power: np.ndarray, depth_db: float, even: float) -> None:
    """Overtones that the loudest frames get: the third, and as much as ``even`` the second.

    Args:
        depth_db: power of the third harmonic relative to the first in the loudest frame.
    """
    total = power.sum(1, keepdims=True)
    loud = total / max(float(total.max()), _TINY)
    third = power * (np.float32(10 ** (depth_db / 10)) * loud * loud)
    power[:, 19:] += third[:, :-19]
    if even:
        power[:, 12:] += np.float32(even) * third[:, :-12]
    # Between the partials lie sums and differences of them.
    power += third.mean(1, keepdims=True)


def add_noise(power: np.ndarray, layer: np.ndarray, *, snr_db: float) -> None:
    """Add a layer with this level below the mean power of what is there."""
    music = float(power.sum(1, dtype=np.float64).mean())
    share = music / max(float(layer.sum(1, dtype=np.float64).mean()), _TINY)
    power += layer * np.float32(share * 10 ** (-snr_db / 10))


def slope(db_per_octave: float) -> np.ndarray:
    """``(96,)`` float32 factor on powers that falls by so many dB an octave, 1 at 1 kHz."""
    return (10 ** (-db_per_octave * _OCTAVES / 10)).astype(np.float32)


def hum(mains: float, levels: np.ndarray) -> np.ndarray:
    """``(1, 96)`` float32 power of the harmonics of a mains frequency."""
    power = np.zeros(SPEC.bins)
    for k, level in enumerate(levels, start=1):
        away = 12 * np.log2(k * mains / FREQUENCIES)
        # The main lobe of a Hamming window is nearly a parabola in dB; beyond are its side lobes.
        power += level**2 * 10 ** (-np.minimum(7.1 * away**2, 45 + np.abs(away)) / 10)
    return power[None].astype(np.float32)


def apply_recording(
    power: np.ndarray, recording: Mapping[str, Any], rng: np.random.Generator
) -> None:
    """Record a version, up to the fades and the codec.

    Args:
        power: ``(frames, 96)`` float32, changed.
        recording: of :func:`src.corpus.recording.draw_recording`; steps that are not there are
            left out.
        rng: of the noises.
    """
    frames, noises = len(power), textures()
    if "room" in recording:
        add_room(power, recording["room"], recording.get("speed", {}).get("speed", 1.0))
    if "eq" in recording:
        power *= (filters.eq_gain(FREQUENCIES, recording["eq"]) ** 2).astype(np.float32)
    if "crowd" in recording:
        crowd = recording["crowd"]
        fitting = noises.crowds[int(crowd["clapping"]) :: 2]
        layer = stretch(fitting[crowd["voices"] % len(fitting)], frames, rng)
        add_noise(power, layer, snr_db=crowd["snr_db"])
    if "compress" in recording:
        compress(power, **recording["compress"])
    if "saturate" in recording:
        drive, bias = recording["saturate"]["drive"], recording["saturate"]["bias"]
        add_distortion(power, 40 * np.log10(drive) - 28, even=20 * bias)
    if "clip" in recording:
        add_distortion(power, recording["clip"]["over_db"] - 32, even=0.0)
    if "band" in recording:
        power *= (filters.band_gain(FREQUENCIES, **recording["band"]) ** 2).astype(np.float32)
    before = power.copy() if {"hiss", "hum", "crackle"} & set(recording) else power
    if "hiss" in recording:
        layer = stretch(noises.white, frames, rng) * slope(recording["hiss"]["slope_db"])
        _add_beside(power, before, layer, recording["hiss"]["snr_db"])
    if "hum" in recording:
        settings = recording["hum"]
        count = settings["harmonics"]
        layer = hum(settings["mains"], rng.uniform(0.3, 1.0, count) / np.arange(1, count + 1))
        _add_beside(power, before, layer, settings["snr_db"])
    if "crackle" in recording:
        settings = recording["crackle"]
        place = int(np.searchsorted((6, 20, 45, 120), settings["rate"]))
        layer = stretch(noises.crackles[place], frames, rng)
        _add_beside(power, before, layer, settings["snr_db"])


def _add_beside(power: np.ndarray, music: np.ndarray, layer: np.ndarray, snr_db: float) -> None:
    """Noise at a level relative to the music alone."""
    share = float(music.sum(1, dtype=np.float64).mean())
    share /= max(float(layer.sum(1, dtype=np.float64).mean()), _TINY)
    power += layer * np.float32(share * 10 ** (-snr_db / 10))


def apply_codec(power: np.ndarray, codec: Mapping[str, Any]) -> None:
    """A codec's upper limit; of the rest, what is far below its neighbours is made weaker."""
    limit = 0.42 * codec["codec_rate"]
    power *= (filters.band_gain(FREQUENCIES, low=None, high=limit, order=12) ** 2).astype(
        np.float32
    )
    if codec["codec_rate"] < 40000:
        loudest = power.max(1, keepdims=True)
        weak = np.float32(10 ** (-(62 - 20 * codec["compression"]) / 10))
        ratio = power / np.maximum(weak * loudest, _TINY)
        power *= np.minimum(ratio, 1)


def vary(power: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> None:
    """What no recording of the corpus has, but some real one may: domain randomisation.

    Args:
        power: ``(frames, 96)`` float32, changed.
        strength: 0 leaves everything as it is.
    """
    if not strength:
        return
    frames, white = len(power), textures().white
    # Another sound: brighter or darker, more bass, with resonances, every bin a little its own.
    curve = decibel_curve(rng, knots=7, depth=2.5) + decibel_curve(rng, knots=32, depth=1.5)
    curve += rng.normal(0, 1.2, SPEC.bins) - rng.normal(0, 1.2) * _OCTAVES
    curve += rng.normal(5, 5) * np.clip(-_OCTAVES - 2.5, 0, 1.5)
    power *= (10 ** (strength * curve / 10)).astype(np.float32)
    if rng.random() < 0.35:
        _add_bursts(power, rng)
    # Noise that follows the music: breath, bows, cymbals, many voices that are not quite in tune.
    layer = stretch(_even(), frames, rng) * _around(power)
    add_noise(power, layer, snr_db=rng.uniform(4, 26) - 10 * np.log10(strength))
    colour = slope(rng.uniform(-1.0, 7.0)) * 10 ** (decibel_curve(rng, knots=6, depth=3.0) / 10)
    layer = stretch(white, frames, rng) * colour.astype(np.float32)
    layer *= power.sum(1, keepdims=True) ** np.float32(rng.uniform(0.3, 1.0))
    add_noise(power, layer, snr_db=rng.uniform(10, 40) - 10 * np.log10(strength))
    # Noise that does not.
    colour = slope(rng.uniform(-1.0, 8.0)) * 10 ** (decibel_curve(rng, knots=6, depth=4.0) / 10)
    layer = stretch(white, frames, rng) * colour.astype(np.float32)
    add_noise(power, layer, snr_db=rng.uniform(30, 80) - 10 * np.log10(strength))
    # Partials of one bin do not add up without beating.
    beating = stretch(_beating(), frames, rng)
    power *= np.exp2(beating * np.float32(strength * rng.uniform(0.5, 1.2)))
    if rng.random() < 0.75:
        threshold, ratio = rng.uniform(-35, -8), rng.uniform(1.3, 5)
        times = {"attack_ms": 5.0, "release_ms": rng.uniform(40, 400)}
        compress(power, threshold_db=threshold, ratio=ratio, **times)
    # Louder and softer, brighter and darker in the course of the piece.
    level, tilt = (_drift(rng, frames, strength * depth) for depth in (4.0, 0.8))
    power *= np.exp2((level[:, None] + tilt[:, None] * _OCTAVES) / 3).astype(np.float32)
    if rng.random() < 0.4:
        edge = {"low": rng.uniform(15, 45), "high": rng.uniform(3800, 9000), "order": 5}
        power *= (filters.band_gain(FREQUENCIES, **edge) ** 2).astype(np.float32)


def _drift(rng: np.random.Generator, frames: int, depth: float) -> np.ndarray:
    """``(frames,)`` dB that change slowly by up to ``depth`` (as a spread)."""
    places = np.arange(0, frames + 1, max(int(rng.uniform(2, 15) / FRAME_S), 1))
    return np.interp(np.arange(frames), places, rng.normal(0, rng.uniform(0, depth), len(places)))


@lru_cache(maxsize=1)
def _even() -> np.ndarray:
    """White noise with the same mean in every bin."""
    white = textures().white
    return white / np.maximum(white.mean(0), np.float32(_TINY))


@lru_cache(maxsize=1)
def _beating() -> np.ndarray:
    """Logarithm to base 2 of how random phases change powers; upwards by 3 dB at most."""
    return np.log2(np.clip(_even(), np.float32(1e-4), np.float32(2.0)))


def _around(power: np.ndarray) -> np.ndarray:
    """Mean of the powers of nine neighbouring bins, ``(frames, 96)``."""
    reach = 4
    sums = np.cumsum(np.pad(power, ((0, 0), (reach + 1, reach)), mode="edge"), axis=1)
    return (sums[:, 2 * reach + 1 :] - sums[:, : -2 * reach - 1]) / np.float32(2 * reach + 1)


def _add_bursts(power: np.ndarray, rng: np.random.Generator) -> None:
    """Something percussive: in time, or now and then."""
    frames = len(power)
    if rng.random() < 0.6:
        at = np.arange(rng.uniform(0, 20), frames, rng.uniform(6, 30))
        at = at[rng.random(len(at)) < rng.uniform(0.5, 1.0)]
    else:
        at = rng.uniform(0, frames, int(rng.integers(3, 200)))
    strokes = np.zeros(frames)
    np.add.at(strokes, at.astype(int), rng.lognormal(0, 0.6, len(at)))
    fall = 10 ** (-6 * FRAME_S / rng.uniform(0.1, 0.6))
    state = 0.0
    for t, stroke in enumerate(strokes.tolist()):
        state = strokes[t] = max(stroke, fall * state)
    colour = slope(rng.uniform(-3.0, 6.0)) * 10 ** (decibel_curve(rng, knots=5, depth=5.0) / 10)
    layer = stretch(textures().white, frames, rng) * colour.astype(np.float32)
    layer *= strokes.astype(np.float32)[:, None]
    add_noise(power, layer, snr_db=rng.uniform(3, 25))
