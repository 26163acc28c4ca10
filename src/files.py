"""Files written whole or not at all, and tensor files read without trusting them."""

import hashlib
import json
import os
import pickle
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from src.errors import UserError

_READ_BYTES = 1 << 20

# To be held where numpy reads an array and other threads may be doing the same: numpy reads headers
# with ast.literal_eval, which in CPython 3.11 (3.11.7, for one) fails now and then with a
# SystemError when threads are in it together (python/cpython#106905).
one_reader = threading.RLock()


@contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` when the block succeeds.

    The parent folder is created. A reader sees the old file or the whole new one, never a part;
    when the block fails, the temporary file is removed.

    Raises:
        UserError: the folder cannot be created or written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=f".tmp{path.suffix}"
        )
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}; choose a folder that can be written"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes private files
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_json(value: Any, path: str | os.PathLike) -> None:
    """Write ``value`` as indented UTF-8 JSON, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"{path} is not a valid JSON file ({error})") from error


def save_tensors(value: Any, path: str | os.PathLike) -> None:
    """Write ``value`` (tensors in dicts and lists) with ``torch.save``, atomically."""
    with atomic_path(path) as temporary:
        torch.save(value, temporary)


def load_tensors(path: str | os.PathLike, *, mmap: bool = False) -> Any:
    """Read a ``.pt`` file onto the CPU without running any code it may carry.

    Args:
        path: file written by ``torch.save``.
        mmap: map the file instead of reading it (only for files in torch's zip format).

    Raises:
        UserError: the file is missing, truncated, not a tensor file, or holds anything but
            tensors and plain containers.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist")
    try:
        mmap = mmap and zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} is not a plain tensor file (only tensors in dicts and lists are accepted, "
            "never other Python objects); it was not loaded"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise UserError(f"{path} cannot be read as a .pt file: it is damaged or not one") from error


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
