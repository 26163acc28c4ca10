"""What sounds when, from the notes of a performance: the input of the chroma that is modelled.

Everything here depends on pitch classes and on intervals, never on absolute pitch, so a transposed
performance gives the same activity rolled along the pitch classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from src.corpus.performance import Performance, Track

FRAME_S = 4096 / 44100
TAIL_S = 1.5  # what is kept of the last note
CHANNELS = ("bass", "accompaniment", "melody", "lowest", "drums", "level")

_ROLES = 3  # bass, accompaniment, melody
_PITCHES = 132  # of MIDI, filled up to whole octaves
_DECAY_S = 1.2  # of the amplitude of plucked, struck and hammered strings
_RELEASE_S = 0.12
# General MIDI: keyboards and mallets, guitars and basses, pizzicato and harp, plucked world.
_PLUCKED = {*range(16), *range(24, 38), 45, 46, 47, *range(104, 109), *range(112, 120)}
_LOUDNESS = 1.5  # amplitude grows with this power of the velocity
_COMPRESSION = 100.0  # 40 dB below the loudest is half way down
_AUDIBLE = 0.03  # of the loudest note of a frame: softer ones are not its lowest note
_HALF_MIX_CENTS = 8.0  # how quickly a detuned note passes into the next pitch class


@dataclass(frozen=True, slots=True)
class Played:
    """The notes of a version and when they are heard in its recording.

    Attributes:
        performance: the notes.
        recording: a drawn recording; of it, the silences, the fades and the speed are heard here.
        seconds: length of the recording.
        seed: what its noise depends on.
        soundfont: name of the one that plays it, if any.
    """

    performance: Performance
    recording: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    seed: tuple[int | str, ...] = ()
    soundfont: str = ""

    @property
    def edges(self) -> Mapping[str, float]:
        return self.recording.get("edges", {})

    @property
    def speed(self) -> float:
        return self.recording.get("speed", {}).get("speed", 1.0)

    @property
    def duration(self) -> float:
        """Seconds from the start of the recording to its end."""
        if self.seconds is not None:
            return self.seconds
        silence = self.edges.get("lead_s", 0.0) + self.edges.get("tail_s", 0.0)
        return (self.performance.duration + TAIL_S + silence) / self.speed

    @property
    def cents(self) -> float:
        """Deviation of the pitch from A = 440 Hz, by tuning and speed."""
        return self.performance.tuning_cents + 1200 * float(np.log2(self.speed))

    def heard_at(self, times: np.ndarray) -> np.ndarray:
        """Seconds of the recording at which times of the performance are heard."""
        return (times + self.edges.get("lead_s", 0.0)) / self.speed

    def fade(self, frames: int, frame_s: float) -> np.ndarray:
        """Factor on the power of every frame, ``(frames,)``: the fade-in and the fade-out."""
        time = (np.arange(frames) + 0.5) * frame_s
        factor = np.ones(frames)
        for key, distance in (("fade_in_s", time), ("fade_out_s", frames * frame_s - time)):
            length = self.edges.get(key, 0.0)
            if length > frame_s:
                factor *= np.sin(np.clip(distance / length, 0, 1) * np.pi / 2) ** 4
        return factor


def note_activity(played: Played) -> np.ndarray:
    """Activity by pitch class, player and time.

    Returns:
        ``(frames, 12, 6)`` float32 in 0..1 on a logarithmic scale relative to the loudest frame;
        the channels are CHANNELS. One frame per 4096 samples at 44.1 kHz. ``lowest`` is the lowest
        sounding note; ``drums`` (onsets) and ``level`` are the same for all pitch classes.
    """
    frames = max(int(played.duration / FRAME_S), 1)
    fade = played.fade(frames, FRAME_S)
    power = np.zeros((_ROLES, frames * _PITCHES))
    drums = np.zeros(frames)
    for track in played.performance.tracks:
        if not track.notes:
            continue
        onset, length, pitch, velocity = np.array(
            [(n.onset, n.duration, n.pitch, n.velocity) for n in track.notes]
        ).T
        onset, end = (played.heard_at(times) for times in (onset, onset + length))
        loud = (track.gain * (velocity / 127) ** _LOUDNESS) ** 2
        if track.is_drums:
            place = np.clip(np.rint(onset / FRAME_S).astype(int), 0, frames - 1)
            drums += np.bincount(place, loud, frames)
            continue
        at, note, share = _sounding(track, onset, end, frames)
        index = at * _PITCHES + pitch.astype(int)[note]
        value = loud[note] * share * fade[at]
        power[_role(track)] += np.bincount(index, value, frames * _PITCHES)
    return _channels(power.reshape(_ROLES, frames, _PITCHES), drums * fade, played.cents)


def _role(track: Track) -> int:
    """0 bass, 1 accompaniment, 2 melody."""
    if track.name == "bass":
        return 0
    return 2 if track.name.startswith(("melody", "second voice")) else 1


def _sounding(
    track: Track, onset: np.ndarray, end: np.ndarray, frames: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every frame that a note touches, with the note's number and how much of it is heard there.

    A frame stands for the time from half a hop before its number to half a hop after.
    """
    first = np.floor(onset / FRAME_S + 0.5).astype(int)
    last = np.floor((end + _RELEASE_S) / FRAME_S + 0.5).astype(int)
    counts = last - first + 1
    note = np.repeat(np.arange(len(counts)), counts)
    at = np.arange(len(note)) - np.repeat(np.cumsum(counts) - counts, counts) + first[note]
    note, at = (values[(at >= 0) & (at < frames)] for values in (note, at))
    start, stop = (at - 0.5) * FRAME_S, (at + 0.5) * FRAME_S
    held = np.minimum(stop, end[note]) - np.maximum(start, onset[note])
    share = np.clip(held, 0, None) / FRAME_S
    # After the key is up the sound falls by 60 dB in some tenths of a second.
    gone = np.clip((start + stop) / 2 - end[note], 0, None)
    share = np.maximum(share, np.where(gone > 0, 10 ** (-2 * gone / _RELEASE_S), 0.0))
    decay = np.clip((start + stop) / 2 - onset[note], 0, None) / _DECAY_S
    if track.program in _PLUCKED:
        share = share * np.exp(-2 * decay)
    return at, note, share


def _channels(power: np.ndarray, drums: np.ndarray, cents: float) -> np.ndarray:
    """``(3, frames, 132)`` and ``(frames,)`` to ``(frames, 12, 6)``."""
    frames = len(drums)
    pooled = power.sum(0)  # (frames, 132)
    loudest = pooled.max(1)
    lowest = (pooled > _AUDIBLE * loudest[:, None]).argmax(1)
    classes = np.zeros((frames, 12, _ROLES + 1))
    classes[:, :, :_ROLES] = power.reshape(_ROLES, frames, -1, 12).sum(2).transpose(1, 2, 0)
    rows = np.arange(frames)
    classes[rows, lowest % 12, _ROLES] = pooled[rows, lowest]
    out = np.empty((frames, 12, len(CHANNELS)))
    out[:, :, : _ROLES + 1] = _detune(classes, cents)
    total = pooled.sum(1)
    out[:, :, 4] = drums[:, None]
    out[:, :, 5] = total[:, None]
    out /= max(float(total.max()), 1e-12)
    return (np.log1p(_COMPRESSION * np.sqrt(out)) / np.log1p(_COMPRESSION)).astype(np.float32)


def _detune(power: np.ndarray, cents: float) -> np.ndarray:
    """A tuning far from A = 440 Hz is heard partly as the neighbouring pitch class."""
    whole = int(np.floor(cents / 100))
    share = 1 / (1 + np.exp(-(cents - 100 * whole - 50) / _HALF_MIX_CENTS))
    power = np.roll(power, whole, axis=1)
    return (1 - share) * power + share * np.roll(power, 1, axis=1)
