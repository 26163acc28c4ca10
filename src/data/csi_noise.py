"""Copies of recordings with noise, as features."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from src.audio.cqt import CQTSpec
from src.audio.decode import load_audio
from src.audio.sound_augment import noise_gain
from src.data.csi_stages import (
    FEATURE_FOLDER,
    FEATURE_SUFFIX,
    Row,
    Workshop,
    frames_or_none,
    open_feature_folder,
    write_features,
)
from src.data.manifest import read_manifest
from src.data.recordings import locate
from src.data.splits import NOISE_PREFIX
from src.errors import UserError

NOISES_IN_MEMORY = 32  # decoded noise recordings kept at the same time


@dataclass(frozen=True)
class NoiseSettings:
    """What noise is added to how much of a collection.

    Attributes:
        path: manifest whose ``wav`` files are noise.
        share: probability that a line gets a noisy copy.
        chunk_s: seconds after which another stretch of noise begins.
        volume: range of the peak of the noise, as a share of the recording's peak.
        snr_db: range of the signal-to-noise ratio in dB; replaces ``volume``.
        seed: of all draws, together with the name of the line.
    """

    path: str
    share: float = 0.75
    chunk_s: float = 3.0
    volume: tuple[float, float] = (0.3, 1.0)
    snr_db: tuple[float, float] | None = None
    seed: int = 1


def add_noise_copies(
    rows: Sequence[Row], settings: NoiseSettings, spec: CQTSpec, shop: Workshop
) -> list[dict[str, Any]]:
    """Add lines with noise: every line gets one with the probability ``settings.share``.

    All draws depend on the seed and the name of the line alone, so the same copy is made again,
    whatever else is in the list. Noisy sound is not kept, only its features: ``wav`` of a copy
    names the clean recording.

    Args:
        rows: lines of full.txt; those without a recording give no copy.
        settings: see there.
        spec: of the features.
        shop: where to work; failures are noted there, the clean line stays.

    Returns:
        All rows, each followed by its copy ``noise-<utt>`` if there is one.

    Raises:
        UserError: the list of noise cannot be read, or one of its recordings is missing.
    """
    paths = noise_paths(settings.path)
    how = f"cqt with noise {_digest(repr(settings), *map(_state, paths))}"
    record = open_feature_folder(shop, spec)

    @lru_cache(maxsize=NOISES_IN_MEMORY)
    def load(path: Path) -> np.ndarray:
        return load_audio(path, sample_rate=spec.sample_rate)[0]

    generators = {row["utt"]: _generator(settings.seed, row["utt"]) for row in rows}
    noisy = [
        row for row in rows if generators[row["utt"]].random() < settings.share and row.get("wav")
    ]

    def extract(row: Row) -> dict[str, Any]:
        source = shop.sound(row)
        utt = NOISE_PREFIX + row["utt"]
        target = Path(shop.path(FEATURE_FOLDER, utt + FEATURE_SUFFIX))
        frames = None
        if record.knows(target) and record.is_current(target, source, how):
            frames = frames_or_none(target, spec)
        if frames is None:
            signal, rate = load_audio(source, sample_rate=spec.sample_rate)
            generator = generators[row["utt"]]
            mixed = with_noise(signal, rate, paths, load, settings, generator)
            frames = write_features(mixed, rate, shop.extractor(spec), target, source)
            record.note(target, source, how)
        return {**row, "utt": utt, "feat": target.as_posix(), "feat_len": frames}

    done = shop.run("noise", noisy, extract)
    copies = {noisy[position]["utt"]: copy for position, copy in done.items()}
    lines = [(dict(row), copies.get(row["utt"])) for row in rows]
    return [line for pair in lines for line in pair if line is not None]


def noise_paths(manifest: str) -> list[Path]:
    """The noise recordings that a manifest lists.

    Raises:
        UserError: the manifest cannot be read, or a recording is missing.
    """
    rows = read_manifest(manifest, required=("wav",), unique=False)
    paths = [locate(row["wav"], Path(manifest).parent) for row in rows]
    for path in paths:
        if not path.is_file():
            raise UserError(f"{manifest} lists the noise {path}, which does not exist")
    return paths


def with_noise(
    signal: np.ndarray,
    sample_rate: int,
    noises: Sequence[Path],
    load: Callable[[Path], np.ndarray],
    settings: NoiseSettings,
    generator: np.random.Generator,
) -> np.ndarray:
    """Add noise to a signal: another recording, from a random place, every ``chunk_s`` seconds.

    Args:
        signal: ``(n,)`` floating point.
        sample_rate: of the signal and of what ``load`` returns, in Hz.
        noises: to draw from.
        load: gives the ``(m,)`` signal of a noise.
        settings: length of a stretch and range of the levels, each relative to all of ``signal``.
        generator: of the draws.

    Returns:
        ``(n,)`` float32, not limited to full scale.
    """
    step = max(1, round(settings.chunk_s * sample_rate))
    mixed = np.array(signal, dtype=np.float32)
    for start in range(0, len(mixed), step):
        part = mixed[start : start + step]
        noise = load(noises[generator.integers(len(noises))])
        place = int(generator.random() * max(1, len(noise) - len(part) + 1))
        piece = np.resize(noise[place:], len(part))  # begins again if it is too short
        drawn = generator.uniform(*(settings.snr_db or settings.volume))
        level = {"volume": drawn} if settings.snr_db is None else {"snr_db": drawn}
        part += np.float32(noise_gain(signal, piece, **level)) * piece
    return mixed


def _generator(seed: int, utt: str) -> np.random.Generator:
    """A generator of its own for every line."""
    return np.random.default_rng(int(_digest(str(seed), utt), 16))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _state(path: Path) -> str:
    return f"{path.as_posix()} {path.stat().st_size}"
