"""How a player bends a melody: ornaments, omissions, displaced rhythm, register, phrasing, solos.

Lines are lists of ``(onset, duration, pitch, velocity)`` with times in quarter notes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from src.corpus.dice import Dice
from src.corpus.tune import Chord, MelodyNote, Meter

Event = tuple[float, float, int, int]

SHORTEST = 0.06  # quarter notes

ORNAMENTS: dict[str, tuple[str, ...]] = {
    "plain": (),
    "baroque": ("trill", "mordent", "turn", "appoggiatura"),
    "folk": ("cut", "roll", "double_cut", "triplet"),
    "blues": ("slide", "fall", "repeat", "grace_below"),
    "vocal": ("slide", "passing", "appoggiatura", "fall", "melisma"),
    "jazz": ("grace_below", "turn", "passing", "enclosure", "slide"),
}


@dataclass(frozen=True)
class MelodyPlan:
    """What is done to a melody; all amounts 0 to 1.

    Attributes:
        ornaments: a key of ORNAMENTS; ``ornament`` is how often they fall.
        omission: notes left out (never the first of a phrase).
        displacement: notes moved by a fraction of a beat; ``anticipation``: notes on a beat that
            come an eighth early; ``delay``: phrases that start late, as singers do.
        simplify: short notes on weak places that melt into the note before.
        split: long notes sung as repeated ones.
        alter: notes replaced by a neighbour of the scale or chord (another ear, another memory).
        articulation: sounded part of a note.
    """

    ornaments: str = "plain"
    ornament: float = 0.0
    omission: float = 0.0
    displacement: float = 0.0
    anticipation: float = 0.0
    delay: float = 0.0
    simplify: float = 0.0
    split: float = 0.0
    alter: float = 0.0
    articulation: float = 0.95


def play(
    melody: Sequence[MelodyNote],
    plan: MelodyPlan,
    *,
    meter: Meter,
    scale: frozenset[int],
    chords: Sequence[Chord],
    dice: Dice,
) -> list[Event]:
    """One section of a melody as a player would bend it.

    Args:
        scale: pitch classes ornaments are taken from.
        chords: chords that sound under it, in the time of the section; may be empty.

    Returns:
        events sorted by onset; a pickup keeps its negative onsets.
    """
    line = [[n.onset, n.duration, n.pitch] for n in melody if n.duration > 0]
    if not line:
        return []
    if plan.simplify:
        line = _simplify(line, plan.simplify, meter, dice)
    if plan.alter:
        _alter(line, plan.alter, scale, chords, meter, dice)
    if plan.omission:
        kept = [line[0]]
        for before, note in pairwise(line):
            weak = not _on_pulse(note[0], meter)
            starts_phrase = note[0] - (before[0] + before[1]) > 0.4
            rate = plan.omission * (1.3 if weak else 0.5)
            if starts_phrase or not dice.chance(rate):
                kept.append(note)
            elif dice.chance(0.6):
                kept[-1][1] = note[0] + note[1] - kept[-1][0]
        line = kept
    if plan.split:
        line = _split(line, plan.split, dice)
    _shift(line, plan, meter, dice)
    events: list[Event] = []
    kinds = ORNAMENTS[plan.ornaments]
    for index, (onset, duration, pitch) in enumerate(line):
        velocity = _accent(onset, meter)
        following = line[index + 1][2] if index + 1 < len(line) else None
        if kinds and duration >= 0.45 and dice.chance(plan.ornament * min(1.0, duration)):
            kind = dice.pick(kinds)
            events += ornament(kind, onset, duration, pitch, velocity, scale, following, dice)
        else:
            events.append((onset, duration, pitch, velocity))
    sounding = [
        (on, max(SHORTEST, length * plan.articulation if length > 0.3 else length), pitch, v)
        for on, length, pitch, v in events
    ]
    sounding.sort()
    return sounding


def _on_pulse(onset: float, meter: Meter) -> bool:
    return abs(onset / meter.pulse - round(onset / meter.pulse)) < 0.05


def _accent(onset: float, meter: Meter) -> int:
    if abs(onset / meter.bar - round(onset / meter.bar)) < 0.03:
        return 96
    return 89 if _on_pulse(onset, meter) else 80


def scale_step(pitch: int, steps: int, scale: frozenset[int]) -> int:
    """The pitch so many steps of the scale above (or below, if negative)."""
    direction = 1 if steps > 0 else -1
    for _ in range(abs(steps)):
        pitch += direction
        for _ in range(4):
            if pitch % 12 in scale:
                break
            pitch += direction
    return pitch


def ornament(
    kind: str,
    onset: float,
    duration: float,
    pitch: int,
    velocity: int,
    scale: frozenset[int],
    following: int | None,
    dice: Dice,
) -> list[Event]:
    """The notes that replace one note. Total length stays the same."""
    up, down = scale_step(pitch, 1, scale), scale_step(pitch, -1, scale)
    quick = min(0.125, duration / 5)
    soft = max(1, velocity - 10)
    if kind == "trill":
        count = min(9, int(duration * 0.7 / quick)) | 1
        notes = [(quick, up if i % 2 else pitch) for i in range(count)]
    elif kind == "mordent":
        notes = [(quick, pitch), (quick, up if dice.chance(0.5) else down)]
    elif kind == "turn":
        notes = [(quick, up), (quick, pitch), (quick, down)]
    elif kind == "appoggiatura":
        notes = [(duration / 3, up if dice.chance(0.7) else down)]
    elif kind == "cut":
        notes = [(quick * 0.7, up)]
    elif kind == "double_cut":
        notes = [(quick * 0.7, pitch), (quick * 0.7, up)]
    elif kind == "roll":
        third = duration / 4
        notes = [(third, pitch), (quick * 0.7, up), (third, pitch), (quick * 0.7, down)]
    elif kind == "triplet":
        third = duration / 3
        notes = [(third, pitch), (third, dice.pick((up, down, pitch)))]
    elif kind == "slide":
        notes = [(quick * 0.8, pitch - 2), (quick * 0.8, pitch - 1)][-dice.integer(1, 2) :]
    elif kind == "grace_below":
        notes = [(quick, pitch - 1)]
    elif kind == "enclosure":
        notes = [(quick, up), (quick, pitch - 1)]
    elif kind == "repeat":
        notes = [(duration / 2, pitch)]
    elif kind == "fall":
        tail = min(0.25, duration / 4)
        return [
            (onset, duration - tail, pitch, velocity),
            (onset + duration - tail, tail / 2, pitch - 1, soft),
            (onset + duration - tail / 2, tail / 2, down, max(1, soft - 12)),
        ]
    elif kind in ("passing", "melisma"):
        target = following if following is not None else pitch
        direction = 1 if target > pitch else -1
        steps = 1 if kind == "passing" else 2
        if abs(target - pitch) < 2:
            direction = dice.pick((1, -1))
        part = min(0.5, duration / (steps + 1))
        result = [(onset, duration - steps * part, pitch, velocity)]
        for i in range(steps):
            at = onset + duration - (steps - i) * part
            result.append((at, part, scale_step(pitch, direction * (i + 1), scale), soft))
        return result
    else:
        raise ValueError(f"ornament {kind!r}")
    result = []
    at = onset
    for length, sounded in notes:
        result.append((at, length, sounded, soft))
        at += length
    result.append((at, max(SHORTEST, onset + duration - at), pitch, velocity))
    return result


def _simplify(line, amount, meter, dice):
    kept = [line[0]]
    for note in line[1:]:
        last = kept[-1]
        gap = note[0] - (last[0] + last[1])
        short = note[1] <= meter.pulse / 2 + 0.01 and not _on_pulse(note[0], meter)
        if short and gap < 0.05 and dice.chance(amount):
            last[1] = note[0] + note[1] - last[0]
        else:
            kept.append(note)
    return kept


def _alter(line, amount, scale, chords, meter, dice) -> None:
    for index in range(1, len(line) - 1):
        note = line[index]
        rate = amount * (0.5 if _on_pulse(note[0], meter) else 1.2)
        if not dice.chance(rate):
            continue
        chord = next((c for c in chords if c.onset <= note[0] < c.end), None)
        if chord is not None and dice.chance(0.5):
            tones = [p for p in range(note[2] - 5, note[2] + 6) if p % 12 in chord.pitch_classes]
            if tones:
                note[2] = dice.pick(tones)
        elif dice.chance(0.15):
            note[2] += dice.pick((12, -12)) if note[1] < 1 else 0
        else:
            note[2] = scale_step(note[2], dice.pick((1, -1)), scale)


def _split(line, amount, dice):
    result = []
    for note in line:
        if note[1] >= 1.0 and dice.chance(amount):
            half = note[1] / 2 if dice.chance(0.6) else note[1] - 0.5
            result.append([note[0], half, note[2]])
            result.append([note[0] + half, note[1] - half, note[2]])
        else:
            result.append(note)
    return result


def _shift(line, plan: MelodyPlan, meter: Meter, dice: Dice) -> None:
    """Move onsets in place; the order of notes stays."""
    late = 0.0
    for index, note in enumerate(line):
        before_end = line[index - 1][0] + line[index - 1][1] if index else -99.0
        if note[0] - before_end > 0.4:  # a phrase begins
            late = dice.pick((0.5, 0.5, 1.0, 0.25)) if dice.chance(plan.delay) else 0.0
        elif late:
            late = max(0.0, late - 0.25)
        move = late
        if not move and plan.anticipation and _on_pulse(note[0], meter) and index:
            move = -0.5 if note[1] >= 0.5 and dice.chance(plan.anticipation) else 0.0
        if not move and plan.displacement and dice.chance(plan.displacement):
            move = dice.pick((-0.5, -0.25, 0.25, 0.5))
        if not move:
            continue
        floor = line[index - 1][0] + 0.125 if index else note[0]
        start = max(floor, note[0] + move)
        ceiling = line[index + 1][0] - 0.125 if index + 1 < len(line) else note[0] + note[1]
        if start < ceiling:
            end = note[0] + note[1]
            note[0] = start
            note[1] = max(0.125, end - start)
    for note, following in pairwise(line):
        if note[0] + note[1] > following[0]:
            note[1] = max(SHORTEST, following[0] - note[0])


def fit_register(pitches: Sequence[int], low: int, high: int) -> int:
    """Whole octaves (in semitones) that bring a line best into a range."""
    if not pitches:
        return 0
    ordered = sorted(pitches)
    centre = ordered[len(ordered) // 2]

    def outside(shift: int) -> tuple[int, float]:
        worst = sum(not low <= p + shift <= high for p in ordered)
        return worst, abs(centre + shift - (low + high) / 2)

    return min(range(-48, 49, 12), key=outside)


def fold(pitch: int, low: int, high: int) -> int:
    """The pitch moved by octaves into [low, high] (a range of an octave or more)."""
    while pitch < low:
        pitch += 12
    while pitch > high:
        pitch -= 12
    return pitch


def second_voice(line: Sequence[Event], steps: int, scale: frozenset[int]) -> list[Event]:
    """A voice in parallel, so many scale steps away (2 is a third above, -5 a sixth below)."""
    return [
        (on, length, scale_step(p, steps, scale) if abs(steps) != 7 else p + 12 * (steps // 7), v)
        for on, length, p, v in line
    ]


def improvise(
    chords: Sequence[Chord],
    *,
    length: float,
    meter: Meter,
    scale: frozenset[int],
    low: int,
    high: int,
    dice: Dice,
    density: float = 0.6,
) -> list[Event]:
    """A solo over chords: chord tones on beats, steps between them, rests and repeated motifs.

    Args:
        length: quarter notes to fill.
        density: 0 (long notes) to 1 (running eighths and sixteenths).
    """
    events: list[Event] = []
    pitch = (low + high) // 2
    at = 0.0
    direction = dice.pick((1, -1))
    motif: list[tuple[float, float]] = []
    grid = 0.5 if meter.compound or density < 0.8 else dice.pick((0.5, 0.25, 1 / 3))
    while at < length - 0.2:
        phrase_end = min(length, at + meter.bar * dice.pick((1, 2, 2)))
        if not motif or not dice.chance(0.4):
            motif = []
            t = 0.0
            while t < phrase_end - at - 0.4:
                step = grid * (1 if dice.chance(density) else dice.integer(2, 4))
                if dice.chance(0.88):
                    motif.append((t, step))
                t += step
        for offset, duration in motif:
            onset = at + offset
            if onset >= phrase_end - 0.2:
                break
            chord = next((c for c in chords if c.onset <= onset < c.end), None)
            leap = 1 if dice.chance(0.8) else dice.integer(2, 4)
            pitch = scale_step(pitch, direction * leap, scale)
            if chord is not None and _on_pulse(onset, meter):
                tones = [p for p in range(pitch - 3, pitch + 4) if p % 12 in chord.pitch_classes]
                pitch = min(tones, key=lambda p: abs(p - pitch)) if tones else pitch
            if not low <= pitch <= high:
                pitch = fold(pitch, low, high)
                direction = -direction
            elif dice.chance(0.28):
                direction = -direction
            events.append(
                (onset, min(duration * 0.95, length - onset), pitch, _accent(onset, meter))
            )
        at = phrase_end + (meter.pulse if dice.chance(0.3) else 0.0)
    return events
