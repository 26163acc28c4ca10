"""Symbolic tunes: melody and chords by sections, and their compact JSON cache.

Times are quarter notes. Every tune is brought to one notation of its beat: a simple beat is one
quarter, a compound beat is a dotted quarter (:func:`normalise_meter`), so that accompaniment
patterns need not know a dozen ways to write the same metre.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from src.errors import UserError
from src.files import read_json, write_json

CACHE_FORMAT = 1

# Intervals above the root. Names are what choices and caches record.
QUALITIES: dict[str, tuple[int, ...]] = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus4": (0, 5, 7),
    "sus2": (0, 2, 7),
    "5": (0, 7),
    "6": (0, 4, 7, 9),
    "m6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "mM7": (0, 3, 7, 11),
    "m7b5": (0, 3, 6, 10),
    "dim7": (0, 3, 6, 9),
    "7#5": (0, 4, 8, 10),
    "7sus4": (0, 5, 7, 10),
    "add9": (0, 4, 7, 2),
    "69": (0, 4, 7, 9, 2),
    "9": (0, 4, 7, 10, 2),
    "maj9": (0, 4, 7, 11, 2),
    "m9": (0, 3, 7, 10, 2),
    "11": (0, 7, 10, 2, 5),
    "m11": (0, 3, 7, 10, 5),
    "13": (0, 4, 10, 2, 9),
    "7b9": (0, 4, 7, 10, 1),
    "7#9": (0, 4, 7, 10, 3),
}

MODE_SCALES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "locrian": (0, 1, 3, 5, 6, 8, 10),
}


@dataclass(frozen=True, slots=True)
class MelodyNote:
    """Onset and duration in quarter notes from the start of the section, MIDI pitch.

    Notes of a pickup have negative onsets: they sound in the bar before the section.
    """

    onset: float
    duration: float
    pitch: int


@dataclass(frozen=True, slots=True)
class Chord:
    """Onset and duration in quarter notes, root and bass as pitch classes, a name in QUALITIES."""

    onset: float
    duration: float
    root: int
    quality: str
    bass: int

    @property
    def end(self) -> float:
        return self.onset + self.duration

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Pitch classes of the chord, root first; a bass outside the chord is not among them."""
        return tuple((self.root + step) % 12 for step in QUALITIES[self.quality])


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the form. ``chords`` is None where the source gives none."""

    label: str
    bars: int
    melody: tuple[MelodyNote, ...]
    chords: tuple[Chord, ...] | None


@dataclass(frozen=True, slots=True)
class Meter:
    """``beats`` / ``unit`` of a time signature; simple metres in quarters, compound in eighths."""

    beats: int
    unit: int

    @property
    def compound(self) -> bool:
        return self.unit == 8

    @property
    def bar(self) -> float:
        """Length of a bar in quarter notes."""
        return self.beats * 4 / self.unit

    @property
    def pulse(self) -> float:
        """Length of a felt beat in quarter notes."""
        return 1.5 if self.compound else 1.0

    @property
    def pulses(self) -> int:
        """Felt beats in a bar."""
        return self.beats // 3 if self.compound else self.beats

    @property
    def name(self) -> str:
        return f"{self.beats}/{self.unit}"


def normalise_meter(beats: int, unit: int) -> tuple[Meter, float]:
    """Return the metre with its beat as a quarter or dotted quarter, and the factor for times.

    >>> normalise_meter(2, 2)
    (Meter(beats=2, unit=4), 0.5)
    """
    if beats < 1 or unit not in (1, 2, 4, 8, 16, 32):
        raise ValueError(f"time signature {beats}/{unit}")
    if beats % 3 == 0 and beats > 3 and unit >= 8:
        return Meter(beats, 8), unit / 8
    return Meter(beats, 4), unit / 4


@dataclass(frozen=True, slots=True)
class Tune:
    """One work as notation gives it.

    Attributes:
        work: stable identity, such as ``fiddle/the-white-cockade``.
        tonic: pitch class of the tonic; ``mode`` is a key of MODE_SCALES.
        tempo: nominal quarter notes a minute (after normalisation of the metre).
        sections: distinct sections; ``order`` says in which order the source plays them.
        settings: other people's notations of the same work (same ``work``), with real variants.
        family: identity shared with works of other collections that have the same melody (see
            :mod:`src.corpus.families`); empty where there are none. Not kept in files of tunes.
    """

    work: str
    title: str
    composer: str
    source: str
    licence: str
    meter: Meter
    tonic: int
    mode: str
    tempo: float
    sections: tuple[Section, ...]
    order: tuple[int, ...]
    settings: tuple["Tune", ...] = ()
    family: str = ""

    @property
    def song(self) -> str:
        """What versions of one work have in common, across collections."""
        return self.family or self.work

    def setting(self, index: int) -> "Tune":
        """Setting 0 is the tune itself, 1 and on are the others."""
        return self if index == 0 else self.settings[index - 1]

    def melody(self) -> list[MelodyNote]:
        """The whole melody in the order of the source, pickups laid into the bar before."""
        line: list[MelodyNote] = []
        start = 0.0
        for index in self.order:
            section = self.sections[index]
            line += [replace(n, onset=n.onset + start) for n in section.melody]
            start += section.bars * self.meter.bar
        return sorted(line, key=lambda n: n.onset)

    def check(self) -> "Tune":
        """Return the tune itself if it can be arranged.

        Raises:
            ValueError: names what is wrong.
        """
        if not self.sections or not self.order:
            raise ValueError(f"{self.work}: no sections")
        if any(not 0 <= i < len(self.sections) for i in self.order):
            raise ValueError(f"{self.work}: order names a section that is not there")
        if sum(len(s.melody) for s in self.sections) < 8:
            raise ValueError(f"{self.work}: fewer than eight notes")
        if self.mode not in MODE_SCALES or not 0 <= self.tonic < 12:
            raise ValueError(f"{self.work}: key {self.tonic} {self.mode}")
        if not 20 <= self.tempo <= 400:
            raise ValueError(f"{self.work}: tempo {self.tempo}")
        for section in self.sections:
            if section.bars < 1:
                raise ValueError(f"{self.work}: section {section.label} has no bars")
            if any(not 0 <= n.pitch <= 127 or n.duration <= 0 for n in section.melody):
                raise ValueError(f"{self.work}: impossible note in section {section.label}")
        return self


def save_tunes(tunes: Iterable[Tune], path: str | os.PathLike) -> None:
    """Write tunes as one compact JSON file."""
    write_json({"format": CACHE_FORMAT, "tunes": [tune_to_dict(t) for t in tunes]}, path)


def load_tunes(path: str | os.PathLike) -> list[Tune]:
    """Read what :func:`save_tunes` wrote.

    Raises:
        UserError: the file is missing or is not such a file.
    """
    content = read_json(path)
    try:
        if content["format"] != CACHE_FORMAT:
            raise UserError(f"{path} has another format of tunes; remove it and parse again")
        return [tune_from_dict(item) for item in content["tunes"]]
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path} is not a file of tunes ({error!r})") from error


def tune_to_dict(tune: Tune) -> dict[str, Any]:
    """A tune as plain JSON values; notes become flat strings to keep the file small."""
    result: dict[str, Any] = {
        name: getattr(tune, name)
        for name in ("work", "title", "composer", "source", "licence", "tonic", "mode", "tempo")
    }
    result["meter"] = [tune.meter.beats, tune.meter.unit]
    result["order"] = list(tune.order)
    result["sections"] = [
        {
            "label": s.label,
            "bars": s.bars,
            "melody": " ".join(f"{n.onset:.5g},{n.duration:.5g},{n.pitch}" for n in s.melody),
            "chords": None
            if s.chords is None
            else " ".join(
                f"{c.onset:.5g},{c.duration:.5g},{c.root},{c.quality},{c.bass}" for c in s.chords
            ),
        }
        for s in tune.sections
    ]
    if tune.settings:
        result["settings"] = [tune_to_dict(s) for s in tune.settings]
    return result


def tune_from_dict(item: dict[str, Any]) -> Tune:
    """Inverse of :func:`tune_to_dict`."""
    sections = []
    for s in item["sections"]:
        melody = [note.split(",") for note in s["melody"].split()]
        chords = None
        if s["chords"] is not None:
            rows = [chord.split(",") for chord in s["chords"].split()]
            chords = tuple(Chord(float(a), float(b), int(c), q, int(d)) for a, b, c, q, d in rows)
        notes = tuple(MelodyNote(float(a), float(b), int(c)) for a, b, c in melody)
        sections.append(Section(s["label"], s["bars"], notes, chords))
    return Tune(
        work=item["work"],
        title=item["title"],
        composer=item["composer"],
        source=item["source"],
        licence=item["licence"],
        meter=Meter(*item["meter"]),
        tonic=item["tonic"],
        mode=item["mode"],
        tempo=item["tempo"],
        sections=tuple(sections),
        order=tuple(item["order"]),
        settings=tuple(tune_from_dict(s) for s in item.get("settings", ())),
    ).check()
