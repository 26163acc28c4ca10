"""The Covers80 set (Ellis, 2007): its archive -> the recordings that dataset.txt lists.

The archive holds ``coversongs/covers32k/<Song>/<artist>+<album>+<track>-<song>.mp3``, 16 kHz mono
at 32 kbit/s. dataset.txt expects all recordings in one folder, as 16 kHz wav.
"""

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import soundfile

from src.audio.decode import load_audio
from src.config import REPOSITORY
from src.data.download import DownloadFailed, ResumingDownloader
from src.data.in_parallel import in_parallel
from src.data.manifest import read_manifest, write_manifest
from src.data.wav_file import write_wav
from src.errors import UserError
from src.files import atomic_path

PAGE = "http://labrosa.ee.columbia.edu/projects/coversongs/covers80/"
URL = PAGE + "covers80.tgz"
ARCHIVE = "covers80.tgz"
DATASET, HPARAMS = "dataset.txt", "hparams.yaml"
DEFAULT_FOLDER = Path("data", "covers80")
TESTSET_SUFFIX = "_testset"  # the folder beside it for the use as a test set
SAMPLE_RATE = 16000
# Parts of the archive that are recordings; the rest are lists and a README.
SOUND_SUFFIXES = (".mp3", ".wav", ".flac", ".ogg", ".m4a")
LENGTH_TOLERANCE_S = 0.5  # decoders differ in what they keep of an mp3's padding

Row = Mapping[str, Any]


@dataclass
class Prepared:
    """What a preparation has done.

    Attributes:
        present: listed recordings that are there now.
        works: number of songs in the list.
        made: how many of them this run has made.
        missing: paths of listed recordings that are not there.
        unlisted: recordings of the archive that the list does not name.
        odd: recordings that last longer or shorter than listed, with both lengths in seconds.
        failures: path of a recording -> why it could not be made.
    """

    present: list[Path] = field(default_factory=list)
    works: int = 0
    made: int = 0
    missing: list[Path] = field(default_factory=list)
    unlisted: list[str] = field(default_factory=list)
    odd: list[tuple[Path, float, float]] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def prepare_covers80(
    archive: Path | None, folder: Path, *, workers: int = 1, progress: bool = False
) -> Prepared:
    """Put the recordings of Covers80 where dataset.txt expects them.

    Recordings that are there already are kept. In a folder other than data/covers80, dataset.txt
    and hparams.yaml are written too, with paths to that folder, as well as those of the test set
    in ``<folder>_testset``.

    Args:
        archive: covers80.tgz, or the folder it was unpacked to; None looks for it in ``folder``
            and downloads it if it is not there.
        folder: usually data/covers80.
        workers: recordings converted at the same time.
        progress: show progress bars.

    Raises:
        UserError: the archive cannot be downloaded, is damaged or does not hold recordings, or
            the folder cannot be written.
    """
    rows = _lists(folder)
    targets = {Path(row["wav"]): row for row in rows}
    done = Prepared(works=len({row["song"] for row in rows}))
    pending = [row for path, row in targets.items() if not path.is_file()]
    if pending:
        source = _find_archive(archive, folder, progress)
        _unpack(source, folder, pending, rows, done, workers, progress)
    for path, row in targets.items():
        if not path.is_file():
            done.missing.append(path)
            continue
        done.present.append(path)
        found = soundfile.info(path).duration
        if abs(found - row["dur_s"]) > LENGTH_TOLERANCE_S:
            done.odd.append((path, found, row["dur_s"]))
    return done


def _lists(folder: Path) -> list[dict[str, Any]]:
    """The lines of the folder's dataset.txt; the lists are written first if they are not there."""
    for name in (folder.name, folder.name + TESTSET_SUFFIX):
        place = folder.with_name(name)
        shipped = REPOSITORY / DEFAULT_FOLDER
        if name.endswith(TESTSET_SUFFIX):
            shipped = shipped.with_name(shipped.name + TESTSET_SUFFIX)
        if not (place / HPARAMS).exists():
            with atomic_path(place / HPARAMS) as temporary:
                shutil.copyfile(shipped / HPARAMS, temporary)
        if not (place / DATASET).exists():
            rows = read_manifest(shipped / DATASET)
            for row in rows:
                row["wav"] = (folder / "wav_16k" / PurePosixPath(row["wav"]).name).as_posix()
            write_manifest(rows, place / DATASET)
    return read_manifest(folder / DATASET, required=("utt", "wav", "song", "version", "dur_s"))


def _find_archive(archive: Path | None, folder: Path, progress: bool) -> Path:
    if archive is not None:
        if not archive.exists():
            raise UserError(
                f"{archive} does not exist; give the path of covers80.tgz from {PAGE}, or leave "
                "it out to download it"
            )
        return archive
    path = folder / ARCHIVE
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        # The publisher states no checksum; whether the archive is whole shows when it is read.
        ResumingDownloader(partial, progress=progress or None)(URL, str(path), None)
    except DownloadFailed as error:
        raise UserError(
            f"cannot download {URL} ({error}); download it with a browser from {PAGE} and give "
            "its path"
        ) from error
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _unpack(
    source: Path,
    folder: Path,
    pending: Sequence[Row],
    rows: Sequence[Row],
    done: Prepared,
    workers: int,
    progress: bool,
) -> None:
    wanted = {_key(row["song"], row["version"]): row for row in pending}
    listed = {_key(row["song"], row["version"]) for row in rows}
    # Beside the recordings, so that there is room if there is room for them.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as temporary:
        found: list[tuple[Row, Path]] = []
        matches = 0
        try:
            for song, name, content in _recordings(source):
                key = _key(song, name)
                if key not in listed:
                    done.unlisted.append(f"{song}/{name}")
                    continue
                matches += 1
                if (row := wanted.pop(key, None)) is None:
                    continue
                # A name of our own: nothing in the archive decides where a file is written.
                copy = Path(temporary, f"{matches}{Path(name).suffix.lower()}")
                with copy.open("wb") as file:
                    shutil.copyfileobj(content, file)
                found.append((row, copy))
        except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(
                f"{source} is damaged or not a tar archive ({error}); delete it and download it "
                "again"
            ) from error
        except OSError as error:
            raise UserError(f"cannot unpack {source}: {error.strerror or error}") from error
        if not matches:
            raise UserError(
                f"{source} holds no recording of Covers80; its layout is "
                "coversongs/covers32k/<Song>/<recording>.mp3"
            )
        made, reasons = in_parallel(
            found, _convert, workers=workers, label="to 16 kHz wav", progress=progress
        )
    done.made = len(made)
    done.failures = {str(found[position][0]["wav"]): why for position, why in reasons.items()}


def _convert(item: tuple[Row, Path]) -> None:
    row, source = item
    try:
        signal, _ = load_audio(source, sample_rate=SAMPLE_RATE)
    except UserError as error:
        # The person knows the recording by its name in the archive.
        raise UserError(str(error).replace(str(source), row["version"])) from error
    write_wav(row["wav"], signal, SAMPLE_RATE)


def _recordings(source: Path) -> Iterator[tuple[str, str, Any]]:
    """Song, file name and open file of every recording in the archive (or unpacked folder)."""
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SOUND_SUFFIXES and path.is_file():
                with path.open("rb") as file:
                    yield path.parent.name, path.name, file
        return
    with tarfile.open(source, "r:*") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            hidden = path.name.startswith(".")
            if member.isfile() and not hidden and path.suffix.lower() in SOUND_SUFFIXES:
                yield path.parent.name, path.name, archive.extractfile(member)


def _key(song: str, name: str) -> tuple[str, str]:
    """What identifies a recording, however capitals and signs are written."""
    return _letters(song), _letters(PurePosixPath(name).stem)


def _letters(text: str) -> str:
    return "".join(sign for sign in text.lower() if sign.isalnum())
