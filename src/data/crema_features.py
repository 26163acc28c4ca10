"""cremaPCP of many recordings: in parallel, kept on disk, continued where it was."""

import hashlib
import logging
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from src.audio.crema import File2CremaPCP
from src.data.recordings import Recording
from src.errors import UserError
from src.files import atomic_path, one_reader

logger = logging.getLogger(__name__)

CACHE_FOLDER = ".crema_cache"
# Recordings that share a pass of the network. Its recurrence costs nearly the same for one as for
# sixteen; more would only make an interruption lose more.
FILES_PER_PASS = 16
# Chroma from notes (src.corpus.note_chroma) that imitates a version of crema counts as a version.
NOTES = "-notes"
FEATURE_KEYS = {"0.1.0": "crema_pcp", "0.2.0": "crema_pcp_020", f"0.2.0{NOTES}": "note_pcp"}
UNMARKED_KEY = "crema_pcp"  # what files call it that hold one version only, whichever that is


DEFAULT_CREMA = "0.1.0"  # very probably behind the published features and weights
TRAINED_ON, SOUND_WITH = "crema_version", "crema_for_sound"  # in the description of a model


def heard_version(version: str) -> str:
    """The version of crema for sound, to go with features of a version: that which they imitate."""
    return version.removesuffix(NOTES)


def version_for_sound(description: Mapping[str, Any]) -> str:
    """The version of crema with which sound is best described for a model.

    Args:
        description: of the model: ``crema_version`` behind its training features, and
            ``crema_for_sound`` where another was found to serve it better.
    """
    return heard_version(
        description.get(SOUND_WITH) or description.get(TRAINED_ON) or DEFAULT_CREMA
    )


def versions_for(description: Mapping[str, Any]) -> list[str]:
    """Versions of crema whose features a model takes, the one that serves it best first."""
    trained = description.get(TRAINED_ON) or DEFAULT_CREMA
    return list(dict.fromkeys([version_for_sound(description), heard_version(trained), trained]))


def fits(description: Mapping[str, Any], version: str | None) -> bool:
    """Whether features of a version are what a model knows, as far as both are known."""
    if not description.get(TRAINED_ON) or not version:
        return True
    known = {heard_version(description[TRAINED_ON]), version_for_sound(description)}
    return heard_version(version) in known


@dataclass
class FeatureSet:
    """cremaPCP of a collection, on disk.

    Attributes:
        recordings: those that have features, in the order given.
        paths: ``.npz`` of each.
        crema_version: of crema.
        failures: name of a recording -> why it was left out.
    """

    recordings: list[Recording]
    paths: list[Path]
    crema_version: str
    failures: dict[str, str] = field(default_factory=dict)

    def load(self, position: int) -> np.ndarray:
        """``(T, 12)`` float32 of recording number ``position``."""
        return read_features(self.paths[position], self.crema_version)


def extract_collection(
    recordings: Sequence[Recording],
    *,
    cache: Path,
    crema_version: str,
    device: torch.device,
    workers: int,
    progress: bool = False,
) -> FeatureSet:
    """Make sure that every recording has its cremaPCP on disk.

    What is in the cache is not computed again, unless the recording's size or date has changed.
    A recording that cannot be used is left out and listed.

    Args:
        recordings: sound files, or ``.npz`` files that already hold the features.
        cache: folder for the features of sound files; one ``.npz`` each.
        crema_version: ``0.1.0`` or ``0.2.0``; ``0.2.0-notes`` for features made from notes.
        device: where to compute.
        workers: files decoded and analysed at the same time.
        progress: show a progress bar.

    Raises:
        UserError: the cache cannot be written to, no recording can be used, or features from
            notes are asked for and there are recordings.
    """
    given = sum(recording.is_features for recording in recordings)
    if given:
        logger.info("%d feature files are taken as of crema %s", given, crema_version)
    failures: dict[str, str] = {}
    paths: dict[str, Path] = {}
    pending: list[tuple[Recording, Path]] = []
    for recording in recordings:
        try:
            paths[recording.name] = path = _feature_path(recording, cache, crema_version)
            if recording.is_features:
                read_features(path, crema_version)
            elif not path.is_file():
                pending.append((recording, path))
        except UserError as error:
            failures[recording.name] = str(error)
    if pending:
        if crema_version.endswith(NOTES):
            raise UserError(
                f"{pending[0][0].path} is a recording; features of {crema_version} are made from "
                "notes by tools.render_corpus (note_pcp), choose another version of crema"
            )
        extractor = File2CremaPCP(crema_version, device)
        done = _extract(pending, extractor, workers=workers, failures=failures)
        kept = len(recordings) - len(pending)
        bar = tqdm(done, total=len(recordings), initial=kept, desc="cremaPCP", disable=not progress)
        for path, pcp in bar:
            if pcp is not None:
                write_features(path, pcp, crema_version)
    used = [recording for recording in recordings if recording.name not in failures]
    if not used:
        raise UserError(
            f"none of the {len(recordings)} recordings can be used: {next(iter(failures.values()))}"
        )
    failures = {r.name: failures[r.name] for r in recordings if r.name in failures}
    return FeatureSet(used, [paths[r.name] for r in used], crema_version, failures)


def _extract(
    pending: Sequence[tuple[Recording, Path]],
    extractor: File2CremaPCP,
    *,
    workers: int,
    failures: dict[str, str],
) -> Iterator[tuple[Path, np.ndarray | None]]:
    """Yield (cache file, features or None) of every recording, in the order they get ready.

    Decoding and analysis run in threads, since all their work is done outside the interpreter;
    the network runs here over several recordings at once.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the parallelism is over files
    queue = iter(pending)
    running: dict[Future, tuple[Recording, Path]] = {}
    ready: list[tuple[Path, torch.Tensor]] = []
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        while True:
            while len(running) < 2 * workers and (item := next(queue, None)) is not None:
                running[pool.submit(extractor.audio.file_features, item[0].path)] = item
            # Without a running file the queue is empty too, and this pass is the last.
            if ready and (len(ready) >= FILES_PER_PASS or not running):
                features = extractor.audio.from_features([item for _, item in ready])
                yield from zip([path for path, _ in ready], features, strict=True)
                ready = []
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                recording, path = running.pop(future)
                try:
                    ready.append((path, future.result()))
                except (UserError, OSError) as error:
                    failures[recording.name] = str(error)
                    yield path, None
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _feature_path(recording: Recording, cache: Path, crema_version: str) -> Path:
    """Where the features of a recording are or will be."""
    if recording.is_features:
        return recording.path
    try:
        status = recording.path.stat()
    except OSError as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{recording.path} {reason}") from error
    identity = f"{recording.path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    digest = hashlib.sha256(os.fsencode(identity)).hexdigest()[:32]
    return cache / crema_version / digest[:2] / f"{digest}.npz"


def write_features(path: Path, pcp: np.ndarray, crema_version: str) -> None:
    """Write ``(T, 12)`` features as ``.npz``, atomically."""
    with atomic_path(path) as temporary:
        np.savez(temporary, **{FEATURE_KEYS[crema_version]: pcp})


def read_features(path: Path, crema_version: str) -> np.ndarray:
    """Read cremaPCP from an ``.npz``: ``(T, 12)`` float32.

    An array ``crema_pcp`` that stands alone is taken to be of the version asked for.

    Raises:
        UserError: missing, damaged, of another version of crema, or not such an array.
    """
    try:
        with one_reader, np.load(path, allow_pickle=False) as file:
            present = [key for key in file.files if key in FEATURE_KEYS.values()]
            key = UNMARKED_KEY if present == [UNMARKED_KEY] else FEATURE_KEYS[crema_version]
            if key not in present:
                raise UserError(
                    f"{path} holds no cremaPCP of crema {crema_version} "
                    f"(array {FEATURE_KEYS[crema_version]}), but: "
                    f"{', '.join(file.files) or 'nothing'}{_version_hint(present)}"
                )
            pcp = file[key]
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or not an .npz file; make it again") from error
    if pcp.ndim != 2 or pcp.shape[1] != 12 or not len(pcp) or pcp.dtype.kind != "f":
        raise UserError(f"{path}: cremaPCP has shape (T, 12), floating point, not {pcp.shape}")
    if not np.isfinite(pcp).all():
        raise UserError(f"{path} has values that are not finite; make it again")
    return pcp.astype(np.float32)


def _version_hint(present: Sequence[str]) -> str:
    """Which version to ask for instead, if the file holds one."""
    known = [version for version, key in FEATURE_KEYS.items() if key in present]
    return f"; ask for version {known[0]}" if known else ""


def read_first(path: Path, versions: Iterable[str] = tuple(FEATURE_KEYS)) -> np.ndarray:
    """The same, of the first of some versions of crema that the file holds: ``(T, 12)`` float32.

    Args:
        path: an ``.npz`` file.
        versions: the preferred one first.

    Raises:
        UserError: missing, damaged, or without such features; it speaks of the preferred version.
    """
    first: UserError | None = None
    for version in versions:
        try:
            return read_features(path, version)
        except UserError as error:
            first = first or error
    if first is None:
        raise ValueError("no version of crema is named")
    raise first
