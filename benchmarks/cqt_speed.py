"""Speed of the CQT, beside other ways to compute one, in one run.

    python -m benchmarks.cqt_speed [--seconds 240] [--threads N]

Figures are seconds of sound per second and per second of processor time, the best of some runs,
on one and on two threads or on those of ``--threads``; where others use the machine, processor
time on one thread is what compares. The loop is the definition frame by frame: an FFT, a product
with the sparse kernels. nnAudio (``pip install nnAudio``) and librosa compute other transforms of
the same bins and hop, without thresholds; they are here for their speed alone. librosa has no
threads, and refuses the highest bin, whose filter reaches beyond half the sample rate.
"""

import argparse
import importlib.util
from collections.abc import Callable

import numpy as np
import scipy.sparse
import torch

from benchmarks.measuring import timed
from src.audio.cqt import CQT, CQTSpec, compute_cqt, to_decibels
from src.audio.cqt_kernels import kernels
from src.device import select_device

SPEC = CQTSpec()


def recording(seconds: int) -> np.ndarray:
    """Decaying chords with a little noise."""
    rng = np.random.default_rng(0)
    t = np.arange(SPEC.sample_rate) / SPEC.sample_rate
    chords = 110 * 2 ** (rng.integers(0, 48, (seconds, 4, 1)) / 12)
    sound = np.concatenate([np.sin(2 * np.pi * c * t).mean(0) * np.exp(-2 * t) for c in chords])
    return (0.9 * sound + 1e-4 * rng.standard_normal(len(sound))).astype(np.float32)


def plain_loop() -> Callable[[np.ndarray], np.ndarray]:
    """The definition, in double precision: ``(N,)`` -> ``(frames, bins)`` dB."""
    length, hop = SPEC.frame_length, SPEC.hop_samples
    frequencies = SPEC.min_freq * 2 ** (np.arange(SPEC.bins) / SPEC.octave_resolution)
    weights = kernels(frequencies, q=SPEC.q, sample_rate=SPEC.sample_rate, length=length)
    spectra = np.fft.ifft(weights).real
    spectra[np.abs(spectra) < 1e-6 * np.abs(spectra).max()] = 0  # rounding
    sparse = scipy.sparse.csr_matrix(spectra)

    def transform(signal: np.ndarray) -> np.ndarray:
        beside = length - hop
        padded = np.pad(signal.astype(np.float64), ((beside + 1) // 2, beside // 2))
        frames = [
            np.abs(sparse @ np.fft.fft(padded[start : start + length]))
            for start in range(0, len(signal) // hop * hop, hop)
        ]
        level = 20 * np.log10(np.array(frames) + 1e-9)
        return level - level.max()

    return transform


def nnaudio(signal: np.ndarray) -> Callable[[], object]:
    from nnAudio.features import CQT1992v2

    layer = CQT1992v2(
        sr=SPEC.sample_rate,
        hop_length=SPEC.hop_samples,
        fmin=SPEC.min_freq,
        n_bins=SPEC.bins,
        bins_per_octave=SPEC.octave_resolution,
        verbose=False,
    )
    sound = torch.from_numpy(signal)[None]

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return layer(sound)

    return run


def librosa_cqt(signal: np.ndarray) -> Callable[[], object]:
    import librosa

    return lambda: np.abs(
        librosa.cqt(
            signal,
            sr=SPEC.sample_rate,
            hop_length=SPEC.hop_samples,
            fmin=SPEC.min_freq,
            n_bins=SPEC.bins - 1,
            bins_per_octave=SPEC.octave_resolution,
        )
    )


def best(function: Callable[[], object], runs: int = 5) -> np.ndarray:
    """Seconds and seconds of processor time, each of the run that took least of it."""
    function()  # tables and caches
    return np.array(timed(function, runs=runs)[1:])


def transform(signal: np.ndarray, device: torch.device) -> Callable[[], torch.Tensor]:
    """A function that computes our CQT of ``signal``, in dB, on the CPU in the end."""
    cqt = CQT(SPEC, device)
    sound = torch.from_numpy(signal).to(device)[None]
    return lambda: to_decibels(cqt.magnitudes(sound)).cpu()


def report_speed(name: str, threads: int, speed: np.ndarray, slow: np.ndarray) -> None:
    ratio = speed / slow
    text = [f"{s:16.0f}x{r:8.1f}x" for s, r in zip(speed, ratio, strict=True)]
    print(f"{name:20}{threads:8}{text[0]}{text[1]}", flush=True)


def report_error(name: str, signal: np.ndarray, plain: np.ndarray) -> None:
    error = np.abs(compute_cqt(signal) - plain)
    worst = []
    for low, high in ((-70, 0), (-90, -70), (-110, -90)):
        between = (plain > low) & (plain <= high)
        text = f"{error[between].max():.4f}" if between.any() else "none there"
        worst.append(f"{low} to {high} dB: {text}")
    print(f"greatest error in dB, {name}: {', '.join(worst)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=240, help="length of the recording")
    parser.add_argument("--threads", type=int, help="default: one, then two")
    options = parser.parse_args()
    signal = recording(options.seconds)
    short = signal[: 20 * SPEC.sample_rate]  # the loop is slow, and its speed the same
    loop = plain_loop()
    ways: dict[str, Callable[[], object]] = {"ours": transform(signal, select_device("cpu"))}
    if importlib.util.find_spec("nnAudio"):
        ways["nnAudio CQT1992v2"] = nnaudio(signal)
    else:
        print("nnAudio is not installed, and left out: pip install nnAudio")
    ways["librosa.cqt"] = librosa_cqt(signal)
    torch.set_num_threads(1)
    slow = len(short) / SPEC.sample_rate / best(lambda: loop(short), runs=3)
    print(f"a recording of {options.seconds} s; {SPEC.describe()}")
    header = f"{'':20}{'threads':>8}{'times real time':>17}{'ratio':>9}"
    print(f"{header}{'processor time':>17}{'ratio':>9}")
    report_speed("loop over frames", 1, slow, slow)
    for threads in [options.threads] if options.threads else [1, 2]:
        torch.set_num_threads(threads)
        for name, way in ways.items():
            report_speed(name, threads, options.seconds / best(way), slow)
    report_error("chords", short, loop(short))
    noise = np.random.default_rng(1).standard_normal(len(short)).astype(np.float32)
    report_error("white noise", noise, loop(noise))


if __name__ == "__main__":
    main()
