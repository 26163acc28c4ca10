"""The strong augmentation: what always holds, the stretch, and each of its changes by itself."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data import strong_augment
from src.data.chroma import double_chroma
from src.data.strong_augment import StrongAugmenter

PROBABILITY = {"POWER": 0.5, "SILENCE": 0.3, "NOISE": 0.3, "GAP": 0.3, "GAIN": 0.3}
DRAWS = 1000


def cut(chroma, frames, seed):
    return StrongAugmenter().cut(chroma, frames, frame_draws=np.random.default_rng(seed))


def quiet(frames, seed=0):
    """A recording without zeros, and too quiet for anything but noise to reach 1."""
    pcp = np.random.default_rng(seed).uniform(0.1, 0.4, (frames, 12)).astype(np.float32)
    return double_chroma(pcp)


@pytest.fixture
def only(monkeypatch):
    """Switch off all changes of the values but one."""

    def switch(kept=None):
        for name, wanted in PROBABILITY.items():
            probability = wanted if name == kept else 0.0
            monkeypatch.setattr(strong_augment, f"{name}_PROBABILITY", probability)

    return switch


def close_to(share, draws=DRAWS):  # five standard deviations
    return pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / draws))


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 400),
    frames=st.integers(1, 400),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
)
def test_a_patch_is_a_doubled_chroma_of_the_right_length(seed, width, frames, dtype):
    chroma = double_chroma(np.random.default_rng(seed).random((width, 12))).to(dtype)
    before = chroma.clone()
    patch = cut(chroma, frames, seed)
    assert patch.shape[:2] == (1, 23)
    assert patch.dtype == torch.float32
    assert torch.equal(patch[:, 12:], patch[:, :11])
    assert ((patch >= 0) & (patch <= 1)).all()
    assert torch.equal(chroma, before)
    assert min(frames, max(int(0.7 * width), 1)) <= patch.shape[-1] <= min(frames, 1.4 * width)
    if 0.7 * width >= frames:
        assert patch.shape[-1] == frames


def test_values_beyond_0_to_1_are_no_danger():
    chroma = double_chroma(np.linspace(-1, 2, 120 * 12).reshape(120, 12))
    for seed in range(40):
        patch = cut(chroma, 50, seed)
        assert ((patch >= 0) & (patch <= 1)).all()


def test_the_generator_decides_alone():
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    patches = [cut(quiet(300), 100, seed) for seed in (1, 1, 2)]
    assert torch.equal(patches[0], patches[1])
    assert not torch.equal(patches[0], patches[2])
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()  # noqa: NPY002


def taken(width, frames, seed):
    """Which frames of a recording a patch was made of."""
    ramp = np.repeat(np.arange(width, dtype=np.float32)[:, None] / width, 12, axis=1)
    rows = cut(double_chroma(ramp), frames, seed)[0] * width
    assert (rows == rows[0]).all()
    return rows[0].round().long().numpy()


def test_every_patch_is_stretched_within_its_range(only):
    only(None)
    logs, starts = [], []
    for seed in range(DRAWS):
        kept = taken(1000, 500, seed)
        assert len(kept) == 500
        assert set(np.diff(kept)) <= {0, 1, 2}
        span = kept[-1] - kept[0]  # 499 / factor, to a frame
        logs.append(math.log(499 / span))
        starts.append(kept[0])
    low, high = math.log(0.7), math.log(1.4)
    assert low - 0.003 <= min(logs) <= low + 0.02
    assert high - 0.02 <= max(logs) <= high + 0.003
    spread = (high - low) / math.sqrt(12)
    assert np.mean(logs) == pytest.approx((low + high) / 2, abs=5 * spread / math.sqrt(DRAWS))
    assert np.std(logs) == pytest.approx(spread, rel=0.1)
    assert min(starts) < 10
    assert max(starts) > 600  # 500 frames stretched by 1.4 are 357 of the recording


def test_a_short_recording_is_stretched_as_a_whole(only):
    only(None)
    lengths = set()
    for seed in range(100):
        kept = taken(200, 900, seed)
        assert kept[0] == 0
        assert kept[-1] >= 198
        assert (np.bincount(kept, minlength=200)[:-1] <= 2).all()
        lengths.add(len(kept))
    assert 140 <= min(lengths) < 150
    assert 270 < max(lengths) <= 280


@pytest.fixture
def changes(only):
    """Pairs of patches ``(12, 200)`` before and after one change, over many draws."""

    def collect(name):
        chroma, pairs = quiet(400), []
        only(None)
        plain = [cut(chroma, 200, seed)[0, :12].numpy() for seed in range(DRAWS)]
        only(name)
        for seed, old in enumerate(plain):
            new = cut(chroma, 200, seed)[0, :12].numpy()
            if not np.array_equal(old, new):
                pairs.append((old, new))
        assert len(pairs) / DRAWS == close_to(PROBABILITY[name])
        return pairs

    return collect


def test_powers(changes):
    exponents = []
    for old, new in changes("POWER"):
        powers = np.log(new) / np.log(old)
        assert powers.std() < 1e-4
        exponents.append(math.log(powers.mean()))
    assert np.mean(exponents) == pytest.approx(0, abs=0.05)
    assert np.std(exponents) == pytest.approx(0.25, rel=0.15)


def test_single_frames_are_silenced(changes):
    shares = []
    for old, new in changes("SILENCE"):
        silent = ~new.any(axis=0)
        assert (new[:, ~silent] == old[:, ~silent]).all()
        shares.append(silent.mean())
    assert np.mean(shares) == close_to(0.1, 200 * len(shares))


def test_noise(changes):
    pairs = changes("NOISE")
    loud = np.concatenate([(new - old)[old > 0.39] for old, new in pairs])
    assert loud.std() == pytest.approx(0.08, rel=0.02)  # not clipped there
    assert abs(loud.mean()) < 0.002
    spreads = [(new - old).std(axis=1).min() for old, new in pairs]
    assert np.mean(spreads) > 0.05  # in every pitch class


def test_gaps(changes):
    lengths, starts, silent, loudest = [], [], [], 0.0
    for old, new in changes("GAP"):
        touched = np.flatnonzero((old != new).any(axis=0))
        gap = new[:, touched[0] : touched[-1] + 1]
        assert len(touched) == gap.shape[1]  # in one piece
        assert (gap == gap[:, :1]).all()
        lengths.append(len(touched))
        starts.append(touched[0])
        silent.append(not gap.any())
        loudest = max(loudest, gap.max())
    assert (min(lengths), max(lengths)) == (5, 60)
    assert min(starts) < 10
    assert max(starts) > 180
    assert np.mean(silent) == close_to(0.5, len(silent))
    assert 0.49 < loudest <= 0.5


def test_gains(changes):
    logs = []
    for old, new in changes("GAIN"):
        ratio = np.log(new / old)
        assert (ratio.std(axis=1) < 1e-5).all()  # the same over time
        logs.append(ratio.mean(axis=1))
    assert np.mean(logs) == pytest.approx(0, abs=0.02)
    assert np.std(logs) == pytest.approx(0.2, rel=0.05)
    assert np.std(logs, axis=1).mean() > 0.15  # each pitch class has its own


def test_the_changes_are_drawn_independently(only):
    chroma = quiet(400)
    found = [cut(chroma, 200, seed) for seed in range(DRAWS)]
    only(None)
    same = [torch.equal(patch, cut(chroma, 200, seed)) for seed, patch in enumerate(found)]
    assert np.mean(same) == close_to(0.5 * 0.7**4)
