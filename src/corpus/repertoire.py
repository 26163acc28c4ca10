"""What the open tunes teach for inventing others: forms, rhythms, steps and chord successions.

Every tune becomes one :class:`Model`: single bars of rhythm, counts of melodic steps and bars of
chords, all relative to its tonic. No succession longer than two melodic steps is kept, so that
what is put together from models cannot be a passage of one of them but by chance.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from src.corpus.dice import generator
from src.corpus.harmony import triad, with_chords
from src.corpus.tune import MODE_SCALES, Chord, MelodyNote, Meter, Section, Tune

WIDEST_STEP = 7  # scale degrees; wider leaps are counted as this
PHRASE = 4  # bars
# A form to take: bars of a section, and of all distinct sections together.
SECTION_BARS = (4, 16)
FORM_BARS = (12, 48)
LEAST_DONORS = 10  # tunes in a metre, else it is left out unless it is the commonest
LEAST_POOL = 20  # tunes whose harmony is learnt together
HARMONISED = 500  # tunes without chords of one collection that are harmonised to learn from
WINDOW, STRIDE = 40, 10  # neighbours in richness of harmony whose chords are learnt together

Rhythm = tuple[tuple[float, float], ...]  # onset in the bar, duration; quarter notes
# Onset as a share of the bar, root above the tonic, quality, bass above the tonic.
ChordBar = tuple[tuple[float, int, str, int], ...]
STRENGTHS = ("strong", "beat", "weak")
State = tuple[int, str]  # root above the tonic, triad
Step = tuple[int, int]  # two successive steps in scale degrees


def degree_of(pitch: int, tonic: int, mode: str) -> int:
    """Scale degree of a MIDI pitch, 7 an octave; an altered note counts as the degree below it.

    >>> degree_of(62, 0, "major"), degree_of(60, 0, "major")
    (36, 35)
    """
    octave, above = divmod(pitch - tonic, 12)
    return 7 * octave + sum(above >= s for s in MODE_SCALES[mode]) - 1


def place_of(bar: int, bars: int) -> str:
    """The place of a bar in its section, as far as harmony and rhythm know it."""
    if bar == bars - 1:
        return "last"
    if bar == 0:
        return "first"
    if bar == bars - 2:
        return "before last"
    return ("phrase start", "second", "before half", "half")[bar % PHRASE]


def chord_at(chords: Sequence[Chord], at: float) -> Chord:
    """The chord that sounds at a time; the first one before the beginning."""
    for chord in reversed(chords):
        if chord.onset <= at + 1e-3:
            return chord
    return chords[0]


def strength(onset: float, duration: float, meter: Meter) -> str:
    """How much a note is heard as part of the harmony: strong, beat or weak."""
    if onset < 1e-3 or duration >= 1.9 * meter.pulse:
        return "strong"
    beat = onset / meter.pulse
    return "beat" if abs(beat - round(beat)) < 0.02 or duration >= meter.pulse else "weak"


@dataclass(frozen=True, slots=True)
class Model:
    """One tune as material.

    Attributes:
        style: its collection.
        form: letter and bars of each distinct section; variants (A, A2) share the letter.
        centre: median MIDI pitch.
        width: scale degrees between the lowest and the highest note.
        inner, closing: rhythms of bars, within phrases and at their ends.
        pickups: rhythms of pickups, onsets negative; () for sections without.
        steps: how often a step follows another.
        harmony: chords of each section bar by bar; empty where they are not learnt.
        foreign: by strength, how many notes are foreign to their chord, and how many there are.
    """

    work: str
    style: str
    meter: Meter
    tonic: int
    mode: str
    tempo: float
    form: tuple[tuple[str, int], ...]
    order: tuple[int, ...]
    centre: int
    width: int
    inner: tuple[Rhythm, ...]
    closing: tuple[Rhythm, ...]
    pickups: tuple[Rhythm, ...]
    steps: dict[Step, int]
    harmony: tuple[tuple[ChordBar, ...], ...]
    foreign: dict[str, tuple[int, int]]

    @property
    def usable_form(self) -> bool:
        bars = [b for _, b in self.form]
        low, high = SECTION_BARS
        return all(low <= b <= high for b in bars) and FORM_BARS[0] <= sum(bars) <= FORM_BARS[1]

    @property
    def chord_names(self) -> set[tuple[int, str]]:
        return {(c[1], c[2]) for s in self.harmony for bar in s for c in bar}


@dataclass(frozen=True, slots=True)
class ChordTable:
    """Bars of chords by place in the section and by the chord before them."""

    after: dict[tuple[str, State | None], list[ChordBar]]
    anywhere: dict[str, list[ChordBar]]

    @staticmethod
    def learn(models: Iterable[Model]) -> "ChordTable":
        after: dict[tuple[str, State | None], list[ChordBar]] = defaultdict(list)
        anywhere: dict[str, list[ChordBar]] = defaultdict(list)
        for model in models:
            for section in model.harmony:
                state: State | None = None
                for index, bar in enumerate(section):
                    place = place_of(index, len(section))
                    after[place, state].append(bar)
                    anywhere[place].append(bar)
                    anywhere[""].append(bar)
                    state = (bar[-1][1], triad(bar[-1][2]))
        return ChordTable(dict(after), dict(anywhere))

    def options(self, place: str, state: State | None) -> list[ChordBar]:
        """Bars that may stand at a place after a chord; never empty."""
        found = self.after.get((place, state), [])
        return found if len(found) >= 4 else found + self.anywhere.get(place, self.anywhere[""])


@dataclass(frozen=True, slots=True)
class Style:
    """What one collection teaches.

    Attributes:
        heads: models whose form, metre and key an invented work may take.
        donors: models by metre, for rhythms.
        steps: how often a step follows another in all models together, as shares.
        foreign: by strength, the weight of a note foreign to its chord against one of the chord.
        tables: for each head (by its work) the harmony of tunes as rich in chords as it.
    """

    name: str
    heads: tuple[Model, ...]
    donors: dict[Meter, tuple[Model, ...]]
    steps: dict[Step, float]
    foreign: dict[str, float]
    tables: dict[str, ChordTable]


def learn_styles(tunes: Iterable[Tune]) -> tuple[Style, ...]:
    """One style a collection, without collections in which no form is usable.

    The order of the tunes does not matter.
    """
    by_style: dict[str, list[Tune]] = defaultdict(list)
    for tune in sorted({t.work: t for t in tunes}.values(), key=lambda t: t.work):
        by_style[tune.work.split("/")[0]].append(tune)
    styles = [_learn_style(name, members) for name, members in sorted(by_style.items())]
    return tuple(style for style in styles if style.heads)


def _learn_style(name: str, tunes: Sequence[Tune]) -> Style:
    bare = [t.work for t in tunes if not all(s.chords for s in t.sections)]
    chosen = sorted(bare, key=lambda work: generator("harmonised", work).random())[:HARMONISED]
    models = [_model(t, name, harmonise=t.work in set(chosen)) for t in tunes]
    models = [m for m in models if m.inner and m.closing and m.steps]
    donors: dict[Meter, list[Model]] = defaultdict(list)
    for model in models:
        donors[model.meter].append(model)
    most = max(map(len, donors.values()), default=0)
    kept = {m: tuple(d) for m, d in donors.items() if len(d) >= min(LEAST_DONORS, most)}
    steps: Counter[Step] = Counter()
    for model in models:
        steps.update(model.steps)
    total = sum(steps.values())
    pools = _pools(models)
    heads = tuple(m for m in models if m.meter in kept and m.usable_form and _pool(m, pools))
    return Style(
        name,
        heads,
        kept,
        {step: count / total for step, count in steps.items()},
        {name: _foreign_weight([m.foreign[name] for m in models]) for name in STRENGTHS},
        _tables(heads, pools),
    )


def _foreign_weight(counts: Sequence[tuple[int, int]]) -> float:
    """Weight with which foreign notes are drawn as often as they occur.

    Of seven degrees four are foreign to a triad.
    """
    foreign, notes = (sum(column) for column in zip(*counts, strict=True))
    share = (foreign + 1) / (notes + 4)
    return min(1.0, 0.75 * share / (1 - share))


def _pools(models: Sequence[Model]) -> dict[tuple, list[Model]]:
    """Models with harmony by mode and beats of a bar, and by mode alone."""
    pools: dict[tuple, list[Model]] = defaultdict(list)
    for model in models:
        if model.harmony:
            pools[model.mode, model.meter.pulses].append(model)
            pools[(model.mode,)].append(model)
    most = max((len(p) for key, p in pools.items() if len(key) == 1), default=0)
    return {key: p for key, p in pools.items() if len(p) >= min(LEAST_POOL, most)}


def _pool(model: Model, pools: dict[tuple, list[Model]]) -> list[Model] | None:
    return pools.get((model.mode, model.meter.pulses)) or pools.get((model.mode,))


def _tables(heads: Sequence[Model], pools: dict[tuple, list[Model]]) -> dict[str, ChordTable]:
    """Harmony for each head: of the window of its pool (by number of chords) that it falls in."""
    tables: dict[str, ChordTable] = {}
    known: dict[tuple[int, int], ChordTable] = {}
    ranked = {id(p): sorted(p, key=lambda m: (len(m.chord_names), m.work)) for p in pools.values()}
    for head in heads:
        pool = _pool(head, pools)
        order = ranked[id(pool)]
        if head.harmony:
            at = next(i for i, m in enumerate(order) if m.work == head.work)
        else:
            at = int(generator("rank", head.work).random() * len(order))
        start = max(0, min(at - WINDOW // 2, len(order) - WINDOW)) // STRIDE * STRIDE
        key = (id(pool), start)
        if key not in known:
            known[key] = ChordTable.learn(order[start : start + WINDOW])
        tables[head.work] = known[key]
    return tables


def _model(tune: Tune, style: str, *, harmonise: bool) -> Model:
    tonic, mode = _real_key(tune)
    sections = tune.sections
    if harmonise:
        sections = tuple(with_chords(s, meter=tune.meter, tonic=tonic, mode=mode) for s in sections)
    inner: list[Rhythm] = []
    closing: list[Rhythm] = []
    pickups: list[Rhythm] = []
    steps: Counter[Step] = Counter()
    for section in sections:
        line = _single_line(section.melody)
        for bar, rhythm in enumerate(_rhythms(line, section.bars, tune.meter.bar)):
            end = bar == section.bars - 1 or bar % PHRASE == PHRASE - 1
            if rhythm or not end:
                (closing if end else inner).append(rhythm)
        pickups.append(tuple((n.onset, n.duration) for n in line if n.onset < -1e-6))
        steps.update(_steps([degree_of(n.pitch, tonic, mode) for n in line]))
    pitches = sorted(n.pitch for s in sections for n in s.melody)
    foreign = dict.fromkeys(STRENGTHS, (0, 0))
    harmony: tuple[tuple[ChordBar, ...], ...] = ()
    if all(s.chords for s in sections):
        harmony = tuple(_chord_bars(s, tune.meter.bar, tonic) for s in sections)
        foreign = _foreign(sections, tune.meter)
    return Model(
        work=tune.work,
        style=style,
        meter=tune.meter,
        tonic=tonic,
        mode=mode,
        tempo=tune.tempo,
        form=tuple((s.label.rstrip("0123456789"), s.bars) for s in sections),
        order=tune.order,
        centre=pitches[len(pitches) // 2],
        width=degree_of(pitches[-1], tonic, mode) - degree_of(pitches[0], tonic, mode),
        inner=tuple(r for r in inner if r),
        closing=tuple(closing),
        pickups=tuple(p for p in pickups if not p or p[0][0] >= -tune.meter.bar),
        steps=dict(steps),
        harmony=harmony,
        foreign=foreign,
    )


def _real_key(tune: Tune) -> tuple[int, str]:
    """Tonic and mode; lead sheets that write minor songs with the major key are set right."""
    last = tune.sections[tune.order[-1]]
    if tune.mode == "major" and last.chords:
        relative = (tune.tonic + 9) % 12
        ends = [c for c in last.chords if c.end > (last.bars - 1) * tune.meter.bar + 1e-6]
        minor = any(c.root == relative and triad(c.quality) == "min" for c in ends)
        if minor and all(c.root != tune.tonic for c in ends):
            return relative, "minor"
    return tune.tonic, tune.mode


def _single_line(melody: Sequence[MelodyNote]) -> list[MelodyNote]:
    """The notes in time, of simultaneous ones the highest, none longer than to the next."""
    line: list[MelodyNote] = []
    for note in sorted(melody, key=lambda n: (n.onset, -n.pitch)):
        if not line or note.onset > line[-1].onset + 0.02:
            line.append(note)
    for index, (note, following) in enumerate(pairwise(line)):
        if note.onset + note.duration > following.onset:
            line[index] = replace(note, duration=following.onset - note.onset)
    return line


def _rhythms(line: Sequence[MelodyNote], bars: int, bar: float) -> list[Rhythm]:
    """The rhythm of each bar; a note may last beyond it."""
    found: list[list[tuple[float, float]]] = [[] for _ in range(bars)]
    for note in line:
        index = int((note.onset + 1e-3) // bar)
        if 0 <= index < bars:
            onset = max(0.0, round(note.onset - index * bar, 4))
            found[index].append((onset, round(note.duration, 4)))
    return [tuple(r) for r in found]


def _steps(degrees: Sequence[int]) -> Iterable[Step]:
    moves = [max(-WIDEST_STEP, min(WIDEST_STEP, b - a)) for a, b in pairwise(degrees)]
    return pairwise(moves)


def _foreign(sections: Sequence[Section], meter: Meter) -> dict[str, tuple[int, int]]:
    counts = {name: [0, 0] for name in STRENGTHS}
    for section in sections:
        for note in section.melody:
            count = counts[strength(note.onset % meter.bar, note.duration, meter)]
            classes = chord_at(section.chords or (), note.onset).pitch_classes
            count[0] += note.pitch % 12 not in classes
            count[1] += 1
    return {name: (foreign, notes) for name, (foreign, notes) in counts.items()}


def _chord_bars(section: Section, bar: float, tonic: int) -> tuple[ChordBar, ...]:
    """What sounds in each bar, the chord held from before it first."""
    result: list[ChordBar] = []
    chords: Sequence[Chord] = section.chords or ()
    for index in range(section.bars):
        low, high = index * bar, (index + 1) * bar
        inside = [c for c in chords if c.end > low + 0.05 and c.onset < high - 0.05] or [chords[-1]]
        result.append(
            tuple(
                (
                    max(0.0, (c.onset - low) / bar) if place else 0.0,
                    (c.root - tonic) % 12,
                    c.quality,
                    (c.bass - tonic) % 12,
                )
                for place, c in enumerate(inside)
            )
        )
    return tuple(result)
