"""Harmonisation and treatments of chords."""

import pytest

from src.corpus.dice import Dice, generator
from src.corpus.harmony import TREATMENTS, Taste, harmonise, treat, with_chords
from src.corpus.tune import MODE_SCALES, Chord, MelodyNote, Meter
from tests.corpus.tunes import simple_tune

C = Meter(4, 4)


def cover(chords, length):
    """Chords follow one another without gaps from 0 to the end."""
    at = 0.0
    for chord in chords:
        assert chord.onset == pytest.approx(at, abs=1e-6)
        assert chord.duration > 0
        at = chord.end
    assert at == pytest.approx(length)


@pytest.mark.parametrize("meter", [(2, 4), (3, 4), (4, 4), (6, 8), (9, 8)])
def test_a_plain_harmonisation_stays_in_the_key_and_ends_on_the_tonic(meter):
    tune = simple_tune(meter, chords=False)
    scale = set(MODE_SCALES["major"])
    for section in tune.sections:
        chords = with_chords(section, meter=tune.meter, tonic=0, mode="major").chords
        cover(chords, section.bars * tune.meter.bar)
        inside = sum(c.duration for c in chords if set(c.pitch_classes) <= scale)
        assert inside >= 0.8 * section.bars * tune.meter.bar
        assert chords[-1].root == 0
        # The chords carry the melody: most of it is chord notes.
        fitting = sum(
            n.duration
            for n in section.melody
            for c in chords
            if c.onset <= n.onset < c.end and n.pitch % 12 in c.pitch_classes
        )
        assert fitting >= 0.5 * sum(n.duration for n in section.melody)


def test_obvious_chords_are_found():
    bars = [(60, 64, 67, 64), (65, 69, 72, 69), (67, 71, 74, 71), (60, 64, 67, 60)]
    line = [p for bar in bars for p in bar]
    melody = [MelodyNote(i, 1.0, p) for i, p in enumerate(line)]
    chords = harmonise(melody, bars=4, meter=C, tonic=0, mode="major")
    assert [(c.onset, c.root) for c in chords] == [(0, 0), (4, 5), (8, 7), (12, 0)]
    # Transposed, the same chords a fourth higher.
    higher = [MelodyNote(n.onset, n.duration, n.pitch + 5) for n in melody]
    moved = harmonise(higher, bars=4, meter=C, tonic=5, mode="major")
    assert [(c.root - 5) % 12 for c in moved] == [c.root for c in chords]


@pytest.mark.parametrize("mode", sorted(MODE_SCALES))
def test_every_mode_can_be_harmonised(mode):
    melody = [MelodyNote(i, 1.0, 60 + s) for i, s in enumerate((*MODE_SCALES[mode], 0))]
    chords = harmonise(melody, bars=2, meter=C, tonic=0, mode=mode)
    cover(chords, 8.0)
    assert chords[-1].root == 0


def test_noise_finds_other_chords():
    melody = simple_tune().sections[0].melody
    found = {
        harmonise(
            melody,
            bars=8,
            meter=C,
            tonic=0,
            mode="major",
            taste=Taste(fit=0.8, noise=0.7),
            dice=Dice(generator("noise", k)),
        )
        for k in range(10)
    }
    assert len(found) >= 5


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_treatments_cover_the_section(treatment):
    tune = simple_tune()
    section = tune.sections[0]
    changed = 0
    for k in range(8):
        chords = treat(
            section.chords,
            treatment,
            melody=section.melody,
            bars=8,
            meter=C,
            tonic=0,
            mode="major",
            dice=Dice(generator(treatment, k)),
            amount=0.8,
        )
        cover(chords, 32.0)
        changed += chords != section.chords
    assert changed == 0 if treatment == "given" else changed >= 6


def test_reduced_chords_are_triads_in_root_position_one_a_bar():
    chords = (
        Chord(0, 3, 0, "maj7", 4),
        Chord(3, 1, 7, "9", 7),
        Chord(4, 4, 0, "6", 7),
        Chord(8, 8, 9, "m7b5", 9),
    )
    reduced = treat(
        chords,
        "reduced",
        melody=(),
        bars=4,
        meter=C,
        tonic=0,
        mode="major",
        dice=Dice(generator(0)),
    )
    assert [(c.onset, c.duration, c.root, c.quality, c.bass) for c in reduced] == [
        (0, 8, 0, "maj", 0),
        (8, 8, 9, "dim", 9),
    ]


def test_unknown_treatment_is_an_error():
    dice = Dice(generator(0))
    with pytest.raises(ValueError, match="polytonal"):
        treat((), "polytonal", melody=(), bars=1, meter=C, tonic=0, mode="major", dice=dice)
