"""New works, as many as one likes, from the statistics of the open tunes.

Metric learning lives on the number of different works, and the open collections have some
thousands. An invented work has the form, metre, rhythms, steps and chords of such tunes, but no
passage of any: rhythms come bar by bar from one tune, steps from the counts of another and of its
whole collection, chords from many. Invented works are for training only, never for evaluation: a
model that knows them apart has learnt what a melody over chords is, and nobody plays them. They are
not music that anyone would want to hear.
"""

import math
from collections.abc import Container, Iterable, Iterator, Sequence

from src.corpus.dice import Dice, generator
from src.corpus.identity import MOST_COMMON
from src.corpus.invent_harmony import Echo, Harmony, chords_of, echoes
from src.corpus.invent_melody import (
    Bar,
    Voice,
    Walker,
    choose_rhythms,
    compose,
    notes_of,
)
from src.corpus.neighbours import KnownMelodies
from src.corpus.repertoire import ChordBar, Model, Style, chord_at, learn_styles
from src.corpus.tune import Section, Tune
from src.errors import UserError

COLLECTION = "invented"
_ATTEMPTS = 20  # at a melody that is near no other
_NEAR = 0.25  # likeness; works that are 0.3 alike are kept apart when a corpus is made
_STRANGER = 0.1  # chance that the rhythm comes from another collection


def invent_tunes(
    tunes: Iterable[Tune], *, seed: int, count: int, exclude: Container[str] = ()
) -> Iterator[Tune]:
    """Works ``invented/<seed>-0`` to ``invented/<seed>-<count - 1>``.

    Each has a generator of its own, and 10,000 works begin with the 5,000 of the same seed. A
    melody that comes near one of ``tunes`` or an invented one before it is drawn again.

    Args:
        exclude: works of which nothing is learnt (but whose melodies are avoided all the same).

    Raises:
        UserError: no tunes to learn from, or no count.
    """
    if count < 1:
        raise UserError(f"the count of invented works must be 1 or more, not {count}")
    tunes = list(tunes)
    styles = learn_styles(tune for tune in tunes if tune.work not in exclude)
    if not styles:
        raise UserError(
            "there are no tunes to learn from; name files with tunes in sections of 4 to 16 bars"
        )
    notations = [setting for tune in tunes for setting in (tune, *tune.settings)]
    given = KnownMelodies(common=max(MOST_COMMON, len(notations) // 12))
    for notation in notations:
        given.add(notation)
    before = KnownMelodies(common=MOST_COMMON)
    for number in range(count):
        for attempt in range(_ATTEMPTS):
            dice = Dice(generator(COLLECTION, seed, number, attempt))
            tune = invent_tune(styles, dice, work=f"{COLLECTION}/{seed}-{number}")
            if not any(known.near(tune, least=_NEAR) for known in (given, before)):
                break
        before.add(tune)
        yield tune


def invent_tune(styles: Sequence[Style], dice: Dice, *, work: str) -> Tune:
    """Invent one work.

    Args:
        styles: what :func:`src.corpus.repertoire.learn_styles` learnt.
        work: its identity.

    Returns:
        a tune with chords, all of whose sections are whole bars.
    """
    style = dice.pick(styles)
    head = dice.pick(style.heads)
    composer = _Composer(styles, style, head, dice)
    sections = [composer.section(i) for i in range(len(head.form))]
    return Tune(
        work=work,
        title=f"Invented {work.split('/')[-1]}",
        composer="src.corpus.invent",
        source=f"{COLLECTION} after {style.name}",
        licence="MIT",
        meter=head.meter,
        tonic=composer.voice.tonic,
        mode=head.mode,
        tempo=round(min(300.0, max(40.0, head.tempo * math.exp(dice.normal(0.12)))), 1),
        sections=tuple(sections),
        order=head.order,
    ).check()


class _Composer:
    """Composes the sections of one work in their order."""

    def __init__(self, styles: Sequence[Style], style: Style, head: Model, dice: Dice) -> None:
        self.head, self.dice = head, dice
        self.donors = style.donors[head.meter]
        others = [s.donors[head.meter] for s in styles if s is not style and head.meter in s.donors]
        if others and dice.chance(_STRANGER):
            self.donors = dice.pick(others)
        contour = dice.pick(style.donors[head.meter])
        tonic = dice.integer(0, 11)
        self.voice = Voice.draw(head, contour, style, tonic, dice)
        self.harmony = Harmony(
            style.tables[head.work], head.mode, dice, loyalty=dice.uniform(0.0, 0.6)
        )
        self.donor = dice.pick(self.donors)
        self.made: dict[str, tuple[list[ChordBar], list[Bar], list[Echo | None], Bar]] = {}

    def section(self, index: int) -> Section:
        letter, bars = self.head.form[index]
        dice, voice = self.dice, self.voice
        final = index == self.head.order[-1] or dice.chance(0.3)
        if letter in self.made:
            old_chords, old_bars, like, pickup = self.made[letter]
            kept = max(1, min(bars, len(old_bars)) - dice.weighted({1: 0.4, 2: 0.4, 3: 0.2}))
            given_chords, given = old_chords[:kept], old_bars[:kept]
            like = [e if i < kept else None for i, e in enumerate(like[:bars])]
            like += [None] * (bars - len(like))
        else:
            given_chords, given, like = [], [], echoes(bars, dice)
            if self.made and dice.chance(0.3):
                self.donor = dice.pick(self.donors)
        chord_bars = self.harmony.section(bars, like=like, final=final, given=given_chords)
        chords = chords_of(chord_bars, voice.meter, voice.tonic)
        rhythms = choose_rhythms(bars, like, self.donor, dice)
        rhythms[: len(given)] = [bar.rhythm for bar in given]
        centre = (voice.low + voice.high) / 2 + dice.uniform(-2.0, 2.0 + bool(self.made))
        start = min(
            (d for d in range(voice.low, voice.high + 1) if voice.fits(d, chords[0])),
            key=lambda d: abs(d - centre) + dice.uniform(0.0, 4.0),
        )
        walker = Walker(voice, dice, centre, start)
        if not given:
            rhythm = dice.pick(self.donor.pickups) if self.donor.pickups else ()
            degrees = [walker.next(chord_at(chords, 0.0), "weak") for _ in rhythm]
            pickup = Bar(rhythm, tuple(degrees))
        composed = compose(walker, chords, rhythms, like, final=final, given=given)
        self.made.setdefault(letter, (chord_bars, composed, like, pickup))
        count = sum(label == letter for label, _ in self.head.form[:index])
        label = letter if not count else f"{letter}{count + 1}"
        return Section(label, bars, notes_of(voice, composed, chords, pickup), chords)
