"""The same tune in another metre, as people play it: a song as a waltz, a waltz as a song in four,
a jig as a march, a march as a jig.

A change bends time inside a *unit* (a bar, half a bar or a beat) and repeats that for every unit,
so that beats stay beats: what began on the first beat still does, and the notes between are drawn
out or pressed together as a band would do it. Chords move with the melody.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from src.corpus.dice import Dice
from src.corpus.tune import MelodyNote, Meter, Tune

SHORTEST = 0.12  # quarter notes; what gets shorter melts into the note before


@dataclass(frozen=True, slots=True)
class MetreChange:
    """One way from a metre to another.

    Attributes:
        source, target: the two metres.
        way: what is done, in words.
        before, after: places in the unit, in quarter notes, from 0 to its length; time runs
            evenly between them.
        bars: bars that one bar becomes.
    """

    source: Meter
    target: Meter
    way: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    bars: int = 1

    @property
    def name(self) -> str:
        return f"{self.source.name} to {self.target.name}, {self.way}"

    def time(self, at: float) -> float:
        """New place of a time in quarter notes; also before 0, where pickups are."""
        units = np.floor(at / self.before[-1] + 1e-9)
        inside = float(np.interp(at - units * self.before[-1], self.before, self.after))
        return float(units * self.after[-1]) + inside


_TWO, _THREE, _FOUR = Meter(2, 4), Meter(3, 4), Meter(4, 4)
_SIX, _NINE, _TWELVE = Meter(6, 8), Meter(9, 8), Meter(12, 8)
_LONG_SHORT = (0.0, 1.0, 1.5)  # a quarter and an eighth in a compound beat
_EVEN = (0.0, 0.5, 1.0)

CHANGES: tuple[MetreChange, ...] = (
    MetreChange(_FOUR, _THREE, "halves as bars, first beat lengthened", (0, 1, 2), (0, 2, 3), 2),
    MetreChange(_FOUR, _THREE, "first half shortened", (0, 2, 4), (0, 1, 3)),
    MetreChange(_FOUR, _THREE, "second half shortened", (0, 2, 4), (0, 2, 3)),
    MetreChange(_FOUR, _TWELVE, "eighths long and short", _EVEN, _LONG_SHORT),
    MetreChange(_TWO, _THREE, "first beat lengthened", (0, 1, 2), (0, 2, 3)),
    MetreChange(_TWO, _SIX, "eighths long and short", _EVEN, _LONG_SHORT),
    MetreChange(_THREE, _FOUR, "first beat lengthened", (0, 1, 2, 3), (0, 2, 3, 4)),
    MetreChange(_THREE, _FOUR, "last beat held", (0, 2, 3), (0, 2, 4)),
    MetreChange(_SIX, _TWO, "eighths evened", _LONG_SHORT, _EVEN),
    MetreChange(_SIX, _FOUR, "beats as halves", _LONG_SHORT, (0, 1, 2)),
    MetreChange(_NINE, _THREE, "eighths evened", _LONG_SHORT, _EVEN),
    MetreChange(_TWELVE, _FOUR, "eighths evened", _LONG_SHORT, _EVEN),
)


def draw_metre_change(tune: Tune, dice: Dice, probability: float) -> MetreChange | None:
    """A change for a version, or None: none is due, or none leads out of the tune's metre.

    A change that would press many notes too close together is not drawn.
    """
    due = dice.chance(probability)
    if not due:
        return None
    fitting = [c for c in CHANGES if c.source == tune.meter and crowded(tune, c) < 0.05]
    return dice.pick(fitting) if fitting else None


def crowded(tune: Tune, change: MetreChange) -> float:
    """Share of a tune's notes that would become shorter than SHORTEST."""
    notes = [n for s in tune.sections for n in s.melody]
    short = sum(_length(n, change) < SHORTEST <= n.duration for n in notes)
    return short / max(len(notes), 1)


def in_metre(tune: Tune, change: MetreChange) -> Tune:
    """The tune in another metre; its settings stay as they are.

    The tempo lies half-way between the one at which a unit keeps its length and the one at which a
    quarter note does.

    Raises:
        ValueError: the tune is not in the metre that the change starts from.
    """
    if tune.meter != change.source:
        raise ValueError(f"{tune.work} is in {tune.meter.name}, not in {change.source.name}")
    sections = tuple(
        replace(
            s,
            bars=s.bars * change.bars,
            melody=_bend(s.melody, change),
            chords=None
            if s.chords is None
            else tuple(
                replace(
                    c,
                    onset=round(change.time(c.onset), 4),
                    duration=round(change.time(c.end) - change.time(c.onset), 4),
                )
                for c in s.chords
            ),
        )
        for s in tune.sections
    )
    ratio = change.after[-1] / change.before[-1]
    tempo = max(20.0, min(400.0, tune.tempo * ratio**0.5))
    return replace(tune, meter=change.target, sections=sections, tempo=tempo)


def _length(note: MelodyNote, change: MetreChange) -> float:
    return change.time(note.onset + note.duration) - change.time(note.onset)


def _bend(melody: Sequence[MelodyNote], change: MetreChange) -> tuple[MelodyNote, ...]:
    line: list[MelodyNote] = []
    for note in melody:
        bent = replace(
            note,
            onset=round(change.time(note.onset), 4),
            duration=round(_length(note, change), 4),
        )
        if bent.duration >= SHORTEST or note.duration < SHORTEST or not line:
            line.append(bent)
        else:  # too short to be heard: the note before sounds on
            line[-1] = replace(line[-1], duration=bent.onset + bent.duration - line[-1].onset)
    return (
        tuple(
            replace(n, duration=max(0.02, min(n.duration, m.onset - n.onset)))
            if n.onset < m.onset < n.onset + n.duration
            else n
            for n, m in pairwise([*line, replace(line[-1], onset=np.inf)])
        )
        if line
        else ()
    )
