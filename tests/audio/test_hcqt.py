"""The harmonic CQT: reference values, the filters against their sums, pieces against the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.audio import hcqt
from src.audio.errors import AudioError
from src.audio.hcqt import HOP, decimate, decimation_filter, frame_count, harmonic_cqt
from tests.audio import golden

FEATURES = golden.reference("0.2.0")


@pytest.mark.parametrize("name", golden.SIGNALS)
def test_features_of_the_real_front_end(name):
    features = harmonic_cqt(torch.from_numpy(golden.signal(name)), harmonics=2).numpy()
    expected = FEATURES[f"{name}_feat"]
    assert features.shape == expected.shape
    difference = np.abs(features - expected)
    assert np.quantile(difference, 0.999) < 0.02
    assert difference.mean() < 5e-4


def test_first_harmonic_alone_is_the_first_channel():
    signal = torch.from_numpy(golden.chirp()[:100000])
    both = harmonic_cqt(signal, harmonics=2)
    torch.testing.assert_close(harmonic_cqt(signal)[..., 0], both[..., 0], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("samples", "frames"),
    [
        (4096 * 15, 14),  # the multiples 15, 23 and 60 lose a frame to rounding, 16 does not
        (4096 * 16, 16),
        (4096 * 23, 22),
        (4096 * 60, 59),
        (4095, 0),
        (4097, 1),
        (8191, 1),
        (529200, 129),
    ],
)
def test_frame_count(samples, frames):
    assert frame_count(samples) == frames
    if frames:
        assert len(harmonic_cqt(torch.ones(samples))) == frames


def test_multiples_that_lose_a_frame():
    lost = [k for k in range(1, 20000) if frame_count(4096 * k) == k - 1]
    assert lost[:10] == [15, 23, 30, 46, 53, 60, 92, 106, 120, 184]
    assert len(lost) == 1373


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("samples", [1, 2, 127, 128, 129, 1001, 1024])
def test_decimation_is_the_sum_over_its_taps(factor, samples):
    y = np.random.default_rng(samples).standard_normal(samples)
    taps = decimation_filter(factor)
    reach = 24 * factor - 1
    padded = np.pad(y, (reach, reach + factor))
    expected = np.zeros(-(-samples // factor))
    for t in range(samples // factor):
        expected[t] = np.sqrt(factor) * taps @ padded[factor * t : factor * t + len(taps)]
    got = decimate(torch.from_numpy(y), factor).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-12)


@settings(max_examples=8, deadline=None)
@given(
    samples=st.integers(3 * HOP, 60 * HOP),
    piece=st.integers(HOP // 2, 30 * HOP),
    body=st.integers(1, 40),
)
def test_pieces_make_the_same_features(samples, piece, body):
    generator = torch.Generator().manual_seed(samples)
    signal = torch.randn(samples, generator=generator) * torch.linspace(0.01, 1, samples)
    whole = harmonic_cqt(signal, harmonics=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hcqt, "BLOCK_FRAMES", body)
        pieces = hcqt.hcqt_from_blocks(signal.split(piece), harmonics=2)
    torch.testing.assert_close(pieces, whole, atol=2e-3, rtol=0)


def test_a_long_recording_is_not_held_in_memory(monkeypatch):
    monkeypatch.setattr(hcqt, "BLOCK_FRAMES", 64)
    seconds_read = 0

    def blocks():
        nonlocal seconds_read
        for _ in range(120):
            seconds_read += 1
            yield torch.ones(44100)

    excerpts = hcqt._excerpts(blocks())
    longest = frames = 0
    for count, (samples, _, keep) in enumerate(excerpts, start=1):
        held = seconds_read * 44100 - (count - 1) * 64 * HOP
        longest = max(longest, len(samples), held)
        frames += keep
    assert frames == frame_count(120 * 44100)
    assert longest <= (64 + 2 * hcqt.MARGIN_FRAMES) * HOP + 44100


def test_level_does_not_matter():
    signal = torch.from_numpy(golden.chords()[:200000])
    torch.testing.assert_close(harmonic_cqt(0.05 * signal), harmonic_cqt(signal), atol=0.05, rtol=0)


def test_silence_in_front_delays_the_features():
    generator = torch.Generator().manual_seed(0)
    signal = torch.randn(60 * HOP, generator=generator) * torch.linspace(0.1, 1, 60 * HOP)
    delayed = harmonic_cqt(torch.cat([torch.zeros(7 * HOP), signal]))
    features = harmonic_cqt(signal)
    # At its start a recording lacks the filters' pre-ringing, which silence in front allows.
    late = slice(hcqt.MARGIN_FRAMES, 59)
    torch.testing.assert_close(delayed[7:][late], features[late], atol=2e-3, rtol=0)


def test_one_octave_up_is_36_bins_up():
    t = torch.arange(2 * 44100) / 44100
    low, high = (harmonic_cqt(torch.sin(2 * torch.pi * f * t)) for f in (220.0, 440.0))
    assert int(low[10, :, 0].argmax()) == 99  # C1 + 33 semitones = A3
    assert int(high[10, :, 0].argmax()) == 99 + 36


@pytest.mark.parametrize("level", [0.0, 1e-7])
def test_silence_is_zero_decibels(level):
    signal = level * torch.randn(5 * HOP + 1, generator=torch.Generator().manual_seed(0))
    features = harmonic_cqt(signal, harmonics=2)
    assert features.shape == (5, 216, 2)
    assert not features.any()


def test_nothing_lies_80_decibels_below_the_maximum():
    features = harmonic_cqt(torch.from_numpy(golden.chords()), harmonics=2)
    assert features.amin() == pytest.approx(-80, abs=1e-4)
    assert features.amax(dim=(0, 1)).abs().max() < 1e-5


@pytest.mark.parametrize("samples", [0, 1, 4095])
def test_shorter_than_a_frame(samples):
    with pytest.raises(AudioError, match="shorter than one frame"):
        harmonic_cqt(torch.zeros(samples))
