"""A CoverHunter directory or a Re-MOVE file, behind one interface: files in, embeddings out."""

import re
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from src.audio.cqt import Audio2CQT, CQTSpec
from src.audio.crema import File2CremaPCP
from src.audio.decode import AudioError, load_audio, open_audio
from src.data.chroma import double_chroma
from src.data.cqt_features import ARCHIVE_KEY, check_spec, load_cqt, read_spec
from src.data.crema_features import FEATURE_KEYS, read_first, versions_for
from src.errors import UserError
from src.models.embed import embed_tracks
from src.models.window_embedder import Feature2Embeddings
from src.retrieval.fingerprint import model_fingerprint
from src.retrieval.ranking import DISTANCE_OF_LOSS
from src.retrieval.windows import COSINE
from src.training.checkpoint import load_coverhunter, load_move, read_metadata

SHORTEST_S = 1.0
SILENT_PEAK = 1e-4  # of full scale: 80 dB below it
CHECKPOINT_NAME = re.compile(r"g_(\d{8})")
# The paper aligns versions by windows of 15 s (arXiv 2306.09025).
COVERHUNTER_NARROW = (15.0, 5.0)
MOVE_FRAMES_PER_SECOND = 44100 / 4096
FEATURE_SUFFIXES = (".npy", ".npz")


@dataclass(frozen=True)
class WindowSettings:
    """How recordings are cut; all in seconds.

    Attributes:
        window_s: length of the wide windows.
        hop_s: distance between them.
        whole_s: a recording up to this length is one window, however long.
        narrow_s: length of the narrow windows; 0 leaves them out.
        narrow_hop_s: distance between them.
    """

    window_s: float
    hop_s: float
    whole_s: float
    narrow_s: float
    narrow_hop_s: float

    def __post_init__(self) -> None:
        values = [self.window_s, self.hop_s, self.whole_s]
        values += [self.narrow_hop_s, self.narrow_s] if self.narrow_s else []
        if not all(np.isfinite(value) and value > 0 for value in values) or self.narrow_s < 0:
            raise UserError(f"window lengths and hops must be positive seconds, not {values}")


class WindowNetwork(Protocol):
    """A trained model with the features that it reads.

    Attributes:
        kind: ``CoverHunter`` or ``MOVE``.
        weights: digest of all its weights.
        features: description of the features, for JSON.
        distance: by which its embeddings are compared.
        frames_per_second: of the features.
        settings: how recordings are cut unless something else is asked for.
    """

    kind: str
    weights: str
    features: dict[str, Any]
    distance: str
    frames_per_second: float
    settings: WindowSettings

    def reads(self, path: Path) -> bool:
        """Whether the file holds features for this model."""
        ...

    def load(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Features ``(T, bins)`` of a file, and the level of each frame ``(T,)`` in dB."""
        ...

    def embed(self, features: np.ndarray, starts: list[int], frames: int) -> np.ndarray:
        """Embeddings ``(W, d)`` of the windows of ``frames`` frames from each start."""
        ...


# MOVE was trained on 167 s and sees 30 s at once; it reads whole recordings, and of very long
# ones (concerts, sides of a record) windows.
MOVE_SETTINGS = WindowSettings(
    window_s=300.0, hop_s=150.0, whole_s=600.0, narrow_s=45.0, narrow_hop_s=15.0
)


class CoverHunterNetwork:
    """A CoverHunter directory; see the protocol for the attributes."""

    kind = "CoverHunter"
    distance = COSINE

    def __init__(self, model_dir: Path, epoch: int | None, device: torch.device) -> None:
        model = load_coverhunter(model_dir, epoch)
        self.weights = model_fingerprint(model)
        self.model = model.to(device)
        self.spec = model.feature_spec
        self.features = {"cqt": self.spec.to_dict()}
        self.frames_per_second = self.spec.frames_per_second
        self.device = device
        self.audio2cqt = Audio2CQT(self.spec, device=str(device))
        window_s = training_window_s(model.hparams, model.mean_size, self.frames_per_second)
        narrow_s, narrow_hop_s = COVERHUNTER_NARROW
        self.settings = WindowSettings(
            window_s=window_s,
            hop_s=window_s / 2,
            whole_s=window_s,
            narrow_s=narrow_s if narrow_s < window_s else 0.0,
            narrow_hop_s=narrow_hop_s,
        )

    def reads(self, path: Path) -> bool:
        return path.suffix.lower() == ".npy" or ARCHIVE_KEY in arrays_of(path)

    def load(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        if path.suffix.lower() in FEATURE_SUFFIXES:
            features = read_cqt(path, self.spec)
        else:
            signal, rate = load_audio(path, sample_rate=self.spec.sample_rate)
            check_sound(signal, rate, path)
            features = self.audio2cqt(signal, rate)
        return features, features.max(axis=1)

    def embed(self, features: np.ndarray, starts: list[int], frames: int) -> np.ndarray:
        embedder = Feature2Embeddings(
            self.model, chunk_s=frames / self.frames_per_second, device=self.device
        )
        return next(embedder.embed_windows([(features, starts)]))


class MoveNetwork:
    """A Re-MOVE model file; see the protocol for the attributes."""

    kind = "MOVE"
    frames_per_second = MOVE_FRAMES_PER_SECOND
    settings = MOVE_SETTINGS

    def __init__(self, path: Path, device: torch.device) -> None:
        model = load_move(path)
        metadata = read_metadata(path)
        self.weights = model_fingerprint(model)
        self.model = model.to(device)
        self.device = device
        self.crema_versions = versions_for(metadata)
        self.crema_version = self.crema_versions[0]
        self.features = {"crema": self.crema_version}
        self.distance = DISTANCE_OF_LOSS.get(_loss(metadata), COSINE)
        self._crema: File2CremaPCP | None = None
        self._lock = threading.Lock()

    def reads(self, path: Path) -> bool:
        return not arrays_of(path).isdisjoint(FEATURE_KEYS.values())

    def load(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        if path.suffix.lower() in FEATURE_SUFFIXES:
            pcp = read_first(path, self.crema_versions)
            return pcp, np.zeros(len(pcp), np.float32)
        level = level_db(path)
        with self._lock:
            if self._crema is None:
                self._crema = File2CremaPCP(self.crema_version, self.device)
        pcp = self._crema(path)  # (T, 12)
        missing = max(0, len(pcp) - len(level))
        return pcp, np.pad(level, (0, missing), mode="edge")[: len(pcp)]

    def embed(self, features: np.ndarray, starts: list[int], frames: int) -> np.ndarray:
        tracks = [double_chroma(features[start : start + frames]) for start in starts]
        return embed_tracks(self.model, tracks, device=self.device).numpy()


def training_window_s(hparams: dict[str, Any], mean_size: int, frames_per_second: float) -> float:
    """Seconds of the longest windows that the model was trained on."""
    chunk_frame = hparams.get("chunk_frame")
    if isinstance(chunk_frame, list | tuple) and chunk_frame:
        return chunk_frame[0] * mean_size / frames_per_second
    return float(hparams.get("chunk_s") or 135.0)


def check_sound(signal: np.ndarray, sample_rate: float, path: Path) -> None:
    """Raise a sentence if a signal is too short or silent."""
    seconds = len(signal) / sample_rate
    if seconds < SHORTEST_S:
        raise AudioError(
            f"{path} is too short ({seconds:.2f} s); a recording of at least "
            f"{SHORTEST_S:.0f} s is needed"
        )
    if float(np.abs(signal).max()) < SILENT_PEAK:
        raise AudioError(f"{path} is silent from beginning to end; record it again")


def level_db(path: Path) -> np.ndarray:
    """Peak of every frame of cremaPCP in dB of full scale, ``(T,)``, decoded piece by piece.

    Raises:
        AudioError: the file cannot be decoded, is silent or too short.
    """
    stream = open_audio(path)
    samples = 0
    peaks = np.zeros(0, np.float32)
    for block in stream.blocks:
        position = samples + np.arange(len(block))
        frame = (position * (MOVE_FRAMES_PER_SECOND / stream.sample_rate)).astype(np.int64)
        firsts = np.flatnonzero(np.diff(frame, prepend=-1))
        peaks = np.pad(peaks, (0, max(0, int(frame[-1]) + 1 - len(peaks))))
        index = frame[firsts]
        peaks[index] = np.maximum(peaks[index], np.maximum.reduceat(np.abs(block), firsts))
        samples += len(block)
    check_sound(peaks, len(peaks) * stream.sample_rate / samples, path)
    return 20 * np.log10(peaks + 1e-9)


def read_cqt(path: Path, spec: CQTSpec) -> np.ndarray:
    """Features ``(frames, bins)`` float32 dB of a file, if they are those that a model reads.

    Raises:
        UserError: they are of another CQT, or the file is missing or damaged.
    """
    check_spec(spec, read_spec(path.parent), str(path))
    features = load_cqt(path)
    if features.shape[1] != spec.bins:
        raise UserError(
            f"{path} holds features of the shape {features.shape}, but the model reads "
            f"(frames, {spec.bins}); extract them again"
        )
    return features


def arrays_of(path: Path) -> set[str]:
    """Names of the arrays of an ``.npz``; none if it is not one."""
    if path.suffix.lower() != ".npz":
        return set()
    try:
        with np.load(path, allow_pickle=False) as archive:
            return set(archive.files)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return set()


def _loss(metadata: dict[str, Any]) -> int | None:
    options = metadata.get("options")
    loss = options.get("loss") if isinstance(options, dict) else None
    return loss if isinstance(loss, int) else None


def open_network(path: Path, device: torch.device) -> WindowNetwork:
    """The model at ``path``: a directory is CoverHunter's, a file Re-MOVE's.

    Raises:
        UserError: neither is there, or the model cannot be used.
    """
    if path.is_dir():
        return CoverHunterNetwork(path, None, device)
    match = CHECKPOINT_NAME.fullmatch(path.name)
    if match and path.is_file():
        return CoverHunterNetwork(path.parent.parent, int(match[1]), device)
    if not path.exists():
        raise UserError(
            f"{path} does not exist; give a CoverHunter directory (with config/hparams.yaml and "
            "pt_model/) or a Re-MOVE model file (.pt)"
        )
    return MoveNetwork(path, device)
