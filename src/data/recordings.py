"""Which recordings a person means: a folder of sub-folders, or a manifest."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from src.data.manifest import read_manifest
from src.data.names import RecordingNames
from src.errors import UserError

logger = logging.getLogger(__name__)

MANIFEST = "dataset.txt"
# Keys of a manifest line that may name the file, best first.
FILE_KEYS = ("features", "feat", "file", "wav")
FEATURE_SUFFIX, CQT_SUFFIX = ".npz", ".npy"
# What lies beside recordings without being one. Everything else is tried, whatever its name.
NOT_RECORDINGS = """
    abc bmp cfg css csv cue db doc docx epub gif gz htm html ini jpeg jpg js json jsonl krn
    lab log lrc m3u m3u8 md md5 mid midi musicxml mxl nfo npy pdf pkl pls png pt py rst
    safetensors sf2 sf3 sfv sha256 srt svg svl tar tif tiff tmp toml torrent tsv txt url webp
    xml xspf yaml yml zip
"""


@dataclass(frozen=True)
class Recording:
    """One recording of a work.

    Attributes:
        name: for messages, unique within a collection.
        work: what it is a version of.
        path: the sound, or its features (``.npz``).
    """

    name: str
    work: str
    path: Path

    @property
    def is_features(self) -> bool:
        """Whether ``path`` holds features instead of sound."""
        return self.path.suffix.lower() == FEATURE_SUFFIX


def find_recordings(source: str | os.PathLike) -> list[Recording]:
    """List the recordings of a folder or a manifest.

    Args:
        source: a manifest with ``utt``, ``song`` and one of ``features``, ``feat``, ``file`` or
            ``wav``; a folder with such a ``dataset.txt`` in it; or any folder: the recordings of a
            work lie in (or below) its sub-folder, and a file outside of sub-folders counts as a
            work of its own. Hidden files and folders are left out.

    Returns:
        In the order of the manifest, or sorted by path.

    Raises:
        UserError: there is no such file or folder, or no recording in it.
    """
    source = Path(source)
    if source.is_dir():
        if (source / MANIFEST).is_file():
            logger.info("%s names the recordings", source / MANIFEST)
            return _from_manifest(source / MANIFEST)
        return walk_folder(source)
    if not source.exists():
        raise UserError(f"{source} does not exist; give a folder of recordings or a dataset.txt")
    return _from_manifest(source)


def find_all_recordings(
    sources: Sequence[str | os.PathLike], *, beside: Sequence[Recording] = ()
) -> list[Recording]:
    """The recordings of several folders or manifests, see :func:`find_recordings`.

    A name that is taken already gets the folder of its source before it.

    Args:
        sources: folders and manifests.
        beside: recordings whose names are taken; they are not among those returned.

    Raises:
        UserError: also where that does not tell two recordings apart, and where two sources (or
            one and ``beside``) name the same file.
    """
    names = RecordingNames("/")
    names.add([(recording.name, [recording.path.resolve()]) for recording in beside])
    recordings: list[Recording] = []
    for source in map(Path, sources):
        found = find_recordings(source)
        free = names.add([(one.name, [one.path.resolve()]) for one in found], source)
        recordings += [
            replace(recording, name=name) for recording, name in zip(found, free, strict=True)
        ]
    return recordings


def walk_folder(folder: Path) -> list[Recording]:
    """The recordings of a folder by its sub-folders alone, see :func:`find_recordings`."""
    recordings = []
    ignored = frozenset(NOT_RECORDINGS.split())
    loose = 0
    for place, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(place, name)
            if name.startswith(".") or path.suffix[1:].lower() in ignored:
                continue
            relative = path.relative_to(folder)
            loose += len(relative.parts) == 1
            work = relative.parts[0] if len(relative.parts) > 1 else relative.stem
            recordings.append(Recording(relative.as_posix(), work, path))
    if not recordings:
        raise UserError(
            f"{folder} holds no recording; put the versions of every work into a sub-folder"
        )
    if loose:
        logger.warning(
            "%d recordings lie directly in %s: each counts as a work of its own", loose, folder
        )
    return sorted(recordings, key=lambda recording: recording.name)


def dataset_rows(recordings: list[Recording]) -> list[dict[str, str]]:
    """Lines of a ``dataset.txt``: ``utt`` (can be the name of a file), ``wav``, ``song``,
    ``version``."""
    rows: dict[str, dict[str, str]] = {}
    for recording in recordings:
        path = Path(recording.name)
        name = utt = "_".join(path.with_suffix("").parts).lstrip(".")
        number = 2
        while utt in rows:  # the same recording in another format, for example
            utt = f"{name}-{number}"
            number += 1
        rows[utt] = {
            "utt": utt,
            "wav": str(recording.path.resolve()),
            "song": recording.work,
            "version": path.stem,
        }
    return list(rows.values())


def _from_manifest(manifest: Path) -> list[Recording]:
    recordings = []
    for row in read_manifest(manifest, required=("utt", "song")):
        path = file_of(row, manifest.parent)
        if path is None:
            raise UserError(
                f"{manifest}: utt {row['utt']!r} names no file; add the key wav (or features)"
            )
        recordings.append(Recording(row["utt"], row["song"], path))
    return recordings


def file_of(row: Mapping[str, Any], folder: Path) -> Path | None:
    """The features or the sound of a line whose list is in ``folder``; None if it names neither.

    A full.txt of CoverHunter names its own features (``.npy``): those are not meant.
    """
    named = [str(row[key]) for key in FILE_KEYS if row.get(key)]
    named = [name for name in named if not name.lower().endswith(CQT_SUFFIX)]
    found = (path for name in named if (path := locate(name, folder)).is_file())
    return next(found, Path(named[0]) if named else None)


def located_rows(
    path: str | os.PathLike, *, required: Sequence[str] = ("utt", "song")
) -> list[dict[str, Any]]:
    """Lines of a manifest with the absolute paths of the files they name, where those lie now.

    Such lines can be written into another list, which means the same files from everywhere.

    Args:
        path: of the manifest.
        required: keys that every line must have.

    Raises:
        UserError: the manifest cannot be read, or a line lacks a key.
    """
    folder = Path(path).absolute().parent

    def lies(name: str) -> str:
        found = locate(name, folder)
        # What is missing is not looked for elsewhere later, where another file may have its name.
        return str(found.absolute() if found.is_file() else folder / found)

    return [
        {**row, **{key: lies(row[key]) for key in FILE_KEYS if row.get(key)}}
        for row in read_manifest(path, required=required)
    ]


def locate(name: str, folder: Path) -> Path:
    """A file of a manifest: as written, or below the manifest's folder, wherever that is now."""
    path = Path(name)
    if path.is_file() or path.is_absolute():
        return path
    for skip in range(len(path.parts)):
        moved = folder.joinpath(*path.parts[skip:])
        if moved.is_file():
            return moved
    return path
