"""A recording cut into windows, one line of a manifest each (CoverHunter's evaluation)."""

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from src.errors import UserError

RARE_DELIMITER = "\N{LOWER ONE EIGHTH BLOCK}"  # U+2581: hardly a part of anybody's file names
MARK = f"-{RARE_DELIMITER}start-"


def window_starts(
    duration_s: float,
    *,
    chunk_s: float,
    hop_s: float | None = None,
    keep_tail: bool = False,
) -> list[float]:
    """Where the windows of a recording begin, in seconds.

    The first window begins at 0, however short the recording is. Further ones follow every
    ``hop_s`` while they end *before* the recording does, so that a last part, and even a last
    window that fits exactly, is dropped, as in the original.

    Args:
        duration_s: length of the recording in seconds.
        chunk_s: length of a window in seconds.
        hop_s: seconds from one window to the next; None is ``chunk_s``.
        keep_tail: one window more that ends with the recording, unless it would begin in the
            same second as the last one and so would add less than a second.

    Raises:
        ValueError: a length is not positive.
    """
    hop = chunk_s if hop_s is None else hop_s
    if not (chunk_s > 0 and hop > 0 and math.isfinite(chunk_s + hop)):
        raise ValueError(f"windows need positive lengths, not {chunk_s} s every {hop} s")
    starts = [0.0]
    while len(starts) * hop + chunk_s < duration_s:
        starts.append(float(len(starts) * hop))
    tail = float(duration_s - chunk_s)
    if keep_tail and int(tail) > int(starts[-1]):
        starts.append(tail)
    return starts


def cut_windows(
    row: Mapping[str, Any],
    *,
    chunk_s: float,
    hop_s: float | None = None,
    keep_tail: bool = False,
    frames_per_second: float = 25,
    embed_dir: str | PurePath | None = None,
) -> list[dict[str, Any]]:
    """Lines for the windows of one recording: see :func:`window_starts` for where they begin.

    Args:
        row: line of a manifest with ``utt`` and ``dur_s`` (or ``dur_ms``, or ``feat_len``).
        chunk_s: length of a window in seconds.
        hop_s: seconds from one window to the next; None is ``chunk_s``.
        keep_tail: include the end of the recording.
        frames_per_second: rate of the features.
        embed_dir: adds ``embed``, where the embedding of the window is to be written.

    Returns:
        copies of ``row`` whose ``utt`` is ``<utt>-▁start-<whole seconds>``, with ``start_s`` in
        seconds and ``start`` in frames. Steps below a second keep their fraction in the name,
        because no two windows may share one.

    Raises:
        UserError: the line does not say how long the recording is.
    """
    duration = duration_of(row, frames_per_second=frames_per_second)
    starts = window_starts(duration, chunk_s=chunk_s, hop_s=hop_s, keep_tail=keep_tail)
    whole = hop_s is None or hop_s >= 1
    windows = []
    for start_s in starts:
        second = str(int(start_s)) if whole else f"{start_s:.3f}".rstrip("0").rstrip(".")
        utt = f"{row['utt']}{MARK}{second}"
        window = {
            **row,
            "utt": utt,
            "start_s": start_s,
            "start": int(frames_per_second * start_s),
        }
        if embed_dir is not None:
            window["embed"] = str(PurePath(embed_dir) / f"{utt}.npy")
        windows.append(window)
    return windows


def duration_of(row: Mapping[str, Any], *, frames_per_second: float = 25) -> float:
    """Seconds of a recording: ``dur_s``, else ``dur_ms``, else from ``feat_len``.

    Raises:
        UserError: the line has none of them, or one that is no number above 0.
    """
    for key, unit in (("dur_s", 1.0), ("dur_ms", 1000.0), ("feat_len", frames_per_second)):
        if key in row:
            value = row[key]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 < value < math.inf:
                raise UserError(f"recording {row['utt']}: {key} must be above 0, not {value!r}")
            return value / unit
    raise UserError(f"recording {row['utt']} lacks dur_s, its duration in seconds")


def split_window_name(utt: str) -> tuple[str, float]:
    """Name of the recording and start in seconds out of a window's name.

    Raises:
        ValueError: the name is not that of a window.
    """
    name, mark, start = utt.rpartition(MARK)
    if not mark:
        raise ValueError(f"{utt!r} is not the name of a window")
    return name, float(start)
