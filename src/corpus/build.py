"""Making a corpus on disk: in parallel, resumable at the file, with a manifest at the end.

``OUT_DIR`` holds ``audio/<collection>/<utt>.ogg`` and ``features/<collection>/<utt>.npz``, and for
every finished version ``rows/<collection>/<utt>.json``: its line of ``dataset.txt``. A row is
written last, so what has a row is whole; a later run makes only what has none.
"""

import signal as os_signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from threadpoolctl import threadpool_limits

from src.corpus import codec
from src.corpus.configuration import AudioFormat, CorpusConfig
from src.corpus.features import NOTE_CQT, NOTE_FEATURE, Feature, FeatureWriter
from src.corpus.maker import MadeVersion, MakerSettings, VersionMaker
from src.corpus.note_chroma import WEIGHTS
from src.corpus.note_cqt_bank import FORM
from src.corpus.plan import Job
from src.corpus.soundfonts import fingerprint
from src.corpus.works import collection
from src.data.manifest import dict_to_line, line_to_dict, write_manifest
from src.errors import UserError
from src.files import atomic_path, read_json, write_json

Maker = Callable[[Job], MadeVersion]
_LEVEL_TRIES = 3
_DECIDE_VERSIONS = (
    "seed",
    "duration",
    "sample_rate",
    "recordings",
    "features",
    "audio",
    "hard_negatives",
    "metre_changes",
    "printed_settings",
)
_SUFFIXES = {"flac": "flac", "vorbis": "ogg", "opus": "ogg", "mp3": "mp3"}


@dataclass(frozen=True, slots=True)
class Output:
    """What is kept of a version, and where.

    ``audio`` None keeps none; ``banks`` are files of notes by SoundFont, for ``note_cqt``.
    """

    folder: Path
    audio: AudioFormat | None
    features: tuple[Feature, ...] = ()
    banks: Mapping[str, Path] = field(default_factory=dict)

    def row_path(self, job: Job) -> Path:
        return self._path(job, "rows", "json")

    def audio_path(self, job: Job) -> Path:
        return self._path(job, "audio", _SUFFIXES[self.audio.codec] if self.audio else "none")

    def features_path(self, job: Job) -> Path:
        return self._path(job, "features", "npz")

    def _path(self, job: Job, kind: str, suffix: str) -> Path:
        return self.folder / kind / collection(job.tune.work) / f"{job.utt}.{suffix}"


@dataclass(slots=True)
class BuildReport:
    """How many versions were made now, were there already, and failed (utt -> reason)."""

    made: int = 0
    kept: int = 0
    seconds: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)


class VersionWriter:
    """Makes one version and writes what is kept of it. The networks are loaded once."""

    def __init__(self, make: Maker, output: Output) -> None:
        self.make = make
        self.output = output
        self._features = FeatureWriter(output.features, banks=output.banks)

    def __call__(self, job: Job) -> float:
        """Make, write, and return the duration in seconds."""
        version = self.make(job)
        output = self.output
        row: dict[str, Any] = {
            "utt": job.utt,
            "wav": "",
            "dur_s": round(version.seconds, 3),
            "song": job.tune.song,
            "version": f"v{job.version:02d}",
            "title": job.tune.title,
        }
        if output.features:
            path = output.features_path(job)
            row |= self._features.write(
                version.signal, version.sample_rate, path, played=version.played
            )
        if output.audio is not None:
            path = output.audio_path(job)
            row["wav"] = path.as_posix()
            write_audio(version, path, output.audio)
        row["choices"] = version.choices
        if job.tune.family:  # the song is named after a work of another collection, perhaps
            row["notation"] = job.tune.work
        if job.like is not None:
            row["like"] = job.like.utt
        with atomic_path(output.row_path(job)) as temporary:
            temporary.write_text(dict_to_line(row) + "\n", "utf-8")
        return row["dur_s"]


def write_audio(version: MadeVersion, path: Path, form: AudioFormat) -> None:
    """Write a version as mono audio, atomically; what is read from it stays within +-1.

    Lossy codecs overshoot, by a third and more at low rates: the peak is kept below 0.7 before
    them, and brought further down where that is not enough.
    """
    rate = form.sample_rate
    if form.codec == "opus" and rate not in codec.CODECS["opus"][2]:
        rate = 48000
    signal = soxr.resample(version.signal, version.sample_rate, rate, quality="HQ")
    limit = 0.99 if form.codec == "flac" else 0.7
    with atomic_path(path) as temporary:
        signal = signal * np.float32(min(1.0, limit / max(_peak(signal), 1e-9)))
        if form.codec == "flac":
            soundfile.write(temporary, signal, rate, format="FLAC", subtype="PCM_16")
            return
        target = str(temporary)
        for _ in range(_LEVEL_TRIES):
            codec.encode(signal, rate, target, codec=form.codec, compression=form.compression)
            peak = _peak(soundfile.read(target, dtype="float32")[0])
            if peak <= 1:
                break
            signal = signal * np.float32(0.95 / peak)


def _peak(signal: np.ndarray) -> float:
    return float(np.max(np.abs(signal), initial=0.0))


def build(
    jobs: Sequence[Job],
    output: Output,
    settings: MakerSettings,
    *,
    workers: int,
    maker: Callable[[MakerSettings], Maker] = VersionMaker,
) -> Iterator[BuildReport]:
    """Make all versions that are not there yet; yields the report after each.

    The manifest ``dataset.txt`` is written at the end, and also when the loop is left early. A
    tune that cannot be arranged is counted as failed and tried again by the next run.

    Args:
        workers: processes, each with one thread; 0 works in this one.
        maker: makes the function that makes a version (once in every process).

    Raises:
        UserError: what concerns all versions: a missing SoundFont, a folder that is read-only.
    """
    report = BuildReport()
    todo = [job for job in jobs if not output.row_path(job).is_file()]
    report.kept = len(jobs) - len(todo)
    yield report
    try:
        for job, outcome in _run(todo, output, settings, workers=workers, maker=maker):
            if isinstance(outcome, float):
                report.made += 1
                report.seconds += outcome
            else:
                report.failed[job.utt] = outcome
            yield report
    finally:
        write_dataset(jobs, output)


def describe_corpus(
    folder: Path, config: CorpusConfig, soundfonts: Mapping[str, Path], *, audio_kept: bool
) -> None:
    """Write ``corpus.json``: the configuration and the SoundFonts that a corpus is made with.

    Raises:
        UserError: the folder holds versions made in another way. (More works, more versions and
            another order are no other way.)
    """
    description = {
        "config": config.model_dump(mode="json"),
        "audio_kept": audio_kept,
        "soundfonts": {
            name: {"bytes": path.stat().st_size, "sha256": fingerprint(path)}
            for name, path in soundfonts.items()
        },
    }
    if NOTE_FEATURE in config.features:
        description["note_weights"] = fingerprint(WEIGHTS)
    if NOTE_CQT in config.features:
        description["note_bank"] = FORM
    path = folder / "corpus.json"
    if path.is_file():
        before = read_json(path)
        for name in _DECIDE_VERSIONS:
            default = CorpusConfig.model_fields[name].default  # of a key that is new since
            if before.get("config", {}).get(name, default) != description["config"][name]:
                raise UserError(
                    f"{folder} holds a corpus made with another '{name}'; choose another folder"
                )
        others = {
            "audio_kept": "another --features-only",
            "soundfonts": "other SoundFonts",
            "note_weights": f"another {WEIGHTS.name}",
            "note_bank": "another form of single notes",
        }
        for name, what in others.items():
            if before.get(name, description.get(name)) != description.get(name):
                raise UserError(f"{folder} holds a corpus made with {what}; choose another folder")
    write_json(description, path)


def write_dataset(jobs: Sequence[Job], output: Output) -> int:
    """Write ``dataset.txt`` from the rows that are there, in the order of the jobs.

    Which works are one song may be known better than when a version was made: the jobs say it.
    """
    rows = [
        line_to_dict(path.read_text("utf-8").strip()) | {"song": job.tune.song}
        for job in jobs
        if (path := output.row_path(job)).is_file()
    ]
    if rows:
        write_manifest(rows, output.folder / "dataset.txt")
    return len(rows)


def _run(
    jobs: Sequence[Job],
    output: Output,
    settings: MakerSettings,
    *,
    workers: int,
    maker: Callable[[MakerSettings], Maker],
) -> Iterator[tuple[Job, float | str]]:
    """Yield each job with its duration, or with the reason why it failed."""
    if workers == 0:
        write = VersionWriter(maker(settings), output)
        for job in jobs:
            yield job, _attempt(write, job)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),  # forking a process that runs threads can hang
        initializer=_start_worker,
        initargs=(settings, output, maker),
    )
    try:
        waiting = deque(jobs)
        running: dict[Future, Job] = {}
        while waiting or running:
            while waiting and len(running) < 2 * workers:
                job = waiting.popleft()
                running[pool.submit(_work, job)] = job
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
    finally:
        # What is being made is finished, what waits is dropped.
        pool.shutdown(wait=True, cancel_futures=True)


_worker: VersionWriter | None = None  # one per process of the pool


def _start_worker(
    settings: MakerSettings, output: Output, maker: Callable[[MakerSettings], Maker]
) -> None:
    global _worker
    # Ctrl-C reaches the whole group; the parent decides and lets running versions finish.
    os_signal.signal(os_signal.SIGINT, os_signal.SIG_IGN)
    threadpool_limits(1)
    if output.features:
        import torch

        torch.set_num_threads(1)
    _worker = VersionWriter(maker(settings), output)


def _work(job: Job) -> float | str:
    assert _worker is not None
    return _attempt(_worker, job)


def _attempt(write: VersionWriter, job: Job) -> float | str:
    try:
        return write(job)
    except UserError:
        raise
    except (ValueError, ArithmeticError, IndexError, KeyError) as error:
        return f"{type(error).__name__}: {error}"
