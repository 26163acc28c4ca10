"""When two works or two recordings are one, whatever their names."""

import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

from src.errors import UserError


def work_key(song: object) -> str:
    """A work's name as it is compared: ``Águas`` is one work, however its accent is encoded."""
    return unicodedata.normalize("NFC", str(song)).strip()


class RecordingNames:
    """Names of recordings from several sources, each source in its turn.

    Args:
        mark: what stands between the folder of a source and a name that was taken.
    """

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._taken: set[str] = set()
        self._named: dict[Hashable, str] = {}

    def add(
        self, recordings: Sequence[tuple[str, Iterable[Hashable]]], source: Path | None = None
    ) -> list[str]:
        """Free names for the recordings of one more source.

        A name that is taken gets the folder of its source before it.

        Args:
            recordings: name, and all that says which recording it is, such as its file.
            source: folder or manifest that they come from; None takes the names as they are.

        Raises:
            UserError: a recording is one of an earlier source, which would make it a version of
                itself; or the folder does not tell two names apart.
        """
        names = []
        named: dict[Hashable, str] = {}
        for name, marks in recordings:
            for mark in marks:
                if source is not None and mark in self._named:
                    other = self._named[mark]
                    raise UserError(
                        f"{source}: the recording {name} was named before"
                        + (f", as {other}" if other != name else "")
                        + "; leave it out of one, or it would be a version of itself"
                    )
                named[mark] = name
            if source is not None and name in self._taken:
                folder = (source if source.is_dir() else source.parent).resolve().name
                name = f"{folder}{self.mark}{name}"
                if name in self._taken:
                    raise UserError(
                        f"{source}: there is another recording called {name}; rename one"
                    )
            self._taken.add(name)
            names.append(name)
        self._named |= named
        return names
