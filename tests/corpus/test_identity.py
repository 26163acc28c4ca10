"""Works are found by melody."""

from dataclasses import replace

import numpy as np
import pytest

from src.corpus.identity import group, merge_works, same_title, similarity_pairs
from src.corpus.tune import MelodyNote, Meter, Section, Tune

SCALE = (0, 2, 4, 5, 7, 9, 11)


def random_tune(seed, *, work=None, title=None, bars=8):
    """A random walk on the major scale in mixed rhythm, two sections."""
    rng = np.random.default_rng(seed)
    sections = []
    for label in "AB":
        step, notes, at = 7, [], 0.0
        while at < bars * 4:
            step = int(np.clip(step + rng.choice([-3, -2, -1, 1, 2, 3]), 0, 14))
            length = float(rng.choice([0.5, 0.5, 1.0, 1.0, 1.5]))
            length = min(length, bars * 4 - at)
            notes.append(MelodyNote(at, length, 60 + 12 * (step // 7) + SCALE[step % 7]))
            at += length
        sections.append(Section(label, bars, tuple(notes), None))
    return Tune(
        work or f"test/{seed}",
        title or f"tune number {seed}",
        "",
        "tests",
        "none",
        Meter(4, 4),
        0,
        "major",
        100.0,
        tuple(sections),
        (0, 1),
    ).check()


def bent(tune, *, shift=0, stretch=1.0, skip=0, work="test/bent", title="something else"):
    """A copy in another key and tempo, with every so-manieth short note left out."""
    sections = []
    for section in tune.sections:
        notes = [
            MelodyNote(n.onset * stretch, n.duration * stretch, n.pitch + shift)
            for i, n in enumerate(section.melody)
            if not (skip and i % skip == skip - 1)
        ]
        sections.append(Section(section.label, round(section.bars * stretch), tuple(notes), None))
    return replace(tune, work=work, title=title, tonic=shift % 12, sections=tuple(sections)).check()


OTHERS = [random_tune(k) for k in range(100, 130)]


@pytest.mark.parametrize("shift", [-6, 3, 5])
@pytest.mark.parametrize("stretch", [1.0, 2.0, 0.5])
def test_a_transposed_copy_in_another_tempo_is_the_same_work(shift, stretch):
    tune = random_tune(1)
    merged = merge_works([tune, bent(tune, shift=shift, stretch=stretch, skip=11), *OTHERS])
    assert len(merged) == 1 + len(OTHERS)
    work = next(t for t in merged if t.settings)
    assert {work.work, work.settings[0].work} <= {"test/1", "test/bent"}
    assert work.work == work.settings[0].work


def test_different_tunes_stay_apart_whatever_their_titles():
    tunes = [random_tune(k, title="Untitled Waltz") for k in range(40)]
    assert len(merge_works(tunes)) == 40


def test_scales_are_no_evidence():
    # Two tunes of running scales in different order share many n-grams, but no passage in time.
    def runs(order, lengths, work):
        notes, at = [], 0.0
        for start, length in zip(order, lengths, strict=True):
            for k in range(6):
                notes.append(MelodyNote(at, length, 60 + SCALE[(start + k) % 7]))
                at += length
        bars = int(np.ceil(at / 4))
        section = Section("A", bars, tuple(notes), None)
        return replace(random_tune(0), work=work, title=work, sections=(section,), order=(0,))

    a = runs((0, 3, 1, 5, 2, 4, 0, 6), (0.5, 1, 0.25, 2, 0.5, 1, 0.25, 1), "test/a")
    b = runs((5, 1, 4, 0, 6, 2, 3, 1), (1, 0.5, 2, 0.25, 1, 0.25, 1, 0.5), "test/b")
    assert len(merge_works([a, b])) == 2


def test_the_result_does_not_depend_on_the_order():
    tune = random_tune(1)
    tunes = [tune, bent(tune, shift=2, skip=9), *OTHERS[:8]]
    assert merge_works(tunes) == merge_works(tunes[::-1])


def test_the_same_print_twice_is_no_variant():
    tune = random_tune(1)
    merged = merge_works([tune, replace(tune, work="test/again")])
    assert len(merged) == 1
    assert merged[0].settings == ()


def test_similarity_says_how_much_is_shared():
    tune = random_tune(1)
    half = replace(
        random_tune(2, work="test/half"), sections=(tune.sections[0], random_tune(2).sections[1])
    )
    pairs = similarity_pairs([tune, half, bent(tune, shift=1)])
    assert pairs[0, 2] > 0.95
    assert 0.3 < pairs[0, 1] < 0.7
    groups, _ = group([tune, *OTHERS])
    assert sorted(map(len, groups)) == [1] * (1 + len(OTHERS))


def test_titles():
    assert same_title("The White Cockade", "White Cockade, The")
    assert same_title("Miss McLeod's Reel", "miss mcleods")
    assert not same_title("The Reel", "The Jig")
    assert not same_title("Soldier's Joy", "The White Cockade")
