"""One melody against many is the comparison of all pairs."""

from dataclasses import replace

import pytest

from src.corpus.identity import MOST_COMMON, similarity_pairs
from src.corpus.neighbours import KnownMelodies
from src.corpus.tune import MelodyNote, Tune
from tests.corpus.test_plan import make_tune


def spliced(a: Tune, b: Tune, notes: int, *, up: int = 0) -> Tune:
    """The first notes of ``a``, transposed, then the rest of ``b``."""
    melody = [replace(n, pitch=n.pitch + up) for n in a.sections[0].melody[:notes]] + list(
        b.sections[0].melody[notes:]
    )
    return replace(b, sections=(replace(b.sections[0], melody=tuple(melody)),))


KNOWN = [make_tune(f"songs/{i}") for i in range(40)]


@pytest.mark.parametrize("notes", [0, 20, 30, 64])
def test_it_agrees_with_all_pairs(notes: int) -> None:
    tune = spliced(KNOWN[37], make_tune("songs/new", seed=12345), notes, up=5)
    melodies = KnownMelodies(common=MOST_COMMON)
    for known in KNOWN:
        melodies.add(known)
    for least in (0.2, 0.3, 0.5, 0.9):
        pairs = similarity_pairs([*KNOWN, tune], least=least, split=len(KNOWN))
        assert melodies.near(tune, least=least) == bool(pairs)
    assert melodies.near(tune, least=0.5) == (notes >= 50)


def test_what_was_just_added_is_known() -> None:
    melodies = KnownMelodies(common=MOST_COMMON)
    assert not melodies.near(KNOWN[0], least=0.3)
    for known in KNOWN[:3]:
        melodies.add(known)
        assert melodies.near(known, least=0.9)
    assert not melodies.near(KNOWN[3], least=0.3)


def test_a_turn_of_everybody_says_nothing() -> None:
    melodies = KnownMelodies(common=3)
    for _ in range(4):
        melodies.add(KNOWN[0])
    melodies.near(KNOWN[1], least=0.3)
    for _ in range(61):  # so that all are indexed again
        melodies.add(KNOWN[1])
    assert not melodies.near(KNOWN[0], least=0.3)


def test_short_and_motionless_melodies_are_near_nothing() -> None:
    melodies = KnownMelodies(common=MOST_COMMON)
    short = make_tune("songs/short")
    notes = tuple(MelodyNote(float(k), 1.0, 60) for k in range(64))
    still = replace(short, sections=(replace(short.sections[0], melody=notes),))
    few = replace(short, sections=(replace(short.sections[0], melody=notes[:3]),))
    for tune in (still, few):
        melodies.add(tune)
        assert not melodies.near(tune, least=0.1)
