"""The CQT of a version straight from its notes, without any sound.

The powers of single notes (:mod:`src.corpus.note_cqt_bank`) are added up, each at its time, level
and pitch, and then changed as a recording would (:mod:`src.corpus.note_cqt_sound`). What this
leaves out: phases, so that partials which share a bin neither beat nor cancel but by chance; onsets
between frames, which are 40 ms apart; velocities between two layers and pitches between those of
the bank, which are taken from their neighbours; flutter, clicks of cutting, the artefacts of
codecs. On top come variations that real recordings have and rendered ones lack. It is meant for
training, in quantity; evaluation belongs to sound.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from src.corpus import note_cqt_sound as sound
from src.corpus.dice import generator
from src.corpus.note_activity import Played
from src.corpus.note_cqt_bank import (
    BEFORE,
    FRAME_S,
    HELD,
    LOOP,
    SPEC,
    NoteBank,
    drum_entries,
    entries,
    load_bank,
    velocity_power,
)
from src.corpus.note_cqt_loops import kernels, power_table
from src.corpus.performance import Track
from src.errors import UserError

_STRAIGHT = 0.5  # of the melodies, sung or not, keep the pitches of the SoundFont
_FAINTEST = 1e-13  # of the loudest value: -130 dB, below what is stored


class NoteCqt:
    """Versions -> CQT; every bank is loaded once, when first needed.

    Args:
        banks: files of :func:`src.corpus.note_cqt_bank.ready_banks` by SoundFont.
        variation: strength of what is varied beyond the recording; 0 adds nothing.
    """

    spec = SPEC

    def __init__(self, banks: Mapping[str, Path | NoteBank], *, variation: float = 1.0) -> None:
        self._banks = dict(banks)
        self.variation = variation

    def __call__(self, played: Played) -> np.ndarray:
        """CQT of one recording.

        Returns:
            ``(T, 96)`` float32 dB, 0 dB at the maximum, not below -130; 25 frames a second, T the
            whole frames of the recording and at least 1. ``played.seed`` decides all chance.

        Raises:
            UserError: the version was drawn for a SoundFont without a bank.
        """
        rng = generator("note cqt", *played.seed)
        return self.record(self.powers(played, rng if self.variation else None), played, rng)

    def record(self, power: np.ndarray, played: Played, rng: np.random.Generator) -> np.ndarray:
        """Decibels of a recording of these powers, which are changed."""
        sound.apply_recording(power, played.recording, rng)
        sound.vary(power, rng, self.variation)
        power *= played.fade(len(power), FRAME_S).astype(np.float32)[:, None]
        if "codec" in played.recording:
            sound.apply_codec(power, played.recording["codec"])
        loudest = np.float32(power.max())
        if loudest <= 0:
            return np.zeros_like(power)
        return 10 * np.log10(np.maximum(power / loudest, np.float32(_FAINTEST)))

    def powers(self, played: Played, rng: np.random.Generator | None = None) -> np.ndarray:
        """The sum of all notes, before the recording: ``(T, 96)`` float32.

        Args:
            rng: lets the players of the melody sing: they slide, waver and are a little out of
                tune. None takes every note as the SoundFont has it.
        """
        bank = self._bank(played.soundfont)
        power = np.zeros((max(int(played.duration / FRAME_S), 1), SPEC.bins), np.float32)
        side = played.recording.get("side", 0.5)
        for track in played.performance.tracks:
            if track.notes:
                bend = _bends(track, rng)
                _add_track(power, bank, track, played, side, bend)
        loudest = np.float32(power.max())
        if loudest <= 0:
            return power
        return loudest * _tuned(power / loudest, played)

    def _bank(self, soundfont: str) -> NoteBank:
        bank = self._banks.get(soundfont)
        if bank is None:
            raise UserError(f"there are no notes of the SoundFont {soundfont!r}")
        if isinstance(bank, Path):
            bank = self._banks[soundfont] = load_bank(bank)
        return bank


def _add_track(
    power: np.ndarray,
    bank: NoteBank,
    track: Track,
    played: Played,
    side: float,
    bend: np.ndarray,
) -> None:
    onset, length, pitch, velocity = np.array(
        [(n.onset, n.duration, n.pitch, n.velocity) for n in track.notes]
    ).T
    pitch, velocity = pitch.astype(np.int64), velocity.astype(np.int64)
    first, last = (_frames(played.heard_at(times)) for times in (onset, onset + length))
    if track.is_drums:
        entry, shift = drum_entries(pitch, velocity), np.zeros_like(pitch)
        last = first + HELD  # a stroke rings on, however short the note
    else:
        entry, shift = entries(track.program, pitch, velocity)
    level = 10 ** (bank.level[entry] / 10) * velocity_power(velocity)
    gain = level * (track.gain * _panned(track.pan, side)) ** 2
    kernels().add_notes(
        power,
        bank.held,
        bank.release,
        bank.decay,
        entry,
        shift,
        gain.astype(np.float32),
        first,
        np.maximum(last, first + 1),
        bend,
        BEFORE,
        LOOP,
        power_table(),
    )


def _bends(track: Track, rng: np.random.Generator | None) -> np.ndarray:
    """How the pitch of every note moves, ``(N, 5)`` float32 (see ``add_notes``)."""
    count = len(track.notes)
    bend = np.zeros((count, 5), np.float32)
    if rng is None or track.is_drums or not track.name.startswith(("melody", "second voice")):
        return bend
    if rng.random() < _STRAIGHT:
        return bend
    bend[:, 0] = rng.normal(0, rng.uniform(0.03, 0.2), count)
    slides = rng.random(count) < rng.uniform(0, 0.7)
    bend[:, 1] = slides * rng.normal(-0.5, 0.9, count)
    bend[:, 2] = rng.uniform(0.4, 0.8)
    bend[:, 3] = rng.uniform(0, 0.6) * rng.uniform(0.3, 1, count)
    bend[:, 4] = 2 * np.pi * FRAME_S * rng.uniform(4.5, 7)
    return bend


def _frames(times: np.ndarray) -> np.ndarray:
    """The frames whose middles are nearest to some times."""
    return np.rint(times / FRAME_S - 0.5).astype(np.int64)


def _panned(pan: float, side: float) -> float:
    """Amplitude at the microphone, 1 for a player in the middle: FluidSynth pans by sine."""
    angle = (pan + 1) * np.pi / 4
    return float(((1 - side) * np.cos(angle) + side * np.sin(angle)) * np.sqrt(2))


def _tuned(power: np.ndarray, played: Played) -> np.ndarray:
    """Tuning and speed, with the wow of a record: ``(T, 96)`` powers of at most 1."""
    frames = len(power)
    semitones = np.full(frames, played.cents / 100)
    speed = played.recording.get("speed", {})
    if speed.get("wow_percent"):
        turn = 2 * np.pi * speed["wow_hz"] * FRAME_S
        swing = np.sin(turn * np.arange(frames) + speed.get("phase", 0.0))
        semitones += 12 * np.log2(1 + speed["wow_percent"] / 100 * swing)
    decibels = np.log2(np.maximum(power, np.float32(_FAINTEST)))
    moved = np.empty_like(decibels)
    kernels().shift_bins(decibels, semitones, moved)
    return np.exp2(moved)
