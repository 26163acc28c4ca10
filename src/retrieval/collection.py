"""A set of recordings on which models are compared: works, and the features of every model.

Features are read where the list of recordings names them, and made from the sound where not.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from src.audio.cqt import CQTSpec
from src.audio.decode import load_audio
from src.data.chroma import PITCH_CLASSES
from src.data.cqt_features import ARCHIVE_KEY
from src.data.crema_features import FEATURE_KEYS, UNMARKED_KEY, read_features
from src.data.demo import DEMO, demo_cqt, demo_dataset
from src.data.feature_rows import read_feature_rows
from src.data.manifest import read_manifest
from src.data.recordings import MANIFEST, locate
from src.data.sound_features import Features, Sound2Features, decoded, describe_features
from src.errors import UserError
from src.retrieval.testset_files import labels_of
from src.retrieval.window_networks import arrays_of, read_cqt

logger = logging.getLogger(__name__)

# Keys of a line that may name features, best first.
FILE_KEYS = ("feat", "features", "file")
Row = Mapping[str, Any]


class Tracks(Sequence[np.ndarray]):
    """Features of recordings, each read when it is asked for.

    Args:
        loaders: makes the features of each recording.
    """

    def __init__(self, loaders: Sequence[Callable[[], np.ndarray]]) -> None:
        self._loaders = loaders

    def __len__(self) -> int:
        return len(self._loaders)

    def __getitem__(self, position):
        if isinstance(position, slice):
            return Tracks(self._loaders[position])
        return self._loaders[position]()


@dataclass(frozen=True)
class Collection:
    """Recordings of works.

    Attributes:
        name: of the set.
        rows: lines of the recordings.
        labels: the work of each.
        folder: of the list, below which its files are.
        make: features of all recordings; called once for each kind, also if it fails.
    """

    name: str
    rows: list[dict[str, Any]]
    labels: list[str]
    folder: Path
    make: Callable[[Features], Sequence[np.ndarray]]
    _made: dict[Features, Sequence[np.ndarray] | UserError] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        """``utt`` of each recording."""
        return [row["utt"] for row in self.rows]

    def sounds(self) -> list[Path]:
        """The sound file of each recording.

        Raises:
            UserError: one of them has none.
        """
        paths = [sound_of(row, self.folder) for row in self.rows]
        for row, path in zip(self.rows, paths, strict=True):
            if path is None:
                raise UserError(
                    f"{self.name} has no sound of {row['utt']} (key wav); it is needed here, "
                    "features do not do"
                )
        return [path for path in paths if path is not None]

    def features(self, features: Features) -> Sequence[np.ndarray]:
        """``(frames, bins)`` dB, or ``(frames, 12)`` cremaPCP, of each recording, float32.

        Raises:
            UserError: a recording has neither these features nor sound.
        """
        if features not in self._made:
            try:
                self._made[features] = self.make(features)
            except UserError as error:
                self._made[features] = error
        made = self._made[features]
        if isinstance(made, UserError):
            raise made
        return made


def open_collection(
    path: str | os.PathLike, *, device: torch.device, progress: bool = False
) -> Collection:
    """Read a set.

    Args:
        path: a manifest (or the folder of a ``dataset.txt``). Lines have ``wav``, or features:
            ``feat``, ``features`` or ``file`` name a ``.npy`` with a CQT or an ``.npz`` with a
            CQT (``cqt_u8``), cremaPCP or both. The bundled demo uses what is kept beside it.
        device: where to make features.
        progress: show how far that is.

    Raises:
        UserError: the manifest cannot be read or says nothing of works.
    """
    path = Path(path)
    path = path / MANIFEST if path.is_dir() else path
    if path.resolve() == (DEMO / MANIFEST).resolve():
        return demo_collection(device=device)
    rows = read_rows(path)
    labels, _ = labels_of(rows, rows, path, path)
    name = path.resolve().parent.name if path.name == MANIFEST else path.stem
    reader = _Reader(rows, path, device=device, progress=progress)
    return Collection(name, rows, labels, path.parent, reader)


def demo_collection(*, device: torch.device) -> Collection:
    """The bundled recordings with the features that are kept beside them."""
    rows = read_manifest(DEMO / MANIFEST)

    def make(features: Features) -> Sequence[np.ndarray]:
        if isinstance(features, CQTSpec):
            return demo_cqt(features, device=device)[0]
        tracks = demo_dataset(features, device=device).data
        return [track[0, :PITCH_CLASSES].T.float().numpy() for track in tracks]

    return Collection("demo", rows, [row["song"] for row in rows], DEMO, make)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Lines of a manifest, completed from a ``full.txt`` beside it where that knows features."""
    rows = read_manifest(path)
    if any(row.get(key) for row in rows for key in FILE_KEYS):
        return rows
    try:
        return read_feature_rows(path)
    except UserError:
        return rows  # none there: the sound will do


def sound_of(row: Row, folder: Path) -> Path | None:
    """The sound of a recording; None where its line names none, or it is not there."""
    path = locate(str(row["wav"]), folder) if row.get("wav") else None
    return path if path is not None and path.is_file() else None


class _Reader:
    """Features of the recordings of a manifest, from their files or else from their sound."""

    def __init__(
        self, rows: Sequence[Row], manifest: Path, *, device: torch.device, progress: bool
    ) -> None:
        self.rows = rows
        self.manifest = manifest
        self.device = device
        self.progress = progress

    def __call__(self, features: Features) -> Tracks:
        loaders = [self._from_file(row, features) for row in self.rows]
        missing = [number for number, loader in enumerate(loaders) if loader is None]
        sounds = {n: sound_of(self.rows[n], self.manifest.parent) for n in missing}
        silent = [number for number, sound in sounds.items() if sound is None]
        others = {n: self._other_version(self.rows[n], features) for n in silent}
        for number, other in others.items():
            if other is None:
                raise UserError(
                    f"neither {describe_features(features)} nor sound of "
                    f"{self.rows[number]['utt']} is where {self.manifest} says"
                )
            loaders[number] = other
        if silent:
            logger.warning(
                "warning: %d of %d recordings of %s have cremaPCP of another version than %s, "
                "which is used in its place",
                len(silent), len(self.rows), self.manifest, features,
            )  # fmt: skip
        heard = [number for number in missing if sounds[number] is not None]
        if heard:
            extract = Sound2Features([features], device=self.device)
            made = extract(
                [sounds[number] for number in heard],
                load_audio,
                label=describe_features(features).split()[0],
                progress=self.progress,
            )
            for number, stored in zip(heard, made[features], strict=True):
                loaders[number] = partial(decoded, features, stored)
        return Tracks(loaders)

    def _files(self, row: Row) -> list[Path]:
        named = [str(row[key]) for key in FILE_KEYS if row.get(key)]
        paths = [locate(name, self.manifest.parent) for name in named]
        return [path for path in paths if path.is_file()]

    def _from_file(self, row: Row, features: Features) -> Callable[[], np.ndarray] | None:
        if isinstance(features, str):
            return self._crema_file(row, features, [FEATURE_KEYS[features]])
        for path in self._files(row):
            if path.suffix == ".npy" or ARCHIVE_KEY in arrays_of(path):
                return partial(read_cqt, path, features)
        return None

    def _crema_file(
        self, row: Row, version: str, keys: Sequence[str]
    ) -> Callable[[], np.ndarray] | None:
        for path in self._files(row):
            present = arrays_of(path) & set(FEATURE_KEYS.values())
            if present == {UNMARKED_KEY} or present & set(keys):
                return partial(read_features, path, version)
        return None

    def _other_version(self, row: Row, features: Features) -> Callable[[], np.ndarray] | None:
        if not isinstance(features, str):
            return None
        others = [version for version in FEATURE_KEYS if version != features]
        found = (self._crema_file(row, version, [FEATURE_KEYS[version]]) for version in others)
        return next((loader for loader in found if loader is not None), None)
