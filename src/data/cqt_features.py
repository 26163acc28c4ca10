"""CQT features in files: read as decibels, written whole, and what made them.

A file is ``<utt>.cqt.npy`` with ``(frames, bins)`` in floating point (dB, 0 at the recording's
maximum), or uint8 in half decibels below it: dB = -value / 2. Archives ``.npz`` hold the same
bytes under ``cqt_u8``.
"""

import os
import zipfile
from pathlib import Path

import numpy as np

from src.audio.cqt import CQTSpec
from src.errors import UserError
from src.files import atomic_path, one_reader, read_json, write_json

SPEC_FILE = "cqt_spec.json"
ARCHIVE_KEY = "cqt_u8"
STEP = 0.5  # dB of one unit in uint8
FLOOR = -100.0  # lowest dB that encode_cqt writes


def open_cqt(path: str | os.PathLike) -> np.ndarray:
    """The features as they are stored; a ``.npy`` file is mapped into memory, not read.

    Returns:
        ``(frames, bins)``, floating point dB or uint8.

    Raises:
        UserError: the file is missing, damaged, or does not hold features.
    """
    path = Path(path)
    try:
        if path.suffix == ".npz":
            with one_reader, np.load(path, allow_pickle=False) as archive:
                stored = archive[ARCHIVE_KEY]
        else:
            with one_reader:
                stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(
            f"the feature file {path} does not exist; extract the features again, or start in the "
            "folder that its path is relative to"
        ) from error
    except KeyError as error:
        raise UserError(f"{path} holds no features: it lacks the array {ARCHIVE_KEY}") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"the feature file {path} is damaged or not one; delete it and extract it again"
        ) from error
    usable = stored.dtype == np.uint8 or stored.dtype.kind == "f"
    if stored.ndim != 2 or not usable or 0 in stored.shape:
        raise UserError(
            f"{path} holds {stored.dtype} of shape {stored.shape}; features are (frames, bins) in "
            "floating point or uint8"
        )
    return stored


def decode_cqt(stored: np.ndarray) -> np.ndarray:
    """Stored features -> float32 dB, always a copy."""
    decibels = np.array(stored, np.float32)
    if stored.dtype == np.uint8:
        decibels *= -STEP
    return decibels


def encode_cqt(decibels: np.ndarray) -> np.ndarray:
    """dB -> uint8 in half decibels, an eighth of the original's size; -100 dB is the floor."""
    units = np.rint(np.clip(decibels, FLOOR, 0.0) / -STEP)
    return units.astype(np.uint8)


def load_cqt(path: str | os.PathLike, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Read features, or the part from frame ``start`` up to ``stop``, of which only that is read.

    Returns:
        ``(frames, bins)`` float32 dB.

    Raises:
        UserError: the file is missing, damaged, does not hold features, or holds NaN.
    """
    decibels = decode_cqt(open_cqt(path)[start:stop])
    check_finite(decibels, path)
    return decibels


def check_finite(decibels: np.ndarray, path: str | os.PathLike) -> None:
    """Refuse features with NaN or infinity.

    Raises:
        UserError: there are some; the sentence names the file.
    """
    if not np.isfinite(decibels.sum(dtype=np.float64)):
        raise UserError(
            f"the feature file {path} holds values that are no numbers (NaN or infinite); delete "
            "it and extract it again"
        )


def save_cqt(array: np.ndarray, path: str | os.PathLike) -> None:
    """Write features as ``.npy``, atomically: uint8 stays uint8, all else becomes float32.

    Args:
        array: ``(frames, bins)`` dB, or what :func:`encode_cqt` returned.
        path: file name ending in ``.npy``.

    Raises:
        UserError: the file cannot be written.
    """
    stored = array if array.dtype == np.uint8 else np.asarray(array, np.float32)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, stored, allow_pickle=False)


def write_spec(folder: str | os.PathLike, spec: CQTSpec) -> None:
    """Note in a feature folder which CQT made its files."""
    write_json(spec.to_dict(), Path(folder) / SPEC_FILE)


def read_spec(folder: str | os.PathLike) -> CQTSpec | None:
    """The CQT that made the files of a folder; None where nothing is noted.

    Features without a note are taken for the reference CQT, ``CQTSpec()``.

    Raises:
        UserError: the note is damaged.
    """
    path = Path(folder) / SPEC_FILE
    if not path.exists():
        return None
    values = read_json(path)
    try:
        return CQTSpec.from_dict(values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} does not describe a CQT: {error}") from error


def check_spec(expected: CQTSpec, found: CQTSpec | None, what: str) -> None:
    """Refuse features of another CQT than expected.

    Args:
        expected: what the model was trained on, or an index holds.
        found: what the features are; None is the reference CQT.
        what: who has the features, the subject of the sentence: ``"data/x/cqt_feat"``.

    Raises:
        UserError: they differ; the sentence names both.
    """
    found = found or CQTSpec()
    if expected != found:
        raise UserError(
            f"{what} has features of {found.describe()}, but {expected.describe()} is expected; "
            "extract the features again with the CQT that is expected"
        )
