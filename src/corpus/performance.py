"""A performance: the notes of one arrangement, ready to be turned into sound.

This is the contract between the arranger (symbolic tunes to notes) and the renderer (notes to
audio). Times are seconds from the start of the recording.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class PlayedNote:
    """One note: ``onset`` and ``duration`` in seconds, MIDI ``pitch``, ``velocity`` 1 to 127."""

    onset: float
    duration: float
    pitch: int
    velocity: int

    @property
    def end(self) -> float:
        """Time at which the key is released, in seconds."""
        return self.onset + self.duration


@dataclass(frozen=True, slots=True)
class Track:
    """The notes of one player.

    Attributes:
        name: what the player does ("melody", "bass", "drums", "harmony", ...).
        program: General MIDI program, 0 to 127; ignored for drums.
        is_drums: pitches are keys of the General MIDI percussion map.
        notes: sorted by onset.
        gain: level in the mix, 0 to 1.
        pan: -1 (left) to 1 (right).
    """

    name: str
    program: int
    is_drums: bool
    notes: tuple[PlayedNote, ...]
    gain: float = 1.0
    pan: float = 0.0


@dataclass(frozen=True, slots=True)
class Performance:
    """One arrangement of one work.

    Attributes:
        tracks: the players.
        tuning_cents: deviation of the whole performance from A = 440 Hz.
        duration: seconds from the start to the end of the last note.
        choices: everything the arranger decided, JSON-able, for the manifest.
    """

    tracks: tuple[Track, ...]
    tuning_cents: float
    duration: float
    choices: dict[str, Any] = field(default_factory=dict)

    def notes(self, *, drums: bool = False) -> Iterator[PlayedNote]:
        """All notes of the pitched tracks, or of the drum tracks."""
        for track in self.tracks:
            if track.is_drums == drums:
                yield from track.notes

    def validate(self) -> "Performance":
        """Check every range and return the performance itself.

        Raises:
            ValueError: names the first thing that cannot be played.
        """
        if not math.isfinite(self.tuning_cents) or abs(self.tuning_cents) > 100:
            raise ValueError(f"tuning of {self.tuning_cents} cents is outside +-100")
        if not math.isfinite(self.duration) or self.duration <= 0:
            raise ValueError(f"duration of {self.duration} s")
        if not any(track.notes for track in self.tracks if not track.is_drums):
            raise ValueError("no pitched note in any track")
        for track in self.tracks:
            _validate_track(track, self.duration)
        try:
            json.dumps(self.choices, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"choices cannot be written as JSON ({error})") from error
        return self


def _validate_track(track: Track, duration: float) -> None:
    if not 0 <= track.program <= 127:
        raise ValueError(f"track {track.name}: program {track.program} is outside 0-127")
    if not 0 <= track.gain <= 1:
        raise ValueError(f"track {track.name}: gain {track.gain} is outside 0-1")
    if not -1 <= track.pan <= 1:
        raise ValueError(f"track {track.name}: pan {track.pan} is outside -1 to 1")
    last_onset = 0.0
    for note in track.notes:
        if not (math.isfinite(note.onset) and math.isfinite(note.duration)):
            raise ValueError(f"track {track.name}: time is not finite in {note}")
        if note.onset < last_onset:
            raise ValueError(f"track {track.name}: onsets are negative or not sorted at {note}")
        if note.duration <= 0:
            raise ValueError(f"track {track.name}: no length in {note}")
        if not 0 <= note.pitch <= 127:
            raise ValueError(f"track {track.name}: pitch outside 0-127 in {note}")
        if not 1 <= note.velocity <= 127:
            raise ValueError(f"track {track.name}: velocity outside 1-127 in {note}")
        if note.end > duration + 1e-6:
            raise ValueError(f"track {track.name}: {note} ends after {duration} s")
        last_onset = note.onset
