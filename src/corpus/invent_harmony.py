"""Chords of an invented section: bars of many tunes, one after another as chords follow chords."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from src.corpus.dice import Dice
from src.corpus.harmony import triad
from src.corpus.repertoire import PHRASE, ChordBar, ChordTable, State, place_of
from src.corpus.tune import MODE_SCALES, Chord, Meter

CADENCE_ROOTS = (0, 7)
_TRIES = 12


@dataclass(frozen=True, slots=True)
class Echo:
    """A bar that takes up an earlier one: as it was, or (a sequence) from another degree."""

    source: int
    exact: bool


@dataclass
class Harmony:
    """Draws the chords of one work.

    Attributes:
        loyalty: chance to prefer chords that the work has already.
        known: chords of the work so far.
    """

    table: ChordTable
    mode: str
    dice: Dice
    loyalty: float
    known: set[tuple[int, str]] = field(default_factory=set)

    def section(
        self, bars: int, *, like: Sequence[Echo | None], final: bool, given: Sequence[ChordBar] = ()
    ) -> list[ChordBar]:
        """Bars of chords.

        Args:
            like: for each bar the earlier one that it takes up, or None (see :func:`echoes`).
            final: whether the section ends the work, and therefore on the tonic.
            given: the first bars, if they are those of a section before.
        """
        result = list(given)
        for bar in range(len(given), bars):
            echo = like[bar]
            if echo is not None and echo.exact:
                result.append(result[echo.source])
            elif bar == bars - 1:
                result.append(self._cadence(_state(result), final=final))
            else:
                result.append(self._bar(place_of(bar, bars), _state(result)))
            self.known |= {(root, quality) for _, root, quality, _ in result[-1]}
        return result

    def _bar(self, place: str, state: State | None) -> ChordBar:
        options = self.table.options(place, state)
        loyal = self.dice.chance(self.loyalty)
        for _ in range(_TRIES):
            bar = self.dice.pick(options)
            if not loyal or all((root, quality) in self.known for _, root, quality, _ in bar):
                break
        return bar

    def _cadence(self, state: State | None, *, final: bool) -> ChordBar:
        """A bar that begins on tonic or dominant and ends there; the last one is the tonic."""
        options = self.table.options("last", state)
        for _ in range(_TRIES):
            bar = self.dice.pick(options)
            if bar[0][1] == 0 and (final or bar[-1][1] in CADENCE_ROOTS):
                return bar[:1] if final else bar
            if not final and bar[0][1] == bar[-1][1] == 7:
                return bar
        minor = MODE_SCALES[self.mode][2] == 3
        return ((0.0, 0, "min" if minor else "maj", 0),)


def _state(bars: Sequence[ChordBar]) -> State | None:
    return (bars[-1][-1][1], triad(bars[-1][-1][2])) if bars else None


def chords_of(bars: Sequence[ChordBar], meter: Meter, tonic: int) -> tuple[Chord, ...]:
    """Chords that cover the section from 0 to its end; they change on beats."""
    found: list[tuple[float, int, str, int]] = []
    for index, bar in enumerate(bars):
        beats: dict[int, tuple[int, str, int]] = {}
        for share, root, quality, bass in bar:
            beat = min(round(share * meter.pulses), meter.pulses - 1)
            beats.setdefault(beat, ((tonic + root) % 12, quality, (tonic + bass) % 12))
        for beat, chord in sorted(beats.items()):
            if not found or found[-1][1:] != chord:
                found.append((index * meter.bar + beat * meter.pulse, *chord))
    ends = [c[0] for c in found[1:]] + [len(bars) * meter.bar]
    return tuple(
        Chord(onset, end - onset, root, quality, bass)
        for (onset, root, quality, bass), end in zip(found, ends, strict=True)
    )


def echoes(bars: int, dice: Dice) -> list[Echo | None]:
    """Which earlier bar each bar of a section takes up, as phrases answer one another.

    The first bars of a phrase come back in a later one, single bars within a phrase; the last bar
    of a section goes its own way.
    """
    result: list[Echo | None] = [None] * bars
    bound = dice.uniform(0.35, 0.95)  # how closely this section's phrases answer one another
    for start in range(0, bars, PHRASE):
        length = min(PHRASE, bars - start)
        if start and dice.chance(bound):
            back = start - PHRASE if start == PHRASE or dice.chance(0.3) else start % (2 * PHRASE)
            exact = dice.chance(0.75)
            for k in range(dice.weighted({1: 0.2, 2: 0.5, 3: 0.3})):
                if k < length and start + k < bars - 1:
                    result[start + k] = Echo(back + k, exact)
        elif length == PHRASE:
            kind = dice.weighted({"abcd": 0.5, "abac": 0.3, "aabc": 0.12, "abbc": 0.08})
            if kind != "abcd":
                bar, source = {"abac": (2, 0), "aabc": (1, 0), "abbc": (2, 1)}[kind]
                result[start + bar] = Echo(start + source, dice.chance(0.35))
    return result
