"""What decides a run besides its plan: the content of the files that it reads.

Lists and options name files. A corpus that is rendered anew, or other weights under an old name,
make another run of the same plan.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.data.recordings import CQT_SUFFIX, FEATURE_SUFFIX, FILE_KEYS, file_of, locate
from src.files import file_digest
from src.training.ablation_plan import COVERHUNTER
from src.training.checkpoint import metadata_path
from src.training.generator_files import CONFIG, list_generators

Row = Mapping[str, Any]
# Keys of a line that training reads, beside those that name files.
_READ = ("utt", "song", "start", "feat_len")


class Contents:
    """Digests of files, each of which is read once."""

    def __init__(self) -> None:
        self._known: dict[Path, Any] = {}

    def of_training(self, system: str, options: Mapping[str, Any], rows: Sequence[Row]) -> list:
        """What a system reads of recordings.

        Args:
            system: ``coverhunter`` or ``re-move``.
            options: of the run.
            rows: see :func:`src.data.recordings.located_rows`.
        """
        if system == COVERHUNTER:
            keys = ("feat", "features") if options.get("teacher") else ("feat",)
            files = [[Path(row[key]) for key in keys if row.get(key)] for row in rows]
        else:
            files = [[file] if (file := file_of(row, Path())) else [] for row in rows]
        return self._lines(rows, files)

    def of_set(self, rows: Sequence[Row], folder: Path) -> list:
        """What models may read of the recordings of a set, whose list is in ``folder``."""
        files = [
            [locate(str(row[key]), folder) for key in FILE_KEYS if row.get(key)] for row in rows
        ]
        return self._lines(rows, files)

    def of_options(self, options: Mapping[str, Any]) -> dict[str, list]:
        """Weights and alignments that options name, with the descriptions beside them."""
        teacher = options.get("teacher")
        named = {key: options.get(key) for key in ("move", "start_from", "alignment_path")}
        named["teacher"] = teacher.get("path") if isinstance(teacher, Mapping) else None
        found = {}
        for key, name in named.items():
            if name:
                path = Path(str(name))
                newest = list(list_generators(path).values())[-1:]
                files = [path / CONFIG, *newest] if path.is_dir() else [path, metadata_path(path)]
                found[key] = [file_digest(file) if file.is_file() else None for file in files]
        return found

    def _lines(self, rows: Sequence[Row], files: Sequence[Sequence[Path]]) -> list:
        return [
            [*map(row.get, _READ), *map(self._recording, paths)]
            for row, paths in zip(rows, files, strict=True)
        ]

    def _recording(self, path: Path) -> Any:
        """The digest of features; of sound, which is much to read, size and date; None of what is
        missing, as will be told when it is needed."""
        if path not in self._known:
            if not path.is_file():
                self._known[path] = None
            elif path.suffix.lower() in (FEATURE_SUFFIX, CQT_SUFFIX):
                self._known[path] = file_digest(path)
            else:
                self._known[path] = [path.stat().st_size, path.stat().st_mtime_ns]
        return self._known[path]
