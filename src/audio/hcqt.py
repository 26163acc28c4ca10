"""The harmonic constant-Q front end of crema, in torch, bit-close to the original pipeline.

It reproduces librosa 0.9's recursive constant-Q transform (Schörkhuber and Klapuri, "Constant-Q
transform toolbox for music processing", SMC 2010) with resampy's ``kaiser_fast`` half-band filters
and zero padding. What the original does as sparse matrix times spectrum, and as a sum over filter
taps, is done here as two dense matrix products per octave.
"""

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np
import torch

from src.audio.errors import AudioError

SAMPLE_RATE = 44100
HOP = 4096
OCTAVES = 6
BINS_PER_OCTAVE = 36
BINS = OCTAVES * BINS_PER_OCTAVE
FMIN = 32.70319566257483  # C1, Hz
N_FFT = 1024
Q = (2 ** (2 / BINS_PER_OCTAVE) + 1) / (2 ** (2 / BINS_PER_OCTAVE) - 1)
AMIN = 1e-5
TOP_DB = 80.0
# resampy's kaiser_fast
ZERO_CROSSINGS = 24
ROLLOFF = 0.86821203883777840
BETA = 9.90322

# Half the longest analysis window and all filters before it reach less than this far, in hops.
MARGIN_FRAMES = 20
BLOCK_FRAMES = 1024
OUTPUTS_PER_ROW = 64  # decimated samples per row of the matrix product


def frame_count(samples: int) -> int:
    """Frames of a recording of ``samples`` samples at 44.1 kHz.

    One every 4096 samples; some exact multiples of 4096 lose a frame, because the original goes
    through seconds in floating point.
    """
    return int((samples / SAMPLE_RATE) * SAMPLE_RATE) // HOP


def decimation_filter(factor: int) -> np.ndarray:
    """Symmetric low-pass of a decimation by ``factor``: ``(2 * 24 * factor - 1,)`` float64 taps."""
    reach = ZERO_CROSSINGS * factor
    x = np.arange(-reach, reach + 1) / factor
    window = np.i0(BETA * np.sqrt(np.clip(1 - (x / ZERO_CROSSINGS) ** 2, 0, None))) / np.i0(BETA)
    taps = ROLLOFF * np.sinc(ROLLOFF * x) * window / factor
    return taps[1:-1]  # the outermost taps are sinc zeros of the original's table


def octave_basis() -> np.ndarray:
    """Impulse responses of the 36 filters of one octave: ``(1024, 36)`` complex128.

    Frequency over sample rate is the same in every octave of both harmonics, so this one basis
    serves all twelve. The original thins the filters' spectra out to the coefficients that carry
    99 % of their magnitude; the inverse transform of the thinned spectrum is used here.
    """
    rate = SAMPLE_RATE / 4
    frequencies = FMIN * 2.0 ** (np.arange(BINS - BINS_PER_OCTAVE, BINS) / BINS_PER_OCTAVE)
    basis = np.empty((N_FFT, BINS_PER_OCTAVE), dtype=np.complex128)
    for j, frequency in enumerate(frequencies):
        length = Q * rate / frequency
        m = np.arange(math.floor(-length / 2), math.floor(length / 2))
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(m)) / len(m))
        kernel = np.exp(2j * np.pi * m * frequency / rate) * window
        kernel /= np.abs(kernel).sum()
        padded = np.zeros(N_FFT, dtype=np.complex64)
        left = (N_FFT - len(m)) // 2
        padded[left : left + len(m)] = kernel
        padded *= np.float32(length / N_FFT)
        spectrum = np.fft.fft(padded)[: N_FFT // 2 + 1]
        magnitude = np.abs(spectrum)
        ranked = np.sort(magnitude)
        share = np.cumsum(ranked) / magnitude.sum()
        threshold = ranked[np.argmin(share < 0.01)]
        spectrum[magnitude < threshold] = 0
        # sum_k B[k] X[k] = sum_n x[n] b[n] with b the forward transform of B
        basis[:, j] = np.fft.fft(spectrum, N_FFT)
    return basis


@lru_cache(maxsize=16)
def _decimation_matrix(factor: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """(inputs of a row, outputs of a row): the decimation as a banded Toeplitz matrix."""
    taps = decimation_filter(factor) * math.sqrt(factor)
    matrix = np.zeros((factor * (OUTPUTS_PER_ROW - 1) + len(taps), OUTPUTS_PER_ROW))
    for column in range(OUTPUTS_PER_ROW):
        matrix[column * factor : column * factor + len(taps), column] = taps
    return torch.from_numpy(matrix).to(dtype).to(device)


@lru_cache(maxsize=16)
def _basis_matrix(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """(1024, 72): real parts of the 36 filters, then imaginary parts."""
    basis = octave_basis()
    matrix = np.concatenate([basis.real, basis.imag], axis=1)
    return torch.from_numpy(matrix).to(dtype).to(device)


def decimate(signal: torch.Tensor, factor: int) -> torch.Tensor:
    """Low-pass and keep every ``factor``-th sample, at constant energy.

    Args:
        signal: ``(..., n)``.
        factor: 2 or 4.

    Returns:
        ``(..., ceil(n / factor))``; if ``factor`` does not divide ``n`` the last sample is 0, as
        in the original.
    """
    samples = signal.shape[-1]
    outputs = samples // factor
    matrix = _decimation_matrix(factor, signal.device, signal.dtype)
    reach = ZERO_CROSSINGS * factor - 1
    rows = max(1, -(-outputs // OUTPUTS_PER_ROW))
    stride = factor * OUTPUTS_PER_ROW
    needed = (rows - 1) * stride + matrix.shape[0]
    padded = torch.nn.functional.pad(signal, (reach, max(0, needed - reach - samples)))
    frames = padded.unfold(-1, matrix.shape[0], stride)[..., :rows, :]
    out = (frames @ matrix).flatten(-2)[..., :outputs]
    if samples % factor:
        out = torch.nn.functional.pad(out, (0, 1))
    return out


def _octave(signal: torch.Tensor, hop: int, frames: int) -> torch.Tensor:
    """Magnitudes of one octave: ``(n,)`` -> ``(frames, 36)``, frame t centred at ``t * hop``."""
    needed = (frames - 1) * hop + N_FFT
    padded = torch.nn.functional.pad(
        signal, (N_FFT // 2, max(0, needed - N_FFT // 2 - len(signal)))
    )
    windows = padded.unfold(0, N_FFT, hop)[:frames]
    parts = windows @ _basis_matrix(signal.device, signal.dtype)
    return torch.hypot(parts[:, :BINS_PER_OCTAVE], parts[:, BINS_PER_OCTAVE:])


def _bin_scale(harmonic: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Factor of every bin, lowest first: the octave's gain over the root of the filter length."""
    rate = SAMPLE_RATE * harmonic / 4
    frequencies = harmonic * FMIN * 2.0 ** (np.arange(BINS) / BINS_PER_OCTAVE)
    octave = OCTAVES - 1 - np.arange(BINS) // BINS_PER_OCTAVE
    scale = np.sqrt(2.0**octave / (Q * rate / frequencies))
    return torch.from_numpy(scale).to(dtype).to(device)


def _excerpt_magnitude(signal: torch.Tensor, harmonics: int) -> torch.Tensor:
    """Constant-Q magnitudes of a signal padded with zeros: ``(n,)`` -> ``(n // 4096 + 1, 216, h)``.

    ``signal`` starts at a multiple of 4096 samples of the recording.
    """
    frames = signal.shape[0] // HOP + 1
    out = signal.new_empty(frames, BINS, harmonics)
    for channel in range(harmonics):
        factor = 4 // (channel + 1)
        octave_signal = decimate(signal, factor)
        hop = HOP // factor
        for octave in range(OCTAVES):
            low = BINS - BINS_PER_OCTAVE * (octave + 1)
            out[:, low : low + BINS_PER_OCTAVE, channel] = _octave(octave_signal, hop, frames)
            if octave < OCTAVES - 1:
                octave_signal = decimate(octave_signal, 2)
                hop //= 2
        out[:, :, channel] *= _bin_scale(channel + 1, signal.device, signal.dtype)
    return out


def _excerpts(blocks: Iterable[torch.Tensor]) -> Iterator[tuple[torch.Tensor, int, int]]:
    """Cut a stream into overlapping excerpts: (samples, frames to skip, to keep)."""
    margin = MARGIN_FRAMES * HOP
    body = BLOCK_FRAMES * HOP
    pieces: list[torch.Tensor] = []
    start = 0  # position of the first piece in the recording
    total = 0  # end of the last one
    position = 0  # first sample whose frames are still to be computed
    for block in blocks:
        pieces.append(block)
        total += len(block)
        if total < position + body + margin:
            continue
        buffer = torch.cat(pieces)
        while total >= position + body + margin:
            yield (
                buffer[: position - start + body + margin],
                (position - start) // HOP,
                BLOCK_FRAMES,
            )
            position += body
            drop = max(0, position - margin - start)
            buffer = buffer[drop:]
            start += drop
        pieces = [buffer.clone()]  # a view would keep the whole buffer
    if total:
        keep = frame_count(total) - position // HOP
        yield torch.cat(pieces), (position - start) // HOP, keep


def hcqt_from_blocks(blocks: Iterable[torch.Tensor], *, harmonics: int = 1) -> torch.Tensor:
    """Harmonic CQT of a recording that arrives in pieces; see :func:`harmonic_cqt`.

    Memory beyond the result does not grow with the recording, and the result does not depend on
    how it is cut.

    Args:
        blocks: consecutive ``(n,)`` float32 pieces at 44.1 kHz, on the device to compute on.
        harmonics: 1 or 2.
    """
    parts: list[torch.Tensor] = []
    for samples, skip, keep in _excerpts(blocks):
        if keep > 0:
            parts.append(_excerpt_magnitude(samples, harmonics)[skip : skip + keep])
    if not parts:
        raise AudioError(
            f"the recording is shorter than one frame ({HOP} samples at {SAMPLE_RATE} Hz, "
            f"{HOP / SAMPLE_RATE:.3f} s); use a longer one"
        )
    return to_decibels(torch.cat(parts))


def harmonic_cqt(signal: torch.Tensor, *, harmonics: int = 1) -> torch.Tensor:
    """Harmonic CQT in dB, as crema's networks read it.

    Args:
        signal: ``(n,)`` float32 at 44.1 kHz.
        harmonics: 1 (C1 to B6) or 2 (besides, C2 to B7).

    Returns:
        ``(T, 216, harmonics)`` dB in -80..0, 36 bins per octave, one frame per 4096 samples, each
        harmonic relative to its own maximum; all 0 for silence, as in the original.

    Raises:
        AudioError: the signal is shorter than one frame.
    """
    body = BLOCK_FRAMES * HOP
    return hcqt_from_blocks(signal.split(body), harmonics=harmonics)


def to_decibels(magnitude: torch.Tensor) -> torch.Tensor:
    """``(T, 216, harmonics)`` magnitudes -> dB below the maximum of each harmonic, at least -80.

    Computed in the memory of ``magnitude``.
    """
    floor = AMIN**2
    power = magnitude.square_()
    reference = power.amax(dim=(0, 1)).clamp_(min=floor).log10_().mul_(10.0)
    decibels = power.clamp_(min=floor).log10_().mul_(10.0).sub_(reference)
    lowest = decibels.amax(dim=(0, 1)) - TOP_DB
    return torch.maximum(decibels, lowest, out=decibels)
