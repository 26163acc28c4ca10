"""The three signals of the reference numbers of cremaPCP, built from their formulas."""

from pathlib import Path

import numpy as np

FIXTURES = Path(__file__).parents[1] / "fixtures"
RATE = 44100
SIGNALS = ("chords", "noise", "chirp")
CHORDS = ((48, 60, 64, 67), (45, 57, 60, 64), (41, 53, 57, 60), (43, 55, 59, 62))


def reference(version: str) -> dict[str, np.ndarray]:
    """Outputs of the real network: ``<signal>_pitch``, ``_root``, ``_bass``."""
    with np.load(FIXTURES / f"crema_{version.replace('.', '')}.npz") as file:
        return dict(file)


def chords(rate: int = RATE) -> np.ndarray:
    """C, A minor, F, G: three seconds each."""
    t = np.arange(3 * rate) / rate
    parts = []
    for notes in CHORDS:
        part = np.zeros_like(t)
        for note in notes:
            frequency = 440 * 2 ** ((note - 69) / 12)
            for h in range(1, 7):
                decay = 0.6 ** (h - 1) * np.exp(-(0.5 + 0.25 * h) * t)
                part += decay * np.sin(2 * np.pi * h * frequency * t)
        parts.append(0.1 * part)
    return np.concatenate(parts).astype(np.float32)


def noise() -> np.ndarray:
    return (np.random.RandomState(0).randn(441000) * 0.1).astype(np.float32)


def chirp() -> np.ndarray:
    t = np.arange(352800) / RATE
    phase = 2 * np.pi * (55 * t + (3520 - 55) / (2 * 8) * t * t)
    return (0.5 * np.sin(phase)).astype(np.float32)


def signal(name: str) -> np.ndarray:
    return {"chords": chords, "noise": noise, "chirp": chirp}[name]()
