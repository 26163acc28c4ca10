"""Accompaniment patterns: what a hand does in one bar, for any metre.

A pattern takes a :class:`~src.corpus.bar.Bar` and appends events ``(onset, duration, pitch,
velocity)`` in quarter notes. Metres are normalised, so a beat is a quarter (simple) or a dotted
quarter (compound), and an eighth is the common subdivision of both.
"""

from src.corpus.bar import EIGHTH, Bar, Pattern, spread_voicing, voicing
from src.corpus.melody import Event, fold


def block(bar: Bar, out: list[Event]) -> None:
    """Every chord once, held."""
    for c in bar.chords:
        velocity = bar.velocity(66)
        out += [(c.onset, c.duration * 0.98, p, velocity) for p in voicing(c, bar.low)]


def pad(bar: Bar, out: list[Event]) -> None:
    """Held chord that ties over bars: soft and wide."""
    for c in bar.chords:
        velocity = bar.velocity(56)
        pitches = voicing(c, bar.low)
        pitches.append(pitches[0] + 12)
        out += [(c.onset, c.duration * 1.02, p, velocity) for p in pitches]


def pulse(bar: Bar, out: list[Event]) -> None:
    """A chord on every beat."""
    for i, at in enumerate(bar.pulses()):
        velocity = bar.velocity(66, 6 if i == 0 else -3)
        length = bar.meter.pulse * 0.8
        out += [(at, length, p, velocity) for p in voicing(bar.chord(at), bar.low)]


def eighths(bar: Bar, out: list[Event]) -> None:
    """Repeated chords in eighths."""
    per = 3 if bar.meter.compound else 2
    for i, at in enumerate(bar.eighths()):
        velocity = bar.velocity(62, 8 if i % per == 0 else -5)
        out += [(at, 0.42, p, velocity) for p in voicing(bar.chord(at), bar.low, 3)]


def after_beat(bar: Bar, out: list[Event]) -> None:
    """The "pah" of oom-pah: chords off the strong beat (waltz: two and three)."""
    meter = bar.meter
    if meter.compound:
        places = [at + 1.0 for at in bar.pulses()]
    elif meter.pulses == 3:
        places = bar.pulses()[1:]
    elif meter.pulses == 2:
        places = [at + EIGHTH for at in bar.pulses()]
    else:
        places = bar.pulses()[1::2]
    for at in places:
        velocity = bar.velocity(62)
        out += [(at, 0.4, p, velocity) for p in voicing(bar.chord(at), bar.low, 3)]


def skank(bar: Bar, out: list[Event]) -> None:
    """Reggae: short chords on every off-beat."""
    for at in bar.pulses():
        place = at + (1.0 if bar.meter.compound else EIGHTH)
        velocity = bar.velocity(70)
        out += [(place, 0.22, p, velocity) for p in voicing(bar.chord(place), bar.low + 5, 3)]


def arpeggio(bar: Bar, out: list[Event]) -> None:
    """Broken chords in eighths, in a shape that is kept."""
    memory = bar.memory
    if "shape" not in memory:
        memory["shape"] = bar.dice.pick(
            ((0, 1, 2, 3), (0, 2, 1, 2), (0, 1, 2, 1), (3, 2, 1, 0), (0, 2, 3, 2), (0, 3, 1, 2))
        )
        memory["ring"] = bar.dice.pick((0.5, 1.0, 1.5))
    shape = memory["shape"]
    for i, at in enumerate(bar.eighths()):
        pitches = voicing(bar.chord(at), bar.low, 3)
        pitches.append(pitches[0] + 12)
        pitch = pitches[shape[i % len(shape)] % len(pitches)]
        out.append((at, min(memory["ring"], bar.end - at), pitch, bar.velocity(62, -4 * (i % 2))))


def sixteenth_arpeggio(bar: Bar, out: list[Event]) -> None:
    """Sequencer arpeggio in sixteenths over two octaves."""
    step = 0.25
    memory = bar.memory
    if "order" not in memory:
        memory["order"] = bar.dice.pick(("up", "down", "updown", "random"))
    count = round(bar.meter.bar / step)
    for i in range(count):
        at = bar.start + i * step
        pitches = voicing(bar.chord(at), bar.low, 3)
        pitches += [p + 12 for p in pitches]
        size = len(pitches)
        order = memory["order"]
        if order == "up":
            pitch = pitches[i % size]
        elif order == "down":
            pitch = pitches[-1 - i % size]
        elif order == "updown":
            place = i % (2 * size - 2)
            pitch = pitches[place if place < size else 2 * size - 2 - place]
        else:
            pitch = bar.dice.pick(pitches)
        out.append((at, step * 0.8, pitch, bar.velocity(60, 6 if i % 4 == 0 else 0)))


def rolled(bar: Bar, out: list[Event]) -> None:
    """Wide broken chords from the bass, as in a ballad for piano or harp."""
    for c in bar.chords:
        pitches = spread_voicing(c, bar.low - 12)
        step = EIGHTH
        count = max(1, round(c.duration / step))
        for i in range(count):
            at = c.onset + i * step
            place = i % (2 * len(pitches) - 2) if len(pitches) > 1 else 0
            place = place if place < len(pitches) else 2 * len(pitches) - 2 - place
            out.append((at, c.end - at, pitches[place], bar.velocity(60, 5 if i == 0 else -3)))


def strum(bar: Bar, out: list[Event]) -> None:
    """Guitar strokes down and up, on a rhythm that is kept over the piece."""
    memory = bar.memory
    count = round(bar.meter.bar / EIGHTH)
    per = 3 if bar.meter.compound else 2
    if "strokes" not in memory:
        memory["strokes"] = [
            i % per == 0 or bar.dice.chance(0.65 if i % per == per - 1 else 0.35)
            for i in range(count)
        ]
        if not bar.meter.compound and count == 8 and bar.dice.chance(0.4):
            memory["strokes"] = [True, False, True, True, False, True, True, True]
    strokes = memory["strokes"]
    for i in range(count):
        if not strokes[i % len(strokes)]:
            continue
        at = bar.start + i * EIGHTH
        chord = bar.chord(at)
        pitches = voicing(chord, bar.low - 6, 4)
        pitches = [*pitches, pitches[0] + 12, pitches[1] + 12]
        down = i % per == 0
        if not down:
            pitches = pitches[:1:-1]
        velocity = bar.velocity(68, 8 if down else -8)
        hold = next((j for j in range(i + 1, count) if strokes[j % len(strokes)]), count) - i
        for k, pitch in enumerate(pitches):
            lag = 0.022 * k
            out.append((at + lag, hold * EIGHTH * 0.95 - lag, pitch, velocity - 2 * k))


def picking(bar: Bar, out: list[Event]) -> None:
    """Travis picking: the thumb alternates, two fingers fill the eighths between."""
    per = 3 if bar.meter.compound else 2
    for i, at in enumerate(bar.eighths()):
        chord = bar.chord(at)
        root = fold(40 + (chord.bass - 40) % 12, 40, 52)
        pitches = voicing(chord, bar.low, 3)
        if i % per == 0:
            thumb = root if (i // per) % 2 == 0 else root + 7
            out.append((at, per * EIGHTH, thumb, bar.velocity(68)))
            if i == 0 or bar.dice.chance(0.2):
                out.append((at, 1.0, pitches[-1], bar.velocity(62)))
        else:
            pitch = pitches[(i * 2 + bar.index) % len(pitches)]
            out.append((at, 1.0, pitch, bar.velocity(58)))


def charleston(bar: Bar, out: list[Event]) -> None:
    """Jazz comping: sparse syncopated chords without roots."""
    meter = bar.meter
    options = [bar.start, bar.start + 1.5 * meter.pulse - (0.5 if meter.compound else 0)]
    if meter.pulses >= 3:
        options.append(bar.start + 2.5 * meter.pulse)
    for at in options:
        if at >= bar.end or not bar.dice.chance(0.75):
            continue
        chord = bar.chord(at)
        pitches = voicing(chord, bar.low + 3, 4)
        if len(pitches) > 3:
            pitches = [p for p in pitches if p % 12 != chord.root] or pitches
        length = bar.dice.pick((0.3, 0.5, 1.2))
        out += [(at, length, p, bar.velocity(62)) for p in pitches]


def bossa(bar: Bar, out: list[Event]) -> None:
    """Bossa nova rhythm in two-bar phrases; other metres get a syncopation of their own."""
    count = round(bar.meter.bar / EIGHTH)
    if count == 8:
        hits = ((0, 3, 6), (2, 5))[bar.index % 2]
    else:
        hits = [i for i in range(count) if i % 3 == 0]
    for i in hits:
        at = bar.start + i * EIGHTH
        out += [(at, 0.7, p, bar.velocity(60)) for p in voicing(bar.chord(at), bar.low, 4)]


def funk(bar: Bar, out: list[Event]) -> None:
    """Short chords on a grid of sixteenths, with ghost strokes."""
    count = round(bar.meter.bar / 0.25)
    memory = bar.memory
    if "grid" not in memory:
        memory["grid"] = [bar.dice.weighted({0: 0.55, 1: 0.25, 2: 0.2}) for _ in range(count)]
        memory["grid"][0] = 2
    for i, hit in enumerate(memory["grid"]):
        if hit:
            at = bar.start + i * 0.25
            velocity = bar.velocity(74 if hit == 2 else 46)
            pitches = voicing(bar.chord(at), bar.low + 4, 3)
            out += [(at, 0.18 if hit == 2 else 0.08, p, velocity) for p in pitches]


def syncopated(bar: Bar, out: list[Event]) -> None:
    """Pop syncopation: a random rhythm of eighths that is kept, chords held to the next hit."""
    count = round(bar.meter.bar / EIGHTH)
    memory = bar.memory
    if "hits" not in memory:
        memory["hits"] = [0] + [i for i in range(1, count) if bar.dice.chance(0.38)]
    hits = memory["hits"]
    for k, i in enumerate(hits):
        at = bar.start + i * EIGHTH
        end = hits[k + 1] if k + 1 < len(hits) else count
        length = (end - i) * EIGHTH * 0.9
        pitches = voicing(bar.chord(at), bar.low, 4)
        out += [(at, length, p, bar.velocity(66, 6 if i == 0 else 0)) for p in pitches]


def gated(bar: Bar, out: list[Event]) -> None:
    """Electronic: chords ducked on the beat, sounding on the off-beats."""
    for at in bar.pulses():
        place = at + (0.5 if bar.meter.compound else 0.25)
        length = bar.meter.pulse - (place - at)
        pitches = voicing(bar.chord(place), bar.low, 4)
        out += [(place, length * 0.9, p, bar.velocity(64)) for p in pitches]


def drone(bar: Bar, out: list[Event]) -> None:
    """Tonic and fifth held, whatever the chord; the tonic is in memory."""
    tonic = bar.memory.get("tonic", bar.chords[0].root)
    low = 48 + (tonic - 48) % 12
    if low > 55:
        low -= 12
    for p in (low, low + 7, low + 12):
        out.append((bar.start, bar.meter.bar * 1.01, p, bar.velocity(58)))


def stride(bar: Bar, out: list[Event]) -> None:
    """Stride piano: bass note (or tenth) and chord in turn."""
    for i, at in enumerate(bar.pulses()):
        chord = bar.chord(at)
        strong = i == 0 or (bar.meter.pulses == 4 and i == 2)
        if strong:
            root = fold(36 + (chord.bass if i == 0 else chord.root + 7) % 12, 36, 48)
            out.append((at, 0.7, root, bar.velocity(70)))
            if bar.meter.pulses == 2 and not bar.meter.compound:
                pitches = voicing(chord, bar.low, 3)
                out += [(at + EIGHTH, 0.35, p, bar.velocity(60)) for p in pitches]
        else:
            out += [(at, 0.5, p, bar.velocity(60)) for p in voicing(chord, bar.low, 4)]
        if bar.meter.compound:
            pitches = voicing(chord, bar.low, 3)
            out += [(at + 1.0, 0.4, p, bar.velocity(58)) for p in pitches]


def alberti(bar: Bar, out: list[Event]) -> None:
    """Low, high, middle, high."""
    shape = (0, 1, 2) if bar.meter.compound else (0, 2, 1, 2)
    for i, at in enumerate(bar.eighths()):
        pitches = voicing(bar.chord(at), bar.low - 4, 3)
        out.append((at, 0.48, pitches[shape[i % len(shape)] % len(pitches)], bar.velocity(58)))


def tremolo(bar: Bar, out: list[Event]) -> None:
    """Strings (or mandolins) repeating sixteenths."""
    for c in bar.chords:
        pitches = voicing(c, bar.low, 3)
        count = max(1, round(c.duration / 0.25))
        for i in range(count):
            at = c.onset + i * 0.25
            out += [(at, 0.23, p, bar.velocity(52, 5 if i % 4 == 0 else 0)) for p in pitches]


def hymn(bar: Bar, out: list[Event]) -> None:
    """Four parts moving in beats: tenor, alto and a bass an octave below."""
    for at in bar.pulses():
        chord = bar.chord(at)
        pitches = voicing(chord, bar.low, 3)
        bass = fold(40 + (chord.bass - 40) % 12, 38, 52)
        length = bar.meter.pulse * 0.97
        out += [(at, length, p, bar.velocity(64)) for p in (bass, *pitches)]


def habanera(bar: Bar, out: list[Event]) -> None:
    """Dotted rhythm of habanera and tango in chords."""
    for k, at in enumerate(bar.pulses()):
        chord = bar.chord(at)
        places = (at, at + 0.75) if k % 2 == 0 and not bar.meter.compound else (at,)
        for place in places:
            pitches = voicing(chord, bar.low, 3)
            out += [(place, 0.25, p, bar.velocity(66)) for p in pitches]


COMPING: dict[str, Pattern] = {
    p.__name__: p
    for p in (
        block,
        pad,
        pulse,
        eighths,
        after_beat,
        skank,
        arpeggio,
        sixteenth_arpeggio,
        rolled,
        strum,
        picking,
        charleston,
        bossa,
        funk,
        syncopated,
        gated,
        drone,
        stride,
        alberti,
        tremolo,
        hymn,
        habanera,
    )
}
