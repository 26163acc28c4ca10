"""Versions with known offsets: what is cut, stretched and transposed is where it should be."""

import numpy as np
import pytest

from src.models.window_embedder import Feature2Embeddings
from src.retrieval.alignment import align_pair
from src.retrieval.known_offsets import Change, changed, true_shift
from tests.retrieval.music import MeanModel, tune

RECORDING = tune(0, 240, step_s=2.5)
SECONDS = len(RECORDING) / 25


def version(change, seed=0):
    return changed(RECORDING, change, generator=np.random.default_rng(seed))


def test_nothing_changed_is_the_recording():
    np.testing.assert_array_equal(version(Change()), RECORDING)


def test_cut_and_tempo():
    cut = version(Change(cut_s=20))
    np.testing.assert_array_equal(cut, RECORDING[500:])
    faster = version(Change(cut_s=20, tempo=1.25))
    assert len(faster) == pytest.approx((SECONDS - 20) * 25 / 1.25, abs=1)
    change = Change(cut_s=20, tempo=1.25)
    np.testing.assert_allclose(faster[25 * 8], RECORDING[round(25 * change.source_s(8))])
    assert change.second_of(change.source_s(8)) == 8


def test_transposition_leaves_no_bin_that_came_round():
    up, down = version(Change(bins=3)), version(Change(bins=-2))
    np.testing.assert_array_equal(up[:, 3:], RECORDING[:, :-3])
    assert (up[:, :3] == -100).all()
    np.testing.assert_array_equal(down[:, :-2], RECORDING[:, 2:])
    assert (down[:, -2:] == -100).all()


def test_noise_has_the_size_that_was_asked_for():
    noisy = version(Change(noise_db=4))
    inside = RECORDING < -20
    assert np.std((noisy - RECORDING)[inside]) == pytest.approx(4, rel=0.02)
    assert noisy.max() <= 0


def test_true_shift_is_antisymmetric_and_that_of_the_cut():
    a, b = Change(), Change(cut_s=30)
    assert true_shift(a, b, 200) == 30
    assert true_shift(b, a, 200) == -30
    slow = Change(cut_s=10, tempo=0.8)
    assert true_shift(a, slow, 200) == -true_shift(slow, a, 200)
    # In the middle, at 105 s of the recording, the slow version is at (105 - 10) / 0.8.
    assert true_shift(a, slow, 200) == pytest.approx(105 - 95 / 0.8)


def test_a_recording_shorter_than_the_cut_is_refused():
    with pytest.raises(ValueError, match="nothing remains"):
        version(Change(cut_s=SECONDS + 1))


@pytest.mark.parametrize(
    "change",
    [
        Change(cut_s=30),
        Change(cut_s=52),
        Change(cut_s=45, noise_db=6),
        Change(cut_s=15, tempo=1.1),
        Change(tempo=0.9, noise_db=6),
    ],
)
def test_alignment_finds_the_offset_within_a_step(change):
    embedder = Feature2Embeddings(MeanModel(), chunk_s=15)
    i, j = embedder(RECORDING), embedder(version(change))
    expected = true_shift(Change(), change, SECONDS)
    assert abs(align_pair(*i, *j) - expected) <= 15
    assert abs(align_pair(*j, *i) + expected) <= 15
