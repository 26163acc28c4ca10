"""Speed of cremaPCP, beside the straightforward form of the same computation, in one run.

    python -m benchmarks.crema_speed [--threads 2] [--files 16] [--seconds 240]

Recordings are Ogg Vorbis files of synthetic sound. The straightforward form takes one recording
after the other: filters as strided convolutions, a windowed transform times the filters' spectra,
and a recurrence that steps through one direction after the other. Figures are seconds of sound
per second.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.nn import functional as F

from benchmarks.measuring import timed
from src.audio import hcqt
from src.audio.crema import Audio2CremaPCP, File2CremaPCP
from src.audio.decode import load_audio
from src.data.crema_features import extract_collection
from src.data.recordings import find_recordings
from src.device import select_device
from src.models.crema import CremaModel

RATE = 44100


def plain_decimate(signal: torch.Tensor, factor: int) -> torch.Tensor:
    taps = torch.from_numpy(hcqt.decimation_filter(factor)).float() * factor**0.5
    reach = len(taps) // 2
    out = F.conv1d(signal[None, None], taps[None, None], stride=factor, padding=reach)[0, 0]
    samples = len(signal)
    return F.pad(out[: samples // factor], (0, int(samples % factor > 0)))


def plain_features(signal: torch.Tensor, harmonics: int) -> torch.Tensor:
    impulse = torch.from_numpy(hcqt.octave_basis())  # back to spectra: (513, 36)
    basis = torch.fft.ifft(impulse, dim=0)[: hcqt.N_FFT // 2 + 1].to(torch.complex64)
    frames = hcqt.frame_count(len(signal))
    channels = []
    for harmonic in range(1, harmonics + 1):
        octave_signal = plain_decimate(signal, 4 // harmonic)
        hop = hcqt.HOP * harmonic // 4
        octaves = []
        for octave in range(hcqt.OCTAVES):
            spectrum = torch.stft(
                octave_signal,
                hcqt.N_FFT,
                hop,
                window=torch.ones(hcqt.N_FFT),
                pad_mode="constant",
                return_complex=True,
            )
            octaves.insert(0, (spectrum[:, :frames].T @ basis).abs())
            if octave < hcqt.OCTAVES - 1:
                octave_signal = plain_decimate(octave_signal, 2)
                hop //= 2
        scale = hcqt._bin_scale(harmonic, signal.device, signal.dtype)
        channels.append(torch.cat(octaves, dim=1) * scale)
    return hcqt.to_decibels(torch.stack(channels, dim=-1))


def plain_direction(x: torch.Tensor, kernel, recurrent, bias) -> torch.Tensor:
    units = recurrent.shape[0]
    state = torch.zeros(units)
    out = []
    for frame in x:
        inputs = frame @ kernel + bias
        gates = inputs[: 2 * units] + state @ recurrent[:, : 2 * units]
        update, reset = torch.clamp(0.2 * gates + 0.5, 0, 1).chunk(2)
        candidate = torch.tanh(inputs[2 * units :] + (reset * state) @ recurrent[:, 2 * units :])
        state = update * state + (1 - update) * candidate
        out.append(state)
    return torch.stack(out)


@torch.no_grad()
def plain_network(model: CremaModel, features: torch.Tensor) -> np.ndarray:
    x = model.norm_input(features.permute(2, 0, 1)[None])
    x = F.relu(F.conv2d(x, model.conv.weight, model.conv.bias, padding=2))
    x = model.norm_dense(F.relu(model.dense(model.norm_conv(x)[0, 0])))
    for gru, norm in ((model.gru1, model.norm_gru), (model.gru2, torch.nn.Identity())):
        weights = list(zip(gru.weight_input, gru.weight_recurrent, gru.bias, strict=True))
        forward = plain_direction(x, *weights[0])
        backward = plain_direction(x.flip(0), *weights[1]).flip(0)
        x = norm(torch.cat([forward, backward], dim=-1))
    return torch.sigmoid(model.pitch(x)).numpy()


def write_recordings(folder: Path, files: int, seconds: int) -> list[Path]:
    """Broken chords with noise, as Ogg Vorbis, two to a work."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(files):
        path = folder / f"work {number // 2}" / f"version {number % 2}.ogg"
        path.parent.mkdir(exist_ok=True)
        with soundfile.SoundFile(path, "w", RATE, 1, "VORBIS", format="OGG") as file:
            for _ in range(seconds):
                t = np.arange(RATE) / RATE
                notes = 220 * 2 ** (rng.integers(0, 24, 3) / 12)
                sound = np.sin(2 * np.pi * notes[:, None] * t).mean(0) * np.exp(-2 * t)
                file.write(0.5 * sound + 0.01 * rng.standard_normal(RATE))
        paths.append(path)
    return paths


def files_to_features(
    folder: Path, *, version: str, device: torch.device, threads: int
) -> Callable[[], object]:
    """A function that computes cremaPCP of all recordings in a folder; once only, it keeps them."""
    recordings = find_recordings(folder)
    if threads == 1:  # a collection is worked on by one thread for the network, others for sound
        paths = [recording.path for recording in recordings]
        return lambda: File2CremaPCP(version, device).batch(paths)
    return lambda: extract_collection(
        recordings,
        cache=folder / f".cache{version}",
        crema_version=version,
        device=device,
        workers=threads,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--seconds", type=int, default=240)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = select_device("cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_recordings(folder, options.files, options.seconds)
        print(f"{options.files} recordings of {options.seconds} s, {options.threads} threads")
        print(f"{'crema':8}{'':18}{'straightforward':>16}{'ours':>10}{'ratio':>8}")
        for version in ("0.1.0", "0.2.0"):
            compare(version, paths, folder, options, device)


def compare(version: str, paths: list[Path], folder: Path, options, device) -> None:
    extractor = Audio2CremaPCP(version, device)
    model = extractor.model
    (signal, _), decode_time, _ = timed(lambda: load_audio(paths[0]))
    samples = torch.from_numpy(signal)
    extractor(signal[: RATE * 2], RATE)  # warm up
    plain, plain_cqt, _ = timed(lambda: plain_features(samples, model.harmonics))
    ours, our_cqt, _ = timed(lambda: hcqt.harmonic_cqt(samples, harmonics=model.harmonics))
    plain_pcp, plain_net, _ = timed(lambda: plain_network(model, plain))
    pcps, our_net, _ = timed(lambda: extractor.from_features([ours] * len(paths)))
    everything = files_to_features(folder, version=version, device=device, threads=options.threads)
    _, total, _ = timed(everything)
    one = options.seconds
    seconds = one * len(paths)
    plain_total = plain_cqt + plain_net + decode_time
    rows = (
        ("harmonic CQT", one / plain_cqt, one / our_cqt),
        ("network", one / plain_net, seconds / our_net),
        ("files to features", one / plain_total, seconds / total),
    )
    for what, straightforward, fast in rows:
        ratio = fast / straightforward
        print(f"{version:8}{what:18}{straightforward:15.0f}x{fast:9.0f}x{ratio:8.1f}")
    print(f"{'':8}greatest difference of a value: {np.abs(pcps[0] - plain_pcp).max():.1e}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
