"""Arrangements: independent, repeatable, playable, and what their choices say they are."""

import json
from dataclasses import replace

import numpy as np
import pytest

from src.corpus import arrange as arranging
from src.corpus.arrange import arrange
from src.corpus.dice import Dice, generator
from src.corpus.harmony import TREATMENTS
from src.corpus.styles import STYLES
from tests.corpus.tunes import simple_tune

METERS = [(2, 4), (3, 4), (4, 4), (6, 8), (9, 8), (5, 4)]


def only_style(monkeypatch, name):
    monkeypatch.setattr(arranging, "STYLES", {name: STYLES[name]})


def signature(performance):
    return tuple((t.name, t.program, t.notes) for t in performance.tracks)


def test_same_seed_and_version_give_the_same_performance():
    tune = simple_tune()
    first = arrange(tune, seed=3, version=7, target_duration=(45, 60))
    second = arrange(simple_tune(), seed=3, version=7, target_duration=(45, 60))
    assert signature(first) == signature(second)
    assert first == second


def test_known_stream_does_not_depend_on_the_process():
    # Python's hash() of strings changes from run to run; this one must not.
    assert Dice(generator(1, "openewld/dinah", 2)).uniform() == pytest.approx(
        Dice(generator(1, "openewld/dinah", 2)).uniform()
    )
    assert generator("1").random() != generator(1).random()
    assert generator(1, 23).random() != generator(12, 3).random()
    assert generator(0, "work", 0).random() == pytest.approx(0.6820530838282861, abs=1e-15)


def test_versions_works_and_seeds_differ():
    tune = simple_tune()
    seen = {signature(arrange(tune, seed=1, version=v)) for v in range(12)}
    seen.add(signature(arrange(tune, seed=2, version=0)))
    seen.add(signature(arrange(replace(tune, work="test/other"), seed=1, version=0)))
    assert len(seen) == 14


def test_versions_vary_in_everything_that_real_covers_vary_in():
    tune = simple_tune()
    choices = [arrange(tune, seed=5, version=v).choices for v in range(120)]
    assert {c["transposition"] % 12 for c in choices} == set(range(12))
    assert len({c["style"] for c in choices}) >= 20
    assert len({c["lead"] for c in choices}) >= 25
    assert {c["harmony"] for c in choices} >= {*TREATMENTS, "none"} - {"power", "pedal"}
    assert {c["melody_level"] for c in choices} == {"dominant", "balanced", "weak"}
    factors = [c["tempo_factor"] for c in choices]
    assert min(factors) < 0.8
    assert max(factors) > 1.25
    assert any(c["solos"] for c in choices)
    assert any(abs(c["tuning_cents"]) > 15 for c in choices)
    assert len({tuple(c["structure"]) for c in choices}) > 30


@pytest.mark.parametrize("meter", METERS)
@pytest.mark.parametrize("target", [(45, 60), (60, 150)])
def test_durations_are_in_the_target_and_notes_can_be_played(meter, target):
    tune = simple_tune(meter, chords=meter != (6, 8))
    for version in range(12):
        performance = arrange(tune, seed=9, version=version, target_duration=target)
        assert target[0] <= performance.duration <= target[1], performance.choices["structure"]
        performance.validate()
        onsets = [n.onset for track in performance.tracks for n in track.notes]
        assert min(onsets) == 0
        assert json.loads(json.dumps(performance.choices)) == performance.choices


@pytest.mark.parametrize("style", sorted(STYLES))
@pytest.mark.parametrize("meter", [(2, 4), (3, 4), (4, 4), (6, 8)])
def test_every_style_plays_in_every_meter(style, meter, monkeypatch):
    only_style(monkeypatch, style)
    tune = simple_tune(meter)
    for version in range(2):
        performance = arrange(tune, seed=1, version=version, target_duration=(30, 45))
        assert performance.choices["style"] == style
        players = performance.choices["players"]
        names = {t.name for t in performance.tracks}
        assert {p["name"] for p in players} <= names  # nobody is hired and never plays
        assert names & {"melody", "melody 2"}
        for track in performance.tracks:
            # A line, not a few notes: every player plays through a good part of the piece.
            assert len(track.notes) >= 3
        if style != "unaccompanied":
            assert players


def pitch_classes(performance):
    counts = np.zeros(12)
    for track in performance.tracks:
        if track.name == "melody":
            for note in track.notes:
                counts[note.pitch % 12] += note.duration
    return counts / counts.sum()


def test_transposition_recorded_is_transposition_heard(monkeypatch):
    only_style(monkeypatch, "unaccompanied")
    tune = simple_tune()
    reference = np.zeros(12)
    for section in tune.sections:
        for note in section.melody:
            reference[note.pitch % 12] += note.duration
    checked = 0
    for version in range(40):
        performance = arrange(tune, seed=4, version=version)
        choices = performance.choices
        if choices["mode_changed"] or choices["melody"]["fidelity"] == "strong":
            continue
        if choices["solos"] or choices["two_leads"]:
            continue
        heard = pitch_classes(performance)
        scores = [float(np.roll(reference, shift) @ heard) for shift in range(12)]
        assert int(np.argmax(scores)) == choices["transposition"] % 12
        assert choices["key"] == choices["transposition"] % 12
        checked += 1
    assert checked >= 10


def test_accompaniment_is_in_the_recorded_key(monkeypatch):
    only_style(monkeypatch, "folk strum")
    tune = simple_tune()
    scale = {0, 2, 4, 5, 7, 9, 11}
    for version in range(30):
        performance = arrange(tune, seed=8, version=version)
        choices = performance.choices
        plain = {choices["harmony"], choices["harmony_later"]} <= {"given", "reduced"}
        if not plain or choices["mode_changed"]:
            continue
        key = choices["key"]
        for track in performance.tracks:
            if track.name == "chords":
                assert {(n.pitch - key) % 12 for n in track.notes} <= scale


def test_settings_are_drawn_and_can_be_chosen():
    other = simple_tune(steps=((0, 4, 2, 1, 3, 5, 2), (7, 5, 3, 4, 6, 2, 1)))
    tune = simple_tune(settings=[other, other])
    drawn = {arrange(tune, seed=1, version=v).choices["setting"] for v in range(30)}
    assert drawn == {0, 1, 2}
    assert arrange(tune, seed=1, version=0, setting=2).choices["setting"] == 2


def test_a_version_keeps_the_melody_recognisable():
    # Interval trigrams of the tune are found in plain and free versions of it.
    tune = simple_tune()
    line = [n.pitch for s in tune.sections for n in s.melody]
    grams = {tuple(np.diff(line[i : i + 4])) for i in range(len(line) - 3)}
    for version in range(30):
        performance = arrange(tune, seed=11, version=version)
        choices = performance.choices
        if choices["mode_changed"] or choices["melody"]["fidelity"] == "strong":
            continue
        notes = [n for t in performance.tracks if t.name in ("melody", "melody 2") for n in t.notes]
        heard = [n.pitch for n in sorted(notes, key=lambda n: n.onset)]
        found = {tuple(np.diff(heard[i : i + 4])) for i in range(len(heard) - 3)} & grams
        assert len(found) >= 0.25 * len(grams), choices["melody"]


def test_what_every_track_plays_with_is_recorded():
    for version in range(6):
        performance = arrange(simple_tune(), seed=4, version=version)
        found = [(t.name, t.program, t.gain, t.pan) for t in performance.tracks]
        assert [tuple(track.values()) for track in performance.choices["tracks"]] == found
