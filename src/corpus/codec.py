"""A round trip through a lossy codec of libsndfile: mp3, Vorbis or Opus, without any program."""

import io

import numpy as np
import soundfile
import soxr

from src.errors import UserError

# libsndfile subtypes, and the sample rates that each codec knows.
CODECS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    "mp3": ("MP3", "MPEG_LAYER_III", (8000, 11025, 16000, 22050, 32000, 44100, 48000)),
    "vorbis": ("OGG", "VORBIS", (8000, 11025, 16000, 22050, 32000, 44100, 48000)),
    "opus": ("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000)),
}
_CHUNK = 8192  # libsndfile's Ogg encoders overflow their stack when given millions of samples


def codec_available(name: str) -> bool:
    """Whether the installed libsndfile can write ``name``."""
    container, subtype, _ = CODECS[name]
    if container not in soundfile.available_formats():
        return False
    return subtype in soundfile.available_subtypes(container)


def encode(
    signal: np.ndarray, sample_rate: int, target: object, *, codec: str, compression: float
) -> None:
    """Write a mono signal to ``target`` (path or binary file) with a lossy codec.

    Args:
        signal: float32 ``(samples,)`` within +-1.
        compression: libsndfile's level, 0 (best) to 0.99 (smallest).

    Raises:
        UserError: the installed libsndfile cannot write this codec.
        ValueError: the codec does not know the sample rate.
    """
    container, subtype, rates = CODECS[codec]
    if sample_rate not in rates:
        raise ValueError(f"{codec} cannot hold {sample_rate} Hz, only {rates}")
    if not codec_available(codec):
        raise UserError(f"the installed libsndfile cannot write {codec}: pip install -U soundfile")
    options = {"bitrate_mode": "CONSTANT"} if codec == "mp3" else {}
    with soundfile.SoundFile(
        target,
        "w",
        sample_rate,
        1,
        format=container,
        subtype=subtype,
        compression_level=compression,
        **options,
    ) as handle:
        for start in range(0, len(signal), _CHUNK):
            handle.write(signal[start : start + _CHUNK])


def round_trip(
    signal: np.ndarray, sample_rate: int, *, codec: str, codec_rate: int, compression: float
) -> tuple[np.ndarray, float]:
    """Encode and decode a signal at ``codec_rate`` Hz.

    Args:
        signal: float32 ``(samples,)``; scaled to a safe peak for the codec and back.
        codec_rate: Hz; lowered to a rate of the codec near ``sample_rate`` if that is less.

    Returns:
        float32 signal of the same length and rate, and the bit rate in kbit/s.
    """
    peak = float(np.max(np.abs(signal), initial=0.0))
    if peak == 0 or len(signal) < 2:
        return signal, 0.0
    scale = np.float32(0.7 / peak)
    if codec_rate > 1.1 * sample_rate:  # nothing is up there to be kept
        fitting = [rate for rate in CODECS[codec][2] if rate <= 1.1 * sample_rate]
        codec_rate = max(fitting, default=codec_rate)
    scaled = soxr.resample(signal * scale, sample_rate, codec_rate, quality="HQ")
    buffer = io.BytesIO()
    encode(scaled, codec_rate, buffer, codec=codec, compression=compression)
    kilobits = len(buffer.getvalue()) * 8e-3 / (len(signal) / sample_rate)
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float32")
    decoded = soxr.resample(decoded, codec_rate, sample_rate, quality="HQ") / scale
    result = np.zeros(len(signal), dtype=np.float32)
    kept = min(len(decoded), len(result))
    result[:kept] = decoded[:kept]
    return result, round(kilobits, 1)
