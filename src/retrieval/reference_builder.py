"""A collection of recordings -> references on disk; only what is new or changed is embedded."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from tqdm import tqdm

from src.data.manifest import read_manifest
from src.data.recordings import FILE_KEYS, MANIFEST, Recording, find_recordings, locate
from src.errors import UserError
from src.retrieval.calibration import calibrate, read_calibration, write_calibration
from src.retrieval.recording_windows import LoadedRecording, Recording2Windows, RecordingWindows
from src.retrieval.references import HEADER, ReferenceRow, References, write_block
from src.retrieval.search import EXACT, WindowIndex, kind_for

logger = logging.getLogger(__name__)

LOCK = ".lock"
INDEX_FILE = "index.faiss"
COMMIT_RECORDINGS = 64  # of one block; more would make an interruption lose more
COMMIT_SECONDS = 60.0
BLOCK_RECORDINGS = 2048  # of a block when small ones are joined
MANY_BLOCKS = 16
DEAD_SHARE = 0.25  # of recordings in the blocks that are no longer in force


@dataclass
class BuildReport:
    """What happened to each recording, by name.

    Attributes:
        added: embedded for the first time.
        changed: embedded again, because size or date of the file had changed.
        relabelled: only their work had changed.
        unchanged: number of recordings that were taken as they were.
        absent: among the references, but not among the recordings given now.
        removed: those of ``absent`` that were taken out.
        failures: left out -> why.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    relabelled: list[str] = field(default_factory=list)
    unchanged: int = 0
    absent: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def list_recordings(source: str | os.PathLike, embedder: Recording2Windows) -> list[Recording]:
    """The recordings of a folder or manifest, each with the file that suits the model best.

    A folder is read as :func:`src.data.recordings.find_recordings` does. A manifest (dataset.txt,
    full.txt) needs utt, song and a file; features that the model reads are preferred to sound.

    Raises:
        UserError: there is no such folder or file, or no recording in it.
    """
    source = Path(source)
    manifest = source / MANIFEST if source.is_dir() else source
    if not manifest.is_file():
        return find_recordings(source)
    recordings = []
    for row in read_manifest(manifest, required=("utt", "song")):
        named = [locate(str(row[key]), manifest.parent) for key in FILE_KEYS if row.get(key)]
        features = [path for path in named if path.is_file() and embedder.network.reads(path)]
        sounds = [path for path in named if path.suffix.lower() not in (".npy", ".npz")]
        # What is missing is kept, to be reported with the other recordings that are left out.
        candidates = features + [path for path in sounds if path.is_file()] + sounds + named
        if not candidates:
            raise UserError(
                f"{manifest}: utt {row['utt']!r} names no file; add the key wav or feat"
            )
        recordings.append(Recording(row["utt"], row["song"], candidates[0]))
    return recordings


def build_references(
    embedder: Recording2Windows,
    recordings: Sequence[Recording],
    folder: str | os.PathLike,
    *,
    prune: bool = False,
    workers: int = 2,
    progress: bool = False,
) -> tuple[References, BuildReport]:
    """Make references of recordings, or bring those in ``folder`` up to date.

    What is done is kept when the run is stopped; the same call continues.

    Args:
        embedder: the model; it must be that of references that are there already.
        recordings: with unique names.
        folder: where the references are or will be.
        prune: take out references that are not among ``recordings``.
        workers: files read at the same time.
        progress: show a progress bar.

    Raises:
        UserError: the folder cannot be written to or is in use, holds references of another model,
            or no recording can be used.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"another program is writing to {folder}; wait until it has finished"
        ) from error
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        return _build(embedder, recordings, folder, prune, workers, progress)
    finally:
        lock.release()


def _build(
    embedder: Recording2Windows,
    recordings: Sequence[Recording],
    folder: Path,
    prune: bool,
    workers: int,
    progress: bool,
) -> tuple[References, BuildReport]:
    references = References(folder, str(embedder.model_path.absolute()), embedder.identity)
    if (folder / HEADER).is_file():
        references = References.load(folder)
        references.require_model(embedder)
        references = replace(references, model_path=str(embedder.model_path.absolute()))
    report = BuildReport()
    kept, pending = _compare(references, recordings, report)
    rows = {row.name: row for row in references.rows} | {row.name: row for row in kept}
    given = {recording.name for recording in recordings}
    report.absent = sorted(set(rows) - given)
    if prune:
        report.removed = report.absent
        rows = {name: row for name, row in rows.items() if name in given}
    writer = _Writer(references, rows)
    try:
        done = _embed(embedder, pending, workers, report)
        bar = tqdm(
            done,
            total=len(recordings),
            initial=len(recordings) - len(pending),
            desc="embeddings",
            unit="recording",
            disable=not progress,
        )
        for recording, stamp, windows in bar:
            known = recording.name in rows
            (report.changed if known else report.added).append(recording.name)
            writer.add(recording, stamp, windows)
    finally:
        writer.commit()
    if not writer.rows:
        raise UserError(
            f"none of the {len(recordings)} recordings can be used: "
            f"{next(iter(report.failures.values()), 'there is none')}"
        )
    references = writer.finish()
    return references, report


Stamp = tuple[int, int]  # size in bytes and date in ns


def _compare(
    references: References, recordings: Sequence[Recording], report: BuildReport
) -> tuple[list[ReferenceRow], list[tuple[Recording, Stamp]]]:
    """Rows that stay, with their present work, and recordings to embed."""
    known = {row.name: row for row in references.rows}
    kept, pending = [], []
    for recording in recordings:
        try:
            status = recording.path.stat()
        except OSError as error:
            reason = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror
            report.failures[recording.name] = f"{recording.path} {reason}"
            continue
        stamp = (status.st_size, status.st_mtime_ns)
        row = known.get(recording.name)
        if row is None or (row.bytes, row.modified_ns) != stamp:
            old = None if row is None else Path(row.path)
            if old is not None and old.is_file() and not old.samefile(recording.path):
                raise UserError(
                    f"{recording.path} and {row.path} have the same name {recording.name!r}; "
                    "rename one of them, or make references of their own for it"
                )
            pending.append((recording, stamp))
            continue
        report.unchanged += 1
        if row.work != recording.work:
            report.relabelled.append(recording.name)
        kept.append(replace(row, work=recording.work, path=str(recording.path.absolute())))
    return kept, pending


def _embed(
    embedder: Recording2Windows,
    pending: Sequence[tuple[Recording, Stamp]],
    workers: int,
    report: BuildReport,
) -> Iterator[tuple[Recording, Stamp, RecordingWindows]]:
    """Embed recordings in the order they get ready; files are read in threads."""
    queue = iter(pending)
    running: dict[Future[LoadedRecording], tuple[Recording, Stamp]] = {}
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        while True:
            while len(running) < 2 * workers and (item := next(queue, None)) is not None:
                running[pool.submit(embedder.load, item[0].path)] = item
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                recording, stamp = running.pop(future)
                try:
                    windows = embedder.embed(future.result())
                except (UserError, OSError) as error:
                    report.failures[recording.name] = str(error)
                    logger.warning("left out: %s", error)
                    continue
                yield recording, stamp, windows
    finally:
        pool.shutdown(cancel_futures=True)


class _Writer:
    """Collects embedded recordings and brings them into force block by block."""

    def __init__(self, references: References, rows: dict[str, ReferenceRow]) -> None:
        self.references = references
        self.rows = rows
        self.waiting: list[tuple[Recording, Stamp, RecordingWindows]] = []
        self.last = time.monotonic()
        numbers = [int(path.stem[6:]) for path in references.folder.glob("block_[0-9]*.npz")]
        self.next_block = max(numbers, default=-1) + 1

    def add(self, recording: Recording, stamp: Stamp, windows: RecordingWindows) -> None:
        self.waiting.append((recording, stamp, windows))
        if len(self.waiting) >= COMMIT_RECORDINGS or time.monotonic() - self.last > COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write what is waiting and bring it into force."""
        if self.waiting:
            block = self._new_block([windows for _, _, windows in self.waiting])
            for position, (recording, stamp, windows) in enumerate(self.waiting):
                self.rows[recording.name] = ReferenceRow(
                    name=recording.name,
                    work=recording.work,
                    path=str(recording.path.absolute()),
                    bytes=stamp[0],
                    modified_ns=stamp[1],
                    seconds=round(windows.seconds, 3),
                    block=block,
                    position=position,
                )
            self.waiting = []
            self._current().save()
        self.last = time.monotonic()

    def finish(self) -> References:
        """Join small blocks, index and calibrate; returns the references as saved."""
        self._join_blocks()
        references = self._current()
        kind = kind_for(len(references.table.rows))
        old = self.references
        if kind != EXACT and old.index and old.digest == references.digest:
            references = replace(references, index=old.index)
        elif kind != EXACT:
            logger.info("indexing %d windows", len(references.table.rows))
            index = WindowIndex.build(references.table.rows, references.distance, kind=kind)
            references = replace(references, index=index.save(references.folder / INDEX_FILE))
        references.save()
        if read_calibration(references) is None:
            write_calibration(calibrate(references), references)
        in_force = {row.block for row in references.rows}
        for path in references.folder.glob("block_[0-9]*.npz"):
            if path.name not in in_force:
                path.unlink()
        return references

    def _current(self) -> References:
        rows = tuple(self.rows[name] for name in sorted(self.rows))
        return replace(self.references, rows=rows, index={})

    def _new_block(self, recordings: Sequence[RecordingWindows]) -> str:
        name = f"block_{self.next_block:06d}.npz"
        write_block(recordings, self.references.folder / name)
        self.next_block += 1
        return name

    def _join_blocks(self) -> None:
        references = self._current()
        used: dict[str, int] = {}
        for row in references.rows:
            used[row.block] = used.get(row.block, 0) + 1
        written = sum(references.block_size(block) for block in used)
        many = len(used) > MANY_BLOCKS + len(references) / BLOCK_RECORDINGS
        if not many and written - len(references) <= DEAD_SHARE * written:
            return
        for start in range(0, len(references), BLOCK_RECORDINGS):
            positions = range(start, min(start + BLOCK_RECORDINGS, len(references)))
            wide = references.windows_of(positions, "wide")
            narrow = references.windows_of(positions, "narrow")
            block = self._new_block(
                [
                    RecordingWindows(wide[i], narrow[i], references.rows[i].seconds)
                    for i in positions
                ]
            )
            for place, i in enumerate(positions):
                row = references.rows[i]
                self.rows[row.name] = replace(row, block=block, position=place)


def open_embedder(
    model_path: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    device: str | torch.device = "auto",
    window_s: float | None = None,
    hop_s: float | None = None,
) -> Recording2Windows:
    """The model for references in ``folder``, cutting as those that are there already were cut.

    Args:
        model_path: see :class:`Recording2Windows`.
        folder: of the references, existing or not.
        device: where to compute.
        window_s: length of the wide windows in seconds, in place of what fits the model.
        hop_s: distance between them; None makes it half the length.

    Raises:
        UserError: the model cannot be used, or the windows are not those of the references.
    """
    existing = (Path(folder) / HEADER).is_file()
    settings = References.load(folder).settings if existing else None
    embedder = Recording2Windows(model_path, device=device, settings=settings)
    if window_s is None and hop_s is None:
        return embedder
    window = window_s or embedder.settings.window_s
    wanted = replace(
        embedder.settings,
        window_s=window,
        whole_s=window if window_s else embedder.settings.whole_s,
        hop_s=hop_s or window / 2,
    )
    if existing and wanted != settings:
        raise UserError(
            f"the references in {folder} have windows of {settings.window_s:g} s every "
            f"{settings.hop_s:g} s; leave out --window and --hop, or choose another folder"
        )
    return Recording2Windows(model_path, device=device, settings=wanted)


def report_lines(references: References, report: BuildReport) -> list[str]:
    """What happened, for a person."""
    works = len(set(references.works))
    lines = [f"left out: {reason}" for reason in report.failures.values()]
    if report.removed:
        lines += [f"removed: {name}" for name in report.removed]
    elif report.absent:
        lines += [f"no longer among the recordings, but kept: {name}" for name in report.absent]
        lines.append("(--prune takes them out)")
    lines.append(
        f"{len(references)} recordings of {works} works in {references.folder}: "
        f"{len(report.added)} added, {len(report.changed)} changed, "
        f"{len(report.relabelled)} with another work, {report.unchanged} unchanged, "
        f"{len(report.failures)} left out"
    )
    return lines
