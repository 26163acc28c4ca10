"""Which recordings a person asks about: files, folders and manifests, in any mixture."""

from collections.abc import Iterable
from pathlib import Path

from src.retrieval.recording_windows import Recording2Windows
from src.retrieval.reference_builder import list_recordings

MANIFEST_SUFFIXES = (".txt", ".jsonl")


def list_queries(paths: Iterable[Path], embedder: Recording2Windows) -> list[Path]:
    """The files behind the paths given; a missing file stays in the list, to be reported later.

    Raises:
        UserError: a folder or manifest holds no recording.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir() or (path.is_file() and path.suffix.lower() in MANIFEST_SUFFIXES):
            found += [recording.path for recording in list_recordings(path, embedder)]
        else:
            found.append(path)
    return found
