"""What happens to a recording on its way to a query: another key, tempo, noise, a cut, a codec.

Pitch and tempo are changed by librosa's phase vocoder, which needs no program beside Python. It
blurs attacks, more so the further it stretches, so that at the ends of these two scales a loss is
partly that of the tool.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from src.corpus.codec import CODECS, round_trip
from src.corpus.filters import apply_linear
from src.corpus.noise import coloured_noise, mix_at_snr
from src.data.sound_features import Sound
from src.errors import UserError

NOISE_SLOPE_DB = 3.0  # an octave: pink, as the noise of rooms and crowds roughly is
MP3_COMPRESSION = 0.9  # nearly the smallest files
LOWPASS_ORDER = 8  # 48 dB an octave


def _pitch(signal: np.ndarray, rate: int, strength: float, _: np.random.Generator) -> np.ndarray:
    import librosa  # slow to import

    return librosa.effects.pitch_shift(signal, sr=rate, n_steps=strength, res_type="soxr_hq")


def _tempo(signal: np.ndarray, rate: int, strength: float, _: np.random.Generator) -> np.ndarray:
    import librosa

    return librosa.effects.time_stretch(signal, rate=strength)


def _noise(
    signal: np.ndarray, rate: int, strength: float, generator: np.random.Generator
) -> np.ndarray:
    noise = coloured_noise(generator, len(signal), rate, slope_db=NOISE_SLOPE_DB)
    return mix_at_snr(signal, noise, snr_db=strength)


def _length(
    signal: np.ndarray, rate: int, strength: float, generator: np.random.Generator
) -> np.ndarray:
    kept = round(strength * rate)
    place = generator.random()  # drawn always, so that clips of all lengths share their place
    start = int(place * max(0, len(signal) - kept))
    return signal[start : start + kept]


def _lowpass(signal: np.ndarray, rate: int, strength: float, _: np.random.Generator) -> np.ndarray:
    band = {"low": None, "high": strength, "order": LOWPASS_ORDER}
    return apply_linear(signal, rate, band=band)


def _mp3(signal: np.ndarray, rate: int, strength: float, _: np.random.Generator) -> np.ndarray:
    changed, _ = round_trip(
        signal, rate, codec="mp3", codec_rate=int(strength), compression=MP3_COMPRESSION
    )
    return changed


@dataclass(frozen=True)
class Kind:
    """One kind of change.

    Attributes:
        unit: of its strengths.
        unchanged: the strength that a recording itself has, in words.
        place: where that lies among the strengths.
        strengths: that are measured unless others are asked for.
        lowest, highest: strengths that make sense.
        apply: from ``(n,)`` float32, sample rate, strength and a generator to the changed signal.
    """

    unit: str
    unchanged: str
    place: float
    strengths: tuple[float, ...]
    lowest: float
    highest: float
    apply: Callable[[np.ndarray, int, float, np.random.Generator], np.ndarray]


KINDS = {
    "pitch": Kind("semitones", "0", 0, (-6, -4, -2, -1, 1, 2, 4, 6), -24, 24, _pitch),
    "tempo": Kind("times", "1", 1, (0.7, 0.8, 0.9, 1.1, 1.25, 1.5), 0.25, 4, _tempo),
    "noise": Kind("dB SNR", "none", np.inf, (30, 20, 10, 5, 0), -30, 100, _noise),
    "length": Kind("s", "whole", np.inf, (60, 30, 20, 10), 1, 36000, _length),
    "lowpass": Kind("Hz", "none", np.inf, (4000, 2000, 1000, 500), 50, 20000, _lowpass),
    "mp3": Kind("Hz sample rate", "none", np.inf, (22050, 16000, 11025, 8000), 8000, 48000, _mp3),
}


@dataclass(frozen=True)
class Change:
    """A change of one kind and strength."""

    kind: str
    strength: float

    @property
    def text(self) -> str:
        """The strength, for a table."""
        return f"{self.strength:g}"

    def __call__(self, sound: Sound, *, seed: tuple[int, ...]) -> Sound:
        """The changed recording, the same for the same seed.

        Args:
            sound: ``(n,)`` float32 and its sample rate.
            seed: of noise and clips; equal for all strengths of a kind.
        """
        signal, rate = sound
        number = list(KINDS).index(self.kind)
        generator = np.random.default_rng((*seed, number))
        changed = KINDS[self.kind].apply(signal, rate, self.strength, generator)
        return np.asarray(changed, np.float32), rate


def parse_changes(texts: Sequence[str]) -> list[Change]:
    """What a person asks for: ``pitch``, or with strengths ``pitch=-3,3``.

    Raises:
        UserError: an unknown kind, or strengths that make no sense.
    """
    return list(dict.fromkeys(chain.from_iterable(map(_parse, texts))))


def _parse(text: str) -> list[Change]:
    kind, equals, stated = text.partition("=")
    if kind not in KINDS:
        raise UserError(f"unknown change {kind!r}; there are {', '.join(KINDS)}")
    about = KINDS[kind]
    if not equals:
        return [Change(kind, float(strength)) for strength in about.strengths]
    try:
        strengths = [float(strength) for strength in stated.split(",")]
    except ValueError:
        raise UserError(f"{text!r}: strengths are numbers such as {kind}=1,2.5") from None
    for strength in strengths:
        if not about.lowest <= strength <= about.highest:
            raise UserError(
                f"{text!r}: {kind} takes {about.lowest:g} to {about.highest:g} {about.unit}"
            )
    if kind == "mp3":
        _check_mp3(strengths)
    return [Change(kind, strength) for strength in strengths]


def _check_mp3(rates: Sequence[float]) -> None:
    known = CODECS["mp3"][2]
    wrong = [rate for rate in rates if rate not in known]
    if wrong:
        raise UserError(f"mp3 knows no sample rate of {wrong[0]:g} Hz, only {known}")
