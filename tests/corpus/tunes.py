"""Small tunes for the tests, in every metre."""

from src.corpus.tune import Chord, MelodyNote, Meter, Section, Tune

SCALE = (0, 2, 4, 5, 7, 9, 11, 12)


def phrase(steps, meter, *, tonic=60, bars=8):
    """Eighth notes through ``steps`` of the major scale, each bar closed by a longer note."""
    notes = []
    place = 0
    for bar in range(bars):
        at = bar * meter.bar
        while at < (bar + 1) * meter.bar - 1e-9:
            last = at + 1.0 >= (bar + 1) * meter.bar - 1e-9
            length = (bar + 1) * meter.bar - at if last else 0.5
            step = steps[place % len(steps)]
            notes.append(MelodyNote(at, length, tonic + 12 * (step // 7) + SCALE[step % 7]))
            at += length
            place += 1
    notes[-1] = MelodyNote(notes[-1].onset, notes[-1].duration, tonic)
    return tuple(notes)


def simple_tune(meter=(4, 4), *, chords=True, work="test/tune", steps=None, settings=()):
    """Two sections of eight bars in C major, A A B."""
    meter = Meter(*meter)
    steps = steps or ((0, 2, 4, 2, 5, 4, 3, 1, 2, 6, 4), (4, 7, 5, 4, 2, 3, 6, 1, 0, 4, 5, 2, 1))
    sections = []
    for label, line in zip("AB", steps, strict=True):
        given = None
        if chords:
            roots = (0, 5, 7, 0, 9, 2, 7, 0)
            kinds = ("maj", "maj", "7", "maj", "min", "min", "7", "maj")
            given = tuple(
                Chord(i * meter.bar, meter.bar, root, kind, root)
                for i, (root, kind) in enumerate(zip(roots, kinds, strict=True))
            )
        melody = phrase(line, meter)
        if label == "B":
            melody = (MelodyNote(-0.5, 0.5, 67), *melody)
        sections.append(Section(label, 8, melody, given))
    return Tune(
        work=work,
        title="A tune",
        composer="nobody",
        source="tests",
        licence="none",
        meter=meter,
        tonic=0,
        mode="major",
        tempo=110.0 * meter.pulse,
        sections=tuple(sections),
        order=(0, 0, 1),
        settings=tuple(settings),
    ).check()
