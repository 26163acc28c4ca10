"""What files were made from, so that a file is made again when that changed."""

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from src.errors import UserError

_PIECE = 1 << 20  # bytes


class MadeFrom:
    """The record of the files in one folder: a line of JSON for each file made, the last counts.

    Lines are only ever added while files are made, so a run that is killed loses nothing. Safe to
    use from several threads.

    Args:
        path: of the record, created if necessary.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            text = self._path.read_text("utf-8") if self._path.exists() else ""
            if text and not text.endswith("\n"):  # of a run that was killed
                text = text[: text.rfind("\n") + 1]
                self._path.write_text(text, "utf-8", newline="\n")
            # Tried here, so that a place that refuses is noticed before any work.
            self._path.open("a", encoding="utf-8").close()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"cannot write {self._path}: {reason}; choose a folder that can be written"
            ) from error
        self._lines: dict[str, dict[str, Any]] = {}
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                self._lines[entry["file"]] = entry
            except (ValueError, KeyError, TypeError):
                continue  # a line that says nothing means that its file is made again

    def knows(self, file: Path) -> bool:
        """Whether ``file`` has an entry."""
        return file.name in self._lines

    def is_current(self, file: Path, source: Path, how: str) -> bool:
        """Whether ``file`` was made from ``source`` as it is now, in this way.

        A file without an entry, made by another program, is current if it is not older than its
        source. An unchanged size and time of the source is enough; with another time or name, the
        content is compared. Without its source, a file is kept: it can still be used.
        """
        if not file.is_file():
            return False
        entry = self._lines.get(file.name)
        if entry is not None and entry.get("how") != how:
            return False
        if not source.is_file():
            return True
        state = source.stat()
        if entry is None:
            return file.stat().st_mtime_ns >= state.st_mtime_ns
        if entry.get("size") != state.st_size:
            return False
        if entry.get("source") == source.as_posix() and entry.get("mtime_ns") == state.st_mtime_ns:
            return True
        return entry.get("sha256") == _sha256(source)

    def note(self, file: Path, source: Path, how: str) -> None:
        """Enter that ``file`` has been made from ``source`` in this way."""
        state = source.stat()
        entry = {
            "file": file.name,
            "source": source.as_posix(),
            "size": state.st_size,
            "mtime_ns": state.st_mtime_ns,
            "sha256": _sha256(source),
            "how": how,
        }
        with self._lock:
            self._lines[file.name] = entry
            with self._path.open("a", encoding="utf-8", newline="\n") as record:
                record.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
