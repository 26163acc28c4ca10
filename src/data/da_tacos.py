"""The Da-TACOS benchmark subset: from Zenodo to Re-MOVE's two evaluation files.

    F. Yesiler et al. Da-TACOS: A dataset for cover song identification and understanding.
    Proc. of the Int. Soc. for Music Information Retrieval Conf., 2019

15,000 recordings: 1,000 works in 13 versions each, and 2,000 recordings without another version.
"""

import os
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import filelock
import h5py
import numpy as np
import torch
from tqdm import tqdm

from src.data.chroma import PITCH_CLASSES, double_chroma
from src.data.dataset_file import save_dataset_file, ytrue_from_labels
from src.data.download import ResumingDownloader, fetch
from src.data.unpack import unpack_zip
from src.errors import UserError
from src.files import read_json, save_tensors

RECORD = "https://zenodo.org/records/3520368"
MIRROR_VARIABLE = "DA_TACOS_MIRROR"

FEATURES = "da-tacos_benchmark_subset_crema"
METADATA = "da-tacos_metadata"
METADATA_FILE = "da-tacos_benchmark_subset_metadata.json"

DATASET_FILE = "benchmark_crema.pt"
YTRUE_FILE = "ytrue_benchmark.pt"

# The published features are very probably of this version of crema.
CREMA_VERSION = "0.1.0"
# The published features have a hop of 512 samples at 44.1 kHz; every 8th frame gives the 4096 of
# the training features.
EVERY = 8


@dataclass(frozen=True)
class Archive:
    """A zip file of the Zenodo record, which unpacks to a folder of its name."""

    folder: str
    md5: str

    @property
    def file(self) -> str:
        return f"{self.folder}.zip"


ARCHIVES = (
    Archive(METADATA, "b8aed83c45687a6bac76de3da1799237"),
    Archive(FEATURES, "c702a3b97a60081311bf8e7fae7b433b"),
)


def prepare_benchmark(
    output_dir: str | os.PathLike,
    *,
    unpack: bool = True,
    remove: bool = False,
    archives: Sequence[Archive] = ARCHIVES,
    record: str = RECORD,
    mirror: str | None = None,
    downloader: Callable[[Path], ResumingDownloader] = ResumingDownloader,
    report: Callable[[str], None] = lambda line: None,
) -> None:
    """Download, unpack and convert the benchmark subset; what is already there is kept.

    Args:
        output_dir: folder for everything.
        unpack: also unpack and write ``benchmark_crema.pt`` and ``ytrue_benchmark.pt``.
        remove: remove each zip file after unpacking.
        archives: the files of the record.
        record: address of the record.
        mirror: another place to try: address of a folder with the zip files, or a link to a
            Google Drive folder.
        downloader: makes the downloader for a partial file.
        report: takes a line about each step.

    Raises:
        UserError: no network, a damaged file, a full disk, another run in the same folder.
    """
    output_dir = Path(output_dir)
    with _only_run_in(output_dir):
        for archive in archives:
            if (output_dir / archive.folder).is_dir():
                report(f"{output_dir / archive.folder} is already unpacked")
                _remove(output_dir / archive.file, remove, report)
                continue
            urls = [f"{record}/files/{archive.file}?download=1"]
            if mirror:
                on_drive = "drive.google.com" in mirror
                urls.append(mirror if on_drive else f"{mirror.rstrip('/')}/{archive.file}")
            path = fetch(
                archive.file,
                output_dir,
                md5=archive.md5,
                urls=urls,
                downloader=downloader,
                manual=(
                    f"get {' and '.join(a.file for a in archives)} from {record} with a browser "
                    f"on any machine, put them into {output_dir} and run the same command again "
                    f"(or name a mirror in the variable {MIRROR_VARIABLE})"
                ),
            )
            report(f"{path} is complete")
            if unpack:
                report(f"unpacked {unpack_zip(path, output_dir)}")
                _remove(path, remove, report)
        if not unpack:
            report("nothing was unpacked or converted; add --unpack")
            return
        labels = create_benchmark_pt(output_dir)
        report(
            f"{output_dir / DATASET_FILE}: {len(labels):,} recordings of {len(set(labels)):,} works"
        )
        create_benchmark_ytrue(labels, output_dir)
        report(f"{output_dir / YTRUE_FILE}: which of them are versions of each other")


def _remove(path: Path, remove: bool, report: Callable[[str], None]) -> None:
    if remove and path.is_file():
        path.unlink()
        report(f"removed {path}")


def _only_run_in(directory: Path) -> filelock.AcquireReturnProxy:
    """Lock of a folder; taken at once or never."""
    lock = filelock.FileLock(directory / ".benchmark_da-tacos.lock")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise UserError(
            f"another run is at work in {directory}; wait for it or choose another folder"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot write into {directory}: {error.strerror or error}; choose another folder"
        ) from error


def create_benchmark_pt(output_dir: str | os.PathLike) -> list[str]:
    """Convert the unpacked benchmark subset to ``output_dir/benchmark_crema.pt``.

    Every 8th frame of each cremaPCP, doubled to ``(1, 23, T)``, in the order of the metadata; the
    file's dtype is kept. One recording at a time is read; only the results stay in memory.

    Args:
        output_dir: folder with the two unpacked folders.

    Returns:
        The label (work id) of every recording, in file order.

    Raises:
        UserError: the metadata or a recording is missing, damaged or of another shape. The
            benchmark is only comparable if it is complete, so nothing is skipped.
    """
    output_dir = Path(output_dir)
    recordings = _recordings(output_dir / METADATA / METADATA_FILE)
    folder = output_dir / FEATURES
    paths = [folder / f"{work}_crema" / f"{perf}_crema.h5" for work, perf in recordings]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise UserError(
            f"{missing[0]} is missing ({len(missing)} of {len(paths)} recordings are); "
            f"delete {folder} and unpack {FEATURES}.zip again"
        )
    data = [
        double_chroma(_read_crema(path)[::EVERY])
        for path in tqdm(paths, desc="converting", unit="recording", disable=None)
    ]
    labels = [work for work, _ in recordings]
    save_dataset_file(
        output_dir / DATASET_FILE, data=data, labels=labels, crema_version=CREMA_VERSION
    )
    return labels


def create_benchmark_ytrue(
    labels: Sequence[Hashable] | torch.Tensor, output_dir: str | os.PathLike
) -> None:
    """Write ``output_dir/ytrue_benchmark.pt``: ``(N, N)`` floats, 1 for another version.

    Args:
        labels: label of each of the N recordings.
        output_dir: folder to write to.

    Raises:
        UserError: no labels, or the file cannot be written.
    """
    if isinstance(labels, torch.Tensor):
        labels = labels.flatten().tolist()
    if not len(labels):
        raise UserError("there are no labels, so there is no ground truth to write")
    save_tensors(ytrue_from_labels(labels), Path(output_dir) / YTRUE_FILE)


def _recordings(path: Path) -> list[tuple[str, str]]:
    """(work, performance) of every recording, in the order of the metadata."""
    metadata = read_json(path)
    if not isinstance(metadata, dict) or not all(isinstance(v, dict) for v in metadata.values()):
        raise UserError(f"{path} must map works to performances; download the metadata again")
    recordings = [(work, perf) for work, perfs in metadata.items() for perf in perfs]
    if not recordings:
        raise UserError(f"{path} lists no recording; download the metadata again")
    return recordings


def _read_crema(path: Path) -> np.ndarray:
    """``(T, 12)`` in the file's own type."""
    try:
        with h5py.File(path, "r") as file:
            crema = file["crema"]
            if not isinstance(crema, h5py.Dataset):
                raise KeyError("crema")
            pcp = crema[()]
    except (OSError, KeyError, RuntimeError) as error:
        raise UserError(
            f"{path} cannot be read as an HDF5 file with the array crema; delete "
            f"{path.parents[1]} and unpack {FEATURES}.zip again"
        ) from error
    if pcp.ndim != 2 or pcp.shape[1] != PITCH_CLASSES or not len(pcp) or pcp.dtype.kind != "f":
        raise UserError(
            f"{path}: crema must be floats of the shape (frames, {PITCH_CLASSES}), but is "
            f"{pcp.dtype} {pcp.shape}"
        )
    return pcp
