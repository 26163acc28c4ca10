"""Spectral augmentation: recorded results draw by draw, recorded statistics, what must hold."""

import random
from collections import Counter

import numpy as np
import pytest

from src.data.spec_augment import SpecAugment
from src.errors import UserError
from tests.parity_weights import read_fixture

RECORDED = read_fixture("c17_dataset.json")
HPARAMS = RECORDED["specaug"]["hparams"]
ALWAYS = {
    "roll_pitch": {"prob": 1.0, "shift_num": 12},
    "random_erase": {"prob": 1.0, "erase_num": 4},
}


def ramp(frames, bins=96):
    return (-np.arange(frames)[:, None] - np.arange(bins) / 100).astype(np.float32)


@pytest.mark.parametrize("seed", RECORDED["specaug"]["seeds"])
def test_recorded_results(seed):
    chunk = ramp(RECORDED["specaug"]["T"])
    found = SpecAugment(HPARAMS, original=True)(chunk, random.Random(seed))
    expected = read_fixture("c17_dataset.npz")[f"specaug_seed{seed}"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)


def test_shifts_come_a_third_each():
    augment = SpecAugment({"roll_pitch": HPARAMS["roll_pitch"] | {"prob": 1}})
    rng, chunk, counts = random.Random(0), ramp(1), Counter()
    for _ in range(3000):
        found = augment(chunk, rng)
        counts[next(s for s in (-12, 0, 12) if (np.roll(chunk, s, 1) == found).all())] += 1
    recorded = RECORDED["roll_shift_counts_of_3000"]
    for shift in (-12, 0, 12):  # both are samples of 1000 with a deviation of 26
        assert abs(counts[shift] - recorded[str(shift)]) < 110


def test_uniform_shifts_reach_every_key_and_no_further():
    config = {"roll_pitch": {"prob": 1, "shift_num": 12, "method": "uniform"}}
    augment, rng, chunk, counts = SpecAugment(config), random.Random(0), ramp(1), Counter()
    for _ in range(1200):
        found = augment(chunk, rng)
        counts[next(s for s in range(-12, 13) if (np.roll(chunk, s, 1) == found).all())] += 1
    assert sorted(counts) == list(range(-6, 6))
    assert min(counts.values()) > 65


def erased(augment, frames, rng):
    return augment(np.full((frames, 96), 7.0, np.float32), rng) != 7.0


@pytest.mark.parametrize("frames", [1125, 60])
def test_in_the_original_a_fifth_of_the_regions_erases_nothing(frames):
    recorded = RECORDED[f"erase_T{frames}_F96"]
    augment = SpecAugment({"random_erase": {"prob": 1, "erase_num": 1}}, original=True)
    rng, nothing, sizes = random.Random(1), 0, set()
    for _ in range(1000):
        mask = erased(augment, frames, rng)
        if mask.any():
            sizes.add((int(mask.any(1).sum()), int(mask.any(0).sum())))
        nothing += not mask.any()
    assert sorted(sizes) == [tuple(size) for size in recorded["region_sizes_seen"]]
    assert nothing / 1000 == pytest.approx(recorded["fraction_with_no_effect"], abs=0.05)


def test_every_region_is_erased_at_any_legal_place():
    augment = SpecAugment({"random_erase": {"prob": 1, "erase_num": 1}})
    rng, starts = random.Random(2), set()
    for _ in range(1000):
        mask = erased(augment, 60, rng)
        assert mask.any(1).sum() == 15
        assert mask.any(0).sum() == 9
        assert mask.sum() == 15 * 9
        starts.add((int(mask.any(1).argmax()), int(mask.any(0).argmax())))
    assert {row for row, _ in starts} == set(range(60 - 15 + 1))
    assert {column for _, column in starts} == set(range(96 - 9 + 1))


def test_all_regions_of_a_chunk_take_one_value():
    rng = random.Random(3)
    values = set()
    for _ in range(50):
        found = SpecAugment({"random_erase": {"prob": 1, "erase_num": 4}})(ramp(60) - 500, rng)
        new = np.unique(found[found > -400])
        assert len(new) == 1
        values.add(new[0])
    assert len(values) == 50
    assert min(values) >= -80
    assert max(values) <= 0


def test_the_chunk_itself_stays_as_it_was():
    chunk = ramp(60)
    chunk.flags.writeable = False
    for config in (ALWAYS, {"random_erase": ALWAYS["random_erase"]}, {}, None):
        for original in (True, False):
            found = SpecAugment(config, original=original)(chunk, random.Random(0))
            assert found is not chunk
            assert not np.shares_memory(found, chunk)
    np.testing.assert_array_equal(found, chunk)


def test_parts_that_are_left_out_or_improbable_do_nothing():
    never = {"roll_pitch": {"prob": 0}, "random_erase": None}
    for seed in range(50):
        chunk = ramp(20)
        np.testing.assert_array_equal(SpecAugment(never)(chunk, random.Random(seed)), chunk)


def test_the_equalizer_adds_one_smooth_curve_to_all_frames():
    chunk = ramp(20) - 30
    found = SpecAugment({"equalizer": {"prob": 1.0, "depth": 6.0}})(chunk, random.Random(3))
    curve = found - chunk
    assert found.dtype == np.float32
    np.testing.assert_allclose(curve, np.broadcast_to(curve[0], curve.shape), atol=1e-5)
    assert 1 < np.abs(curve[0]).max() <= 6
    # Lines between seven points: two of them differ by 12 dB at most over 95 / 6 bins.
    assert np.abs(np.diff(curve[0])).max() <= 12 / (95 / 6) + 1e-4


def test_the_equalizer_makes_nothing_louder_than_the_loudest():
    chunk = np.zeros((5, 96), np.float32)
    augment = SpecAugment({"equalizer": {"prob": 1.0, "depth": 9.0}})
    found = [augment(chunk, random.Random(seed)) for seed in range(10)]
    assert all(part.max() <= 0 for part in found)
    assert all(np.ptp(part) > 2 for part in found)


def test_noise_is_added_in_power_at_the_level_asked_for():
    quiet = np.full((2000, 96), -100, np.float32)
    augment = SpecAugment({"noise": {"prob": 1.0, "level": [-60.0, -30.0]}})
    noise = augment(quiet, random.Random(5))
    means = noise.mean(0)
    assert means.min() > -61
    assert means.max() < -29
    assert np.abs(np.diff(means, 2)).max() < 2  # from one end to the other in a line
    loud = np.full_like(quiet, -45)
    together = augment(loud, random.Random(5))
    alone = augment(np.full_like(quiet, -500), random.Random(5))
    expected = 10 * np.log10(10 ** (loud / 10) + 10 ** (alone / 10))
    np.testing.assert_allclose(together, expected, atol=1e-3)


def test_noise_differs_from_chunk_to_chunk_and_repeats_from_its_seed():
    augment = SpecAugment({"noise": {"prob": 1.0}, "equalizer": {"prob": 1.0}})
    chunk, rng = ramp(50), random.Random(1)
    first, second = augment(chunk, rng), augment(chunk, rng)
    assert np.abs(first - second).max() > 1
    np.testing.assert_array_equal(first, augment(chunk, random.Random(1)))


def test_region_size_of_ones_own():
    config = {"random_erase": {"prob": 1, "erase_num": 1, "region_size": [0.5, 1.0]}}
    mask = erased(SpecAugment(config), 60, random.Random(0))
    assert mask.sum() == 30 * 96


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"roll_pitch": {"prob": 2}}, "probability between 0 and 1, not 2"),
        ({"roll_pitch": {"method": "melody"}}, "octave or uniform, not 'melody'"),
        ({"roll_pitch": {"shift_num": 0}}, "must be above 0"),
        ({"roll_pitch": {"shift": 3}}, "only prob, shift_num, method"),
        ({"equalizer": {"depth": -3}}, "number of dB, not -3"),
        ({"noise": {"level": [-30, -70]}}, "lower one first"),
        ({"noise": {"level": [-30]}}, "two numbers of dB"),
        ({"random_erase": {"erase_num": -1}}, "erase_num cannot be -1"),
        ({"random_erase": {"region_size": [0.1]}}, "two shares"),
        ({"random_erase": {"region_size": [0.1, 2]}}, "two shares"),
    ],
)
def test_values_out_of_range_are_named(config, message):
    with pytest.raises(UserError, match=message):
        SpecAugment(config)
