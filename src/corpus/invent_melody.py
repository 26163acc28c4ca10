"""The melody of an invented section: rhythms bar by bar, and degrees that walk over the chords.

A note is drawn from the steps that usually follow the step before, weighted by how it fits the
chord under it (notes on beats mostly belong to the chord, foreign notes come and go by step) and by
how far it lies from the middle of the section.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from src.corpus.dice import Dice
from src.corpus.invent_harmony import Echo
from src.corpus.repertoire import (
    PHRASE,
    WIDEST_STEP,
    Model,
    Rhythm,
    Style,
    chord_at,
    strength,
)
from src.corpus.tune import MODE_SCALES, Chord, MelodyNote, Meter

OCTAVE, TWELFTH = 7, 11  # scale degrees
_STEPS = range(-WIDEST_STEP, WIDEST_STEP + 1)
_SAME = 0.5  # a repeated note always fits, and would win too often
_OWN = 6.0  # weight of the steps of the model against those of the whole style


@dataclass(frozen=True, slots=True)
class Voice:
    """What the melody of one work keeps to.

    Attributes:
        steps: for each step the weights of the next one, in the order of ``_STEPS``.
        low, high: lowest and highest scale degree (7 an octave, 0 is the tonic below ``floor``).
        floor: MIDI pitch of degree 0.
        foreign: weight of a note foreign to the chord, by strength.
    """

    meter: Meter
    tonic: int
    mode: str
    steps: Mapping[int, Sequence[float]]
    low: int
    high: int
    floor: int
    foreign: Mapping[str, float]
    known: dict = field(default_factory=dict)

    @staticmethod
    def draw(head: Model, contour: Model, style: Style, tonic: int, dice: Dice) -> "Voice":
        """A voice with the steps of a style, leaning towards those of one model.

        It lies where the head lies, and has its range within an octave and a twelfth.
        """
        own = sum(contour.steps.values())
        steps = style.steps
        sharp = dice.uniform(0.8, 1.2)
        table: dict[int, list[float]] = {}
        for before in _STEPS:
            table[before] = [
                (
                    steps.get((before, step), 0.0)
                    + _OWN * contour.steps.get((before, step), 0) / own * dice.uniform(0.3, 1.7)
                    + 1e-5
                )
                ** sharp
                for step in _STEPS
            ]
        width = min(TWELFTH, max(OCTAVE, head.width))
        floor = head.centre - (head.centre - tonic) % 12 - 24
        middle = 14 + round((head.centre - floor - 24) * 7 / 12)
        low = middle - width // 2 - dice.integer(-1, 1)
        taste = dice.uniform(0.5, 1.5)
        foreign = {name: taste * weight for name, weight in style.foreign.items()}
        return Voice(head.meter, tonic, head.mode, table, low, low + width, floor, foreign)

    def over(self, chord: Chord) -> tuple[tuple[int, bool], ...]:
        """For each of the seven degrees the semitones above the tonic, and if the chord has it.

        A degree is altered where the chord says so (D7 in C makes f sharp).
        """
        key = (chord.root, chord.quality)
        if key not in self.known:
            scale = MODE_SCALES[self.mode]
            classes = {(c - self.tonic) % 12 for c in chord.pitch_classes}
            row = []
            for above in scale:
                if above not in classes:
                    for altered in (above + 1, above - 1):
                        if altered % 12 in classes and altered % 12 not in scale:
                            above = altered
                            break
                row.append((above, above % 12 in classes))
            self.known[key] = tuple(row)
        return self.known[key]

    def pitch(self, degree: int, chord: Chord) -> int:
        """MIDI pitch of a degree over a chord."""
        octave, place = divmod(degree, 7)
        return self.floor + 12 * octave + self.over(chord)[place][0]

    def fits(self, degree: int, chord: Chord) -> bool:
        """Whether a degree is a note of the chord."""
        return self.over(chord)[degree % 7][1]


@dataclass(slots=True)
class Walker:
    """Walks through scale degrees.

    Attributes:
        degree, step: the last degree and the step to it.
        foreign: whether the last note was foreign to its chord.
        centre: degree around which the section lies.
    """

    voice: Voice
    dice: Dice
    centre: float
    degree: int
    step: int = 0
    foreign: bool = False

    def next(self, chord: Chord, strength: str) -> int:
        """The next degree over a chord; ``strength`` is strong, beat or weak."""
        voice = self.voice
        degrees = voice.over(chord)
        weights: list[float] = []
        for step, weight in zip(_STEPS, voice.steps[self.step], strict=True):
            degree = self.degree + step
            if not voice.low <= degree <= voice.high:
                weights.append(0.0)
                continue
            if step == 0:
                weight *= _SAME
            leap = step > 1 or step < -1
            if not degrees[degree % 7][1]:
                weight *= voice.foreign[strength] * (0.2 if leap else 1.0)
            if leap and self.foreign:
                weight *= 0.15
            away = degree - self.centre
            weights.append(weight * math.exp(-away * away / 32.0))
        self.step = _STEPS[_draw(weights, self.dice)]
        self.degree += self.step
        self.foreign = not voice.fits(self.degree, chord)
        return self.degree

    def jump(self, degree: int) -> None:
        """Stand on a degree that was not walked to."""
        self.step = max(-WIDEST_STEP, min(WIDEST_STEP, degree - self.degree))
        self.degree, self.foreign = degree, False


def _draw(weights: Sequence[float], dice: Dice) -> int:
    at = dice.uniform() * sum(weights)
    for place, weight in enumerate(weights):
        at -= weight
        if at < 0:
            return place
    return max(range(len(weights)), key=weights.__getitem__)


@dataclass(frozen=True, slots=True)
class Bar:
    """Rhythm and degrees of a bar as they were composed, for later bars to take up."""

    rhythm: Rhythm
    degrees: tuple[int, ...]


def choose_rhythms(
    bars: int, like: Sequence[Echo | None], donor: Model, dice: Dice
) -> list[Rhythm]:
    """The rhythm of each bar, from one model; bars that answer another have its rhythm."""
    uniform = dice.uniform(0.2, 0.75)  # how much the rhythm itself repeats
    result: list[Rhythm] = []
    for bar in range(bars):
        echo = like[bar]
        end = bar == bars - 1 or bar % PHRASE == PHRASE - 1
        if echo is not None:
            result.append(result[echo.source])
        elif end and bar >= PHRASE and bar != bars - 1 and dice.chance(uniform):
            result.append(result[bar % PHRASE if dice.chance(0.5) else bar - PHRASE])
        elif end:
            rhythm = dice.pick(donor.closing)
            if bar == bars - 1 and not rhythm:
                rhythm = ((0.0, donor.meter.bar),)
            result.append(rhythm)
        elif bar and dice.chance(uniform):
            result.append(result[dice.integer(max(0, bar - PHRASE), bar - 1)])
        else:
            result.append(dice.pick(donor.inner))
    return result


def compose(
    walker: Walker,
    chords: Sequence[Chord],
    rhythms: Sequence[Rhythm],
    like: Sequence[Echo | None],
    *,
    final: bool,
    given: Sequence[Bar] = (),
) -> list[Bar]:
    """Degrees for each bar of a section.

    Args:
        final: whether the last note is the tonic; else it is a note of tonic or dominant chord.
        given: the first bars, if they are those of a section before.
    """
    meter = walker.voice.meter
    bars = list(given)
    for bar in bars:
        for degree in bar.degrees:
            walker.jump(degree)
    for index in range(len(bars), len(rhythms)):
        rhythm, echo = rhythms[index], like[index]
        source = bars[echo.source] if echo is not None else None
        if source is not None and echo is not None and echo.exact:
            degrees = source.degrees
            for degree in degrees:
                walker.jump(degree)
        elif source is not None and source.degrees:
            degrees = _sequence(walker, source.degrees, chords, index * meter.bar, rhythm)
        else:
            degrees = _walk(walker, chords, index * meter.bar, rhythm)
        bars.append(Bar(rhythm, tuple(degrees)))
    _end(walker, bars, chords, final=final)
    return bars


def _walk(walker: Walker, chords: Sequence[Chord], start: float, rhythm: Rhythm) -> list[int]:
    meter = walker.voice.meter
    return [
        walker.next(chord_at(chords, start + onset), strength(onset, duration, meter))
        for onset, duration in rhythm
    ]


def _sequence(
    walker: Walker, degrees: Sequence[int], chords: Sequence[Chord], start: float, rhythm: Rhythm
) -> list[int]:
    """A contour taken up from the degree on which it fits the new chords best."""
    voice = walker.voice
    shifts = [
        by
        for by in (-1, 1, -2, 2, -3, 3, 0, -4, 4)
        if voice.low <= min(degrees) + by and max(degrees) + by <= voice.high
    ]

    def misfit(by: int) -> float:
        cost = walker.dice.uniform(0.0, 0.8)
        for degree, (onset, duration) in zip(degrees, rhythm, strict=True):
            chord = chord_at(chords, start + onset)
            if not voice.fits(degree + by, chord):
                cost += 1.0 - voice.foreign[strength(onset, duration, voice.meter)]
        return cost

    by = min(shifts or [0], key=misfit)
    for degree in degrees:
        walker.jump(degree + by)
    return [degree + by for degree in degrees]


def _end(walker: Walker, bars: list[Bar], chords: Sequence[Chord], *, final: bool) -> None:
    """Lead the last note of the section to a note of rest, near the note before it."""
    voice = walker.voice
    index = max(i for i, bar in enumerate(bars) if bar.degrees)
    bar = bars[index]
    chord = chord_at(chords, index * voice.meter.bar + bar.rhythm[-1][0])
    before = bar.degrees[-2] if len(bar.degrees) > 1 else bar.degrees[-1]
    options = [
        d
        for d in range(voice.low, voice.high + 1)
        if (d % 7 == 0 if final else voice.fits(d, chord)) and abs(d - before) <= WIDEST_STEP
    ]
    if options:
        costs = {d: abs(d - before) + walker.dice.uniform(0.0, 2.5) for d in options}
        last = min(options, key=costs.__getitem__)
        bars[index] = replace(bar, degrees=(*bar.degrees[:-1], last))


def notes_of(
    voice: Voice, bars: Sequence[Bar], chords: Sequence[Chord], pickup: Bar
) -> tuple[MelodyNote, ...]:
    """Notes of a section; none sounds into the next one or beyond the section's end."""
    meter = voice.meter
    found: list[tuple[float, float, int]] = [
        (onset, duration, voice.pitch(degree, chords[0]))
        for (onset, duration), degree in zip(pickup.rhythm, pickup.degrees, strict=True)
    ]
    for index, bar in enumerate(bars):
        for (onset, duration), degree in zip(bar.rhythm, bar.degrees, strict=True):
            at = index * meter.bar + onset
            found.append((at, duration, voice.pitch(degree, chord_at(chords, at))))
    ends = [onset for onset, _, _ in found[1:]] + [len(bars) * meter.bar]
    return tuple(
        MelodyNote(onset, round(min(duration, end - onset), 4), pitch)
        for (onset, duration, pitch), end in zip(found, ends, strict=True)
        if end - onset > 0.02
    )
