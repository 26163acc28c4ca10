"""The CQT equals the recorded one and its definition, and behaves as a CQT must."""

import math

import numpy as np
import pytest
import torch
from scipy.signal.windows import hamming

from src.audio import cqt
from src.audio.cqt import CQT, Audio2CQT, CQTSpec, compute_cqt, mean_frames, normalise_peak
from src.files import read_json
from tests.parity_weights import FIXTURES

RATE = 16000
SIGNALS = {row["name"]: row for row in read_json(FIXTURES / "c11_inputs.json")}


def make_signal(row: dict) -> np.ndarray:
    t = np.arange(row["samples"]) / RATE
    if row["kind"] == "randn":
        noise = np.random.RandomState(row["seed"]).standard_normal(row["samples"])
        x = row["scale"] * noise
    elif row["kind"] == "sines":
        pairs = zip(row["freqs"], row["amps"], strict=True)
        x = sum(a * np.sin(2 * np.pi * f * t) for f, a in pairs)
    else:
        k = (row["f1"] - row["f0"]) / row["dur"]
        x = row["amp"] * np.sin(2 * np.pi * (row["f0"] * t + k * t * t / 2))
    return normalise_peak(x.astype(np.float32))


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.2 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def tone(frequency: float, seconds: float = 2, rate: int = RATE) -> np.ndarray:
    t = np.arange(int(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * t)).astype(np.float32)


def written_out(signal: np.ndarray, rate: int, hop: int, per_octave: int, low: float, bins: int):
    """The definition frame by frame, in double precision: (frames, bins) dB."""
    q = 1 / (2 ** (1 / per_octave) - 1)
    length = 2 ** math.ceil(math.log2(q * rate / low))
    kernels = np.zeros((bins, length), complex)
    for k in range(bins):
        n = 2 * round(q * rate / (low * 2 ** (k / per_octave)) / 2) + 1
        m = np.arange(n) - (n - 1) // 2
        offset = (length - n + 1) // 2
        kernels[k, offset : offset + n] = hamming(n) * np.exp(2j * np.pi * q * m / n) / n
    kernels = np.fft.fft(kernels)
    kernels[np.abs(kernels) < 0.01] = 0
    kernels = kernels.conj() / length
    beside = length - hop
    padded = np.pad(signal.astype(np.float64), (math.ceil(beside / 2), beside // 2))
    frames = [
        np.abs(kernels @ np.fft.fft(padded[start : start + length]))
        for start in range(0, len(signal) // hop * hop, hop)
    ]
    level = 20 * np.log10(np.array(frames) + 1e-9)
    return level - level.max()


def assert_audible_equal(result: np.ndarray, expected: np.ndarray) -> None:
    assert result.shape == expected.shape
    assert result.dtype == np.float32
    audible = expected > -70
    np.testing.assert_allclose(result[audible], expected[audible], rtol=0, atol=0.01)


@pytest.mark.parametrize("name", SIGNALS)
def test_equals_the_recorded_transform(name):
    recorded = np.load(FIXTURES / "c11_cqt.npz")
    expected = recorded[f"{name}_cqt"]
    result = compute_cqt(make_signal(SIGNALS[name]))
    assert_audible_equal(result, expected)
    assert_audible_equal(mean_frames(result, 3), recorded[f"{name}_shorter3"])
    # Over everything, down to -155 dB between pure tones, where rounding decides the values.
    assert np.abs(result - expected).mean() < 0.2


@pytest.mark.parametrize(
    ("rate", "hop_size", "per_octave", "low", "bins"),
    [
        (16000, 0.04, 24, 32.0, 40),
        (16000, 0.04, 36, 110.0, 80),
        (16000, 0.01, 12, 65.4, 50),
        (11025, 0.04, 12, 80.0, 70),  # an odd hop
        (22050, 0.5, 12, 440.0, None),  # a hop longer than the frame
    ],
)
def test_other_scales_equal_the_definition(rate, hop_size, per_octave, low, bins):
    spec = CQTSpec(rate, hop_size, per_octave, low, n_bins=bins)
    signal = normalise_peak(noise(rate, seed=per_octave) + tone(3 * low, 1, rate))
    result = compute_cqt(signal, rate, hop_size, per_octave, low, n_bins=bins)
    hop = spec.hop_samples
    if hop > spec.frame_length:  # what lies between the frames is not heard
        beside = (hop - spec.frame_length) // 2
        starts = range(beside, len(signal) - spec.frame_length + 1, hop)
        pieces = [signal[s : s + spec.frame_length] for s in starts]
        frames = CQT(spec).magnitudes(torch.from_numpy(signal)[None])[0].numpy()
        for piece, frame in zip(pieces, frames, strict=True):
            expected = written_out(piece, rate, len(piece), per_octave, low, spec.bins)[0]
            level = 20 * np.log10(frame) - 20 * np.log10(frame.max())
            np.testing.assert_allclose(level, expected, rtol=0, atol=0.01)
    else:
        assert_audible_equal(result, written_out(signal, rate, hop, per_octave, low, spec.bins))


def test_quiet_partials_beside_loud_ones_equal_the_definition():
    signal = tone(1000) + 1e-3 * tone(110) + 1e-3 * tone(6000) + 0.5 * tone(3000)
    expected = written_out(signal, RATE, 640, 12, 32.0, 96)
    assert ((expected > -70) & (expected < -60)).any()
    assert_audible_equal(compute_cqt(signal), expected)


def test_long_signals_have_no_seams(monkeypatch):
    signal = noise(RATE * 4)
    whole = compute_cqt(signal)
    monkeypatch.setattr(cqt, "FRAMES_AT_ONCE", {"cpu": 7})
    np.testing.assert_allclose(compute_cqt(signal), whole, rtol=0, atol=1e-3)


def test_batch_equals_single_signals():
    signals = np.stack([noise(RATE, 1), tone(220, 1), np.zeros(RATE, np.float32)])
    together = CQT()(torch.from_numpy(signals)).numpy()
    assert together.shape == (3, 25, 96)
    for row, signal in zip(together, signals, strict=True):
        assert_audible_equal(row, compute_cqt(signal))


def test_a_broken_signal_leaves_its_neighbours_alone():
    signals = torch.from_numpy(np.stack([noise(RATE, 1), noise(RATE, 2), noise(RATE, 3)]))
    alone = CQT().magnitudes(signals)
    signals[1] = torch.nan
    broken = CQT().magnitudes(signals)
    assert torch.equal(broken[::2], alone[::2])
    assert broken[1].isnan().all()


def test_digital_silence_is_all_zeros():
    assert not compute_cqt(np.zeros(RATE, np.float32)).any()


@pytest.mark.parametrize(
    ("signal", "sentence"),
    [
        (np.ones(639), "640 samples"),
        (np.zeros((2, RATE)), "1-D"),
        (np.array([0.0] * 999 + [np.nan]), "finite"),
        (np.array([0.0] * 999 + [np.inf]), "finite"),
    ],
)
def test_what_is_no_signal_is_refused(signal, sentence):
    with pytest.raises(ValueError, match=sentence):
        compute_cqt(signal)


def test_frames_are_counted_in_whole_hops():
    assert compute_cqt(np.ones(640)).shape == (1, 96)
    assert compute_cqt(np.ones(2 * 640 - 1)).shape == (1, 96)
    assert compute_cqt(np.ones(2 * 640)).shape == (2, 96)


def test_an_octave_up_is_twelve_bins_up():
    low = compute_cqt(tone(220) + 0.5 * tone(330))[25].astype(float)
    high = compute_cqt(tone(440) + 0.5 * tone(660))[25].astype(float)
    near = low[:-12] > -35  # what lies below is the kernels' threshold
    assert near.sum() > 5
    np.testing.assert_allclose(high[12:][near], low[:-12][near], atol=1)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("bin_", [24, 57])
def test_other_sample_rates_keep_the_pitch(rate, bin_):
    features = Audio2CQT()(tone(32 * 2 ** (bin_ / 12), 1, rate), rate)
    assert features.shape == (25, 96)
    assert (features[3:-3].argmax(1) == bin_).all()


def test_loudness_of_a_recording_does_not_matter():
    signal = noise(RATE)
    np.testing.assert_allclose(
        Audio2CQT()(signal, RATE), Audio2CQT()(0.01 * signal, RATE), rtol=0, atol=1e-3
    )


def test_near_silence_is_not_brought_to_full_scale():
    assert np.abs(normalise_peak(np.array([0.5, -0.25]))).max() == pytest.approx(0.999)
    quiet = normalise_peak(np.array([1e-5, -1e-5]))
    assert quiet == pytest.approx([0.00999, -0.00999])
    assert quiet.dtype == np.float32
    assert normalise_peak(np.zeros(0)).shape == (0,)


def test_means_drop_what_fills_no_group():
    features = np.arange(14, dtype=np.float32).reshape(7, 2)
    np.testing.assert_array_equal(mean_frames(features, 3), [[2, 3], [8, 9]])
    assert mean_frames(features, 1) is features


def test_maximum_frequency_and_number_of_bins():
    assert compute_cqt(noise(RATE), max_freq=4000).shape == (25, 84)
    assert compute_cqt(noise(RATE), n_bins=60).shape == (25, 60)
    signal = tone(220)  # the loudest bin is among the lower ones
    assert_audible_equal(compute_cqt(signal, n_bins=60), compute_cqt(signal)[:, :60])


def test_specification_survives_json_and_compares_by_what_it_computes():
    spec = CQTSpec(octave_resolution=36, min_freq=55, n_bins=200)
    assert CQTSpec.from_dict(spec.to_dict()) == spec
    assert CQTSpec() == CQTSpec(max_freq=8000, n_bins=96)
    assert CQTSpec() != CQTSpec(min_freq=32.7)
    assert CQTSpec().frames_per_second == 25
    assert CQTSpec().describe() == (
        "96 bins from 32 Hz, 12 an octave, 25 frames a second at 16000 Hz"
    )


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"hop_length": 640}, "no hop_length"),
        ({"min_freq": "32"}, "min_freq of a CQT must be a number, not '32'"),
        ({"octave_resolution": 12.5}, "octave_resolution of a CQT must be a number"),
        ({"n_bins": True}, "n_bins of a CQT must be a number"),
        ({"min_freq": 0}, "min_freq of a CQT must be positive"),
        ({"min_freq": math.nan}, "min_freq of a CQT must be positive"),
        ({"hop_size": 1e-6}, "shorter than a sample"),
        ({"max_freq": 9000}, "half the sample rate, 8000 Hz"),
        ({"min_freq": 9000}, "half the sample rate, 8000 Hz"),
        ({"n_bins": 97}, "97 bins from 32 Hz"),
        ({"n_bins": 0}, "0 bins from 32 Hz"),
    ],
)
def test_specifications_without_meaning_are_named(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        CQTSpec.from_dict(values)


@pytest.mark.parametrize(
    "device",
    [
        pytest.param(
            "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
        ),
        pytest.param(
            "mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no MPS")
        ),
    ],
)
def test_other_devices_give_the_same(device):
    signal = make_signal(SIGNALS["sines"])
    assert_audible_equal(compute_cqt(signal, device=device), compute_cqt(signal))
