"""Augmentation: recorded results draw by draw, recorded statistics, and what must hold."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.augment import AugmentationPlan, ChromaAugmenter
from src.data.chroma import double_chroma
from tests.parity_weights import read_fixture

RECORDED = read_fixture("c07_augment.json")


def generators(seed):
    return torch.Generator().manual_seed(seed), np.random.RandomState(seed)


def ramp(frames):
    rows = 100.0 * torch.arange(23)[:, None]
    return (1000 + rows + torch.arange(frames)[None])[None]  # (1, 23, T)


@pytest.fixture(scope="module")
def arrays():
    return read_fixture("c07_augment.npz")


@pytest.mark.parametrize("sample", RECORDED["samples"], ids=lambda sample: f"seed{sample['seed']}")
def test_recorded_results(sample, arrays):
    decisions, frame_draws = generators(sample["seed"])
    found = ChromaAugmenter(original=True)(
        ramp(RECORDED["T"]), decisions=decisions, frame_draws=frame_draws
    )
    expected = arrays[f"seed{sample['seed']}"]
    assert str(found.dtype) == sample["dtype"]
    np.testing.assert_array_equal(found.numpy(), expected)


@pytest.mark.parametrize("sample", RECORDED["samples"][:6], ids=lambda s: f"seed{s['seed']}")
def test_the_default_differs_from_the_recorded_only_in_the_rows(sample, arrays):
    """Same frames, same shift, but pitch classes are rolled: a true transposition."""
    decisions, frame_draws = generators(sample["seed"])
    frames = RECORDED["T"]
    pcp = np.random.RandomState(1).rand(frames, 12).astype(np.float32) + 1
    plan = ChromaAugmenter().plan(frames, decisions, frame_draws)
    assert plan.semitones == sample["shift"]
    found = ChromaAugmenter().apply(double_chroma(pcp), plan)
    transposed = np.roll(pcp, sample["shift"], axis=1)[plan.frames]
    if plan.silent is not None:
        transposed[plan.silent] = 0
    assert (0 if plan.silent is None else plan.silent.sum()) == sample["silent_frames"]
    assert torch.equal(found, double_chroma(transposed))
    # Rows below 12 that did not wrap around are where the original has them, too.
    original = ChromaAugmenter(original=True).apply(double_chroma(pcp), plan)
    assert torch.equal(found[:, plan.semitones :], original[:, plan.semitones :])


def test_recorded_statistics():
    recorded = RECORDED["statistics"]
    width, draws = recorded["width"], recorded["draws"]
    decisions, frame_draws = torch.Generator().manual_seed(5), np.random.default_rng(5)
    augmenter = ChromaAugmenter()
    plans = [augmenter.plan(width, decisions, frame_draws) for _ in range(draws)]
    lengths = np.array([len(plan) for plan in plans])
    assert lengths.min() >= 0.7 * width * 0.75
    assert lengths.max() <= 1.5 * width * 1.3
    assert lengths.mean() == pytest.approx(recorded["mean_len"], abs=2)

    def share(found, expected):  # five standard deviations of two samples
        spread = 5 * np.sqrt(2 * expected * (1 - expected) / draws)
        assert found == pytest.approx(expected, abs=spread)

    share((lengths == width).mean(), recorded["fraction_len_equal_width"])
    share((lengths == 139).mean(), recorded["fraction_len_equal_139_the_float32_clamp_at_0_7"])
    share((lengths == 300).mean(), recorded["fraction_len_equal_300_the_clamp_at_1_5"])
    silent = np.mean([plan.silent is not None for plan in plans])
    share(silent, recorded["some_silent"] / draws)
    shifts = Counter(plan.semitones for plan in plans)
    assert sorted(shifts) == list(range(1, 12))
    for count in shifts.values():
        share(count / draws, 1 / 11)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), width=st.integers(1, 60), data=st.data())
def test_cropping_the_plan_is_cropping_the_result(seed, width, data):
    augmenter = ChromaAugmenter(original=data.draw(st.booleans()))
    chroma = torch.rand(1, 23, width, generator=torch.Generator().manual_seed(seed))
    plan = augmenter.plan(width, *generators(seed))
    assert len(plan) >= 1
    assert plan.frames.min() >= 0
    assert plan.frames.max() < width
    assert (np.diff(plan.frames) >= 0).all()  # time never runs backwards
    start, frames = data.draw(st.integers(0, len(plan) - 1)), data.draw(st.integers(1, 70))
    whole = augmenter.apply(chroma, plan)
    part = augmenter.apply(chroma, plan.crop(start, frames))
    assert torch.equal(part, whole[..., start : start + frames])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("original", [False, True])
def test_type_is_kept_and_the_recording_is_left_alone(dtype, original):
    chroma = torch.rand(1, 23, 30).to(dtype)
    before = chroma.clone()
    plan = AugmentationPlan(3, np.arange(30), np.arange(30) % 2 == 0)
    found = ChromaAugmenter(original=original).apply(chroma, plan)
    assert found.dtype == dtype
    assert not found[..., ::2].any()
    assert torch.equal(chroma, before)


def test_generators_decide_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    results = [
        ChromaAugmenter()(ramp(40), decisions=decisions, frame_draws=frame_draws)
        for decisions, frame_draws in (generators(4), generators(4))
    ]
    assert torch.equal(*results)
    assert torch.equal(before, torch.get_rng_state())
