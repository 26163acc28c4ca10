"""Recordings of any length -> embeddings of their windows, with a CoverHunter or a Re-MOVE model.

Two sizes of window are embedded. The wide ones, as long as those the model was trained on, decide
how far apart two recordings are; the narrow ones only say where in them they agree.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src.audio.decode import AudioError
from src.device import select_device
from src.errors import UserError
from src.retrieval.window_networks import SHORTEST_S, WindowSettings, open_network
from src.retrieval.windows import Windows

SILENT_FRAME_DB = -60.0  # below the loudest frame
SOUNDING_SHARE = 0.25  # of a window's frames; less, and it says nothing about the music


@dataclass(frozen=True)
class RecordingWindows:
    """What a model hears in one recording.

    Attributes:
        wide: windows that decide distances.
        narrow: windows that locate agreements; None if there are none.
        seconds: length of the recording.
    """

    wide: Windows
    narrow: Windows | None
    seconds: float


@dataclass(frozen=True)
class LoadedRecording:
    """Features of a recording.

    Attributes:
        path: the file.
        features: ``(T, bins)``.
        level: ``(T,)`` dB.
        seconds: its length.
    """

    path: Path
    features: np.ndarray
    level: np.ndarray
    seconds: float


class Recording2Windows:
    """Recordings -> embeddings of their windows; the model is loaded once.

    Args:
        model_path: a CoverHunter directory (or one ``g_...`` file in it) or a Re-MOVE ``.pt``.
        device: a device or its name, see :func:`src.device.select_device`.
        settings: how to cut; None takes what fits the model.

    Raises:
        UserError: there is no such model, or it is damaged.
    """

    def __init__(
        self,
        model_path: str | os.PathLike,
        *,
        device: str | torch.device = "auto",
        settings: WindowSettings | None = None,
    ) -> None:
        device = select_device(device) if isinstance(device, str) else device
        self.model_path = Path(model_path)
        self.network = open_network(self.model_path, device)
        self.settings = settings or self.network.settings

    @property
    def distance(self) -> str:
        """By which the embeddings are compared."""
        return self.network.distance

    @property
    def identity(self) -> dict[str, Any]:
        """What must be equal for embeddings to be comparable, for JSON."""
        return {
            "model": self.network.kind,
            "weights": self.network.weights,
            "features": self.network.features,
            "distance": self.network.distance,
            "windows": asdict(self.settings),
        }

    def __call__(self, path: str | os.PathLike) -> RecordingWindows:
        """Embed one recording, from sound or from a file of features.

        Raises:
            AudioError: it cannot be decoded, is silent or shorter than one second.
            UserError: a file of features that are not those of the model.
        """
        return self.embed(self.load(path))

    def load(self, path: str | os.PathLike) -> LoadedRecording:
        """The first half of the work, without the model's; threads may do several at once.

        Raises:
            AudioError, UserError: see :meth:`__call__`.
        """
        path = Path(path)
        features, level = self.network.load(path)
        seconds = len(features) / self.network.frames_per_second
        if seconds < SHORTEST_S:
            raise AudioError(
                f"{path} is too short ({seconds:.1f} s); a recording of at least "
                f"{SHORTEST_S:.0f} s is needed"
            )
        return LoadedRecording(path, features, level, seconds)

    def embed(self, loaded: LoadedRecording) -> RecordingWindows:
        """The second half: windows through the model.

        Raises:
            UserError: the features or the embeddings cannot be used.
        """
        path, features, level, seconds = (
            loaded.path,
            loaded.features,
            loaded.level,
            loaded.seconds,
        )
        s = self.settings
        try:
            if seconds <= s.whole_s and s.whole_s > s.window_s:
                wide = self._windows(features, level, seconds, seconds)
            else:
                wide = self._windows(features, level, s.window_s, s.hop_s)
            narrow = None
            if s.narrow_s and s.narrow_s < s.window_s:
                narrow = self._windows(features, level, s.narrow_s, s.narrow_hop_s)
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{path}: {error}") from error
        return RecordingWindows(wide, narrow, seconds)

    def _windows(
        self, features: np.ndarray, level: np.ndarray, window_s: float, hop_s: float
    ) -> Windows:
        rate = self.network.frames_per_second
        frames = max(1, round(window_s * rate))
        starts = window_starts(len(features), frames, max(1, round(hop_s * rate)))
        starts = sounding_windows(level, starts, frames)
        embeddings = self.network.embed(features, starts, frames).astype(np.float32)
        if not np.isfinite(embeddings).all():
            raise ValueError("the model gives embeddings that are not finite")
        first = np.asarray(starts) / rate
        last = np.minimum(np.asarray(starts) + frames, len(features)) / rate
        return Windows(embeddings, first, last)


def window_starts(total: int, frames: int, hop: int) -> list[int]:
    """First frames of windows that cover a recording.

    All windows are full; where the last one would not reach the end, one more ends with the
    recording. A recording shorter than a window has one window.
    """
    if total <= frames:
        return [0]
    starts = list(range(0, total - frames + 1, hop))
    if starts[-1] + frames < total:
        starts.append(total - frames)
    return starts


def sounding_windows(level: np.ndarray, starts: list[int], frames: int) -> list[int]:
    """Leave out windows that are mostly silent; the fullest one always stays.

    Silence would be embedded like any sound, and all silences are alike: without this, two
    recordings with half a minute of nothing at the end would be versions of each other.
    """
    sounding = level > level.max() + SILENT_FRAME_DB
    shares = np.array([sounding[start : start + frames].mean() for start in starts])
    kept = [s for s, share in zip(starts, shares, strict=True) if share >= SOUNDING_SHARE]
    return kept or [starts[int(shares.argmax())]]
