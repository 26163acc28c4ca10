"""Rooms, filters, dynamics, noises and tapes, each against what it claims."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus.dynamics import clip, compress, saturate
from src.corpus.filters import apply_linear, band_gain, draw_eq, eq_gain
from src.corpus.noise import babble, coloured_noise, crackle, hum, mix_at_snr
from src.corpus.rooms import draw_room, impulse_response
from src.corpus.tape import vary_speed

RATE = 16000


def rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.asarray(signal, dtype=np.float64) ** 2)))


def power_between(signal: np.ndarray, low: float, high: float) -> float:
    power = np.abs(np.fft.rfft(signal)) ** 2
    at = np.fft.rfftfreq(len(signal), 1 / RATE)
    return float(power[(at >= low) & (at < high)].sum())


@pytest.mark.parametrize(("size", "seed"), [("small", 1), ("medium", 2), ("large", 3)])
def test_room_decays_as_drawn(size: str, seed: int) -> None:
    room = draw_room(np.random.default_rng(seed), size=size)
    room["bass_ratio"] = room["treble_ratio"] = 1.0
    response = impulse_response(room, RATE)
    assert response[0] == 1.0  # the direct sound comes first
    start = int(room["pre_delay_ms"] / 1000 * RATE) + 1
    assert not response[1:start].any()
    wet = 10 * np.log10(np.sum(response[1:].astype(np.float64) ** 2))
    assert wet == pytest.approx(room["wet_db"], abs=2.0)
    # Schroeder's backward integration: the level falls 60 dB in the decay time.
    energy = np.cumsum(response[start:][::-1].astype(np.float64) ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0])
    late = slice(int(0.3 * room["decay_s"] * RATE), int(0.7 * room["decay_s"] * RATE))
    slope = np.polyfit(np.arange(late.start, late.stop) / RATE, level[late], 1)[0]
    assert -60 / slope == pytest.approx(room["decay_s"], rel=0.2)


def test_rooms_are_repeatable_and_differ() -> None:
    room = draw_room(np.random.default_rng(0), size="medium")
    np.testing.assert_array_equal(impulse_response(room, RATE), impulse_response(room, RATE))
    other = impulse_response({**room, "seed": room["seed"] + 1}, RATE)
    assert not np.array_equal(impulse_response(room, RATE), other)


def test_convolution_equals_the_plain_one() -> None:
    rng = np.random.default_rng(0)
    signal = rng.standard_normal(3000).astype(np.float32)
    response = rng.standard_normal(500).astype(np.float32)
    result = apply_linear(signal, RATE, response=response)
    np.testing.assert_allclose(result, np.convolve(signal, response)[:3000], atol=2e-3)


def test_band_limit_removes_the_energy_outside() -> None:
    noise = np.random.default_rng(1).standard_normal(4 * RATE).astype(np.float32)
    result = apply_linear(noise, RATE, band={"low": 300.0, "high": 3400.0, "order": 6})
    for low, high in ((0, 100), (6800, 8000)):
        lost = power_between(result, low, high) / power_between(noise, low, high)
        assert lost < 1e-3
    kept = power_between(result, 600, 2000) / power_between(noise, 600, 2000)
    assert kept == pytest.approx(1, abs=0.01)


def test_filters_do_not_delay() -> None:
    signal = np.zeros(RATE, dtype=np.float32)
    signal[5000] = 1
    eq = draw_eq(np.random.default_rng(2), depth_db=8)
    result = apply_linear(signal, RATE, eq=eq, band={"low": 100.0, "high": 4000.0})
    assert np.argmax(np.abs(result)) == 5000


@given(
    low=st.floats(20, 500),
    high=st.floats(1000, 8000),
    order=st.integers(1, 8),
)
def test_band_gain_is_3_db_at_its_edges_and_never_above_one(low, high, order) -> None:
    gain = band_gain(np.array([0.0, low, np.sqrt(low * high), high, 8e5]), low=low, high=high)
    assert gain.max() <= 1
    assert gain[0] < 1e-6
    assert gain[1] == pytest.approx(2**-0.5, abs=0.01)
    assert gain[3] == pytest.approx(2**-0.5, abs=0.01)
    assert gain[4] < 1e-3
    one_sided = band_gain(np.array([low, high]), low=low, high=None, order=order)
    assert one_sided[0] == pytest.approx(2**-0.5, rel=1e-6)


def test_equaliser_hits_its_points_and_keeps_its_depth() -> None:
    eq = draw_eq(np.random.default_rng(4), depth_db=5)
    gain = 20 * np.log10(eq_gain(np.array(eq["frequencies"]), eq))
    np.testing.assert_allclose(gain, eq["gains_db"], atol=1e-6)
    everywhere = 20 * np.log10(eq_gain(np.linspace(1, 8000, 500), eq))
    assert np.abs(everywhere).max() <= 5 + 1e-9


def test_compression_brings_loud_and_soft_together_and_never_amplifies() -> None:
    time = np.arange(4 * RATE) / RATE
    tone = np.sin(2 * np.pi * 300 * time).astype(np.float32)
    tone[: 2 * RATE] *= 0.05
    result = compress(tone, RATE, threshold_db=-20, ratio=8)
    before = rms(tone[3 * RATE :]) / rms(tone[RATE : 2 * RATE])
    after = rms(result[3 * RATE :]) / rms(result[RATE : 2 * RATE])
    # 26 dB apart, 20 of them above the threshold and reduced to 2.5: 8.5 dB remain.
    assert 20 * np.log10(before) == pytest.approx(26.0, abs=0.2)
    assert 20 * np.log10(after) == pytest.approx(8.5, abs=1.0)
    assert (np.abs(result) <= np.abs(tone) + 1e-6).all()


def test_compression_of_silence_is_silence() -> None:
    silence = np.zeros(1000, dtype=np.float32)
    assert not compress(silence, RATE, threshold_db=-20, ratio=4).any()
    assert not saturate(silence, drive=2).any()


def test_saturation_adds_harmonics_and_keeps_the_peak() -> None:
    tone = 0.3 * np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE).astype(np.float32)
    result = saturate(tone, drive=3.0, bias=0.3)
    assert np.abs(result).max() == pytest.approx(0.3, rel=1e-3)
    odd, even = power_between(result, 1490, 1510), power_between(result, 990, 1010)
    whole = power_between(result, 1, 8000)
    assert odd > 1e-3 * whole
    assert even > 1e-4 * whole


def test_clip_cuts_at_the_level_it_names() -> None:
    signal = np.linspace(-0.5, 0.5, 101, dtype=np.float32)
    result = clip(signal, over_db=6.0206)
    assert np.abs(result).max() == pytest.approx(0.25, rel=1e-3)
    np.testing.assert_array_equal(result[40:60], signal[40:60])


@pytest.mark.parametrize(
    "make",
    [
        lambda rng, n: coloured_noise(rng, n, RATE, slope_db=3.0),
        lambda rng, n: hum(rng, n, RATE, mains=50.0, harmonics=4),
        lambda rng, n: babble(rng, n, RATE, voices=4, clapping=True),
        lambda rng, n: crackle(rng, n, RATE, rate=30, rpm=78.26),
    ],
)
def test_noises_have_unit_level_and_repeat(make) -> None:
    noise = make(np.random.default_rng(3), 20 * RATE)
    assert noise.dtype == np.float32
    assert noise.shape == (20 * RATE,)
    assert rms(noise) == pytest.approx(1, rel=1e-3)
    np.testing.assert_array_equal(noise, make(np.random.default_rng(3), 20 * RATE))
    assert not np.array_equal(noise, make(np.random.default_rng(4), 20 * RATE))


def test_noise_slope_and_hum_frequency() -> None:
    pink = coloured_noise(np.random.default_rng(0), 10 * RATE, RATE, slope_db=3.0103)
    octaves = [power_between(pink, f, 2 * f) for f in (250, 500, 1000, 2000)]
    assert max(octaves) / min(octaves) == pytest.approx(1, abs=0.15)  # equal power an octave
    mains = hum(np.random.default_rng(0), 10 * RATE, RATE, mains=60.0, harmonics=3)
    inside = sum(power_between(mains, 60 * k - 1, 60 * k + 1) for k in (1, 2, 3))
    assert inside > 0.999 * power_between(mains, 0, RATE)


@given(snr=st.floats(-10, 60))
def test_mixing_at_a_signal_to_noise_ratio(snr: float) -> None:
    rng = np.random.default_rng(0)
    signal = 0.2 * rng.standard_normal(5000).astype(np.float32)
    noise = coloured_noise(rng, 5000, RATE, slope_db=0)
    added = mix_at_snr(signal, noise, snr_db=snr) - signal
    assert 20 * np.log10(rms(signal) / rms(added)) == pytest.approx(snr, abs=0.1)


def test_speed_moves_pitch_and_length_together() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    fast = vary_speed(tone, RATE, speed=1.05)
    assert len(fast) == round(2 * RATE / 1.05)
    spectrum = np.abs(np.fft.rfft(fast * np.hanning(len(fast))))
    assert np.argmax(spectrum) / (len(fast) / RATE) == pytest.approx(1050, abs=1)
    same = vary_speed(tone, RATE)
    np.testing.assert_allclose(same[2:-3], tone[2:-3], atol=1e-6)


def test_wow_makes_the_pitch_waver_by_its_depth() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(4 * RATE) / RATE).astype(np.float32)
    result = vary_speed(tone, RATE, wow_percent=1.0, wow_hz=0.5)
    crossings = np.flatnonzero((result[:-1] < 0) & (result[1:] >= 0))
    exact = crossings + result[crossings] / (result[crossings] - result[crossings + 1])
    frequency = RATE / np.diff(exact)[5:-5]
    assert frequency.max() == pytest.approx(1010, abs=2)
    assert frequency.min() == pytest.approx(990, abs=2)
