"""The recording chain: what happens to music between the players and the archive.

A recording is of one *kind* (studio, hall, live, shellac, ...). The kind says which steps it may
have and how strong; :func:`draw_recording` draws one, as a plain dict for the manifest, and
:func:`apply_recording` turns a signal into it. The dict alone decides the result.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from src.corpus import codec, dynamics, filters, noise, rooms, tape
from src.errors import UserError

Range = tuple[float, float]

# How often each kind occurs unless a configuration says otherwise.
DEFAULT_WEIGHTS: dict[str, float] = {
    "direct": 1.0,
    "studio": 3.0,
    "hall": 2.0,
    "live": 2.0,
    "phone": 1.5,
    "web": 2.0,
    "vinyl": 1.5,
    "cassette": 1.5,
    "radio": 1.0,
    "shellac": 1.0,
    "telephone": 0.3,
}

# Kinds in which anybody still recognises a tune at once.
GENTLE_KINDS = ("direct", "studio", "hall", "live", "web", "vinyl", "cassette", "radio", "shellac")

# Of each step: the probability that it occurs, then the ranges of its numbers. Vorbis stands for
# most lossy codecs: it is encoded three to ten times as fast as mp3 and Opus.
_KINDS: dict[str, dict[str, Any]] = {
    "direct": {"rooms": ("dry",), "edges": 0.5},
    "studio": {
        "rooms": ("dry", "small", "medium"),
        "eq": (0.7, 4.0),
        "compress": (0.8, (-24, -8), (1.5, 4)),
        "hiss": (0.3, (50, 65)),
        "codec": (0.25, ("mp3", "vorbis"), "high"),
    },
    "hall": {
        "rooms": ("medium", "large"),
        "eq": (0.7, 4.0),
        "compress": (0.3, (-20, -8), (1.3, 2.5)),
        "hiss": (0.4, (40, 58)),
        "codec": (0.2, ("mp3", "vorbis"), "high"),
    },
    "live": {
        "rooms": ("medium", "large"),
        "eq": (1.0, 7.0),
        "crowd": (1.0, (8, 28)),
        "compress": (0.6, (-26, -10), (2, 6)),
        "saturate": (0.4, (0.6, 2.5)),
        "clip": (0.2, (1, 6)),
        "band": (0.4, (60, 150), (6000, 14000)),
        "hiss": (0.5, (35, 55)),
        "codec": (0.4, ("mp3", "vorbis"), "low"),
    },
    "phone": {
        "rooms": ("small", "medium"),
        "eq": (1.0, 8.0),
        "crowd": (0.4, (12, 30)),
        "hiss": (1.0, (25, 45)),
        "compress": (1.0, (-35, -15), (3, 12)),
        "clip": (0.4, (1, 8)),
        "band": (1.0, (100, 350), (5000, 12000)),
        "codec": (0.6, ("vorbis", "mp3", "vorbis", "vorbis"), "low"),
    },
    "web": {
        "rooms": ("dry", "small", "medium"),
        "eq": (0.8, 5.0),
        "compress": (0.8, (-30, -12), (3, 20)),
        "clip": (0.4, (0.5, 4)),
        "hum": (0.2, (35, 55), 4),
        "codec": (1.0, ("vorbis", "mp3", "opus", *["vorbis"] * 4), "low"),
    },
    "vinyl": {
        "rooms": ("dry", "small", "medium", "large"),
        "eq": (0.8, 5.0),
        "compress": (0.6, (-24, -8), (1.5, 4)),
        "saturate": (0.4, (0.5, 1.5)),
        "band": (1.0, (30, 60), (10000, 16000)),
        "speed": (0.8, 0.008, (0.02, 0.15), (0.0, 0.03), (0.5556, 0.75)),
        "hum": (0.3, (40, 60), 3),
        "hiss": (0.8, (40, 55)),
        "crackle": (1.0, (28, 48), (2, 40), (33.333, 45.0)),
        "codec": (0.15, ("mp3", "vorbis"), "high"),
    },
    "cassette": {
        "rooms": ("dry", "small", "medium", "large"),
        "eq": (0.8, 5.0),
        "compress": (0.5, (-24, -8), (1.5, 4)),
        "saturate": (1.0, (0.8, 3.0)),
        "band": (1.0, (30, 80), (7000, 13000)),
        "speed": (1.0, 0.015, (0.03, 0.25), (0.02, 0.12), (0.4, 2.0)),
        "hum": (0.3, (35, 55), 4),
        "hiss": (1.0, (25, 45)),
    },
    "radio": {
        "rooms": ("dry", "small", "medium"),
        "eq": (0.8, 6.0),
        "compress": (1.0, (-35, -15), (4, 12)),
        "saturate": (0.5, (0.6, 2.0)),
        "hum": (0.6, (25, 45), 5),
        "band": (1.0, (60, 150), (4000, 6000)),
        "hiss": (1.0, (22, 42)),
    },
    "shellac": {
        "rooms": ("dry", "small", "medium"),
        "eq": (1.0, 8.0),
        "saturate": (1.0, (0.8, 3.0)),
        "band": (1.0, (120, 250), (3500, 6000)),
        "speed": (1.0, 0.025, (0.05, 0.35), (0.02, 0.1), (1.28, 1.32)),
        "hiss": (1.0, (18, 35)),
        "crackle": (1.0, (15, 35), (30, 300), (78.26,)),
    },
    "telephone": {
        "rooms": ("small", "medium"),
        "eq": (1.0, 8.0),
        "compress": (1.0, (-30, -15), (3, 10)),
        "clip": (0.5, (2, 8)),
        "band": (1.0, (250, 350), (3000, 3600)),
        "hiss": (1.0, (20, 38)),
        "codec": (0.3, ("vorbis", "opus"), "phone"),
    },
}

# Codec settings: sample rates and libsndfile compression levels for mp3, Vorbis and Opus.
_CODEC_RATES = {
    "high": {"mp3": (44100,), "vorbis": (44100,), "opus": (48000,)},
    "low": {"mp3": (22050, 32000), "vorbis": (22050, 32000), "opus": (24000, 16000)},
    "phone": {"mp3": (8000,), "vorbis": (8000,), "opus": (8000,)},
}
_CODEC_LEVELS = {
    "high": {"mp3": (0.4, 0.75), "vorbis": (0.3, 0.8), "opus": (0.6, 0.8)},
    "low": {"mp3": (0.7, 0.95), "vorbis": (0.7, 1.0), "opus": (0.85, 0.95)},
    "phone": {"mp3": (0.7, 0.9), "vorbis": (0.8, 1.0), "opus": (0.9, 0.97)},
}


def check_kinds(weights: Mapping[str, float]) -> dict[str, float]:
    """Return ``weights`` by kind if they can be drawn from.

    Raises:
        UserError: a kind is unknown, a weight is negative, or all are zero.
    """
    for kind, weight in weights.items():
        if kind not in _KINDS:
            raise UserError(f"unknown kind of recording {kind!r}; use {', '.join(_KINDS)}")
        if not weight >= 0:
            raise UserError(f"the weight {weight} of recording kind {kind} is not 0 or more")
    if not sum(weights.values()) > 0:
        raise UserError("no kind of recording has a weight above 0")
    return dict(weights)


def draw_recording(
    rng: np.random.Generator, *, weights: Mapping[str, float] | Iterable[str] | None = None
) -> dict[str, Any]:
    """Draw one recording: its kind and the numbers of every step it has.

    Args:
        weights: weight by kind, or kinds of equal weight; None takes DEFAULT_WEIGHTS.

    Returns:
        JSON-able dict for :func:`apply_recording`: ``kind``, ``seed`` (of the noises), ``side``
        (the microphone's place between left 0 and right 1) and one key a step.
    """
    if weights is None:
        weights = DEFAULT_WEIGHTS
    elif not isinstance(weights, Mapping):
        weights = dict.fromkeys(weights, 1.0)
    weights = check_kinds(weights)
    share = np.array(list(weights.values())) / sum(weights.values())
    kind = list(weights)[int(rng.choice(len(share), p=share))]
    spec = _KINDS[kind]
    drawn: dict[str, Any] = {
        "kind": kind,
        "seed": int(rng.integers(2**31)),
        "side": _uniform(rng, (0.3, 0.7)),
        "room": rooms.draw_room(rng, size=str(rng.choice(spec["rooms"]))),
    }
    for step, draw in _DRAWS.items():
        if step in spec and rng.random() < spec[step][0]:
            drawn[step] = draw(rng, *spec[step][1:])
    drawn["edges"] = _draw_edges(rng, spec.get("edges", 1.0))
    drawn["peak_db"] = _uniform(rng, (-14.0, -0.3))
    return drawn


def apply_recording(
    signal: np.ndarray, sample_rate: int, recording: Mapping[str, Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    """Record a performance.

    Args:
        signal: ``(samples, 2)`` or ``(samples,)``, finite.
        recording: from :func:`draw_recording`.

    Returns:
        float32 mono ``(samples',)`` within +-1 (longer by the silences, and by the speed), and
        what only the result tells: ``{"kbits": ...}`` where a codec was used.

    Raises:
        ValueError: the signal is silent or not finite.
    """
    mono = _place_microphone(signal, recording["side"])
    peak = float(np.max(np.abs(mono), initial=0.0))
    if not np.isfinite(peak) or peak == 0:
        raise ValueError("the signal to record is silent or not finite")
    mono = mono / np.float32(peak)
    rng = np.random.default_rng(recording["seed"])
    mono = _pad(mono, sample_rate, recording["edges"])
    response = rooms.impulse_response(recording["room"], sample_rate)
    mono = filters.apply_linear(mono, sample_rate, response=response, eq=recording.get("eq"))
    if "crowd" in recording:
        mono = _add_crowd(mono, sample_rate, rng, recording["crowd"])
    if "compress" in recording:
        mono = dynamics.compress(mono, sample_rate, **recording["compress"])
    if "saturate" in recording:
        mono = dynamics.saturate(mono, **recording["saturate"])
    if "clip" in recording:
        mono = dynamics.clip(mono, **recording["clip"])
    if "band" in recording:
        mono = filters.apply_linear(mono, sample_rate, band=recording["band"])
    if "speed" in recording:
        mono = tape.vary_speed(mono, sample_rate, **recording["speed"])
    mono = _add_noises(mono, sample_rate, rng, recording)
    mono = _fade(mono, sample_rate, recording["edges"])
    facts: dict[str, Any] = {}
    if "codec" in recording:
        mono, facts["kbits"] = codec.round_trip(mono, sample_rate, **recording["codec"])
    peak = float(np.max(np.abs(mono)))
    return (mono * np.float32(10 ** (recording["peak_db"] / 20) / max(peak, 1e-9))), facts


def _place_microphone(signal: np.ndarray, side: float) -> np.ndarray:
    signal = np.asarray(signal, dtype=np.float32)
    if signal.ndim == 1:
        return signal
    return np.float32(1 - side) * signal[:, 0] + np.float32(side) * signal[:, 1]


def _pad(signal: np.ndarray, sample_rate: int, edges: Mapping[str, float]) -> np.ndarray:
    before, after = (int(edges[k] * sample_rate) for k in ("lead_s", "tail_s"))
    return np.pad(signal, (before, after))


def _fade(signal: np.ndarray, sample_rate: int, edges: Mapping[str, float]) -> np.ndarray:
    signal = signal.copy()
    for key, part in (("fade_in_s", signal), ("fade_out_s", signal[::-1])):
        count = min(int(edges[key] * sample_rate), len(signal) // 2)
        if count:
            part[:count] *= np.sin(np.linspace(0, np.pi / 2, count, dtype=np.float32)) ** 2
    return signal


def _add_crowd(
    signal: np.ndarray, sample_rate: int, rng: np.random.Generator, crowd: Mapping[str, Any]
) -> np.ndarray:
    people = noise.babble(
        rng, len(signal), sample_rate, voices=crowd["voices"], clapping=crowd["clapping"]
    )
    return noise.mix_at_snr(signal, people, snr_db=crowd["snr_db"])


def _add_noises(
    signal: np.ndarray, sample_rate: int, rng: np.random.Generator, recording: Mapping[str, Any]
) -> np.ndarray:
    """Noises of the medium, all relative to the music as it is before them."""
    result = signal
    for step, make in (
        ("hiss", noise.coloured_noise),
        ("hum", noise.hum),
        ("crackle", noise.crackle),
    ):
        if step in recording:
            options = {k: v for k, v in recording[step].items() if k != "snr_db"}
            layer = make(rng, len(signal), sample_rate, **options)
            level = noise.mix_at_snr(signal, layer, snr_db=recording[step]["snr_db"])
            result = result + (level - signal)
    return result


def _uniform(rng: np.random.Generator, interval: Range, digits: int = 3) -> float:
    return round(float(rng.uniform(*interval)), digits)


def _draw_edges(rng: np.random.Generator, probability: float) -> dict[str, float]:
    """Silence before and after, and fades, in seconds."""
    some = rng.random() < probability
    fade_in, fade_out = rng.random() < 0.15, rng.random() < 0.35
    return {
        "lead_s": _uniform(rng, (0.0, 1.5)) if some else 0.0,
        "tail_s": _uniform(rng, (0.0, 1.0)) if some else 0.0,
        "fade_in_s": _uniform(rng, (0.2, 3.0)) if fade_in else 0.005,
        "fade_out_s": _uniform(rng, (1.0, 7.0)) if fade_out else 0.05,
    }


def _draw_crowd(rng: np.random.Generator, snr: Range) -> dict[str, Any]:
    return {
        "snr_db": _uniform(rng, snr),
        "voices": int(rng.integers(3, 10)),
        "clapping": bool(rng.random() < 0.3),
    }


def _draw_compress(rng: np.random.Generator, threshold: Range, ratio: Range) -> dict[str, float]:
    return {
        "threshold_db": _uniform(rng, threshold),
        "ratio": _uniform(rng, ratio),
        "attack_ms": _uniform(rng, (3, 30)),
        "release_ms": _uniform(rng, (60, 500)),
    }


def _draw_saturate(rng: np.random.Generator, drive: Range) -> dict[str, float]:
    return {"drive": _uniform(rng, drive), "bias": _uniform(rng, (0.0, 0.3))}


def _draw_band(rng: np.random.Generator, low: Range, high: Range) -> dict[str, Any]:
    return {
        "low": _uniform(rng, low),
        "high": _uniform(rng, high),
        "order": int(rng.integers(2, 7)),
    }


def _draw_speed(
    rng: np.random.Generator, spread: float, wow: Range, flutter: Range, wow_hz: Range
) -> dict[str, float]:
    return {
        "speed": round(float(np.clip(rng.normal(1, spread), 1 - 2 * spread, 1 + 2 * spread)), 5),
        "wow_percent": _uniform(rng, wow),
        "wow_hz": _uniform(rng, wow_hz),
        "flutter_percent": _uniform(rng, flutter),
        "flutter_hz": _uniform(rng, (5.0, 12.0)),
        "phase": _uniform(rng, (0.0, 6.283)),
    }


def _draw_hiss(rng: np.random.Generator, snr: Range) -> dict[str, float]:
    return {"snr_db": _uniform(rng, snr), "slope_db": _uniform(rng, (-1.0, 3.0))}


def _draw_hum(rng: np.random.Generator, snr: Range, harmonics: int) -> dict[str, Any]:
    return {
        "snr_db": _uniform(rng, snr),
        "mains": float(rng.choice([50.0, 60.0])),
        "harmonics": int(rng.integers(1, harmonics + 1)),
    }


def _draw_crackle(
    rng: np.random.Generator, snr: Range, rate: Range, speeds: tuple[float, ...]
) -> dict[str, Any]:
    scratched = rng.random() < 0.3
    return {
        "snr_db": _uniform(rng, snr),
        "rate": _uniform(rng, rate),
        "rpm": float(rng.choice(speeds)) if scratched else None,
    }


def _draw_codec(rng: np.random.Generator, names: tuple[str, ...], quality: str) -> dict[str, Any]:
    name = str(rng.choice(names))
    return {
        "codec": name,
        "codec_rate": int(rng.choice(_CODEC_RATES[quality][name])),
        "compression": _uniform(rng, _CODEC_LEVELS[quality][name]),
    }


_DRAWS = {
    "eq": lambda rng, depth: filters.draw_eq(rng, depth_db=depth),
    "crowd": _draw_crowd,
    "compress": _draw_compress,
    "saturate": _draw_saturate,
    "clip": lambda rng, over: {"over_db": _uniform(rng, over)},
    "band": _draw_band,
    "speed": _draw_speed,
    "hiss": _draw_hiss,
    "hum": _draw_hum,
    "crackle": _draw_crackle,
    "codec": _draw_codec,
}
