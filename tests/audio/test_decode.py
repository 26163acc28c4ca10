"""Decoding: formats, channels, rates, damaged files, and the program that helps out."""

import logging
import math
import sys

import numpy as np
import pytest
import soundfile
import torch

from src.audio import decode
from src.audio.decode import AudioError, load_audio, open_audio, resample
from src.audio.torchaudio_guard import torchaudio_or_none

RATE = 22050
SECONDS = 10


def tone(rate: int = RATE, seconds: float = SECONDS) -> np.ndarray:
    t = np.arange(int(rate * seconds)) / rate
    return (0.4 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)


def write(path, samples, rate=RATE, **options):
    with soundfile.SoundFile(path, "w", rate, np.ndim(samples), **options) as file:
        for start in range(0, len(samples), rate):  # long blocks crash some Vorbis encoders
            file.write(samples[start : start + rate])
    return path


def stereo() -> np.ndarray:
    return np.stack([tone(), 0.5 * tone()], axis=1)


FORMATS = {
    "a.wav": ({"subtype": "PCM_24"}, 1e-4),
    "a.flac": ({}, 1e-4),
    "a.aiff": ({}, 1e-4),
    "a.ogg": ({}, 0.05),
    "a.mp3": ({}, 0.05),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats_of_libsndfile_give_the_mean_of_the_channels(tmp_path, name):
    options, tolerance = FORMATS[name]
    path = write(tmp_path / name, stereo(), **options)
    signal, rate = load_audio(path)
    assert rate == RATE
    assert signal.dtype == np.float32
    assert signal.shape == (SECONDS * RATE,)
    assert np.abs(signal - 0.75 * tone())[1000:-1000].max() < tolerance


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg"])
def test_reading_in_pieces_changes_no_sample(tmp_path, name, monkeypatch):
    samples = np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32) / 10
    path = write(tmp_path / name, samples)
    monkeypatch.setattr(decode, "BLOCK_SECONDS", 1)
    whole, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_allclose(load_audio(path)[0], whole, atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("seconds", [1, 60])
def test_resampled_in_pieces_as_a_whole(tmp_path, rate, seconds, monkeypatch):
    monkeypatch.setattr(decode, "BLOCK_SECONDS", seconds)
    samples = np.random.default_rng(0).standard_normal(5 * RATE + 13).astype(np.float32)
    path = write(tmp_path / "noise.wav", samples, subtype="FLOAT")
    signal, got_rate = load_audio(path, sample_rate=rate)
    assert got_rate == rate
    assert len(signal) == math.ceil(len(samples) * rate / RATE)
    np.testing.assert_allclose(signal, resample(samples, RATE, rate), atol=1e-6)


def test_resampling_keeps_a_tone():
    np.testing.assert_allclose(
        resample(tone(44100), 44100, 16000)[500:-500], tone(16000)[500:-500], atol=1e-4
    )


def test_resampling_a_tensor_is_resampling_its_values():
    signal = tone()
    out = resample(torch.from_numpy(signal), RATE, 44100)
    np.testing.assert_array_equal(out.numpy(), resample(signal, RATE, 44100))
    assert resample(signal, RATE, RATE) is signal


def test_a_recording_is_read_in_pieces(tmp_path):
    path = write(tmp_path / "long.wav", tone(seconds=30))
    blocks = open_audio(path).blocks
    assert len(next(blocks)) == decode.BLOCK_SECONDS * RATE


def bad_file(kind: str, path):
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("A list of songs, not a song.\n" * 50)
    elif kind == "random":
        path.write_bytes(np.random.default_rng(0).bytes(5000))
    elif kind == "header only":
        write(path, tone())
        path.write_bytes(path.read_bytes()[:20])
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0), RATE)
    elif kind in ("nan", "inf"):
        samples = tone()
        samples[len(samples) // 2] = float(kind)
        write(path, samples, subtype="FLOAT")


REASONS = {
    "missing": "does not exist",
    "folder": "is a folder",
    "empty": "is empty",
    "text": "not a recording",
    "random": "not a recording",
    "header only": "not a recording",
    "no samples": "holds no sound",
    "nan": "not numbers",
    "inf": "not numbers",
}


@pytest.mark.parametrize("ffmpeg", [True, False])
@pytest.mark.parametrize("kind", REASONS)
def test_unusable_files_end_in_one_sentence(tmp_path, kind, ffmpeg, monkeypatch):
    if not ffmpeg:
        monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    path = tmp_path / "recording.wav"
    bad_file(kind, path)
    with pytest.raises(AudioError, match=REASONS[kind]) as caught:
        load_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cut.wav", "cut.flac", "cut.ogg", "cut.mp3"])
def test_what_is_left_of_a_truncated_file_is_used(tmp_path, name, caplog):
    path = write(tmp_path / name, tone(seconds=20))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        signal, _ = load_audio(path)
    assert 4 * RATE < len(signal) < 16 * RATE
    assert np.abs(signal - tone(seconds=20)[: len(signal)])[1000:-6000].max() < 0.05
    if name == "cut.flac":  # announces its length
        assert "damaged or truncated" in caplog.text


FAKE_FFMPEG = """#!{python}
import struct, sys
assert sys.argv[-1] == "pipe:1" and "file:{path}" in sys.argv
samples = [0.25, 0.75] * 1000
sys.stdout.buffer.write(struct.pack(">4sIIIII", b".snd", 28, 0xFFFFFFFF, 6, 12000, 2) + b"none")
sys.stdout.buffer.write(struct.pack(">2000f", *samples))
sys.exit({code})
"""


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    def install(path, code=0):
        program = tmp_path / "bin" / "ffmpeg"
        program.parent.mkdir()
        program.write_text(FAKE_FFMPEG.format(python=sys.executable, path=path, code=code))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent))

    return install


@pytest.mark.parametrize("code", [0, 1])
def test_ffmpeg_decodes_what_libsndfile_cannot(tmp_path, fake_ffmpeg, code, caplog):
    path = tmp_path / "song.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    fake_ffmpeg(path, code)
    signal, rate = load_audio(path)
    assert rate == 12000
    np.testing.assert_array_equal(signal, np.full(1000, 0.5, dtype=np.float32))
    assert ("truncated" in caplog.text) == bool(code)


def test_without_ffmpeg_the_remedy_is_named(tmp_path, monkeypatch):
    path = tmp_path / "song.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match="install the ffmpeg program"):
        load_audio(path)


@pytest.mark.parametrize("rates", [(0, 44100), (44100, -1)])
def test_rates_must_be_positive(rates):
    with pytest.raises(AudioError, match="positive"):
        resample(tone(), *rates)


class FakeFunctional:
    """Stands for torchaudio.functional; meta tensors stand for those of a GPU."""

    def __init__(self):
        self.calls = []

    def resample(self, signal, from_rate, to_rate, **options):
        self.calls.append((from_rate, to_rate))
        return signal.new_empty(math.ceil(len(signal) * to_rate / from_rate) + 1)


def test_torchaudio_resamples_off_the_cpu_only(monkeypatch):
    fake = FakeFunctional()
    monkeypatch.setitem(sys.modules, "torchaudio", fake)
    monkeypatch.setitem(sys.modules, "torchaudio.functional", fake)
    assert torchaudio_or_none() is fake
    out = resample(torch.empty(1000, device="meta"), 48000, 44100)
    assert out.device.type == "meta"
    assert len(out) == math.ceil(1000 * 44100 / 48000)
    resample(torch.zeros(1000), 48000, 44100)
    assert fake.calls == [(48000, 44100)]


def test_torchaudio_that_does_not_import_is_no_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio.functional", None)
    assert torchaudio_or_none() is None

    def broken(name):
        raise OSError("libcudart.so.13: cannot open shared object file")

    monkeypatch.setattr("src.audio.torchaudio_guard.importlib.import_module", broken)
    assert torchaudio_or_none() is None
