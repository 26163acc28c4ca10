"""The CQT equals the recorded one, and behaves as a CQT must."""

import numpy as np
import pytest

from src.audio.cqt import CQTSpec, compute_cqt, mean_frames, normalise_peak
from src.files import read_json
from tests.parity_weights import FIXTURES

SIGNALS = {row["name"]: row for row in read_json(FIXTURES / "c11_inputs.json")}


def make_signal(row: dict) -> np.ndarray:
    t = np.arange(row["samples"]) / 16000
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


@pytest.mark.parametrize("name", SIGNALS)
def test_equals_the_recorded_transform(name):
    recorded = np.load(FIXTURES / "c11_cqt.npz")
    expected = recorded[f"{name}_cqt"]
    result = compute_cqt(make_signal(SIGNALS[name]))
    assert result.shape == expected.shape
    assert result.dtype == np.float32
    audible = expected > -70
    np.testing.assert_allclose(result[audible], expected[audible], rtol=0, atol=0.01)
    short = recorded[f"{name}_shorter3"]
    audible = short > -70
    np.testing.assert_allclose(mean_frames(result, 3)[audible], short[audible], rtol=0, atol=0.01)


def test_digital_silence_is_all_zeros():
    assert not compute_cqt(np.zeros(16000, np.float32)).any()


def test_a_signal_shorter_than_a_hop_is_refused():
    with pytest.raises(ValueError, match="640 samples"):
        compute_cqt(np.ones(639, np.float32))


def test_specification_survives_json_and_names_what_is_unknown():
    spec = CQTSpec(octave_resolution=36, min_freq=55, n_bins=200)
    assert CQTSpec.from_dict(spec.to_dict()) == spec
    assert CQTSpec() == CQTSpec(max_freq=8000, n_bins=96)
    with pytest.raises(ValueError, match="no hop_length"):
        CQTSpec.from_dict({"hop_length": 640})
