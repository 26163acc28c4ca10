"""Recordings of any kind -> mono float32 signals."""

import logging
import math
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import soxr
import torch

from src.audio.errors import AudioError
from src.audio.torchaudio_guard import torchaudio_or_none

__all__ = ["AudioError", "AudioStream", "load_audio", "open_audio", "resample"]

logger = logging.getLogger(__name__)

BLOCK_SECONDS = 4  # short: what precedes a damaged place in a block is lost with it
SOXR_QUALITY = "HQ"  # its pass band ends where resampy's kaiser_best does, at 0.91 of Nyquist
# torchaudio's nearest to kaiser_best (values from its documentation)
TORCHAUDIO_OPTIONS = {
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "resampling_method": "sinc_interp_kaiser",
    "beta": 14.769656459379492,
}
# What ffmpeg may read. Playlists are not among it: they could refer to anything, or never end.
FFMPEG_FORMATS = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,matroska,webm,mov,mp3,mp4,mpc,mpc8,"
    "mpeg,mpegts,ogg,rm,tak,tta,w64,wav,wv,xwma"
)
# A .au header: magic, offset of the data, its size, encoding, sample rate, channels.
AU_HEADER = struct.Struct(">4sIIIII")

Signal = TypeVar("Signal", np.ndarray, torch.Tensor)


class SequentialSoundFile(soundfile.SoundFile):
    """A sound file that is only read forward.

    The base class seeks to its own position after every read. In an MP3 that forgets the bits
    that later frames borrow from earlier ones, and a third of a second is garbled.
    """

    def seekable(self) -> bool:
        return False


@dataclass
class AudioStream:
    """A recording that is decoded piece by piece.

    Attributes:
        sample_rate: of ``blocks``, in Hz.
        blocks: mono float32 ``(n,)`` pieces; decodes as it is read, and raises
            :class:`AudioError` where the file turns out to be unusable.
    """

    sample_rate: int
    blocks: Iterator[np.ndarray]


def load_audio(
    path: str | os.PathLike, *, sample_rate: int | None = None
) -> tuple[np.ndarray, int]:
    """Decode a recording.

    libsndfile reads it if it can (WAV, FLAC, Ogg, Opus, MP3, AIFF, ...), else the ffmpeg program
    if there is one. Of a truncated or damaged file the part that decodes is used, with a logged
    warning where the format tells how long the recording was.

    Args:
        path: the recording.
        sample_rate: resample to this many Hz; None keeps the recording's own rate.

    Returns:
        ``(n,)`` float32, the mean of the channels, and the sample rate in Hz.

    Raises:
        AudioError: missing, empty, not audio, without a sample, or with samples that are not
            numbers.
    """
    stream = open_audio(path, sample_rate=sample_rate)
    return np.concatenate(list(stream.blocks)), stream.sample_rate


def open_audio(path: str | os.PathLike, *, sample_rate: int | None = None) -> AudioStream:
    """Like :func:`load_audio`, but in pieces, for recordings of any length.

    Raises:
        AudioError: here or while the blocks are read, see :func:`load_audio`.
    """
    path = Path(path)
    _check_file(path)
    try:
        file = SequentialSoundFile(path)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        stream = _open_with_ffmpeg(path, error)
    else:
        stream = AudioStream(file.samplerate, _read_soundfile(file, path))
    blocks = _checked(stream.blocks, path)
    if sample_rate is None or sample_rate == stream.sample_rate:
        return AudioStream(stream.sample_rate, blocks)
    return AudioStream(sample_rate, _resample_blocks(blocks, stream.sample_rate, sample_rate))


def resample(signal: Signal, from_rate: float, to_rate: float) -> Signal:
    """Change the sample rate of a mono signal.

    Args:
        signal: ``(n,)`` floating-point array or tensor.
        from_rate: its rate in Hz.
        to_rate: the wanted rate in Hz.

    Returns:
        ``(ceil(n * to_rate / from_rate),)`` of the same kind, on the same device. Computed by soxr;
        for a tensor on a GPU by torchaudio, where that imports.

    Raises:
        AudioError: a rate is not positive.
    """
    if not (from_rate > 0 and to_rate > 0):
        raise AudioError(f"sample rates must be positive, got {from_rate} and {to_rate}")
    if from_rate == to_rate:
        return signal
    length = math.ceil(len(signal) * to_rate / from_rate)
    if isinstance(signal, torch.Tensor):
        functional = torchaudio_or_none() if signal.device.type != "cpu" else None
        if functional is not None and float(from_rate).is_integer() and float(to_rate).is_integer():
            out = functional.resample(signal, int(from_rate), int(to_rate), **TORCHAUDIO_OPTIONS)
            return torch.nn.functional.pad(out, (0, max(0, length - len(out))))[:length]
        array = resample(signal.detach().cpu().numpy(), from_rate, to_rate)
        return torch.from_numpy(array).to(signal.device)
    out = soxr.resample(signal, from_rate, to_rate, quality=SOXR_QUALITY)
    return _fix_length(out, length)


def _fix_length(signal: np.ndarray, length: int) -> np.ndarray:
    if len(signal) < length:
        return np.pad(signal, (0, length - len(signal)))
    return signal[:length]


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise AudioError(f"{path} is a folder, not a recording")
    try:
        with path.open("rb") as file:
            first = file.read(1)
    except FileNotFoundError as error:
        raise AudioError(f"{path} does not exist") from error
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror or error}") from error
    if not first:
        raise AudioError(f"{path} is empty (0 bytes); get the recording again")


def _read_soundfile(file: soundfile.SoundFile, path: Path) -> Iterator[np.ndarray]:
    announced = file.frames
    got = 0
    problem = ""
    with file:
        while True:
            try:
                block = file.read(BLOCK_SECONDS * file.samplerate, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                problem = str(error)
                break
            if not len(block):
                break
            got += len(block)
            yield _mono(block)
    if problem or got < announced:
        if not got:
            raise AudioError(f"{path} cannot be decoded ({problem}); get the recording again")
        logger.warning(
            "%s is damaged or truncated: %.1f of %.1f s could be decoded and are used",
            path,
            got / file.samplerate,
            announced / file.samplerate,
        )


def _mono(block: np.ndarray) -> np.ndarray:
    """(n, channels) -> (n,)"""
    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)


def _checked(blocks: Iterator[np.ndarray], path: Path) -> Iterator[np.ndarray]:
    total = 0
    for block in blocks:
        total += len(block)
        if not np.isfinite(block).all():
            raise AudioError(
                f"{path} holds samples that are not numbers (NaN or infinity); export it again"
            )
        yield block
    if not total:
        raise AudioError(f"{path} holds no sound (0 samples); get the recording again")


def _resample_blocks(
    blocks: Iterator[np.ndarray], from_rate: int, to_rate: int
) -> Iterator[np.ndarray]:
    """The streaming form of :func:`resample`: same result, whatever the blocks."""
    stream = soxr.ResampleStream(
        from_rate, to_rate, num_channels=1, dtype="float32", quality=SOXR_QUALITY
    )
    read = written = 0
    for block in blocks:
        read += len(block)
        out = stream.resample_chunk(block)
        written += len(out)
        yield out
    out = stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
    yield _fix_length(out, math.ceil(read * to_rate / from_rate) - written)


def _open_with_ffmpeg(path: Path, reason: Exception) -> AudioStream:
    program = shutil.which("ffmpeg")
    if program is None:
        raise AudioError(
            f"{path} is not a recording that libsndfile can read; "
            "convert it to WAV or FLAC, or install the ffmpeg program"
        ) from reason
    source = ["-nostdin", "-v", "quiet", "-protocol_whitelist", "file"]
    source += ["-format_whitelist", FFMPEG_FORMATS, "-i", f"file:{path}"]
    target = ["-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    process = subprocess.Popen([program, *source, *target], stdout=subprocess.PIPE)
    header = process.stdout.read(AU_HEADER.size)
    if len(header) < AU_HEADER.size:
        process.stdout.close()
        process.wait()
        raise AudioError(
            f"{path} is not a recording: neither libsndfile nor ffmpeg can decode it; "
            "get it again or remove it"
        ) from reason
    _, offset, _, _, rate, channels = AU_HEADER.unpack(header)
    process.stdout.read(offset - AU_HEADER.size)
    return AudioStream(rate, _read_ffmpeg(process, path, rate, channels))


def _read_ffmpeg(
    process: subprocess.Popen, path: Path, rate: int, channels: int
) -> Iterator[np.ndarray]:
    frame_bytes = 4 * channels
    try:
        while content := process.stdout.read(BLOCK_SECONDS * rate * frame_bytes):
            whole = len(content) // frame_bytes * frame_bytes
            block = np.frombuffer(content[:whole], dtype=">f4").astype(np.float32)
            yield _mono(block.reshape(-1, channels))
        if process.wait():
            logger.warning("%s is damaged or truncated: what could be decoded is used", path)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
