"""Lines of full.txt -> training, validation and test lines.

Two kinds of lines are held out: all versions of some works (*unseen*), and some recordings of
every other work. All copies of a recording (other tempi, noise) stay on one side: whoever tests
on a copy of what was trained on measures memory.
"""

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from src.errors import UserError

Row = Mapping[str, Any]

NOISE_PREFIX = "noise-"
# What feature extraction puts before the name of a recording to name its copies; the original
# CoverHunter chains the prefixes.
_COPY = re.compile(rf"^(?:{NOISE_PREFIX}|sp_\d+(?:\.\d+)?(?:e-?\d+)?-)+(?=.)")


@dataclass(frozen=True)
class SplitShares:
    """What is held out, as shares between 0 (nothing) and 1.

    Attributes:
        test_unseen: of the works, for the test only.
        validation_unseen: of the works, for the validation only.
        test: of the recordings of the other works.
        validation: of the recordings of the other works.

    Raises:
        UserError: a share is out of range, or test and validation leave nothing to train on.
    """

    test_unseen: float = 0.0
    validation_unseen: float = 0.0
    test: float = 0.0
    validation: float = 0.0

    def __post_init__(self) -> None:
        for name, share in vars(self).items():
            if not 0 <= share < 1:
                raise UserError(f"the share {name} of a split must be 0 or more and below 1")
        if self.test_unseen + self.validation_unseen >= 1 or self.test + self.validation >= 1:
            raise UserError("the shares for test and validation leave nothing to train on")


@dataclass
class Split:
    """Lines of the three files; within each, unseen works come first."""

    train: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)
    test: list[Row] = field(default_factory=list)


def recording_of(utt: str) -> str:
    """Name of the recording that a line is, or is a copy of: ``sp_0.8-x`` is a copy of ``x``."""
    return _COPY.sub("", utt)


def split_rows(
    rows: Sequence[Row], shares: SplitShares, *, seed: int = 1, original: bool = False
) -> Split:
    """Split by works and by recordings; the same input and seed give the same split.

    A share that is not 0 holds out at least one work (or recording), as long as that leaves one
    work (of each work one recording) to train on. Recordings are taken evenly over the works:
    with a share of 0.1, every tenth recording of a collection, not one of each work.

    Args:
        rows: lines of full.txt, with ``utt`` and ``song``.
        shares: what to hold out.
        seed: of the draws.
        original: split like CoverHunterMPS: single lines instead of recordings, so that copies of
            a recording land on both sides; of each work at least one line for validation and one
            for test; and at least one unseen work each even if a share is 0.

    Raises:
        UserError: with ``original``: nothing would be left to train on.
    """
    generator = random.Random(seed)
    works: dict[str, list[Row]] = {}
    for row in rows:
        works.setdefault(row["song"], []).append(row)
    if original:
        return _original_split(works, shares, generator)
    names = list(works)
    limit = len(names) - 1
    test_only = _draw(names, shares.test_unseen, limit, generator)
    names = [name for name in names if name not in test_only]
    limit -= len(test_only)
    validation_only = _draw(names, shares.validation_unseen, limit, generator)
    split = Split(
        validation=[row for name in validation_only for row in works[name]],
        test=[row for name in test_only for row in works[name]],
    )
    recordings = {
        name: _shuffled(_copies(works[name]), generator)
        for name in names
        if name not in validation_only
    }
    order = generator.sample(list(recordings), len(recordings))
    sizes = {name: len(recordings[name]) for name in order}
    # From both ends, so that a work rarely gives to both.
    takes = [
        (split.validation, shares.validation, order),
        (split.test, shares.test, order[::-1]),
    ]
    for target, share, names in takes:
        left = {name: len(recordings[name]) for name in names}
        for name, count in _quotas(sizes, left, share).items():
            for _ in range(count):
                target.extend(recordings[name].pop(0))
    kept = {row["utt"] for left in recordings.values() for copies in left for row in copies}
    split.train.extend(row for row in rows if row["utt"] in kept)
    return split


def _draw(
    names: Sequence[str], share: float, limit: int, generator: random.Random
) -> dict[str, None]:
    """A share of the works, at least one unless it is 0, in the order drawn."""
    count = min(max(1, int(len(names) * share)), limit) if share else 0
    return dict.fromkeys(generator.sample(list(names), max(0, count)))


def _copies(rows: Sequence[Row]) -> list[list[Row]]:
    """Lines of a work, together by recording."""
    recordings: dict[str, list[Row]] = {}
    for row in rows:
        recordings.setdefault(recording_of(row["utt"]), []).append(row)
    return list(recordings.values())


def _shuffled(items: list, generator: random.Random) -> list:
    generator.shuffle(items)
    return items


def _quotas(sizes: Mapping[str, int], left: Mapping[str, int], share: float) -> dict[str, int]:
    """How many recordings to take of each work in ``left``, so that the sum is a share of all.

    What is owed runs on from work to work; each keeps one of the recordings it has left.
    """
    taken = dict.fromkeys(left, 0)
    if not share:
        return taken
    owed = 0.0
    for name in taken:
        owed += sizes[name] * share
        taken[name] = max(0, min(math.floor(owed + 1e-9), left[name] - 1))
        owed -= taken[name]
    if not any(taken.values()):
        spare = [name for name in taken if left[name] > 1]
        taken.update(dict.fromkeys(spare[:1], 1))
    return taken


def _original_split(
    works: Mapping[str, list[Row]], shares: SplitShares, generator: random.Random
) -> Split:
    names = list(works)
    test_only = generator.sample(names, max(1, int(len(names) * shares.test_unseen)))
    names = [name for name in names if name not in test_only]
    count = max(1, int(len(works) * shares.validation_unseen))
    validation_only = generator.sample(names, min(count, len(names)))
    split = Split(
        validation=[row for name in validation_only for row in works[name]],
        test=[row for name in test_only for row in works[name]],
    )
    for name in names:
        if name in validation_only:
            continue
        lines = _shuffled(list(works[name]), generator)
        first = max(1, int(len(lines) * shares.validation))
        second = first + max(1, int(len(lines) * shares.test))
        split.validation += lines[:first]
        split.test += lines[first:second]
        split.train += lines[second:]
    if not split.train:
        raise UserError("the split leaves no line to train on; give more versions of each work")
    return split
