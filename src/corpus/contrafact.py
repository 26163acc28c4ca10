"""Hard negatives: the melody of one work over the chords of another, arranged like a version of it.

Musicians have always written new melodies over known chords; jazz calls them contrafacts. "Donna
Lee" stands on "Back Home Again in Indiana", dozens of themes on "I Got Rhythm", and nobody who
hears one takes it for a performance of the other. What makes a work is its melody: chords, form,
style, key and tempo are shared by thousands of works, and a version that changes all of them stays
a version. So a contrafact made here belongs to the work whose *melody* it has. Seen from there it
is a positive, a version re-harmonised beyond what ``harmony`` would do; seen from the work whose
chords, form, style, band, key and tempo it has it is a negative that only a listener who follows
the melody tells from a version.

The *model* is that version of the other work. Its form, chords (bar by bar, with whatever its
arranger did to them), key, tempo and its whole feel, accompaniment and lead instrument are taken
over. The melody comes from the work itself: phrase by phrase into the model's sections, in the
model's key, and where a note that is heard (long, or on a beat) clashes with the chord it goes to
the nearest note of the chord, as a player would bend it, keeping the direction of the line.
Ornaments, textures, hands, tuning and the recording are drawn for the contrafact alone: nothing but
the music tells of the model. Only works in one metre and mode, with phrases of the same length and
a comparable tempo, are put together, and only where most of the melody survives.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from src.corpus.arrange import draw_draft, draw_setting, draw_style, perform
from src.corpus.dice import Dice, generator
from src.corpus.harmony import triad, with_chords
from src.corpus.keys import in_parallel_mode, transposed
from src.corpus.metre import in_metre
from src.corpus.performance import Performance
from src.corpus.tune import MODE_SCALES, Chord, MelodyNote, Meter, Tune

PHRASE = 4  # bars: where a section may be cut
MOST_MOVED = 0.25  # of the melody's time, over the model's plain chords
TEMPO_RATIO = 1.45
_COMPARED = 4  # suitable models of which the best fitting one is taken
# Without chords there is nothing to be confused by.
_NO_CHORDS = ("unaccompanied", "drone")


@dataclass(frozen=True, slots=True)
class Fitted:
    """A melody laid over chords; ``moved`` is the share of its time that had to be changed."""

    melody: tuple[MelodyNote, ...]
    moved: float


def play_contrafact(
    tune: Tune,
    model: Tune,
    *,
    seed: int,
    version: int,
    model_version: int,
    target_duration: tuple[float, float] | None = None,
    setting: int | None = None,
    metre_changes: float = 0.0,
) -> Performance:
    """Arrange ``tune`` like version ``model_version`` of ``model``.

    Args:
        tune, version: whose melody it is, and the number of the contrafact among its versions.
        model: see :func:`pick_model`.
        target_duration, metre_changes: as the model's version was made with.
        setting: of ``tune``; None draws it as :func:`src.corpus.arrange.arrange` does.

    Raises:
        ValueError: the melody does not fit into the model's sections.
    """
    base, _ = draw_draft(
        model,
        Dice(generator(seed, model.work, model_version)),
        seed=seed,
        version=model_version,
        target_duration=target_duration,
        metre_changes=metre_changes,
    )
    if setting is None:
        setting = draw_setting(tune, Dice(generator(seed, tune.work, version)))
    own = tune.setting(setting)
    if base.metre_change is not None:
        own = in_metre(own, base.metre_change)
    if base.choices["mode_changed"]:
        own = in_parallel_mode(own)
    hybrid, moved = lay_over(own, base.tune, base.harmony)
    by = (base.tune.tonic - own.tonic + 6) % 12 - 6
    choices = {
        **base.choices,
        "work": tune.work,
        "version": version,
        "setting": setting,
        "source": own.source,
        "transposition": by,
        "tempo_factor": round(base.timing.tempo / own.tempo, 3),
        "harmony": "borrowed",
        "harmony_later": "borrowed",
        "chords_source": "borrowed",
        "like": {
            "work": model.work,
            "version": model_version,
            "setting": base.choices["setting"],
            "harmony": base.choices["harmony"],
            "moved": round(moved, 3),
        },
    }
    dice = Dice(generator(seed, "contrafact", tune.work, version))
    return perform(replace(base, tune=hybrid, choices=choices), dice.split(), dice)


def pick_model(tune: Tune, candidates: Iterable[Tune], *, seed: int, version: int) -> Tune | None:
    """The work of which version ``version`` is imitated by that version of ``tune``.

    Of the first candidates that are suitable, in an order drawn for this version, the one over
    whose chords the melody has to be changed least.

    Returns:
        the work, or None where nothing fits.
    """
    own = _opening(tune, seed, version)[0]
    best: tuple[Tune, float] | None = None
    compared = 0
    for model in _in_drawn_order(tune, candidates, seed=seed, version=version):
        other, style = _opening(model, seed, version)
        if style in _NO_CHORDS or not _suits(own, other) or model.song == tune.song:
            continue
        fitted = lay_over(own, other, None)[1]
        if best is None or fitted < best[1]:
            best = model, fitted
        compared += 1
        if compared == _COMPARED:
            break
    return best[0] if best is not None and best[1] <= MOST_MOVED else None


def _in_drawn_order(
    tune: Tune, candidates: Iterable[Tune], *, seed: int, version: int
) -> Iterable[Tune]:
    pool = list(candidates)
    rng = generator(seed, "like", tune.work, version)
    return (pool[i] for i in rng.permutation(len(pool)))


def _opening(tune: Tune, seed: int, version: int) -> tuple[Tune, str]:
    """The notation and the style that are drawn for a version."""
    dice = Dice(generator(seed, tune.work, version))
    return tune.setting(draw_setting(tune, dice)), draw_style(dice).name


def _suits(own: Tune, model: Tune) -> bool:
    """Whether a melody can be laid over a model at all."""
    ratio = own.tempo / model.tempo
    return (
        own.meter == model.meter
        and own.mode == model.mode
        and 1 / TEMPO_RATIO <= ratio <= TEMPO_RATIO
        and all(_sources(own, k, s.bars) is not None for k, s in enumerate(model.sections))
    )


def _sources(own: Tune, place: int, bars: int) -> list[tuple[int, int]] | None:
    """Sections of ``own``, with how many of their bars, that fill a section of the model.

    A section of another length is cut, or followed by the next one, where a phrase of four bars
    ends; None where that is not possible.
    """
    filled = 0
    result: list[tuple[int, int]] = []
    index = place % len(own.sections)
    while filled < bars:
        length = min(own.sections[index].bars, bars - filled)
        whole = length == own.sections[index].bars
        if not whole and length % PHRASE:
            return None
        if filled and filled % PHRASE:
            return None
        result.append((index, length))
        filled += length
        index = (index + 1) % len(own.sections)
    return result


def lay_over(
    own: Tune, model: Tune, harmony: dict[tuple[int, bool], tuple[Chord, ...]] | None
) -> tuple[Tune, float]:
    """The model's form and key with another melody.

    Args:
        own: whose melody it is, in the model's metre and mode.
        model: a tune whose sections keep their bars and chords.
        harmony: chords by section and turn, as :class:`src.corpus.arrange.Draft` has them; None
            takes the model's plain chords.

    Returns:
        the tune, and the share of the melody's time that had to be changed.

    Raises:
        ValueError: the phrases do not fit.
    """
    own = transposed(own, (model.tonic - own.tonic + 6) % 12 - 6)
    scale = frozenset((model.tonic + step) % 12 for step in MODE_SCALES[model.mode])
    sections = []
    moved = total = 0.0
    for index, section in enumerate(model.sections):
        chords = _plain_chords(model)[index] if harmony is None else harmony[index, False]
        line = _line(own, index, section.bars)
        fitted = fit_to_chords(line, chords, meter=model.meter, scale=scale)
        length = sum(n.duration for n in line)
        moved += fitted.moved * length
        total += length
        sections.append(replace(section, melody=fitted.melody, chords=tuple(chords)))
    tune = replace(
        own, tonic=model.tonic, tempo=model.tempo, sections=tuple(sections), order=model.order
    )
    return tune, moved / max(total, 1e-9)


@lru_cache(maxsize=2048)  # planning compares many melodies with one model
def _plain_chords(tune: Tune) -> list[tuple[Chord, ...]]:
    """The chords of every section, as given or in the plainest way."""
    known = {"meter": tune.meter, "tonic": tune.tonic, "mode": tune.mode}
    return [with_chords(section, **known).chords or () for section in tune.sections]


def _line(own: Tune, place: int, bars: int) -> list[MelodyNote]:
    """The melody for a section of ``bars`` bars."""
    sources = _sources(own, place, bars)
    if sources is None:
        raise ValueError(f"{own.work}: its phrases do not fill a section of {bars} bars")
    line: list[MelodyNote] = []
    start = 0.0
    for index, length in sources:
        end = length * own.meter.bar
        part = [n for n in own.sections[index].melody if n.onset < end - 1e-6]
        if part and start:  # a pickup takes the place of what ended the phrase before
            first = start + part[0].onset
            line = [
                replace(n, duration=min(n.duration, first - n.onset))
                for n in line
                if n.onset < first - 0.05
            ]
        line += [
            replace(n, onset=n.onset + start, duration=min(n.duration, end - n.onset)) for n in part
        ]
        start += end
    return line


def fit_to_chords(
    melody: Sequence[MelodyNote],
    chords: Sequence[Chord],
    *,
    meter: Meter,
    scale: frozenset[int],
) -> Fitted:
    """Move the notes that clash with the chords to the nearest notes of the chords.

    Only notes that are heard against the chord are moved: those on a beat, and those that last a
    beat. Passing notes and pickups stay.

    Args:
        melody: sorted by onset, in the time of the chords.
        scale: pitch classes of the key, which are preferred.
    """
    result: list[MelodyNote] = []
    moved = total = 0.0
    for index, note in enumerate(melody):
        total += note.duration
        pitch = note.pitch
        chord = _under(note, chords)
        heard = note.duration >= meter.pulse - 0.05 or (
            abs(note.onset / meter.pulse - round(note.onset / meter.pulse)) < 0.05
        )
        if chord is not None and heard and clashes(pitch, chord):
            before = (melody[index - 1].pitch, result[-1].pitch) if index else (pitch, pitch)
            pitch = _nearest(pitch, chord, scale, *before)
            moved += note.duration
        result.append(replace(note, pitch=pitch))
    return Fitted(tuple(result), moved / max(total, 1e-9))


def _under(note: MelodyNote, chords: Sequence[Chord]) -> Chord | None:
    """The chord that sounds longest with a note; None for a pickup."""
    best, longest = None, 0.0
    for chord in chords:
        overlap = min(chord.end, note.onset + note.duration) - max(chord.onset, note.onset)
        if note.onset >= -1e-6 and overlap > longest + 1e-6:
            best, longest = chord, overlap
    return best


def clashes(pitch: int, chord: Chord) -> bool:
    """Whether a note is wrong over a chord: a semitone above one of its notes, or the other third.

    >>> clashes(65, Chord(0.0, 4.0, 0, "maj", 0)), clashes(62, Chord(0.0, 4.0, 0, "maj", 0))
    (True, False)
    """
    classes = set(chord.pitch_classes)
    if pitch % 12 in classes:
        return False
    step = (pitch - chord.root) % 12
    other_third = {"maj": 3, "aug": 3, "min": 4, "dim": 4}[triad(chord.quality)]
    return (pitch - 1) % 12 in classes or step == other_third


def _nearest(pitch: int, chord: Chord, scale: frozenset[int], before: int, played: int) -> int:
    """The nearest note of the chord; the line should keep its direction, and stay in the key."""
    wanted = (pitch > before) - (pitch < before)

    def cost(candidate: int) -> float:
        direction = (candidate > played) - (candidate < played)
        return (
            abs(candidate - pitch)
            + 1.1 * abs(direction - wanted)
            + 0.4 * (candidate % 12 not in scale)
        )

    options = [p for p in range(pitch - 4, pitch + 5) if p % 12 in chord.pitch_classes]
    return min(options, key=cost, default=pitch)
