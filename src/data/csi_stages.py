"""The steps from dataset.txt to CQT features, each on all recordings of a folder."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from src.audio.cqt import Audio2CQT, CQTSpec
from src.audio.decode import AudioError, load_audio
from src.audio.sound_augment import change_tempo, changes_tempo
from src.data.cqt_features import check_spec, open_cqt, read_spec, save_cqt, write_spec
from src.data.in_parallel import in_parallel
from src.data.made_from import MadeFrom
from src.data.recordings import locate
from src.data.splits import recording_of
from src.data.wav_file import write_wav
from src.errors import UserError

Row = Mapping[str, Any]

TEMPO_FOLDER = "sp_aug"
FEATURE_FOLDER = "cqt_feat"
FEATURE_SUFFIX = ".cqt.npy"
RECORDS = "made_from"  # folder of what tells whether files are current


@dataclass
class Workshop:
    """Where and how the stages work, and what went wrong so far.

    Attributes:
        folder: as typed by the person; the paths in the manifests begin with it.
        workers: recordings worked on at the same time.
        device: where the CQT is computed.
        progress: show progress bars.
        failures: recording -> why it was left out.
    """

    folder: Path
    workers: int = 1
    device: str = "cpu"
    progress: bool = False
    failures: dict[str, str] = field(default_factory=dict)
    _extractors: dict[CQTSpec, Audio2CQT] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, label: str, rows: Sequence[Row], work: Callable[[Row], Any]) -> dict[int, Any]:
        """``work`` on every row; what fails is noted under the name of its recording."""
        results, reasons = in_parallel(
            rows, work, workers=self.workers, label=label, progress=self.progress
        )
        for position, reason in reasons.items():
            self.failures.setdefault(recording_of(rows[position]["utt"]), reason)
        return results

    def sound(self, row: Row) -> Path:
        """The recording of a line."""
        if not row.get("wav"):
            raise UserError(f"utt {row['utt']!r} names no recording; add the key wav")
        return locate(row["wav"], self.folder)

    def extractor(self, spec: CQTSpec) -> Audio2CQT:
        """The transform; made when the first recording needs it, because that takes a while."""
        with self._lock:
            if spec not in self._extractors:
                self._extractors[spec] = Audio2CQT(spec, self.device)
            return self._extractors[spec]

    def record(self, name: str) -> MadeFrom:
        """What the files in a folder below were made from."""
        return MadeFrom(self.folder / RECORDS / f"{name}.txt")

    def path(self, *parts: str) -> str:
        """A path below the folder, as it stands in the manifests."""
        return self.folder.joinpath(*parts).as_posix()


# --- stage 0


def init_rows(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The rows sorted by ``utt`` (as text); of equal ones the first is kept.

    Raises:
        UserError: an ``utt`` cannot be the name of a file, or a row has neither wav nor feat.
    """
    unique: dict[str, dict[str, Any]] = {}
    for row in rows:
        utt = row["utt"]
        if any(sign in utt for sign in "/\\\0\n") or utt.startswith("."):
            raise UserError(
                f"utt {utt!r} cannot be the name of a file; leave out slashes and other signs "
                "that file names do not allow"
            )
        if not row.get("wav") and not row.get("feat"):
            raise UserError(f"utt {utt!r} names no recording; add the key wav")
        unique.setdefault(utt, dict(row))
    return [unique[utt] for utt in sorted(unique)]


# --- stage 3


def speed_rows(row: Row, speeds: Sequence[float], tempo_folder: str) -> list[dict[str, Any]]:
    """One row for every tempo, in the order of ``speeds``.

    Near 1 a row stands for the recording itself. ``dur_s`` is divided by the tempo. A row that
    has features but no recording gives only itself.
    """
    rows: dict[str, dict[str, Any]] = {}
    for speed in speeds:
        copy = dict(row)
        if changes_tempo(speed):
            if not row.get("wav"):
                continue
            copy = {key: copy[key] for key in copy if key not in ("feat", "feat_len")}
            copy["utt"] = f"sp_{speed}-{row['utt']}"
            copy["wav"] = f"{tempo_folder}/{copy['utt']}.wav"
        if row.get("dur_s"):
            copy["dur_s"] = round(row["dur_s"] / speed, 2)
        rows.setdefault(copy["utt"], copy)
    if not rows:
        rows[row["utt"]] = dict(row)
    return list(rows.values())


def make_tempo_copies(
    rows: Sequence[Row], speeds: Sequence[float], sample_rate: int, shop: Workshop
) -> list[dict[str, Any]]:
    """Write the tempo copies of all recordings; copies that are there already are kept.

    Returns:
        The lines of sp_aug.txt. A recording of which a copy cannot be made is left out.
    """
    folder = shop.path(TEMPO_FOLDER)
    changing = [speed for speed in speeds if changes_tempo(speed)]
    record = shop.record(TEMPO_FOLDER) if changing else None

    def make(row: Row) -> None:
        source = shop.sound(row)
        # Read once for all tempi, and not at all if every copy is there.
        signal: np.ndarray | None = None
        for speed in changing:
            target = Path(folder, f"sp_{speed}-{row['utt']}.wav")
            how = f"tempo {speed} at {sample_rate} Hz"
            if record.is_current(target, source, how):
                continue
            if signal is None:
                signal, _ = load_audio(source, sample_rate=sample_rate)
            changed = change_tempo(signal, sample_rate, speed)
            write_wav(target, changed, sample_rate)
            record.note(target, source, how)

    with_sound = [row for row in rows if row.get("wav") and changing]
    shop.run("tempo copies", with_sound, make)
    return [
        copy
        for row in rows
        if row["utt"] not in shop.failures
        for copy in speed_rows(row, speeds, folder)
    ]


# --- stage 4


def open_feature_folder(shop: Workshop, spec: CQTSpec) -> MadeFrom:
    """The folder of features, marked with the CQT that its files are made with.

    Raises:
        UserError: its files were made with another CQT.
    """
    folder = shop.folder / FEATURE_FOLDER
    found = read_spec(folder)
    if found is not None or any(folder.glob(f"*{FEATURE_SUFFIX}")):
        check_folder_spec(folder, spec, found)
    record = shop.record(FEATURE_FOLDER)
    if found is None:
        write_spec(folder, spec)
    return record


def check_folder_spec(folder: Path, spec: CQTSpec, found: CQTSpec | None) -> None:
    """Refuse features that were made with another CQT.

    Raises:
        UserError: see above.
    """
    try:
        check_spec(spec, found, str(folder))
    except UserError as error:
        sentence = str(error).split(";")[0]
        raise UserError(
            f"{sentence} by hparams.yaml; remove that folder, or change hparams.yaml back"
        ) from error


def extract_features(rows: Sequence[Row], spec: CQTSpec, shop: Workshop) -> list[dict[str, Any]]:
    """CQT of every line; files that are there already are kept.

    A line that brings features of its own (``feat``) keeps them and needs no recording.

    Returns:
        The lines of full.txt, without ids: ``feat`` and ``feat_len`` added, and ``dur_s`` where
        it was missing. Recordings that cannot be used are left out.
    """
    record = open_feature_folder(shop, spec)

    def extract(row: Row) -> dict[str, Any]:
        if row.get("feat") and not _is_ours(row["feat"], row, shop):
            given = locate(row["feat"], shop.folder)
            if given.is_file():
                if (found := read_spec(given.parent)) is not None:
                    check_folder_spec(given.parent, spec, found)
                return with_features(row, given.as_posix(), _frames(given, spec), spec)
            if not row.get("wav"):
                raise UserError(f"the features {row['feat']} of {row['utt']} do not exist")
        source = shop.sound(row)
        target = Path(shop.path(FEATURE_FOLDER, row["utt"] + FEATURE_SUFFIX))
        frames = None
        if record.is_current(target, source, "cqt"):
            frames = frames_or_none(target, spec)
        if frames is None:
            signal, rate = load_audio(source, sample_rate=spec.sample_rate)
            frames = write_features(signal, rate, shop.extractor(spec), target, source)
            record.note(target, source, "cqt")
        return with_features(row, target.as_posix(), frames, spec)

    done = shop.run("CQT", rows, extract)
    return [done[position] for position in sorted(done)]


def with_features(row: Row, feat: str, frames: int, spec: CQTSpec) -> dict[str, Any]:
    """The row with ``feat`` and ``feat_len`` last."""
    full = {key: row[key] for key in row if key not in ("feat", "feat_len")}
    if not full.get("dur_s"):
        full["dur_s"] = round(frames / spec.frames_per_second, 2)
    return {**full, "feat": feat, "feat_len": frames}


def _is_ours(feat: str, row: Row, shop: Workshop) -> bool:
    """Whether ``feat`` is where this tool writes it, as in a full.txt used as dataset.txt."""
    ours = Path(shop.path(FEATURE_FOLDER, row["utt"] + FEATURE_SUFFIX))
    return bool(row.get("wav")) and Path(feat) == ours


def write_features(
    signal: np.ndarray, rate: int, extractor: Audio2CQT, target: Path, source: Path
) -> int:
    """Write the features of a signal; returns the number of frames.

    Raises:
        AudioError: the signal, that of ``source``, is shorter than a frame.
    """
    if len(signal) < extractor.spec.hop_samples:
        raise AudioError(
            f"{source} lasts {len(signal) / rate:.3f} s, less than a single frame of the CQT; "
            "take it out of the list"
        )
    features = extractor(signal, rate)
    save_cqt(features, target)
    return len(features)


def _frames(path: Path, spec: CQTSpec) -> int:
    """Number of frames of a feature file.

    Raises:
        UserError: it cannot be read, or has another number of bins.
    """
    stored = open_cqt(path)
    if stored.shape[1] != spec.bins:
        raise UserError(
            f"{path} has {stored.shape[1]} bins, but {spec.bins} are expected; extract its "
            "features again"
        )
    return len(stored)


def frames_or_none(path: Path, spec: CQTSpec) -> int | None:
    """Number of frames of a file in our own folder, None if it has to be made again."""
    try:
        return _frames(path, spec)
    except UserError:
        return None
