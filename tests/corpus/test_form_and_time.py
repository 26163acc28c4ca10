"""Forms fit the time they are given; clocks run forward."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.corpus.dice import Dice, generator
from src.corpus.structure import describe, plan_form, total_bars
from src.corpus.timing import Clock, TimingPlan, drop_collisions, humanise
from src.corpus.tune import Meter
from tests.corpus.tunes import simple_tune


@settings(max_examples=60, deadline=None)
@given(least=st.integers(8, 60), extra=st.integers(4, 60), k=st.integers(0, 1000))
def test_a_form_has_the_bars_asked_for_and_one_whole_section(least, extra, k):
    tune = simple_tune()
    most = least + extra
    items = plan_form(tune, Dice(generator("form", k)), least=least, most=most)
    assert least - 2 <= total_bars(items) <= most
    themes = [i for i in items if i.kind == "theme"]
    assert any(i.first == 0 and i.bars == tune.sections[i.section].bars for i in themes)
    for item in items:
        assert item.bars >= 1
        if item.kind in ("theme", "tag", "ending"):
            assert item.first + item.bars <= tune.sections[item.section].bars
    assert len(describe(items, tune)) == len(items)


def test_forms_repeat_cut_and_add():
    tune = simple_tune()
    kinds, forms = set(), set()
    for k in range(80):
        items = plan_form(tune, Dice(generator("kinds", k)), least=40, most=60, solos=0.5)
        kinds |= {i.kind for i in items}
        forms.add(tuple(describe(items, tune)))
    assert kinds == {"intro", "theme", "solo", "interlude", "tag", "ending"}
    assert len(forms) > 40


def clock(plan, meter=(4, 4), length=64.0):
    return Clock(plan, length=length, meter=Meter(*meter), dice=Dice(generator("clock")))


def test_a_steady_clock_is_exact():
    steady = clock(TimingPlan(tempo=120))
    assert steady.seconds(0) == 0
    assert steady.seconds(8) == pytest.approx(4.0)
    assert steady.seconds(8.25) == pytest.approx(4.125)


def test_swing_delays_the_second_eighth_only():
    swung = clock(TimingPlan(tempo=60, swing=2 / 3))
    assert [swung.seconds(t) for t in (0, 0.5, 1, 1.5)] == pytest.approx([0, 2 / 3, 1, 5 / 3])
    compound = clock(TimingPlan(tempo=60, swing=2 / 3), meter=(6, 8))
    assert compound.seconds(0.5) == pytest.approx(0.5)


def test_ritardando_and_trend_slow_down():
    late = clock(TimingPlan(tempo=120, ritardando=0.4))
    assert late.seconds(64) - late.seconds(60) > 1.2 * (late.seconds(4) - late.seconds(0))
    faster = clock(TimingPlan(tempo=120, trend=0.2))
    assert faster.seconds(64) - faster.seconds(60) < faster.seconds(4) - faster.seconds(0)


@settings(max_examples=40, deadline=None)
@given(
    tempo=st.floats(40, 240),
    drift=st.floats(0, 0.05),
    rubato=st.floats(0, 0.2),
    swing=st.floats(0.5, 0.7),
    ritardando=st.floats(0, 0.5),
)
def test_time_always_runs_forward(tempo, drift, rubato, swing, ritardando):
    running = clock(TimingPlan(tempo, drift, rubato, 4, swing, ritardando))
    times = [running.seconds(k / 4) for k in range(64 * 4 + 16)]
    assert all(b > a for a, b in itertools.pairwise(times))


def test_humanised_notes_are_sorted_valid_and_near_the_beat():
    events = [(k / 2, 0.5, 60 + k % 12, 80) for k in range(100)]
    steady = clock(TimingPlan(tempo=120, human=0.01))
    notes = humanise(events, steady, Dice(generator("hand")), monophonic=True)
    assert len(notes) == 100
    assert all(1 <= n.velocity <= 127 for n in notes)
    for k, note in enumerate(notes):
        assert note.onset == pytest.approx(k / 4, abs=0.06)
    for note, following in itertools.pairwise(notes):
        assert following.onset >= note.onset
        assert note.end <= following.onset + 0.021


def test_a_key_is_released_before_it_is_struck_again():
    events = [(0.0, 4.0, 60, 80), (1.0, 1.0, 60, 80), (1.01, 1.0, 60, 80), (0.0, 4.0, 64, 80)]
    kept = drop_collisions(events)
    sixty = [e for e in kept if e[2] == 60]
    assert len(sixty) == 2
    assert sixty[0][0] + sixty[0][1] <= sixty[1][0]
