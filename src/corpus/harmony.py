"""Chords for tunes that have none, and other people's chords for tunes that have some.

Melodies are harmonised by the Viterbi algorithm: hidden states are the chords of the key and its
secondary dominants, the cost of a state is how badly it fits the notes over it, the cost of a step
is how unusual the root movement is. Weights that are drawn anew give another harmonisation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from src.corpus.dice import Dice
from src.corpus.tune import MODE_SCALES, QUALITIES, Chord, MelodyNote, Meter, Section

TREATMENTS = (
    "given",
    "reduced",
    "extended",
    "substituted",
    "reharmonised",
    "pedal",
    "power",
)

# Degrees of each mode: (semitones above tonic, quality, prior cost).
MAJOR_STATES = (
    (0, "maj", 0.0),
    (5, "maj", 0.35),
    (7, "maj", 0.25),
    (7, "7", 0.45),
    (2, "min", 0.7),
    (9, "min", 0.7),
    (4, "min", 1.1),
    (2, "7", 1.3),
    (9, "7", 1.4),
    (4, "7", 1.4),
    (0, "7", 1.5),
    (10, "maj", 1.7),
    (5, "min", 1.9),
    (11, "dim", 2.0),
)
MINOR_STATES = (
    (0, "min", 0.0),
    (5, "min", 0.35),
    (7, "7", 0.35),
    (7, "min", 0.7),
    (10, "maj", 0.6),
    (3, "maj", 0.6),
    (8, "maj", 0.6),
    (10, "7", 1.2),
    (0, "7", 1.6),
    (2, "m7b5", 1.4),
    (5, "maj", 1.5),
    (2, "7", 1.8),
    (11, "dim7", 1.8),
)
DORIAN_STATES = (
    (0, "min", 0.0),
    (10, "maj", 0.2),
    (5, "maj", 0.7),
    (7, "min", 0.6),
    (3, "maj", 0.6),
    (2, "min", 1.2),
    (5, "min", 1.2),
    (7, "7", 1.3),
    (8, "maj", 1.8),
)
MIXOLYDIAN_STATES = (
    (0, "maj", 0.0),
    (10, "maj", 0.2),
    (5, "maj", 0.4),
    (7, "min", 0.8),
    (2, "min", 0.9),
    (7, "maj", 0.9),
    (9, "min", 0.9),
    (7, "7", 1.1),
)
STATES = {
    "major": MAJOR_STATES,
    "lydian": MAJOR_STATES,
    "minor": MINOR_STATES,
    "phrygian": MINOR_STATES,
    "locrian": MINOR_STATES,
    "dorian": DORIAN_STATES,
    "mixolydian": MIXOLYDIAN_STATES,
}
# Cost of moving the root by this many semitones upwards.
ROOT_MOVES = np.array([0.0, 0.9, 0.5, 0.7, 0.7, 0.1, 1.2, 0.25, 0.7, 0.5, 0.5, 0.9])
DOMINANTS = ("7", "9", "13", "7b9", "7#9", "7#5", "7sus4", "11")
MAJORS = ("maj", "6", "maj7", "add9", "69", "maj9", "sus2", "sus4")
MINORS = ("min", "m6", "m7", "m9", "mM7", "m11")


@dataclass(frozen=True)
class Taste:
    """Weights of a harmonisation: ``fit`` of melody, ``change`` for every new chord,
    ``noise`` added to the priors so that another draw finds other chords."""

    fit: float = 1.0
    change: float = 0.5
    noise: float = 0.0


def harmonise(
    melody: Sequence[MelodyNote],
    *,
    bars: int,
    meter: Meter,
    tonic: int,
    mode: str,
    taste: Taste = Taste(),
    dice: Dice | None = None,
) -> tuple[Chord, ...]:
    """Chords for one section.

    Args:
        melody: notes in quarter notes from the start of the section; pickups are ignored.
        bars: length of the section.
        taste: weights; with ``noise`` above 0 ``dice`` must be given.

    Returns:
        chords that cover the section from 0 to its end without gaps.
    """
    step = meter.bar if meter.pulses % 2 else meter.bar / 2
    count = max(1, round(bars * meter.bar / step))
    slots = _slot_profiles(melody, count, step, meter.pulse)
    states = STATES[mode]
    prior = np.array([cost for _, _, cost in states])
    if taste.noise and dice is not None:
        prior = np.maximum(0, prior + np.array([dice.normal(taste.noise) for _ in states]))
    roots = np.array([(tonic + degree) % 12 for degree, _, _ in states])
    members = np.zeros((len(states), 12))
    for row, (degree, quality, _) in enumerate(states):
        members[row, [(tonic + degree + i) % 12 for i in QUALITIES[quality]]] = 1.0
        members[row, roots[row]] = 1.1  # a melody on the root is a better fit than on the fifth
    # (slots, states): share of the slot's weight that is foreign to the chord
    misfit = slots.sum(1, keepdims=True) - slots @ members.T
    local = prior[None] * 0.5 + taste.fit * 3.0 * misfit
    moves = ROOT_MOVES[(roots[None] - roots[:, None]) % 12] * 0.6  # (from, to)
    moves = moves + taste.change * (1 - np.eye(len(states)))
    path = _viterbi(local, moves, roots, tonic, step >= meter.bar)
    chords: list[Chord] = []
    for slot, state in enumerate(path):
        root, quality = int(roots[state]), states[state][1]
        last = chords[-1] if chords else None
        if last is not None and (last.root, last.quality) == (root, quality):
            chords[-1] = replace(last, duration=last.duration + step)
        else:
            chords.append(Chord(slot * step, step, root, quality, root))
    return tuple(chords)


def _slot_profiles(melody, count: int, step: float, pulse: float) -> np.ndarray:
    """(slots, 12) weight of each pitch class; notes on beats and long notes weigh more."""
    slots = np.zeros((count, 12))
    for note in melody:
        onset = max(0.0, note.onset)
        end = min(note.onset + note.duration, count * step)
        strength = 1.0
        if abs(onset / step - round(onset / step)) < 0.02:
            strength = 2.0
        elif abs(onset / pulse - round(onset / pulse)) < 0.02:
            strength = 1.4
        slot = int(onset / step + 1e-6)
        while onset < end - 1e-6 and slot < count:
            here = min(end, (slot + 1) * step) - onset
            slots[slot, note.pitch % 12] += strength * here
            onset, slot = onset + here, slot + 1
            strength = 1.0
    return slots / step


def _viterbi(local, moves, roots, tonic, whole_bars) -> list[int]:
    count = len(local)
    local = local.copy()
    local[0] += 0.8 * (roots != tonic)
    local[-1] += 1.5 * (roots != tonic)
    total = local[0]
    back = np.zeros((count, len(roots)), dtype=int)
    for slot in range(1, count):
        # Chords change on the first half of a bar rather than on the second.
        weight = 1.0 if whole_bars or slot % 2 == 0 else 1.7
        steps = total[:, None] + moves * weight
        back[slot] = steps.argmin(0)
        total = steps.min(0) + local[slot]
    path = [int(total.argmin())]
    for slot in range(count - 1, 0, -1):
        path.append(int(back[slot, path[-1]]))
    return path[::-1]


def with_chords(section: Section, *, meter: Meter, tonic: int, mode: str) -> Section:
    """The section itself if it has chords, else harmonised in the plainest way."""
    if section.chords:
        return section
    chords = harmonise(section.melody, bars=section.bars, meter=meter, tonic=tonic, mode=mode)
    return replace(section, chords=chords)


def treat(
    chords: Sequence[Chord],
    treatment: str,
    *,
    melody: Sequence[MelodyNote],
    bars: int,
    meter: Meter,
    tonic: int,
    mode: str,
    dice: Dice,
    amount: float = 0.5,
) -> tuple[Chord, ...]:
    """Change the chords of one section.

    Args:
        treatment: one of TREATMENTS.
        amount: 0 to 1, how often a chord is changed where the treatment leaves a choice.
    """
    if treatment == "given":
        return tuple(chords)
    if treatment == "reduced":
        return _reduce(chords, meter)
    if treatment == "power":
        return tuple(replace(c, quality="5", bass=c.root) for c in _reduce(chords, meter))
    if treatment == "pedal":
        pedal = tonic if dice.chance(0.8) else (tonic + 7) % 12
        return tuple(replace(c, bass=pedal) for c in chords)
    if treatment == "extended":
        return tuple(_extend(c, tonic, mode, dice) if dice.chance(amount) else c for c in chords)
    if treatment == "substituted":
        return _substitute(chords, melody, meter, tonic, mode, dice, amount)
    if treatment == "reharmonised":
        taste = Taste(fit=dice.uniform(0.6, 1.1), change=dice.uniform(0.1, 0.6), noise=0.3 + amount)
        return harmonise(
            melody, bars=bars, meter=meter, tonic=tonic, mode=mode, taste=taste, dice=dice
        )
    raise ValueError(f"treatment {treatment!r}")


def triad(quality: str) -> str:
    """The triad under a quality."""
    if quality in MINORS:
        return "min"
    if quality in ("dim", "dim7", "m7b5"):
        return "dim"
    return "aug" if quality in ("aug", "7#5") else "maj"


def _reduce(chords: Sequence[Chord], meter: Meter) -> tuple[Chord, ...]:
    """Triads in root position, one a bar: the chord that sounds longest in the bar."""
    result: list[Chord] = []
    bars: dict[int, list[tuple[float, Chord]]] = {}
    for chord in chords:
        bar = int(chord.onset / meter.bar + 1e-6)
        at = chord.onset
        while at < chord.end - 1e-6:
            end = min(chord.end, (bar + 1) * meter.bar)
            bars.setdefault(bar, []).append((end - at, chord))
            at, bar = end, bar + 1
    for bar, candidates in sorted(bars.items()):
        chord = max(candidates, key=lambda item: item[0])[1]
        quality = triad(chord.quality)
        last = result[-1] if result else None
        if last is not None and (last.root, last.quality) == (chord.root, quality):
            result[-1] = replace(last, duration=last.duration + meter.bar)
        else:
            result.append(Chord(bar * meter.bar, meter.bar, chord.root, quality, chord.root))
    return tuple(result)


def _extend(chord: Chord, tonic: int, mode: str, dice: Dice) -> Chord:
    if chord.quality in ("maj", "6"):
        if (chord.root - tonic) % 12 == 7:
            options = ("7", "9", "13", "7sus4")
        else:
            options = ("maj7", "6", "add9", "69", "maj9")
    elif chord.quality == "min":
        options = ("m7", "m9", "m6") if (chord.root - tonic) % 12 else ("m7", "m6", "m9", "mM7")
    elif chord.quality == "7":
        options = ("9", "13", "7b9", "9")
    elif chord.quality == "m7":
        options = ("m9", "m11")
    elif chord.quality == "dim":
        options = ("dim7", "m7b5")
    else:
        return chord
    return replace(chord, quality=dice.pick(options))


def _clash(melody: Sequence[MelodyNote], chord: Chord) -> float:
    """Share of melody time under the chord that lies a semitone above a chord note."""
    heard = clash = 0.0
    avoid = {(pc + 1) % 12 for pc in chord.pitch_classes} - set(chord.pitch_classes)
    for note in melody:
        over = min(note.onset + note.duration, chord.end) - max(note.onset, chord.onset)
        if over > 0:
            heard += over
            clash += over * (note.pitch % 12 in avoid)
    return clash / heard if heard else 0.0


def _substitute(chords, melody, meter, tonic, mode, dice, amount) -> tuple[Chord, ...]:
    scale = {(tonic + s) % 12 for s in MODE_SCALES[mode]}
    result: list[Chord] = []
    for index, chord in enumerate(chords):
        following = chords[index + 1] if index + 1 < len(chords) else None
        if not dice.chance(amount):
            result.append(chord)
            continue
        options: list[tuple[Chord, ...]] = []
        if chord.quality in MAJORS:
            for shift in (9, 4):
                root = (chord.root + shift) % 12
                options.append((replace(chord, root=root, quality="m7", bass=root),))
            options.append((replace(chord, bass=(chord.root + 4) % 12),))
        elif chord.quality in MINORS:
            for shift in (3, 8):
                root = (chord.root + shift) % 12
                options.append((replace(chord, root=root, quality="maj7", bass=root),))
        elif chord.quality in DOMINANTS:
            root = (chord.root + 6) % 12
            options.append((replace(chord, root=root, quality="9", bass=root),))
            options.append((replace(chord, quality="7sus4"),))
        half = chord.duration / 2
        if following is not None and half >= meter.pulse - 1e-6:
            # Second half leads into the next chord: its dominant, ii-V, or a diminished step.
            five = (following.root + 7) % 12
            two = (following.root + 2) % 12
            first = replace(chord, duration=half)
            at = chord.onset + half
            options.append((first, Chord(at, half, five, "7", five)))
            if chord.quality in DOMINANTS:
                quality = "m7" if (following.root + 9) % 12 in scale else "m7b5"
                head = Chord(chord.onset, half, two, quality, two)
                options.append((head, replace(chord, onset=at, duration=half)))
            below = (following.root + 11) % 12
            options.append((first, Chord(at, half, below, "dim7", below)))
        fitting = [o for o in options if max(_clash(melody, c) for c in o) < 0.3]
        result += dice.pick(fitting) if fitting else (chord,)
    return tuple(result)
