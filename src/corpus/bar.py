"""One bar to accompany, and chords as keys under a hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from src.corpus.dice import Dice
from src.corpus.melody import Event
from src.corpus.tune import Chord, Meter

EIGHTH = 0.5


@dataclass
class Bar:
    """One bar to accompany.

    Attributes:
        start: quarter notes from the start of the performance.
        chords: chords sounding in the bar, cut to it, with onsets from the start of the
            performance; never empty.
        following: first chord of the next bar.
        energy: 0 (hushed) to 1 (full).
        memory: what a pattern keeps over bars (its rhythm, its last pitch).
        fill: the bar before a new section.
    """

    start: float
    meter: Meter
    chords: Sequence[Chord]
    following: Chord
    index: int
    energy: float
    dice: Dice
    memory: dict = field(default_factory=dict)
    low: int = 52
    fill: bool = False

    def chord(self, at: float) -> Chord:
        """The chord that sounds at a time."""
        for chord in reversed(self.chords):
            if chord.onset <= at + 1e-6:
                return chord
        return self.chords[0]

    def pulses(self) -> list[float]:
        """Onsets of the felt beats."""
        return [self.start + i * self.meter.pulse for i in range(self.meter.pulses)]

    def eighths(self) -> list[float]:
        """Onsets of the eighths."""
        return [self.start + i * EIGHTH for i in range(round(self.meter.bar / EIGHTH))]

    @property
    def end(self) -> float:
        return self.start + self.meter.bar

    def velocity(self, base: int, accent: int = 0) -> int:
        """Loudness from a base, an accent and the energy of the passage."""
        return max(20, min(120, round(base * (0.75 + 0.35 * self.energy)) + accent))


Pattern = Callable[[Bar, list[Event]], None]


def voicing(chord: Chord, low: int, size: int = 4) -> list[int]:
    """Chord in the octave above ``low``: neighbouring chords then move by small steps."""
    classes = chord.pitch_classes
    if len(classes) > size:  # leave out the fifth first
        fifth = (chord.root + 7) % 12
        classes = tuple(c for c in classes if c != fifth or len(classes) <= size)[: size + 1]
        classes = classes[:1] + classes[-(size - 1) :] if len(classes) > size else classes
    return sorted(low + (c - low) % 12 for c in classes)


def spread_voicing(chord: Chord, low: int) -> list[int]:
    """Root, fifth, tenth and so on: an open voicing from ``low`` upwards."""
    root = low + (chord.root - low) % 12
    pitches = [root]
    classes = chord.pitch_classes
    for c in classes[2:3] + classes[1:2] + classes[3:] + classes[:1]:
        top = pitches[-1]
        pitches.append(top + 3 + (c - top - 3) % 12)
    return [p for p in pitches if p < 96]
