"""cremaPCP end to end: reference values, batches, files, and what must be refused."""

import numpy as np
import pytest
import soundfile
import torch

from src.audio import hcqt
from src.audio.crema import Audio2CremaPCP, File2CremaPCP, extract_crema_pcp
from src.audio.errors import AudioError
from src.errors import UserError
from tests.audio import golden


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
@pytest.mark.parametrize("name", golden.SIGNALS)
def test_pitch_of_the_real_pipeline(name, version):
    pcp = extract_crema_pcp(golden.signal(name), golden.RATE, version)
    expected = golden.reference(version)[f"{name}_pitch"]
    assert pcp.dtype == np.float32
    assert pcp.shape == expected.shape
    difference = np.abs(pcp - expected)
    assert difference.max() < 1e-3
    assert difference.mean() < 1e-4


def test_default_version_is_that_of_the_published_features():
    pcp = extract_crema_pcp(golden.chirp(), golden.RATE)
    np.testing.assert_allclose(pcp, golden.reference("0.1.0")["chirp_pitch"], atol=1e-3)


@pytest.mark.parametrize("rate", [48000, 96000, 22050])
def test_other_sample_rates_give_nearly_the_same(rate):
    pcp = extract_crema_pcp(golden.chords(rate), rate)
    expected = golden.reference("0.1.0")["chords_pitch"]
    assert pcp.shape == expected.shape
    assert np.abs(pcp - expected).mean() < 5e-3


def test_batch_equals_single_signals():
    extractor = Audio2CremaPCP("0.1.0", "cpu")
    signals = [golden.chirp(), golden.noise()[:50000], golden.chords()]
    for together, signal in zip(extractor.batch(signals, golden.RATE), signals, strict=True):
        np.testing.assert_allclose(together, extractor(signal, golden.RATE), atol=1e-5)


def test_doubles_and_tensors_are_accepted():
    signal = golden.chirp()[:60000]
    expected = extract_crema_pcp(signal, golden.RATE)
    for other in (signal.astype(np.float64), torch.from_numpy(signal)):
        np.testing.assert_allclose(extract_crema_pcp(other, golden.RATE), expected, atol=1e-5)


def test_file_equals_signal(tmp_path):
    path = tmp_path / "chirp.wav"
    signal = golden.chirp()
    soundfile.write(path, np.stack([signal, signal], axis=1), golden.RATE, subtype="FLOAT")
    pcp = File2CremaPCP("0.1.0", "cpu")(path)
    np.testing.assert_allclose(pcp, extract_crema_pcp(signal, golden.RATE), atol=1e-5)


def test_long_file_in_small_pieces(tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    signal = np.tile(golden.chords(), 5)  # 60 s
    soundfile.write(path, signal, golden.RATE, subtype="FLOAT")
    expected = extract_crema_pcp(signal, golden.RATE)
    monkeypatch.setattr(hcqt, "BLOCK_FRAMES", 50)
    np.testing.assert_allclose(File2CremaPCP("0.1.0", "cpu")(path), expected, atol=1e-5)


def test_silence_is_finite_and_flat():
    pcp = extract_crema_pcp(np.zeros(300 * 4096 + 1, dtype=np.float32), golden.RATE, "0.2.0")
    assert np.isfinite(pcp).all()
    assert pcp.mean() == pytest.approx(0.3975, abs=0.02)
    assert pcp[140:160].std(axis=0).max() < 0.01  # constant, far from the edges


BAD_SIGNALS = {
    "shorter than one frame": np.zeros(4095, dtype=np.float32),
    "shorter": np.zeros(0, dtype=np.float32),
    "mono": np.zeros((2, 44100), dtype=np.float32),
    "floating-point": np.zeros(44100, dtype=np.int16),
    "NaN": np.full(44100, np.nan, dtype=np.float32),
    "infinite": np.full(44100, np.inf, dtype=np.float32),
}


@pytest.mark.parametrize("message", BAD_SIGNALS)
def test_unusable_signals_are_refused(message):
    with pytest.raises(AudioError, match=message):
        extract_crema_pcp(BAD_SIGNALS[message], golden.RATE)


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_sample_rate_must_be_positive(rate):
    with pytest.raises(AudioError, match="sample rate"):
        extract_crema_pcp(golden.chirp(), rate)


def test_unknown_version():
    with pytest.raises(UserError, match="unknown crema version"):
        extract_crema_pcp(golden.chirp(), golden.RATE, "1.0")


def test_file_shorter_than_a_frame_is_named(tmp_path):
    path = tmp_path / "click.wav"
    soundfile.write(path, np.zeros(1000), golden.RATE)
    with pytest.raises(AudioError, match=r"click\.wav.*shorter than one frame"):
        File2CremaPCP("0.1.0", "cpu")(path)
