"""One version from start to end: arranged, played, recorded, cut to length, described."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from src.corpus.arrange import arrange
from src.corpus.contrafact import play_contrafact
from src.corpus.dice import generator
from src.corpus.note_activity import TAIL_S, Played
from src.corpus.performance import Performance
from src.corpus.plan import Job
from src.corpus.printed import play_printed
from src.corpus.recording import apply_recording, draw_recording
from src.corpus.render import Renderer

_LONGEST_EXTRA_S = 4.0  # tail and silences, which the recording adds to the music
_CUT_FADE_S = 1.0


@dataclass(frozen=True, slots=True)
class MakerSettings:
    """What all versions of a corpus have in common; see :class:`CorpusConfig`."""

    seed: int
    duration: tuple[float, float]
    sample_rate: int
    soundfonts: Mapping[str, Path]
    recordings: Mapping[str, float] | None
    metre_changes: float = 0.0


@dataclass(frozen=True, slots=True)
class MadeVersion:
    """Mono float32 ``signal`` within +-1 (None without sound), and the manifest's ``choices``."""

    signal: np.ndarray | None
    sample_rate: int
    choices: dict[str, Any]
    played: Played | None = None

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        if self.signal is not None:
            return len(self.signal) / self.sample_rate
        return self.played.duration if self.played else 0.0


class VersionMaker:
    """Makes versions; every SoundFont is loaded once, when first needed."""

    def __init__(self, settings: MakerSettings) -> None:
        self.settings = settings
        self._renderers: dict[str, Renderer] = {}

    def __call__(self, job: Job) -> MadeVersion:
        """Make one version; the settings and the job decide everything.

        Raises:
            ValueError: the tune cannot be arranged.
            UserError: FluidSynth or a SoundFont is missing.
        """
        settings = self.settings
        performance = play_job(settings, job)
        font, recording = draw_sound(settings, job)
        stereo = self._renderer(font).render(performance, tail=TAIL_S)
        signal, facts = apply_recording(stereo, settings.sample_rate, recording)
        signal, cut = cut_to(signal, settings.sample_rate, settings.duration[1])
        choices = {
            "arrangement": performance.choices,
            "soundfont": font,
            "recording": {**recording, **facts, "cut": cut},
        }
        seconds = len(signal) / settings.sample_rate
        played = Played(performance, recording, seconds, (settings.seed, job.utt), font)
        return MadeVersion(signal, settings.sample_rate, choices, played)

    def _renderer(self, font: str) -> Renderer:
        if font not in self._renderers:
            path = self.settings.soundfonts[font]
            self._renderers[font] = Renderer(path, sample_rate=self.settings.sample_rate)
        return self._renderers[font]


class NoteMaker:
    """Makes the notes of versions and how they are heard: all that features from notes need."""

    def __init__(self, settings: MakerSettings) -> None:
        self.settings = settings

    def __call__(self, job: Job) -> MadeVersion:
        """As :class:`VersionMaker`, without FluidSynth and without sound.

        Where no SoundFont is named, only what decides the times of a recording is kept of it.
        """
        settings = self.settings
        performance = play_job(settings, job)
        font, heard = draw_sound(settings, job)
        if not font:
            heard = {key: heard[key] for key in ("kind", "edges", "speed") if key in heard}
        whole = Played(performance, heard).duration
        seconds = min(whole, settings.duration[1])
        choices = {
            "arrangement": performance.choices,
            **({"soundfont": font} if font else {}),
            "recording": {**heard, "cut": whole > seconds},
        }
        played = Played(performance, heard, seconds, (settings.seed, job.utt), font)
        return MadeVersion(None, settings.sample_rate, choices, played)


def play_job(settings: MakerSettings, job: Job) -> Performance:
    """The notes of one version, with room left for what the recording adds.

    Raises:
        ValueError: the tune cannot be arranged.
    """
    shortest, longest = settings.duration
    target = (shortest, max(longest - _LONGEST_EXTRA_S, shortest + 1.0))
    seed = settings.seed
    if job.printed:
        return play_printed(job.tune, job.setting or 0, seed=seed, target_duration=target)
    options = {
        "seed": seed,
        "version": job.version,
        "target_duration": target,
        "metre_changes": settings.metre_changes,
    }
    if job.like is not None:
        model, number = job.like.tune, job.like.version
        return play_contrafact(
            job.tune, model, model_version=number, setting=job.setting, **options
        )
    return arrange(job.tune, setting=job.setting, **options)


def draw_sound(settings: MakerSettings, job: Job) -> tuple[str, dict[str, Any]]:
    """SoundFont (empty where there is none) and recording of one version."""
    rng = generator(settings.seed, "recording", job.tune.work, job.version)
    fonts = list(settings.soundfonts)
    font = fonts[int(rng.integers(len(fonts)))] if fonts else ""
    return font, draw_recording(rng, weights=settings.recordings)


def cut_to(signal: np.ndarray, sample_rate: int, seconds: float) -> tuple[np.ndarray, bool]:
    """Cut a signal that is longer than ``seconds``, with a fade of a second; says if it did."""
    length = int(seconds * sample_rate)
    if len(signal) <= length:
        return signal, False
    signal = signal[:length].copy()
    fade = min(int(_CUT_FADE_S * sample_rate), length)
    signal[length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    return signal, True
