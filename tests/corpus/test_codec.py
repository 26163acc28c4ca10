"""Lossy codecs: same length, same music, and no crash on long signals."""

import io
import os

import numpy as np
import pytest
import soundfile

from src.corpus.codec import CODECS, codec_available, encode, round_trip

RATE = 22050
needs_codec = pytest.mark.skipif(
    not os.environ.get("CI") and not all(codec_available(name) for name in CODECS),
    reason="the installed libsndfile lacks mp3, Vorbis or Opus",
)


def chord(seconds: float) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    tones = [np.sin(2 * np.pi * f * time) for f in (220.0, 330.0, 441.0)]
    return (0.1 * sum(tones)).astype(np.float32)


@needs_codec
@pytest.mark.parametrize(
    ("codec", "rate", "compression"),
    [("mp3", 22050, 0.8), ("mp3", 8000, 0.9), ("vorbis", 22050, 0.9), ("opus", 24000, 0.9)],
)
def test_round_trip_keeps_length_and_music(codec: str, rate: int, compression: float) -> None:
    signal = chord(3.0)
    result, kilobits = round_trip(
        signal, RATE, codec=codec, codec_rate=rate, compression=compression
    )
    assert result.shape == signal.shape
    assert result.dtype == np.float32
    assert np.isfinite(result).all()
    assert 4 < kilobits < 100
    assert not np.array_equal(result, signal)
    # Magnitudes, because an encoder may delay by a frame.
    before, after = (np.abs(np.fft.rfft(x[RATE // 2 : -RATE // 2])) for x in (signal, result))
    assert np.corrcoef(before, after)[0, 1] > 0.95


@needs_codec
def test_lower_quality_takes_fewer_bits() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    rates = [
        round_trip(noise, RATE, codec="vorbis", codec_rate=22050, compression=c)[1]
        for c in (0.2, 0.9)
    ]
    assert rates[1] < 0.8 * rates[0]


@needs_codec
def test_a_rate_above_the_signals_own_is_lowered() -> None:
    signal = chord(1.0)
    high, _ = round_trip(signal, RATE, codec="mp3", codec_rate=44100, compression=0.8)
    own, _ = round_trip(signal, RATE, codec="mp3", codec_rate=22050, compression=0.8)
    np.testing.assert_array_equal(high, own)


@needs_codec
def test_long_signals_do_not_overflow_the_encoders_stack() -> None:
    signal = np.resize(chord(1.0), 2_000_000)
    buffer = io.BytesIO()
    encode(signal, 22050, buffer, codec="vorbis", compression=0.99)
    buffer.seek(0)
    assert soundfile.info(buffer).frames == 2_000_000


def test_silence_needs_no_codec() -> None:
    silence = np.zeros(1000, dtype=np.float32)
    result, kilobits = round_trip(silence, RATE, codec="mp3", codec_rate=8000, compression=0.8)
    assert not result.any()
    assert kilobits == 0


def test_a_rate_that_the_codec_does_not_know_is_named() -> None:
    with pytest.raises(ValueError, match="opus cannot hold 22050 Hz"):
        encode(chord(0.1), 22050, io.BytesIO(), codec="opus", compression=0.9)
