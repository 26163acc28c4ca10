"""References on disk: embeddings of many recordings, and what made them.

A folder with ``references.json`` (which model, features and windows; one line a recording) and
blocks ``block_<n>.npz`` with the embeddings. The JSON names the blocks in force and is written
last, atomically, so a run that is stopped leaves the state before its last complete block.
"""

import json
import logging
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from src.errors import UserError
from src.files import atomic_path, read_json
from src.retrieval.identity import differences, json_digest
from src.retrieval.recording_windows import Recording2Windows, RecordingWindows
from src.retrieval.window_networks import WindowSettings
from src.retrieval.windows import Windows, WindowTable
from src.training.paths import DEFAULT_MODEL

logger = logging.getLogger(__name__)

FORMAT = 1
HEADER = "references.json"
IDENTITY_KEYS = ("model", "weights", "features", "distance", "windows")


@dataclass(frozen=True)
class ReferenceRow:
    """One recording among the references.

    Attributes:
        name: unique; the path below its folder, or the utt of a manifest.
        work: what it is a version of.
        path: the file it was made from, absolute.
        bytes: size of that file.
        modified_ns: its date, in ns since 1970.
        seconds: length of the recording.
        block: file that holds its embeddings.
        position: which of the block's recordings it is.
    """

    name: str
    work: str
    path: str
    bytes: int
    modified_ns: int
    seconds: float
    block: str
    position: int


@dataclass(frozen=True)
class References:
    """Reference recordings with their embeddings; see :meth:`load`.

    Attributes:
        folder: where they are.
        model_path: the model they were made with, as it was found then.
        identity: kind, weights, features, distance and windows; what a query must agree with.
        rows: the recordings, sorted by name.
        index: description of the search index on disk, empty if there is none.
    """

    folder: Path
    model_path: str
    identity: dict[str, Any]
    rows: tuple[ReferenceRow, ...] = ()
    index: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "References":
        """Read the list of references; embeddings are read when they are first needed.

        Raises:
            UserError: there are none, or the file is damaged.
        """
        folder = Path(folder)
        if folder.name == HEADER:
            folder = folder.parent
        path = folder / HEADER
        if not path.is_file():
            raise UserError(
                f"{folder} holds no references ({HEADER} is missing); make them with "
                "python -m tools.make_embeds RECORDINGS " + str(folder)
            )
        content = read_json(path)
        try:
            if content["format"] != FORMAT:
                raise UserError(
                    f"{path} is of format {content['format']}, this program reads {FORMAT}; make "
                    "the references again"
                )
            rows = tuple(ReferenceRow(**row) for row in content["recordings"])
            identity = {key: content[key] for key in IDENTITY_KEYS}
            WindowSettings(**identity["windows"])
            return cls(folder, content["model_path"], identity, rows, content.get("index") or {})
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path} is not a list of references ({error}); make the references again"
            ) from error

    def save(self) -> None:
        """Write the list; from then on it is in force."""
        header = {
            "format": FORMAT,
            "model_path": self.model_path,
            **self.identity,
            "works": len(set(self.works)),
            "index": self.index,
        }
        rows = [json.dumps(asdict(row), ensure_ascii=False) for row in self.rows]
        text = json.dumps(header, indent=2, ensure_ascii=False)[:-2]  # without the last brace
        text += ',\n  "recordings": [\n    ' + ",\n    ".join(rows) + "\n  ]\n}\n"
        with atomic_path(self.folder / HEADER) as temporary:
            temporary.write_text(text, "utf-8")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def distance(self) -> str:
        return self.identity["distance"]

    @property
    def settings(self) -> WindowSettings:
        """How the recordings were cut, and how queries have to be."""
        return WindowSettings(**self.identity["windows"])

    @cached_property
    def works(self) -> list[str]:
        """Work of each recording."""
        return [row.work for row in self.rows]

    @cached_property
    def codes(self) -> np.ndarray:
        """``(R,)`` number of the work of each recording."""
        if not self.rows:
            return np.zeros(0, np.int64)
        return np.unique(np.array(self.works), return_inverse=True)[1].reshape(-1)

    @cached_property
    def digest(self) -> str:
        """Changes with the recordings, their works, the model and the windows."""
        places = [[row.name, row.work, row.block, row.position] for row in self.rows]
        return json_digest([self.identity, places])

    @cached_property
    def table(self) -> WindowTable:
        """The wide windows of all recordings, ready for comparison."""
        blocks: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name in {row.block for row in self.rows}:
            with open_block(self.folder / name) as arrays:
                blocks[name] = arrays["wide_embeddings"], arrays["wide_offsets"]
        recordings = []
        for row in self.rows:
            embeddings, offsets = blocks[row.block]
            recordings.append(embeddings[offsets[row.position] : offsets[row.position + 1]])
        return WindowTable.build(recordings, self.distance)

    def windows(self, position: int, size: str = "wide") -> Windows | None:
        """Windows of one recording with their times; None where narrow ones were not made."""
        return self.windows_of([position], size)[position]

    def windows_of(self, positions: Sequence[int], size: str = "wide") -> dict[int, Windows | None]:
        """The same for several recordings; each block is opened once."""
        found: dict[int, Windows | None] = {}
        by_block: dict[str, list[int]] = {}
        for position in positions:
            by_block.setdefault(self.rows[position].block, []).append(position)
        for block, members in by_block.items():
            with open_block(self.folder / block) as arrays:
                embeddings, starts = arrays[f"{size}_embeddings"], arrays[f"{size}_starts_s"]
                ends, offsets = arrays[f"{size}_ends_s"], arrays[f"{size}_offsets"]
            for position in members:
                place = self.rows[position].position
                part = slice(offsets[place], offsets[place + 1])
                found[position] = (
                    Windows(embeddings[part].astype(np.float32), starts[part], ends[part])
                    if offsets[place + 1] > offsets[place]
                    else None
                )
        return found

    def block_size(self, block: str) -> int:
        """How many recordings a block holds, in force or not."""
        with open_block(self.folder / block) as arrays:
            return len(arrays["wide_offsets"]) - 1

    def model(self, named: Path | None = None, *, option: str = "--model") -> Path:
        """The model for queries: the one named, else the one that made the references.

        Where that is no longer in its place, the project's own is returned, which
        :meth:`require_model` accepts if its weights are the same.

        Args:
            named: a path.
            option: by which a person names it.

        Raises:
            UserError: the model named is not there.
        """
        if named is not None:
            if not named.exists():
                raise UserError(f"the model {named} is not there; correct {option} or leave it out")
            return named
        if Path(self.model_path).exists():
            return Path(self.model_path)
        logger.warning(
            "%s, the model of %s, is not there (name it with %s); trying %s",
            self.model_path,
            self.folder,
            option,
            DEFAULT_MODEL,
        )
        return DEFAULT_MODEL

    def require_model(self, embedder: Recording2Windows) -> None:
        """Refuse a model other than the one that made the references.

        Raises:
            UserError: kind, weights, features, distance or windows differ; the sentence says which.
        """
        require_identity(self.identity, embedder.identity, str(self.folder), embedder.model_path)


def require_identity(
    expected: Mapping[str, Any], found: Mapping[str, Any], what: str, model_path: object
) -> None:
    """Raise a sentence if two identities differ.

    Raises:
        UserError: see :meth:`References.require_model`.
    """
    if different := differences(expected, found):
        raise UserError(
            f"{what} was made with {' and '.join(different)} than {model_path} has; use the model "
            "it was made with, or make it again with this one"
        )


def open_block(path: Path) -> Any:
    """An ``.npz`` of embeddings, as a context manager.

    Raises:
        UserError: missing or damaged.
    """
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(
            f"{path} is missing, although the references name it; make the references again"
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged; remove it and make the references again") from error


def write_block(recordings: Sequence[RecordingWindows], path: Path) -> None:
    """Write the windows of some recordings, atomically; narrow ones in half precision."""
    arrays: dict[str, np.ndarray] = {}
    for size, kind in (("wide", np.float32), ("narrow", np.float16)):
        parts = [getattr(recording, size) for recording in recordings]
        present = [part for part in parts if part is not None]
        counts = [0 if part is None else len(part) for part in parts]
        arrays[f"{size}_offsets"] = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        for name in ("embeddings", "starts_s", "ends_s"):
            values = [getattr(part, name) for part in present]
            joined = np.concatenate(values) if values else np.zeros(0)
            arrays[f"{size}_{name}"] = joined.astype(kind if name == "embeddings" else np.float64)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
