"""What players do to a melody, and what they leave alone."""

import itertools

import pytest

from src.corpus.dice import Dice, generator
from src.corpus.instruments import LEADS
from src.corpus.melody import (
    ORNAMENTS,
    MelodyPlan,
    fit_register,
    improvise,
    ornament,
    play,
    scale_step,
    second_voice,
)
from src.corpus.tune import MODE_SCALES, Meter
from tests.corpus.tunes import simple_tune

MAJOR = frozenset(MODE_SCALES["major"])


def played(plan, *, k=0, meter=(4, 4)):
    tune = simple_tune(meter)
    section = tune.sections[0]
    events = play(
        section.melody,
        plan,
        meter=tune.meter,
        scale=MAJOR,
        chords=section.chords,
        dice=Dice(generator("melody", k)),
    )
    return section, events


def test_a_plain_plan_changes_nothing():
    section, events = played(MelodyPlan(articulation=1.0))
    assert [(on, d, p) for on, d, p, _ in events] == [
        (n.onset, n.duration, n.pitch) for n in section.melody
    ]


@pytest.mark.parametrize("kind", sorted({k for kinds in ORNAMENTS.values() for k in kinds}))
@pytest.mark.parametrize("duration", [0.5, 1.0, 3.0])
def test_ornaments_fill_the_time_of_the_note_they_replace(kind, duration):
    for k in range(4):
        notes = ornament(kind, 2.0, duration, 67, 80, MAJOR, 72, Dice(generator(kind, k)))
        assert notes[0][0] == pytest.approx(2.0)
        assert max(on + d for on, d, _, _ in notes) == pytest.approx(2.0 + duration, abs=0.07)
        assert any(p == 67 for _, _, p, _ in notes)
        assert all(d > 0 and 1 <= v <= 127 for _, d, _, v in notes)
        assert all(b[0] > a[0] for a, b in itertools.pairwise(notes))


def test_unknown_ornament_is_an_error():
    with pytest.raises(ValueError, match="wobble"):
        ornament("wobble", 0, 1, 60, 80, MAJOR, None, Dice(generator(0)))


def test_amounts_do_what_they_say():
    section, plain = played(MelodyPlan())
    count = len(section.melody)
    assert len(played(MelodyPlan(omission=0.4))[1]) < count
    assert len(played(MelodyPlan(simplify=0.9))[1]) < count
    assert len(played(MelodyPlan(ornaments="baroque", ornament=0.9))[1]) > count
    assert len(played(MelodyPlan(split=1.0), meter=(3, 4))[1]) > len(
        played(MelodyPlan(), meter=(3, 4))[1]
    )
    altered = played(MelodyPlan(alter=0.5))[1]
    assert [e[0] for e in altered] == [e[0] for e in plain]
    assert [e[2] for e in altered] != [e[2] for e in plain]
    for name in ("displacement", "anticipation", "delay"):
        moved = played(MelodyPlan(**{name: 0.8}), k=3)[1]
        if name != "delay":  # without a rest there is one phrase; it may begin in time
            assert [e[0] for e in moved] != [e[0] for e in plain]
        assert [e[2] for e in moved] == [e[2] for e in plain]


def test_onsets_stay_sorted_and_lengths_positive_under_everything_at_once():
    plan = MelodyPlan("folk", 0.8, 0.2, 0.5, 0.5, 0.5, 0.4, 0.5, 0.3, 0.6)
    for k in range(20):
        _, events = played(plan, k=k)
        assert events == sorted(events)
        assert all(d > 0 for _, d, _, _ in events)


def test_scale_steps():
    assert [scale_step(60, n, MAJOR) for n in (1, 2, -1, 7)] == [62, 64, 59, 72]
    third = second_voice([(0, 1, 60, 80), (1, 1, 62, 80)], 2, MAJOR)
    assert [p for _, _, p, _ in third] == [64, 65]


@pytest.mark.parametrize("lead", LEADS, ids=lambda lead: lead.name)
def test_register_moves_by_octaves_into_the_range(lead):
    pitches = [n.pitch for s in simple_tune().sections for n in s.melody]
    shift = fit_register(pitches, lead.low, lead.high)
    assert shift % 12 == 0
    inside = sum(lead.low - 5 <= p + shift <= lead.high + 5 for p in pitches)
    assert inside >= 0.9 * len(pitches)


def test_a_solo_follows_the_chords_and_stays_in_range():
    tune = simple_tune()
    chords = tune.sections[0].chords
    for density in (0.2, 0.6, 0.95):
        line = improvise(
            chords,
            length=32.0,
            meter=Meter(4, 4),
            scale=MAJOR,
            low=55,
            high=79,
            dice=Dice(generator("solo", int(100 * density))),
            density=density,
        )
        assert all(0 <= on < 32 and on + d <= 32.001 for on, d, _, _ in line)
        assert all(55 <= p <= 79 for _, _, p, _ in line)
        strong = [(on, p) for on, _, p, _ in line if on % 1 == 0]
        hits = sum(
            p % 12 in next(c for c in chords if c.onset <= on < c.end).pitch_classes
            for on, p in strong
        )
        assert hits >= 0.6 * len(strong)
