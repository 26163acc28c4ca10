"""CoverHunter's training items: chunks cut from CQT features, averaged, augmented.

Every random choice is a function of (seed, epoch, position in the epoch), so that a continued run
draws what the uninterrupted one would have drawn, with any number of loader workers.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from src.audio.cqt import mean_frames
from src.data.cqt_features import check_finite, decode_cqt, open_cqt
from src.errors import UserError

PADDING = -100.0  # dB beyond the end of a recording
MODES = ("random", "defined")
CACHE_LIMIT = 8 * 2**30  # bytes
START, AUGMENTATION = 0, 1  # streams of random numbers of an item

Augment = Callable[[np.ndarray, random.Random], np.ndarray]


class Pick(NamedTuple):
    """One item of an epoch: which line, and what decides its random choices.

    Attributes:
        index: number of the line.
        epoch: number of the epoch.
        position: place in the epoch, over all processes.
        start: first frame, where it has been decided already.
    """

    index: int
    epoch: int
    position: int
    start: int | None = None


def derived_rng(*key: int) -> random.Random:
    """A generator whose choices are a function of ``key``, non-negative integers."""
    words = np.random.SeedSequence(key).generate_state(2, np.uint64)
    return random.Random(int(words[0]) << 64 | int(words[1]))


class FeatureStore:
    """Reads features, and keeps them as they are stored (uint8 stays uint8) if told to.

    Loader processes that are forked share what is already kept here; each keeps on its own what
    it reads later. One store can serve several data sets.

    Args:
        cache: keep what has been read in memory.
        limit: bytes to keep at most; what does not fit is read from its file every time.
    """

    def __init__(self, *, cache: bool = False, limit: int = CACHE_LIMIT) -> None:
        self.cache = cache
        self.limit = limit
        self.kept = 0  # bytes
        self._features: dict[str, np.ndarray] = {}

    def __getitem__(self, path: str) -> np.ndarray:
        """Stored features ``(frames, bins)`` of a file, mapped or kept in memory.

        Raises:
            UserError: the file is missing, damaged, or does not hold features.
        """
        stored = self._features.get(path)
        if stored is None:
            stored = open_cqt(path)
            if self.cache and self.kept + stored.nbytes <= self.limit:
                self._features[path] = stored = np.array(stored)
                self.kept += stored.nbytes
        return stored

    # A process that does not inherit memory reads the files itself.
    def __getstate__(self) -> dict[str, Any]:
        return {"cache": self.cache, "limit": self.limit, "kept": 0, "_features": {}}


class ChunkDataset(Dataset):
    """Chunks of recordings.

    A chunk is ``chunk_frame * mean_size`` frames of the features, followed by -100 dB where the
    recording ends before it does, averaged over groups of ``mean_size`` frames, then augmented.

    Args:
        rows: lines of a manifest with ``utt``, ``feat`` and ``song_id``.
        chunk_frame: frames of a chunk after averaging.
        mean_size: frames that are averaged.
        mode: ``random`` cuts from any legal start, all equally likely; ``defined`` from the
            line's ``start`` in frames, 0 where it has none.
        augment: ``augment(chunk (chunk_frame, bins), random.Random)`` returns a new chunk, for
            instance :class:`src.data.spec_augment.SpecAugment`.
        seed: decides, with epoch and position, all random choices.
        bins: number of bins the model expects; None takes any.
        store: where features come from; None makes one of its own.
        cache: the store of its own keeps what it has read in memory, instead of mapping files.
        original: draw starts as the original did: the last legal one never occurs.

    Raises:
        UserError: a line lacks a key, or has a value of a wrong type.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        chunk_frame: int,
        mean_size: int,
        mode: str = "random",
        augment: Augment | None = None,
        seed: int = 0,
        bins: int | None = None,
        store: FeatureStore | None = None,
        cache: bool = False,
        original: bool = False,
    ) -> None:
        if mode not in MODES:
            raise UserError(f"mode must be {' or '.join(MODES)}, not {mode!r}")
        if chunk_frame < 1 or mean_size < 1:
            raise ValueError(f"a chunk cannot have {chunk_frame} frames of {mean_size}")
        for row in rows:
            check_row(row)
        self.rows = rows
        self.chunk_frame = chunk_frame
        self.mean_size = mean_size
        self.mode = mode
        self.augment = augment
        self.seed = seed
        self.bins = bins
        self.store = FeatureStore(cache=cache) if store is None else store
        self.original = original
        self.epoch = 0

    @property
    def labels(self) -> list[int]:
        """Class number of every line."""
        return [row["song_id"] for row in self.rows]

    @property
    def frames(self) -> int:
        """Length of a chunk in frames of the features, before averaging."""
        return self.chunk_frame * self.mean_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose choices items asked for by number take."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | Pick) -> tuple[str, Tensor, int]:
        """An item by its number, or by its place in an epoch.

        Returns:
            name, chunk ``(chunk_frame, bins)`` float32 dB, and class number.

        Raises:
            UserError: the feature file is missing, damaged, holds NaN or other bins.
        """
        if not isinstance(key, Pick):
            index = range(len(self))[key]
            key = Pick(index, self.epoch, index)
        row = self.rows[key.index]
        stored = self.store[row["feat"]]
        if self.bins is not None and stored.shape[1] != self.bins:
            raise UserError(
                f"{row['feat']} has {stored.shape[1]} bins, but the model takes {self.bins}; "
                "extract the features again with the model's CQT"
            )
        place = (self.seed, key.epoch, key.position)
        start = key.start
        if start is None:
            start = self._start(row, len(stored), derived_rng(*place, START))
        chunk = self._cut(stored, start, row["feat"])
        if self.augment:
            chunk = self.augment(chunk, derived_rng(*place, AUGMENTATION))
        return row["utt"], torch.from_numpy(chunk), row["song_id"]

    def _start(self, row: Mapping[str, Any], length: int, rng: random.Random) -> int:
        if self.mode == "defined":
            return row.get("start", 0)
        return random_start(length - self.frames, rng, original=self.original)

    def _cut(self, stored: np.ndarray, start: int, path: str) -> np.ndarray:
        decibels = decode_cqt(stored[start : start + self.frames])  # (at most frames, bins)
        missing = self.frames - len(decibels)
        if missing:
            decibels = np.pad(decibels, ((0, missing), (0, 0)), constant_values=PADDING)
        chunk = mean_frames(decibels, self.mean_size)
        check_finite(chunk, path)  # NaN and infinity outlast averaging, and there is less to check
        return chunk


def random_start(last: int, rng: random.Random, *, original: bool = False) -> int:
    """Any start from 0 to ``last``, all equally likely; 0 if ``last`` is negative.

    Args:
        last: the last legal start.
        rng: source of the choice.
        original: leave ``last`` itself out, as the original does.
    """
    return int(rng.random() * (last + (not original))) if last > 0 else 0


def collate_chunks(
    items: Sequence[tuple[str, Tensor, int]],
) -> tuple[list[str], Tensor, Tensor]:
    """Names, chunks ``(B, chunk_frame, bins)`` and class numbers ``(B,)`` int64 of a batch."""
    utts, chunks, labels = zip(*items, strict=True)
    return list(utts), torch.stack(chunks), torch.tensor(labels)


def feature_length(row: Mapping[str, Any]) -> int:
    """Frames of a line's features: ``feat_len``, else as the file says.

    Raises:
        UserError: there is no ``feat_len``, and the file cannot be read.
    """
    return row["feat_len"] if "feat_len" in row else len(open_cqt(row["feat"]))


def check_row(row: Mapping[str, Any]) -> None:
    """Refuse a line that training cannot use.

    Raises:
        UserError: the sentence names the recording and the key.
    """
    name = row.get("utt", "without utt")
    for key, kind in (("utt", str), ("feat", str), ("song_id", int)):
        value = row.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            given = f", not {value!r}" if key in row else ""
            what = "text" if kind is str else "a whole number"
            raise UserError(
                f"recording {name}: the key {key} must be {what}{given}; training reads the "
                "full.txt of a feature extraction"
            )
    for key in ("start", "feat_len"):
        value = row.get(key, 0)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UserError(f"recording {name}: {key} must be a number of frames, not {value!r}")
    if row["song_id"] < 0:
        raise UserError(f"recording {name}: song_id cannot be negative ({row['song_id']})")
