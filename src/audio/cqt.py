"""Constant-Q transform: sound -> one column of logarithmic frequency bins per hop.

The definition is that of CoverHunter's features, after Brown and Puckette, "An efficient algorithm
for the calculation of a constant Q transform", J. Acoust. Soc. Am. 92(5), 1992: per bin a Hamming
window of Q periods, transformed once into the frequency domain, where what is smaller than
``KERNEL_THRESHOLD`` is dropped; per frame one FFT, multiplied by the kernels.

The window is centred in the frame and symmetric, so the kernels are real but for the sign of every
other frequency, and those of neighbouring bins lie side by side: a band of bins is one product of
a small dense matrix with a slice of the spectrum. That is the same on every device.
"""

import math
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.signal.windows import hamming

from src.audio.decode import resample
from src.device import select_device

KERNEL_THRESHOLD = 0.01  # magnitude in the FFT of a kernel whose window sums to about 0.54
AMPLITUDE_FLOOR = 1e-9  # added before the logarithm: -180 dB
PEAK = 0.999  # full scale of a normalised recording
QUIETEST_PEAK = 0.001  # a recording quieter than this is not brought to full scale
BINS_TOGETHER = 8  # bins of one matrix product: narrow bands waste less, few products cost less
FRAMES_AT_ONCE = {"cpu": 128}  # spectra that stay in the cache of one core
FRAMES_AT_ONCE_ELSEWHERE = 1024


@dataclass(frozen=True)
class CQTSpec:
    """What decides the numbers of a CQT. Equal specifications make equal features.

    Attributes:
        sample_rate: Hz of the signal that is transformed.
        hop_size: seconds between frames.
        octave_resolution: bins per octave.
        min_freq: centre of the lowest bin in Hz.
        max_freq: Hz; bins lie below it. None is half the sample rate.
        n_bins: number of bins; None takes all below ``max_freq``.
    """

    sample_rate: int = 16000
    hop_size: float = 0.04
    octave_resolution: int = 12
    min_freq: float = 32.0
    max_freq: float | None = None
    n_bins: int | None = None

    def __post_init__(self) -> None:
        for name in ("sample_rate", "hop_size", "octave_resolution", "min_freq"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise ValueError(f"{name} of a CQT must be positive, not {value!r}")
        top = self.sample_rate / 2 if self.max_freq is None else self.max_freq
        if not self.min_freq < top <= self.sample_rate / 2:
            raise ValueError(
                f"the bins of a CQT must lie between min_freq {self.min_freq:g} Hz and half the "
                f"sample rate, {self.sample_rate / 2:g} Hz; max_freq is {top:g} Hz"
            )
        bins = round(self.octave_resolution * math.log2(top / self.min_freq))
        bins = bins if self.n_bins is None else self.n_bins
        # The defining form is kept small: what can be derived takes one value.
        object.__setattr__(self, "min_freq", float(self.min_freq))
        object.__setattr__(self, "max_freq", float(top))
        object.__setattr__(self, "n_bins", int(bins))
        if self.hop_samples < 1:
            raise ValueError(f"hop_size {self.hop_size:g} s is shorter than a sample")
        highest = self.min_freq * 2 ** ((self.n_bins - 1) / self.octave_resolution)
        if self.n_bins < 1 or highest >= self.sample_rate / 2:
            raise ValueError(
                f"{self.n_bins} bins from {self.min_freq:g} Hz, {self.octave_resolution} an octave,"
                f" do not fit below half the sample rate, {self.sample_rate / 2:g} Hz"
            )

    @property
    def bins(self) -> int:
        """Number of bins."""
        assert self.n_bins is not None
        return self.n_bins

    @property
    def hop_samples(self) -> int:
        """Samples between frames."""
        return int(round(self.hop_size * self.sample_rate, 6))

    @property
    def frames_per_second(self) -> float:
        """Frames per second of sound."""
        return self.sample_rate / self.hop_samples

    def to_dict(self) -> dict[str, Any]:
        """The specification for a JSON file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CQTSpec":
        """The specification that :meth:`to_dict` wrote.

        Raises:
            ValueError: a value is unknown, of another type or out of range.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"a CQT has no {', '.join(map(str, unknown))}")
        for name, value in values.items():
            whole = name in ("sample_rate", "octave_resolution", "n_bins")
            optional = name in ("max_freq", "n_bins")
            if value is None and optional:
                continue
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise ValueError(f"{name} of a CQT must be a number, not {value!r}")
        return cls(**values)

    def describe(self) -> str:
        """The specification in words, for error messages."""
        return (
            f"{self.bins} bins from {self.min_freq:g} Hz, {self.octave_resolution} an octave, "
            f"{self.frames_per_second:g} frames a second at {self.sample_rate} Hz"
        )


@lru_cache(maxsize=8)
def kernels(spec: CQTSpec) -> np.ndarray:
    """Kernels in the frequency domain, for the spectrum of a real signal.

    Returns:
        ``(bins, L // 2 + 1, 2)`` float64, mostly zeros: weights of the real and of the imaginary
        part of the spectrum of ``L`` samples, ``L`` the power of two above the longest window.
        The transform is ``sum over f of w[f, 0] Re X[f] + i w[f, 1] Im X[f]``.
    """
    q = 1 / (2 ** (1 / spec.octave_resolution) - 1)
    length = 2 ** math.ceil(math.log2(q * spec.sample_rate / spec.min_freq))
    sign = (-1.0) ** np.arange(length)  # moves the middle of the window to the middle of the frame
    table = np.zeros((spec.bins, length // 2 + 1, 2))
    for k in range(spec.bins):
        frequency = spec.min_freq * 2 ** (k / spec.octave_resolution)
        half = round(q * spec.sample_rate / frequency / 2)
        n = 2 * half + 1
        m = np.arange(-half, half + 1)
        padded = np.zeros(length, complex)
        padded[m] = hamming(n) * np.exp(2j * np.pi * q * m / n) / n
        spectrum = np.fft.fft(padded).real  # a window symmetric about 0 has a real spectrum
        spectrum[np.abs(spectrum) < KERNEL_THRESHOLD] = 0
        spectrum *= sign / length
        # Above half the sample rate, the spectrum of a real signal is that below it, conjugated.
        below, above = spectrum[: length // 2 + 1], np.zeros(length // 2 + 1)
        above[1:-1] = spectrum[: length // 2 : -1]
        table[k] = np.stack([below + above, below - above], axis=-1)
    return table


@dataclass(frozen=True)
class _Band:
    """Some neighbouring bins: their slice of the spectrum and the matrix for it."""

    start: int  # first frequency
    stop: int
    matrix: torch.Tensor  # (2 * (stop - start), 2 * bins of the band)


def _bands(spec: CQTSpec) -> list[_Band]:
    table = kernels(spec)
    bands = []
    for first in range(0, spec.bins, BINS_TOGETHER):
        part = table[first : first + BINS_TOGETHER]  # (b, F, 2)
        used = np.flatnonzero(np.any(part != 0, axis=(0, 2)))
        start, stop = int(used[0]), int(used[-1]) + 1
        matrix = np.zeros((stop - start, 2, len(part), 2), np.float32)
        for component in (0, 1):  # real part from real part, imaginary from imaginary
            matrix[:, component, :, component] = part[:, start:stop, component].T
        flat = matrix.reshape(2 * (stop - start), 2 * len(part))
        bands.append(_Band(start, stop, torch.from_numpy(flat)))
    return bands


class CQT:
    """Magnitudes of the constant-Q transform, on any device and for signals of any number.

    Args:
        spec: what is computed.
        device: where.
    """

    def __init__(self, spec: CQTSpec | None = None, device: str | torch.device = "cpu") -> None:
        self.spec = spec or CQTSpec()
        self.device = torch.device(device)
        self.length = 2 * (kernels(self.spec).shape[1] - 1)
        self._bands = [
            _Band(band.start, band.stop, band.matrix.to(self.device)) for band in _bands(self.spec)
        ]

    @torch.inference_mode()
    def magnitudes(self, signals: torch.Tensor) -> torch.Tensor:
        """Linear magnitudes.

        Args:
            signals: ``(B, N)`` at the sample rate of the specification; N at least one hop.

        Returns:
            ``(B, N // hop, bins)`` float32 on the device.

        Raises:
            ValueError: the shape is another, or the signals are shorter than a hop.
        """
        hop = self.spec.hop_samples
        if signals.ndim != 2 or signals.shape[1] < hop:
            raise ValueError(
                f"the CQT needs signals (B, N) of at least {hop} samples, "
                f"got shape {tuple(signals.shape)}"
            )
        signals = signals.to(self.device, torch.float32)
        frames = signals.shape[1] // hop
        beside = self.length - hop
        left = (beside + 1) // 2
        padded = torch.nn.functional.pad(signals, (left, max(0, beside - left)))
        windows = padded.unfold(1, self.length, hop)[:, :frames]  # (B, T, L)
        together = FRAMES_AT_ONCE.get(self.device.type, FRAMES_AT_ONCE_ELSEWHERE)
        result = signals.new_empty(len(signals), frames, self.spec.bins)
        for signal, out in zip(windows, result, strict=True):
            for start in range(0, frames, together):
                out[start : start + together] = self._transform(signal[start : start + together])
        return result

    def _transform(self, windows: torch.Tensor) -> torch.Tensor:
        """``(T, L)`` -> ``(T, bins)`` magnitudes."""
        spectrum = torch.view_as_real(torch.fft.rfft(windows)).flatten(1)  # (T, 2 F)
        parts = [spectrum[:, 2 * b.start : 2 * b.stop] @ b.matrix for b in self._bands]
        return torch.cat(parts, dim=1).unflatten(1, (-1, 2)).square().sum(2).sqrt()

    def __call__(self, signals: torch.Tensor) -> torch.Tensor:
        """Decibels, 0 dB at the maximum of each signal.

        Args:
            signals: see :meth:`magnitudes`.

        Returns:
            ``(B, N // hop, bins)`` float32 on the device; digital silence gives zeros.
        """
        return to_decibels(self.magnitudes(signals))


def to_decibels(magnitudes: torch.Tensor) -> torch.Tensor:
    """``(..., T, bins)`` magnitudes -> dB, 0 dB at the maximum over time and frequency."""
    level = 20 * torch.log10(magnitudes + AMPLITUDE_FLOOR)
    return level - level.amax(dim=(-2, -1), keepdim=True)


@lru_cache(maxsize=8)
def _cqt(spec: CQTSpec, device: str) -> CQT:
    return CQT(spec, device)


def compute_cqt(
    signal: np.ndarray,
    sample_rate: int = 16000,
    hop_size: float = 0.04,
    octave_resolution: int = 12,
    min_freq: float = 32,
    max_freq: float | None = None,
    *,
    n_bins: int | None = None,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """Constant-Q transform of one signal in decibels.

    Args:
        signal: ``(N,)`` samples at ``sample_rate``; not resampled and not normalised here.
        sample_rate: Hz.
        hop_size: seconds between frames.
        octave_resolution: bins per octave.
        min_freq: centre of the lowest bin in Hz.
        max_freq: bins lie below, in Hz; None is half the sample rate.
        n_bins: number of bins; None takes all below ``max_freq``.
        device: where it is computed.

    Returns:
        ``(N // hop, bins)`` float32 dB, 0 dB at the maximum; digital silence gives zeros.

    Raises:
        ValueError: the signal is not 1-D, shorter than a hop or not finite, or the parameters
            make no transform.
    """
    spec = CQTSpec(sample_rate, hop_size, octave_resolution, min_freq, max_freq, n_bins)
    samples = torch.as_tensor(np.asarray(signal))
    if samples.ndim != 1 or not torch.isfinite(samples).all():
        raise ValueError(
            f"the CQT needs a 1-D signal of finite numbers, got shape {tuple(samples.shape)}"
        )
    return _cqt(spec, str(device))(samples[None].float())[0].cpu().numpy()


def normalise_peak(signal: np.ndarray) -> np.ndarray:
    """Bring a recording to full scale, ``(N,)`` float32; near-silence stays quiet."""
    signal = np.asarray(signal, np.float32)
    peak = np.float32(max(QUIETEST_PEAK, float(np.max(np.abs(signal), initial=0.0))))
    return signal / peak * np.float32(PEAK)


class Audio2CQT:
    """Sound -> CoverHunter's features: mono at any sample rate in, decibels out."""

    def __init__(self, spec: CQTSpec | None = None, device: str | torch.device = "cpu") -> None:
        self.spec = spec or CQTSpec()
        self._cqt = CQT(self.spec, select_device(str(device)))

    def __call__(self, signal: np.ndarray, sample_rate: float) -> np.ndarray:
        """Resample, normalise the peak, transform.

        Args:
            signal: ``(N,)`` float samples.
            sample_rate: Hz.

        Returns:
            ``(frames, bins)`` float32 dB, 0 dB at the maximum.

        Raises:
            ValueError: the recording is shorter than one hop.
        """
        signal = normalise_peak(resample(signal, sample_rate, self.spec.sample_rate))
        return self._cqt(torch.from_numpy(signal)[None])[0].cpu().numpy()


def mean_frames(features: np.ndarray, count: int) -> np.ndarray:
    """Average groups of ``count`` frames; frames that fill no group are dropped.

    Args:
        features: ``(frames, bins)``.
        count: frames in a group; 1 returns the features unchanged.

    Returns:
        ``(frames // count, bins)`` float32.
    """
    if count == 1:
        return features
    groups = len(features) // count
    kept = features[: groups * count].reshape(groups, count, features.shape[1])
    return kept.mean(axis=1, dtype=np.float64).astype(np.float32)
