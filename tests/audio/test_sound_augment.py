import numpy as np
import pytest

from src.audio import sound_augment
from src.audio.errors import AudioError
from src.audio.sound_augment import change_tempo, changes_tempo, noise_gain, require_sox
from tests.programs import needs_sox

RATE = 16000


def tone(seconds: float, level: float = 0.4) -> np.ndarray:
    return (level * np.sin(2 * np.pi * 440 * np.arange(int(seconds * RATE)) / RATE)).astype("f4")


@needs_sox
@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_tempo_changes_the_duration_but_not_the_pitch(speed):
    changed = change_tempo(tone(2.0), RATE, speed)
    assert changed.dtype == np.float32
    assert len(changed) / RATE == pytest.approx(2.0 / speed, abs=0.01)
    spectrum = np.abs(np.fft.rfft(changed[:RATE] * np.hanning(RATE)))
    assert spectrum.argmax() == 440
    assert np.array_equal(changed, change_tempo(tone(2.0), RATE, speed))


@needs_sox
def test_a_signal_above_full_scale_is_turned_down_instead_of_clipped():
    loud = change_tempo(tone(1.0, level=3.0), RATE, 0.9)
    usual = change_tempo(tone(1.0, level=0.3), RATE, 0.9)
    assert np.abs(loud).max() <= 1.0
    np.testing.assert_allclose(loud / loud.max(), usual / usual.max(), atol=1e-3)


def test_which_factors_mean_the_recording_itself():
    assert [changes_tempo(speed) for speed in (0.995, 1, 1.005, 1.02, 0.9)] == [
        False, False, False, True, True,
    ]  # fmt: skip


def test_without_the_program_one_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(sound_augment.shutil, "which", lambda _: None)
    with pytest.raises(AudioError, match=r"apt-get install sox.*brew install sox"):
        require_sox()
    with pytest.raises(AudioError, match="SoX"):
        change_tempo(tone(0.1), RATE, 0.9)


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_an_impossible_tempo_is_refused(speed):
    with pytest.raises(AudioError, match="positive"):
        change_tempo(tone(0.1), RATE, speed)


def test_noise_reaches_the_level_asked_for():
    generator = np.random.default_rng(0)
    signal = generator.standard_normal(8000)
    noise = 0.01 * generator.standard_normal(4000)
    by_power = noise_gain(signal, noise, snr_db=6.0) * noise
    ratio = 10 * np.log10(np.mean(signal**2) / np.mean(by_power**2))
    assert ratio == pytest.approx(6.0, abs=1e-6)
    by_peak = noise_gain(signal, noise, volume=0.3) * noise
    assert np.abs(by_peak).max() == pytest.approx(0.3 * np.abs(signal).max())
    assert noise_gain(signal, np.zeros(10), volume=0.5) == 0
    assert noise_gain(np.zeros(10), noise, snr_db=0.0) == 0


def test_a_level_is_given_once():
    with pytest.raises(ValueError, match="either"):
        noise_gain(np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="either"):
        noise_gain(np.ones(3), np.ones(3), volume=1.0, snr_db=3.0)
