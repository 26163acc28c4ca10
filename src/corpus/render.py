"""Notes to sound: a performance played by FluidSynth with a General MIDI SoundFont."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from src.corpus.performance import Performance, PlayedNote, Track
from src.errors import UserError

SAMPLE_RATE = 44100
BLOCK = 64  # FluidSynth starts and stops notes at blocks of 64 samples (1.5 ms at 44.1 kHz)
MAX_TRACKS = 64
_PERCUSSION_BANK = 128
_VOLUME, _PAN, _EXPRESSION, _REVERB_SEND, _CHORUS_SEND = 7, 10, 11, 91, 93
_BEND_RANGE_CENTS = 200  # MIDI default, +-2 semitones


def load_fluidsynth() -> ModuleType:
    """Import the binding of FluidSynth.

    Raises:
        UserError: the Python package or the system library is missing.
    """
    try:
        import fluidsynth
    except ModuleNotFoundError as error:
        raise UserError(
            "the Python package pyfluidsynth is missing: pip install -r requirements_corpus.txt"
        ) from error
    except (ImportError, OSError, AttributeError) as error:
        raise UserError(
            "FluidSynth is missing: apt install libfluidsynth3 fluid-soundfont-gm (Debian, Ubuntu) "
            "or brew install fluid-synth (macOS)"
        ) from error
    if not hasattr(fluidsynth, "cfunc"):
        raise UserError(
            "the Python package called fluidsynth is another one: pip uninstall fluidsynth, then "
            "pip install -r requirements_corpus.txt"
        )
    return fluidsynth


class _Synth(NamedTuple):
    """A synthesizer of pyfluidsynth and the number of its SoundFont."""

    synth: Any
    font: int


class Renderer:
    """One SoundFont, loaded once, that plays any number of performances.

    FluidSynth's own reverb and chorus are off: the recording chain makes the rooms. Every
    performance gets a synthesizer of its own, since a reset one keeps traces of what it played
    before; the samples stay in FluidSynth's cache, so this takes some hundredths of a second.

    Args:
        soundfont: path of a .sf2 or .sf3 file with the General MIDI programs.
        sample_rate: Hz of the signals returned, 8000 to 96000.
        polyphony: voices at most; the softest tails are cut off beyond.

    Raises:
        UserError: FluidSynth is missing, or the file is no SoundFont.
    """

    def __init__(
        self, soundfont: Path, *, sample_rate: int = SAMPLE_RATE, polyphony: int = 96
    ) -> None:
        self._api = load_fluidsynth()
        self.soundfont = Path(soundfont)
        self.sample_rate = sample_rate
        self._polyphony = polyphony
        if not self.soundfont.is_file():
            raise UserError(f"SoundFont {soundfont} does not exist")
        self._write = self._float_writer()
        self._keeper = self._open()  # as long as it lives, the samples stay in memory

    def _open(self) -> "_Synth":
        synth = self._api.Synth(
            gain=0.3,
            samplerate=float(self.sample_rate),
            channels=MAX_TRACKS,
            **{
                "synth.reverb.active": 0,
                "synth.chorus.active": 0,
                "synth.lock-memory": 0,
                "synth.polyphony": self._polyphony,
            },
        )
        font = synth.sfload(str(self.soundfont))
        if font < 0:
            synth.delete()
            raise UserError(
                f"{self.soundfont} cannot be read as a SoundFont: it is damaged or not one"
            )
        return _Synth(synth, font)

    def _float_writer(self) -> Callable[..., int]:
        """FluidSynth's float output; pyfluidsynth itself offers only 16 bits with dither."""
        pointer, integer = ctypes.c_void_p, ctypes.c_int
        return self._api.cfunc(
            "fluid_synth_write_float",
            integer,
            ("synth", pointer, 1),
            ("len", integer, 1),
            ("lout", pointer, 1),
            ("loff", integer, 1),
            ("lincr", integer, 1),
            ("rout", pointer, 1),
            ("roff", integer, 1),
            ("rincr", integer, 1),
        )

    def close(self) -> None:
        """Free the SoundFont; the renderer cannot be used afterwards."""
        if self._keeper is not None:
            self._keeper.synth.delete()
            self._keeper = None

    def __enter__(self) -> "Renderer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def render(self, performance: Performance, *, tail: float = 1.5) -> np.ndarray:
        """Play ``performance``.

        Args:
            performance: at most 64 tracks.
            tail: seconds kept after the last note, for what still sounds.

        Returns:
            float32 ``(samples, 2)``, left and right, roughly within +-1 (not limited).

        Raises:
            UserError: the SoundFont lacks an instrument that the performance asks for.
            ValueError: more than 64 tracks.
        """
        tracks = [track for track in performance.tracks if track.notes]
        if len(tracks) > MAX_TRACKS:
            raise ValueError(f"{len(tracks)} tracks; a synthesizer has {MAX_TRACKS} channels")
        player = self._open()
        try:
            for channel, track in enumerate(tracks):
                self._set_up(player, channel, track, performance.tuning_cents)
            return self._play(player, tracks, performance.duration + tail)
        finally:
            player.synth.delete()

    def _play(self, player: "_Synth", tracks: list[Track], seconds: float) -> np.ndarray:
        blocks = int(np.ceil(seconds * self.sample_rate / BLOCK))
        signal = np.zeros((blocks * BLOCK, 2), dtype=np.float32)
        handle, at, position = player.synth.synth, signal.ctypes.data, 0
        note_on, note_off = self._api.fluid_synth_noteon, self._api.fluid_synth_noteoff
        for block, on, channel, pitch, velocity in [*self._events(tracks), (blocks, 0, 0, 0, 0)]:
            start = min(block, blocks) * BLOCK
            if start > position:
                left, right = 2 * position, 2 * position + 1
                self._write(handle, start - position, at, left, 2, at, right, 2)
                position = start
            if on:
                note_on(handle, channel, pitch, velocity)
            else:
                note_off(handle, channel, pitch)
        return signal

    def _set_up(self, player: "_Synth", channel: int, track: Track, tuning_cents: float) -> None:
        """Instrument, level, place and tuning of one channel."""
        synth = player.synth
        bank = _PERCUSSION_BANK if track.is_drums else 0
        program = 0 if track.is_drums else track.program
        if synth.program_select(channel, player.font, bank, program) != 0:
            what = "drum kit" if track.is_drums else f"General MIDI program {program}"
            raise UserError(f"SoundFont {self.soundfont} has no {what}; use a General MIDI font")
        # A MIDI volume v gives the amplitude (v / 127) ** 2.
        synth.cc(channel, _VOLUME, round(127 * float(np.sqrt(track.gain))))
        synth.cc(channel, _EXPRESSION, 127)
        synth.cc(channel, _PAN, round(63.5 + 63.5 * track.pan))
        synth.cc(channel, _REVERB_SEND, 0)
        synth.cc(channel, _CHORUS_SEND, 0)
        bend = 0 if track.is_drums else round(tuning_cents / _BEND_RANGE_CENTS * 8192)
        synth.pitch_bend(channel, bend)

    def _events(self, tracks: list[Track]) -> list[tuple[int, int, int, int, int]]:
        """Sorted ``(block, 0 off / 1 on, channel, pitch, velocity)`` of all tracks."""
        events = []
        for channel, track in enumerate(tracks):
            for note, on, off in _blocks(track.notes, self.sample_rate / BLOCK):
                events.append((on, 1, channel, note.pitch, note.velocity))
                events.append((off, 0, channel, note.pitch, 0))
        events.sort()
        return events


def _blocks(
    notes: tuple[PlayedNote, ...], blocks_per_second: float
) -> list[tuple[PlayedNote, int, int]]:
    """Notes with the blocks of their start and end, cut where the same pitch starts again.

    A key that is struck while it is down would otherwise be released by its first note-off; of
    two notes of one pitch in the same block only the later one in the list is played.
    """
    next_start: dict[int, int] = {}
    result = []
    for note in reversed(notes):
        on = round(note.onset * blocks_per_second)
        limit = next_start.get(note.pitch)
        if limit is not None and limit <= on:
            continue
        off = max(round(note.end * blocks_per_second), on + 1)
        next_start[note.pitch] = on
        result.append((note, on, off if limit is None else min(off, limit)))
    return result[::-1]
