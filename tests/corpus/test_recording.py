"""The recording chain: reproducible, bounded, and each kind as it says."""

import json

import numpy as np
import pytest

from src.corpus.recording import (
    DEFAULT_WEIGHTS,
    GENTLE_KINDS,
    apply_recording,
    check_kinds,
    draw_recording,
)
from src.errors import UserError

RATE = 22050


@pytest.fixture(scope="module")
def music() -> np.ndarray:
    """Three seconds of a chord with beats of its amplitude, stereo, far from full scale."""
    time = np.arange(3 * RATE) / RATE
    left = sum(np.sin(2 * np.pi * f * time) for f in (220.0, 277.2, 329.6, 1760.0))
    beat = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * 2 * time))
    stereo = np.stack([left * beat, 0.5 * left], axis=1) * 0.05
    return stereo.astype(np.float32)


@pytest.mark.parametrize("kind", DEFAULT_WEIGHTS)
def test_every_kind_stays_in_bounds_and_repeats(kind: str, music: np.ndarray) -> None:
    for seed in range(2):
        recording = draw_recording(np.random.default_rng(seed), weights=[kind])
        assert recording["kind"] == kind
        copy = json.loads(json.dumps(recording))  # the manifest alone must bring it back
        signal, facts = apply_recording(music, RATE, recording)
        again, facts_again = apply_recording(music, RATE, copy)
        np.testing.assert_array_equal(signal, again)
        assert facts == facts_again
        assert signal.dtype == np.float32
        assert signal.ndim == 1
        assert np.isfinite(signal).all()
        peak = np.abs(signal).max()
        assert peak == pytest.approx(10 ** (recording["peak_db"] / 20), rel=1e-4)
        edges = recording["edges"]
        speed = recording.get("speed", {}).get("speed", 1.0)
        expected = (len(music) / RATE + edges["lead_s"] + edges["tail_s"]) / speed
        assert len(signal) / RATE == pytest.approx(expected, abs=0.01)


def test_the_draw_decides_the_sound(music: np.ndarray) -> None:
    first = draw_recording(np.random.default_rng(1), weights=["live"])
    second = draw_recording(np.random.default_rng(2), weights=["live"])
    assert first != second
    one, _ = apply_recording(music, RATE, first)
    other = {**first, "seed": first["seed"] + 1}
    two, _ = apply_recording(music, RATE, other)
    assert len(one) == len(two)
    assert not np.array_equal(one, two)


def test_level_and_the_microphones_place_are_what_was_drawn(music: np.ndarray) -> None:
    recording = draw_recording(np.random.default_rng(3), weights=["direct"])
    only_left = music.copy()
    only_left[:, 1] = 0
    # Scaling the players changes nothing: the recording sets the level.
    soft, _ = apply_recording(0.01 * only_left, RATE, recording)
    loud, _ = apply_recording(only_left, RATE, recording)
    np.testing.assert_allclose(soft, loud, atol=2e-4)
    mono, _ = apply_recording(only_left[:, 0], RATE, recording)
    np.testing.assert_allclose(mono, loud, atol=2e-4)


def test_lead_in_is_silent_without_noises_and_fades_out(music: np.ndarray) -> None:
    recording = draw_recording(np.random.default_rng(5), weights=["direct"])
    recording["edges"] = {"lead_s": 1.0, "tail_s": 0.5, "fade_in_s": 0.005, "fade_out_s": 2.0}
    signal, _ = apply_recording(music, RATE, recording)
    assert np.abs(signal[: int(0.9 * RATE)]).max() < 1e-3 * np.abs(signal).max()
    start = np.sqrt(np.mean(signal[-2 * RATE : -RATE] ** 2))
    end = np.sqrt(np.mean(signal[-RATE // 4 :] ** 2))
    assert end < 0.1 * start


def test_radio_has_no_treble_and_telephone_no_bass(music: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(3 * RATE).astype(np.float32)

    def share(kind: str, low: float, high: float) -> float:
        recording = draw_recording(np.random.default_rng(9), weights=[kind])
        recording.pop("hiss", None)
        recording.pop("hum", None)
        recording.pop("clip", None)
        recording.pop("codec", None)
        signal, _ = apply_recording(noise, RATE, recording)
        power = np.abs(np.fft.rfft(signal)) ** 2
        at = np.fft.rfftfreq(len(signal), 1 / RATE)
        return float(power[(at >= low) & (at < high)].sum() / power.sum())

    assert share("direct", 8000, 11000) > 0.1
    assert share("radio", 8000, 11000) < 0.2 * share("direct", 8000, 11000)
    assert share("telephone", 0, 150) < 0.01
    assert share("telephone", 300, 3400) > 0.8


@pytest.mark.parametrize("signal", [np.zeros((100, 2)), np.full((100, 2), np.nan)])
def test_silence_and_nan_are_refused(signal: np.ndarray) -> None:
    recording = draw_recording(np.random.default_rng(0), weights=["studio"])
    with pytest.raises(ValueError, match="silent or not finite"):
        apply_recording(signal, RATE, recording)


def test_weights() -> None:
    drawn = {
        draw_recording(np.random.default_rng(s), weights={"hall": 1, "live": 0})["kind"]
        for s in range(20)
    }
    assert drawn == {"hall"}
    usual = {draw_recording(np.random.default_rng(s))["kind"] for s in range(300)}
    assert usual == set(DEFAULT_WEIGHTS)
    assert set(GENTLE_KINDS) < usual


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"moon": 1.0}, "unknown kind of recording 'moon'"),
        ({"hall": -1.0}, "not 0 or more"),
        ({"hall": 0.0}, "no kind"),
    ],
)
def test_bad_weights_are_named(weights: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_kinds(weights)
