"""A folder of window embeddings: one float32 ``<utt>-▁start-<s>.npy`` a window, never stale.

Beside the arrays stand ``embeddings.json``, which says what made them (digest of the weights,
feature specification, how the windows are cut), and ``recordings.jsonl``, one line for each
finished recording with path, size and time of its feature file. An embedding is used again only if
all of that is unchanged; an interrupted run continues behind its last finished recording.
"""

import json
import logging
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from src.audio.cqt import CQTSpec
from src.data.cqt_features import check_spec, load_cqt, read_spec
from src.data.windows import MARK, cut_windows
from src.errors import UserError
from src.files import atomic_path, one_reader, read_json, write_json
from src.models.window_embedder import Feature2Embeddings
from src.retrieval.fingerprint import model_fingerprint

logger = logging.getLogger(__name__)

SPEC_FILE = "embeddings.json"
LOG_FILE = "recordings.jsonl"
WINDOW_FILES = f"*{MARK}*.npy"
Row = Mapping[str, Any]


class OtherFeatures(UserError):
    """Features that do not fit the model: ends the run, as one recording is not alone in it."""


@dataclass
class EmbeddedRows:
    """Embeddings of the recordings of a manifest.

    Attributes:
        embeddings: ``(W, d)`` float32 of each row, None where the recording could not be embedded.
        windows: the lines of the windows of each row (``utt``, ``start``, ``start_s``, ``embed``).
        failures: what was wrong, by ``utt``.
        computed: how many recordings were embedded now; the others were found in the folder.
    """

    embeddings: list[np.ndarray | None]
    windows: list[list[dict[str, Any]]]
    failures: dict[str, str] = field(default_factory=dict)
    computed: int = 0

    def starts_s(self, row: int) -> np.ndarray:
        """``(W,)`` starts of the windows of a row in seconds."""
        return np.asarray([window["start_s"] for window in self.windows[row]], dtype=np.float64)


def embed_rows(
    embedder: Feature2Embeddings,
    rows: Sequence[Row],
    folder: str | os.PathLike,
    *,
    reuse: bool = False,
    progress: bool = False,
) -> EmbeddedRows:
    """Embed the windows of recordings into a folder, and return them.

    The windows are cut by ``dur_s`` (or ``dur_ms``) of the row, as in the original; without it, by
    the number of frames. A recording whose features are missing, damaged, empty or not finite is
    reported, left out and named in ``failures``.

    Args:
        embedder: cuts and embeds; the digest of its weights and its options are kept in the folder.
        rows: recordings with ``utt`` and ``feat`` (path of the features); the same ``utt`` may
            stand in several rows if the features are the same file.
        folder: created if necessary.
        reuse: use what a finished run with the same weights, features and options left there.
            Otherwise only an interrupted run is continued.
        progress: show a progress bar.

    Raises:
        UserError: features of another specification than the model's, an ``utt`` that cannot be a
            file name or stands for two recordings, or a folder that cannot be written to.
    """
    folder = Path(folder)
    require_utts(rows)
    require_spec(rows, embedder)
    made_by = _made_by(embedder)
    finished = _open_folder(folder, made_by, reuse=reuse)
    by_utt: dict[str, tuple[np.ndarray, list[dict[str, Any]]]] = {}
    result = EmbeddedRows([], [])
    todo: list[Row] = []
    for row in {row["utt"]: row for row in rows}.values():
        found = _read_recording(folder, row, finished.get(row["utt"]))
        if found is None:
            todo.append(row)
        else:
            by_utt[row["utt"]] = found

    pending: deque[tuple[Row, list[dict[str, Any]]]] = deque()
    bar = tqdm(
        total=len(by_utt) + len(todo),
        initial=len(by_utt),
        desc="embeddings",
        unit="recording",
        disable=not progress,
    )

    def load() -> Iterator[tuple[np.ndarray, list[int]]]:
        for row in todo:
            try:
                features, windows = _load(row, embedder, folder)
            except OtherFeatures:
                raise
            except UserError as error:
                result.failures[row["utt"]] = str(error)
                logger.warning("left out: %s", error)
                bar.update()
                continue
            pending.append((row, windows))
            yield features, [window["start"] for window in windows]

    try:
        for embeddings in embedder.embed_windows(load()):
            row, windows = pending.popleft()
            if np.isfinite(embeddings).all():
                _write_recording(folder, row, windows, embeddings)
                by_utt[row["utt"]] = embeddings, windows
                result.computed += 1
            else:
                result.failures[row["utt"]] = f"{row['feat']}: its embedding is not finite"
                logger.warning("left out: %s", result.failures[row["utt"]])
            bar.update()
    finally:
        bar.close()
    for row in rows:
        embeddings, windows = by_utt.get(row["utt"], (None, []))
        result.embeddings.append(embeddings)
        result.windows.append(windows)
    write_json({"complete": True, **made_by}, folder / SPEC_FILE)
    return result


def require_utts(rows: Sequence[Row]) -> None:
    """Check that every ``utt`` can name files, and names one recording only.

    Raises:
        UserError: it does not.
    """
    feats: dict[str, str] = {}
    for row in rows:
        utt = row["utt"]
        if Path(utt).name != utt or "\\" in utt or "\0" in utt:
            raise UserError(f"utt {utt!r} cannot be a file name; rename it without slashes")
        if feats.setdefault(utt, row["feat"]) != row["feat"]:
            raise UserError(
                f"utt {utt!r} stands for two recordings, {feats[utt]} and {row['feat']}; rename one"
            )


def require_spec(rows: Sequence[Row], embedder: Feature2Embeddings) -> None:
    """Check that the feature folders were made with the CQT that the model knows.

    Raises:
        UserError: one was not; the sentence names both specifications.
    """
    expected = getattr(embedder.model, "feature_spec", None)
    if expected is None:
        return
    for folder in dict.fromkeys(Path(row["feat"]).parent for row in rows):
        check_spec(expected, read_spec(folder), str(folder))


def _load(
    row: Row, embedder: Feature2Embeddings, folder: Path
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    features = load_cqt(row["feat"])
    if embedder.bins is not None and features.shape[1] != embedder.bins:
        raise OtherFeatures(
            f"{row['feat']} has {features.shape[1]} bins but the model was trained on "
            f"{embedder.bins}; extract the features with the CQT of the model"
        )
    fps = embedder.frames_per_second
    windows = cut_windows(
        {"feat_len": len(features), **row},
        chunk_s=embedder.chunk_s,
        hop_s=embedder.hop_s,
        keep_tail=embedder.keep_tail,
        frames_per_second=fps,
        embed_dir=folder,
    )
    inside = [window for window in windows if window["start"] < len(features)]
    if len(inside) < len(windows):
        logger.warning(
            "%s: dur_s is %s but the features end after %.1f s; %d windows less",
            row["utt"], row.get("dur_s"), len(features) / fps, len(windows) - len(inside),
        )  # fmt: skip
    return features, inside


def _made_by(embedder: Feature2Embeddings) -> dict[str, Any]:
    spec = getattr(embedder.model, "feature_spec", None)
    return {
        "weights": model_fingerprint(embedder.model),
        "feature_spec": (spec or CQTSpec()).to_dict(),
        "chunk_s": embedder.chunk_s,
        "hop_s": embedder.hop_s,
        "keep_tail": embedder.keep_tail,
        "mixed_precision": embedder.amp,
    }


def _open_folder(folder: Path, made_by: dict[str, Any], *, reuse: bool) -> dict[str, Any]:
    """Finished recordings by ``utt``; whatever was made otherwise is removed."""
    spec_path, log_path = folder / SPEC_FILE, folder / LOG_FILE
    content: Any = None
    if spec_path.is_file():
        try:
            content = read_json(spec_path)
        except UserError:
            content = None
    same = isinstance(content, dict) and {**content, "complete": None} == {
        "complete": None,
        **made_by,
    }
    if not same or (content["complete"] and not reuse):
        if reuse and folder.is_dir() and any(folder.glob(WINDOW_FILES)):
            logger.warning(
                "the embeddings in %s were made by another model or in another way, so all are "
                "computed anew",
                folder,
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            log_path.unlink(missing_ok=True)  # first: without it nothing here counts
            for path in folder.glob(WINDOW_FILES):
                path.unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror or error}; choose a folder that can "
                "be written"
            ) from error
    write_json({"complete": False, **made_by}, spec_path)
    return _read_log(log_path)


def _read_log(path: Path) -> dict[str, dict[str, Any]]:
    """Lines by ``utt``; the last line may be cut off, because it is not written atomically."""
    finished: dict[str, dict[str, Any]] = {}
    if not path.is_file():
        return finished
    for line in path.read_text("utf-8", errors="replace").split("\n"):
        try:
            entry = json.loads(line)
            finished[entry["utt"]] = entry
        except (ValueError, KeyError, TypeError):
            continue
    return finished


def _state_of(feat: str) -> list[Any] | None:
    """Path, size and time of a feature file."""
    try:
        status = os.stat(feat)
    except OSError:
        return None
    return [feat, status.st_size, status.st_mtime_ns]


def _read_recording(
    folder: Path, row: Row, entry: dict[str, Any] | None
) -> tuple[np.ndarray, list[dict[str, Any]]] | None:
    """Embeddings and window lines of a finished recording, None if anything has changed."""
    if entry is None or entry.get("state") != _state_of(row["feat"]):
        return None
    if entry.get("duration") != [row.get("dur_s"), row.get("dur_ms")]:
        return None
    try:
        with one_reader:
            arrays = [np.load(folder / f"{name}.npy") for name, _, _ in entry["windows"]]
        embeddings = np.stack(arrays).astype(np.float32, copy=False)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if embeddings.ndim != 2 or not np.isfinite(embeddings).all():
        return None
    windows = [
        {**row, "utt": utt, "start": start, "start_s": start_s, "embed": str(folder / f"{utt}.npy")}
        for utt, start, start_s in entry["windows"]
    ]
    return embeddings, windows


def _write_recording(
    folder: Path, row: Row, windows: list[dict[str, Any]], embeddings: np.ndarray
) -> None:
    for window, embedding in zip(windows, embeddings, strict=True):
        with atomic_path(folder / f"{window['utt']}.npy") as temporary:
            np.save(temporary, embedding, allow_pickle=False)
    entry = {
        "utt": row["utt"],
        "state": _state_of(row["feat"]),
        "duration": [row.get("dur_s"), row.get("dur_ms")],
        "windows": [[window["utt"], window["start"], window["start_s"]] for window in windows],
    }
    with open(folder / LOG_FILE, "a", encoding="utf-8") as file:
        # A cut-off line of a killed run must not swallow this one.
        file.write(("" if _ends_line(file) else "\n") + json.dumps(entry) + "\n")


def _ends_line(file) -> bool:
    return file.tell() == 0 or Path(file.name).read_bytes()[-1:] == b"\n"
