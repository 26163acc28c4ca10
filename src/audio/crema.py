"""cremaPCP from sound: the chord network's pitch-class activations, one row per 93 ms.

The representation of Yesiler, Tralie et al., "Da-TACOS: a dataset for cover song identification
and understanding", ISMIR 2019, computed without TensorFlow.
"""

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
import torch

from src.audio.decode import open_audio, resample
from src.audio.errors import AudioError
from src.audio.hcqt import SAMPLE_RATE, harmonic_cqt, hcqt_from_blocks
from src.device import select_device
from src.models.crema import CremaModel, Version

DEFAULT_VERSION: Version = "0.1.0"
# Frames of features in one pass of the network, padding included; bounds memory.
BATCH_FRAMES = 65536


class Audio2CremaPCP:
    """Signals -> cremaPCP; the model is loaded once.

    Args:
        version: of the crema package whose network is used, ``0.1.0`` or ``0.2.0``.
        device: a device or its name, see :func:`src.device.select_device`.
    """

    def __init__(
        self, version: Version = DEFAULT_VERSION, device: str | torch.device = "auto"
    ) -> None:
        self.version = version
        self.device = select_device(device) if isinstance(device, str) else device
        self.model = CremaModel(version).to(self.device)

    def __call__(self, signal: np.ndarray | torch.Tensor, sample_rate: float) -> np.ndarray:
        """cremaPCP of one signal.

        Args:
            signal: ``(n,)`` floating point, mono.
            sample_rate: in Hz.

        Returns:
            ``(T, 12)`` float32 in 0..1, C first; T = n // 4096 at 44.1 kHz (one less for some exact
            multiples, as in the original).

        Raises:
            AudioError: not one-dimensional, NaN or infinity in it, or shorter than one frame.
        """
        return self.from_features([self.features(signal, sample_rate)])[0]

    def batch(
        self, signals: Iterable[np.ndarray | torch.Tensor], sample_rate: float
    ) -> list[np.ndarray]:
        """cremaPCP of several signals, faster than one by one and equal to it."""
        return self.from_features([self.features(signal, sample_rate) for signal in signals])

    def features(self, signal: np.ndarray | torch.Tensor, sample_rate: float) -> torch.Tensor:
        """The network's input for one signal: ``(T, 216, harmonics)`` on the device."""
        samples = check_signal(signal).to(self.device)
        samples = resample(samples, sample_rate, SAMPLE_RATE)
        return harmonic_cqt(samples, harmonics=self.model.harmonics)

    def file_features(self, path: str | os.PathLike) -> torch.Tensor:
        """The network's input for a recording of any length: ``(T, 216, harmonics)``.

        Raises:
            AudioError: the file cannot be decoded, see :func:`src.audio.decode.load_audio`, or is
                shorter than one frame.
        """
        stream = open_audio(path, sample_rate=SAMPLE_RATE)
        blocks = (torch.from_numpy(block).to(self.device) for block in stream.blocks)
        try:
            return hcqt_from_blocks(blocks, harmonics=self.model.harmonics)
        except AudioError as error:
            if str(path) in str(error):
                raise
            raise AudioError(f"{path}: {error}") from error

    def from_features(self, features: Sequence[torch.Tensor]) -> list[np.ndarray]:
        """Run the network over several recordings at once.

        Args:
            features: ``(T_i, 216, harmonics)`` each.

        Returns:
            ``(T_i, 12)`` float32 each, in the order given.
        """
        out: list[np.ndarray] = [np.empty((0, 12), np.float32)] * len(features)
        # Recordings of similar length share a pass, so that little padding is computed.
        order = sorted(range(len(features)), key=lambda i: -len(features[i]))
        while order:
            longest = len(features[order[0]])
            group, order = _split(order, max(1, BATCH_FRAMES // longest))
            lengths = torch.tensor([len(features[i]) for i in group])
            padded = torch.nn.utils.rnn.pad_sequence([features[i] for i in group], batch_first=True)
            pitch = self.model(padded, lengths)["chord_pitch"].cpu().numpy()
            for row, i in enumerate(group):
                out[i] = pitch[row, : len(features[i])].copy()
        return out


class File2CremaPCP:
    """Recordings -> cremaPCP, in memory that hardly grows with their length.

    Arguments as for :class:`Audio2CremaPCP`.
    """

    def __init__(
        self, version: Version = DEFAULT_VERSION, device: str | torch.device = "auto"
    ) -> None:
        self.audio = Audio2CremaPCP(version, device)

    def __call__(self, path: str | os.PathLike) -> np.ndarray:
        """cremaPCP of one file: ``(T, 12)`` float32.

        Raises:
            AudioError: the file cannot be decoded or is shorter than one frame.
        """
        return self.batch([path])[0]

    def batch(self, paths: Iterable[str | os.PathLike]) -> list[np.ndarray]:
        """cremaPCP of several files; the first one that cannot be used raises."""
        return self.audio.from_features([self.audio.file_features(path) for path in paths])


def extract_crema_pcp(
    signal: np.ndarray | torch.Tensor, sample_rate: float, version: Version = DEFAULT_VERSION
) -> np.ndarray:
    """cremaPCP of one signal; see :class:`Audio2CremaPCP`, which this keeps loaded.

    Args:
        signal: ``(n,)`` floating point, mono, any rate.
        sample_rate: in Hz.
        version: of the crema network.

    Returns:
        ``(T, 12)`` float32, one row per 4096 samples at 44.1 kHz.

    Raises:
        AudioError: the signal cannot be used.
        UserError: unknown version, or its weights are missing.
    """
    return _extractor(version)(signal, sample_rate)


@lru_cache(maxsize=2)
def _extractor(version: Version) -> Audio2CremaPCP:
    return Audio2CremaPCP(version)


def check_signal(signal: np.ndarray | torch.Tensor) -> torch.Tensor:
    """A usable mono signal as ``(n,)`` float32 tensor.

    Raises:
        AudioError: another shape, integers, NaN or infinity.
    """
    samples = torch.as_tensor(signal)
    if samples.ndim != 1:
        raise AudioError(
            f"expected a mono signal of shape (n,), got {tuple(samples.shape)}; mix it down first"
        )
    if not samples.is_floating_point():
        raise AudioError(
            f"expected floating-point samples, got {samples.dtype}; scale them to -1..1 first"
        )
    if not bool(torch.isfinite(samples).all()):
        raise AudioError("the signal holds NaN or infinite samples; repair or leave it out")
    return samples.float()


def _split(items: list[int], count: int) -> tuple[list[int], list[int]]:
    return items[:count], items[count:]
