"""Tunes in another metre: beats stay beats, chords stay under their notes."""

from dataclasses import replace
from itertools import pairwise

import pytest

from src.corpus.arrange import arrange
from src.corpus.contrafact import play_contrafact
from src.corpus.dice import Dice, generator
from src.corpus.metre import CHANGES, crowded, draw_metre_change, in_metre
from src.corpus.tune import MelodyNote, Section
from tests.corpus.tunes import simple_tune


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_bars_stay_bars_and_chords_stay_under_their_notes(change) -> None:
    tune = simple_tune((change.source.beats, change.source.unit))
    bent = in_metre(tune, change).check()
    assert bent.meter == change.target
    assert change.after[-1] / change.before[-1] == pytest.approx(
        change.bars * change.target.bar / change.source.bar
    )
    for old, new in zip(tune.sections, bent.sections, strict=True):
        assert new.bars == change.bars * old.bars
        assert new.chords[-1].end == pytest.approx(new.bars * change.target.bar)
        assert len(new.melody) >= 0.9 * len(old.melody)
        # First beats stay first beats.
        firsts = [
            (n.pitch, change.bars * n.onset / change.source.bar)
            for n in old.melody
            if n.onset >= 0 and n.onset % change.source.bar == 0
        ]
        placed = {(n.pitch, round(n.onset / change.target.bar, 3)) for n in new.melody}
        assert set(firsts) <= placed
        for note, following in pairwise(new.melody):
            assert note.onset < following.onset
            assert note.onset + note.duration <= following.onset + 1e-3
        for note in new.melody:
            origin = min(old.melody, key=lambda n: abs(change.time(n.onset) - note.onset))
            over = [[c.root for c in s.chords if c.onset - 1e-3 <= at < c.end - 1e-3]
                    for s, at in ((old, origin.onset), (new, note.onset))]  # fmt: skip
            assert over[0] == over[1]


def test_a_pickup_leads_into_the_first_beat() -> None:
    change = next(c for c in CHANGES if c.name == "6/8 to 2/4, eighths evened")
    assert [change.time(t) for t in (-1.5, -0.5, 0.0, 1.0, 1.5)] == [-1.0, -0.5, 0.0, 0.5, 1.0]


def test_crowded_notes_are_not_pressed_further() -> None:
    tune = simple_tune()
    quick = tuple(MelodyNote(i / 8, 1 / 8, 60 + i % 5) for i in range(8 * 32))
    crowd = replace(tune, sections=(Section("A", 8, quick, None),), order=(0,))
    drawn = {draw_metre_change(crowd, Dice(generator(k)), 1.0) for k in range(40)}
    free = {draw_metre_change(tune, Dice(generator(k)), 1.0) for k in range(40)}
    assert all(crowded(crowd, change) < 0.05 for change in drawn)
    assert drawn < free
    assert len(free) == sum(change.source == tune.meter for change in CHANGES)
    assert draw_metre_change(simple_tune((5, 4)), Dice(generator(1)), 1.0) is None


def test_some_versions_change_and_the_others_do_not_notice() -> None:
    options = {"seed": 4, "target_duration": (40, 60)}
    tune = simple_tune()
    changed = 0
    for version in range(24):
        plain = arrange(tune, version=version, **options)
        drawn = arrange(tune, version=version, metre_changes=0.4, **options)
        if drawn.choices["metre_change"] is None:
            assert drawn == plain
            continue
        changed += 1
        before, after = drawn.choices["metre_change"].split(",")[0].split(" to ")
        assert (plain.choices["meter"], drawn.choices["meter"]) == (before, after)
        assert drawn.choices["style"] == plain.choices["style"]
        assert drawn.choices["key"] == plain.choices["key"]
        assert 40 <= drawn.duration <= 60
    assert 4 <= changed <= 16


def test_a_contrafact_changes_metre_with_its_model() -> None:
    other = simple_tune(work="test/other", steps=((4, 3, 1, 2, 0), (2, 0, 1, 3, 5)))
    played = play_contrafact(
        other, simple_tune(), seed=4, version=0, model_version=0, metre_changes=1.0
    )
    model = arrange(simple_tune(), seed=4, version=0, metre_changes=1.0)
    assert model.choices["meter"] != "4/4"
    assert played.choices["meter"] == model.choices["meter"]
