"""Bass lines, one bar at a time, for any metre (see ``patterns``)."""

from src.corpus.bar import EIGHTH, Bar, Pattern
from src.corpus.melody import Event, fold
from src.corpus.tune import Chord

LOW, HIGH = 28, 48


def bass_pitch(pitch_class: int, near: int = 36) -> int:
    """The pitch of a class nearest to another pitch, in the range of a bass."""
    pitch = near + (pitch_class - near + 6) % 12 - 6
    return fold(pitch, LOW, HIGH)


def _fifth(chord: Chord) -> int:
    """The chord's own fifth (diminished where the chord is)."""
    fifths = [c for c in chord.pitch_classes if (c - chord.root) % 12 in (6, 7, 8)]
    return fifths[0] if fifths else (chord.root + 7) % 12


def _root(bar: Bar, chord: Chord) -> int:
    pitch = bass_pitch(chord.bass, bar.memory.get("last", 36))
    bar.memory["last"] = pitch
    return pitch


def held(bar: Bar, out: list[Event]) -> None:
    """One long note a chord."""
    for c in bar.chords:
        out.append((c.onset, c.duration * 0.97, _root(bar, c), bar.velocity(76)))


def root_fifth(bar: Bar, out: list[Event]) -> None:
    """Root and fifth in turn on the strong beats."""
    pulses = bar.pulses()
    strong = pulses[: 2 if bar.meter.pulses == 2 else 1]
    if bar.meter.pulses > 3:
        strong = pulses[::2]
    for i, at in enumerate(strong):
        chord = bar.chord(at)
        fresh = i == 0 or any(abs(c.onset - at) < 0.01 for c in bar.chords)
        pitch = _root(bar, chord) if fresh else bass_pitch(_fifth(chord), 38)
        if bar.meter.pulses == 3 and bar.index % 2 and len(bar.chords) == 1:
            pitch = bass_pitch(_fifth(chord), 38)
        out.append((at, bar.meter.pulse * 0.85, pitch, bar.velocity(82)))


def walking(bar: Bar, out: list[Event]) -> None:
    """Quarter notes through the chord towards the root of the next."""
    pulses = bar.pulses()
    last = bar.memory.get("last", 36)
    for i, at in enumerate(pulses):
        chord = bar.chord(at)
        target = bar.chord(pulses[i + 1]) if i + 1 < len(pulses) else bar.following
        if i == 0 or any(abs(c.onset - at) < 0.01 for c in bar.chords):
            pitch = bass_pitch(chord.bass, last)
        elif i == len(pulses) - 1:
            goal = bass_pitch(target.bass, last)
            pitch = fold(goal + bar.dice.pick((-1, 1, -2, 2, 7)), LOW, HIGH)
        else:
            classes = [c for c in chord.pitch_classes if c != last % 12]
            pitch = bass_pitch(bar.dice.pick(classes or list(chord.pitch_classes)), last)
        out.append((at, bar.meter.pulse * 0.92, pitch, bar.velocity(80)))
        if bar.meter.compound and bar.dice.chance(0.5):
            out.append((at + 1.0, 0.45, pitch, bar.velocity(66)))
        last = pitch
    bar.memory["last"] = last


def eighth_pump(bar: Bar, out: list[Event]) -> None:
    """Rock: roots in eighths."""
    for i, at in enumerate(bar.eighths()):
        chord = bar.chord(at)
        out.append((at, 0.44, _root(bar, chord), bar.velocity(80, 5 if i % 2 == 0 else -3)))


def octaves(bar: Bar, out: list[Event]) -> None:
    """Disco: root and octave in eighths."""
    per = 3 if bar.meter.compound else 2
    for i, at in enumerate(bar.eighths()):
        root = bass_pitch(bar.chord(at).bass, 33)
        out.append((at, 0.4, root + 12 * (i % per == per - 1), bar.velocity(82)))


def off_beat(bar: Bar, out: list[Event]) -> None:
    """Electronic: the bass between the kicks."""
    for at in bar.pulses():
        place = at + (1.0 if bar.meter.compound else EIGHTH)
        out.append((place, 0.42, bass_pitch(bar.chord(place).bass, 34), bar.velocity(86)))


def dotted(bar: Bar, out: list[Event]) -> None:
    """Bossa nova: dotted quarter and eighth, root and fifth."""
    pulses = bar.pulses()
    step = 2 if bar.meter.pulses >= 4 else 1
    for i, at in enumerate(pulses[::step]):
        chord = bar.chord(at)
        long = 0.75 * step * bar.meter.pulse
        root = _root(bar, chord)
        fifth = bass_pitch(_fifth(chord), root)
        first, second = (root, fifth) if i % 2 == 0 or len(bar.chords) > 1 else (fifth, root)
        out.append((at, long * 0.95, first, bar.velocity(80)))
        if at + long < bar.end - 0.05:
            out.append((at + long, step * bar.meter.pulse * 0.22, second, bar.velocity(72)))


def reggae(bar: Bar, out: list[Event]) -> None:
    """Sparse, melodic, off the first beat now and then; the rhythm is kept."""
    eighths = bar.eighths()
    if "hits" not in bar.memory:
        hits = [i for i in range(len(eighths)) if bar.dice.chance(0.4)]
        bar.memory["hits"] = hits or [0]
        bar.memory["steps"] = [bar.dice.pick((0, 0, 7, 12, 4)) for _ in bar.memory["hits"]]
    for i, step in zip(bar.memory["hits"], bar.memory["steps"], strict=True):
        at = eighths[i]
        chord = bar.chord(at)
        classes = chord.pitch_classes
        pitch = _root(bar, chord) if step in (0, 12) else bass_pitch(_fifth(chord), 38)
        if step == 4:
            pitch = bass_pitch(classes[1], 36)
        out.append((at, 0.6, pitch, bar.velocity(86)))


def funk_bass(bar: Bar, out: list[Event]) -> None:
    """Sixteenths with octaves and ghost notes; the one is always there."""
    count = round(bar.meter.bar / 0.25)
    if "grid" not in bar.memory:
        bar.memory["grid"] = [0] + [i for i in range(1, count) if bar.dice.chance(0.3)]
        bar.memory["jump"] = [bar.dice.pick((0, 0, 12, 10, 7)) for _ in bar.memory["grid"]]
    for i, jump in zip(bar.memory["grid"], bar.memory["jump"], strict=True):
        at = bar.start + i * 0.25
        chord = bar.chord(at)
        root = bass_pitch(chord.bass, 33)
        classes = {(c - chord.root) % 12 for c in chord.pitch_classes}
        jump = jump if jump in (0, 12) or jump in classes else 0
        out.append((at, 0.2, root + jump, bar.velocity(84, 6 if i == 0 else -6)))


def habanera_bass(bar: Bar, out: list[Event]) -> None:
    """Root, dotted fifth, octave."""
    for k, at in enumerate(bar.pulses()):
        chord = bar.chord(at)
        root = bass_pitch(chord.bass, 34)
        if bar.meter.compound or k % 2:
            out.append((at, 0.5, bass_pitch(_fifth(chord), 38), bar.velocity(76)))
        else:
            out.append((at, 0.6, root, bar.velocity(82)))
            out.append((at + 0.75, 0.25, bass_pitch(_fifth(chord), root), bar.velocity(72)))


def syncopated_bass(bar: Bar, out: list[Event]) -> None:
    """Pop: root on one, then a rhythm of eighths that is kept, approach at the end of phrases."""
    eighths = bar.eighths()
    if "hits" not in bar.memory:
        bar.memory["hits"] = [0] + [i for i in range(2, len(eighths)) if bar.dice.chance(0.35)]
    hits = bar.memory["hits"]
    for k, i in enumerate(hits):
        at = eighths[i]
        end = hits[k + 1] if k + 1 < len(hits) else len(eighths)
        pitch = _root(bar, bar.chord(at))
        if bar.fill and k == len(hits) - 1 and k:
            pitch = bass_pitch((bar.following.bass + bar.dice.pick((2, 10, 11))) % 12, pitch)
        out.append((at, (end - i) * EIGHTH * 0.92, pitch, bar.velocity(82)))


def pedal(bar: Bar, out: list[Event]) -> None:
    """One note for the whole piece, struck every bar."""
    tonic = bar.memory.get("tonic", bar.chords[0].root)
    out.append((bar.start, bar.meter.bar * 0.98, bass_pitch(tonic, 36), bar.velocity(72)))


BASSES: dict[str, Pattern] = {
    p.__name__: p
    for p in (
        held,
        root_fifth,
        walking,
        eighth_pump,
        octaves,
        off_beat,
        dotted,
        reggae,
        funk_bass,
        habanera_bass,
        syncopated_bass,
        pedal,
    )
}
