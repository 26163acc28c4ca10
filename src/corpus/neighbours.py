"""Known melodies, and how near a new one comes to any of them.

The likeness is that of :mod:`src.corpus.identity`. There all pairs of a collection are compared at
once; here one tune is compared with thousands, in milliseconds, and may then be added to them.
"""

from dataclasses import dataclass, field

import numpy as np

from src.corpus.identity import (
    GRAM,
    LEAST_HITS,
    RUN,
    SHORT,
    SLACK,
    Line,
    beat_line,
    coverage,
    note_line,
)
from src.corpus.tune import Tune

_BITS = 6  # of an interval in the code of a turn
_WIDEST = 2 ** (_BITS - 1) - 1
_PENDING = 64  # melodies that are searched unsorted


@dataclass(slots=True)
class _Index:
    """Places of all turns (interval n-grams) of some lines, sorted by turn."""

    codes: np.ndarray
    lines: np.ndarray
    places: np.ndarray
    pitches: np.ndarray

    @staticmethod
    def build(lines: list[Line], first: int, common: int) -> "_Index":
        """Index lines from ``first`` on, without turns that more than ``common`` lines have."""
        codes = [_turns(line) for line in lines[first:]]
        sizes = [len(c) for c in codes]
        code = np.concatenate([*codes, np.zeros(0, np.int64)])
        line = np.repeat(np.arange(first, len(lines)), sizes)
        place = np.concatenate([*(np.arange(n) for n in sizes), np.zeros(0, np.int64)])
        pitch = np.concatenate(
            [
                *(np.array(x.pitches[:n]) for x, n in zip(lines[first:], sizes, strict=True)),
                np.zeros(0, np.int64),
            ]
        )
        order = np.argsort(code, kind="stable")
        code, line = code[order], line[order]
        new_code = np.diff(code, prepend=-2) != 0
        new_line = new_code | (np.diff(line, prepend=-1) != 0)
        spread = np.bincount(np.cumsum(new_code) - 1, weights=new_line)  # lines of each turn
        kept = (spread[np.cumsum(new_code) - 1] <= common) & (code >= 0)
        order = order[kept]
        return _Index(code[kept], line[kept], place[order], pitch[order].astype(np.int64))

    def find(self, line: Line) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Hits: place in ``line``, known line, place in it, transposition (0 to 11)."""
        turns = _turns(line)
        low = np.searchsorted(self.codes, turns, "left")
        count = np.searchsorted(self.codes, turns, "right") - low
        here = np.repeat(np.arange(len(turns)), count)
        before = np.cumsum(count) - count
        hits = np.arange(len(here)) + np.repeat(low - before, count)
        pitches = np.array(line.pitches, dtype=np.int64)
        shift = (self.pitches[hits] - pitches[here]) % 12
        return here, self.lines[hits], self.places[hits], shift


def _turns(line: Line) -> np.ndarray:
    """A number for each turn of a line; -1 for one that only repeats a note."""
    steps = np.clip(np.diff(np.array(line.pitches, dtype=np.int64)), -_WIDEST, _WIDEST)
    count = max(0, len(steps) - GRAM + 1)
    code = np.zeros(count, dtype=np.int64)
    moves = np.zeros(count, dtype=bool)
    for k in range(GRAM):
        part = steps[k : k + count]
        code = (code << _BITS) + part + _WIDEST
        moves |= part != 0
    return np.where(moves, code, -1)


def _together(here: np.ndarray, places: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Which hits may belong to a passage: they move along in both lines, and cover RUN notes.

    From one hit of a passage to the next the distance of the places changes by SLACK at most, and
    hardly ever by more than twice that in all before RUN notes are covered: such hits fall into one
    of two rows of bands, four times SLACK wide, that overlap by half.
    """
    width = 4 * SLACK
    distance = here - places + 2**20
    result = np.zeros(len(keys), dtype=bool)
    for offset in (0, width // 2):
        bands = keys * 2**21 + (distance + offset) // width
        order = np.lexsort((here, bands))
        sorted_bands = bands[order]
        fresh = np.diff(sorted_bands, prepend=-1) != 0
        notes = np.minimum(np.diff(here[order], prepend=0), GRAM + 1)  # that a hit adds
        notes[fresh] = GRAM + 1
        which = np.cumsum(fresh) - 1
        result[order] |= np.bincount(which, weights=notes)[which] >= RUN
    return result


@dataclass(slots=True)
class _Level:
    factor: float
    lines: list[Line] = field(default_factory=list)
    index: _Index | None = None
    indexed: int = 0

    def near(self, line: Line, least: float, common: int) -> bool:
        if self.index is None or len(self.lines) - self.indexed > _PENDING:
            self.index = _Index.build(self.lines, 0, common)
            self.indexed = len(self.lines)
        pending = _Index.build(self.lines, self.indexed, common)
        return any(self._near(index, line, least / self.factor) for index in (self.index, pending))

    def _near(self, index: _Index, line: Line, least: float) -> bool:
        here, known, places, shift = index.find(line)
        keys = known * 12 + shift
        kept = np.bincount(keys)[keys] >= LEAST_HITS
        here, places, keys = here[kept], places[kept], keys[kept]
        kept = _together(here, places, keys)
        here, places, keys = here[kept], places[kept], keys[kept]
        counts = np.bincount(keys)
        candidates = np.flatnonzero(counts >= LEAST_HITS)
        for key in candidates[np.argsort(-counts[candidates], kind="stable")]:
            other = self.lines[key // 12]
            shorter = max(SHORT, min(len(line.pitches), len(other.pitches)))
            if counts[key] * (GRAM + 1) < least * shorter:  # a turn covers GRAM + 1 notes
                continue
            chosen = keys == key
            found = zip(here[chosen].tolist(), places[chosen].tolist(), strict=True)
            if coverage(line, other, found) >= least:
                return True
        return False


class KnownMelodies:
    """Melodies that a new one must not come near.

    Args:
        common: turns that stand in more melodies than this say nothing.
    """

    def __init__(self, *, common: int) -> None:
        self.common = common
        self._levels = (_Level(1.0), _Level(0.8))  # factors as in identity.similarity_pairs

    def add(self, tune: Tune) -> None:
        """Know one more."""
        for level, line in zip(self._levels, _lines(tune), strict=True):
            level.lines.append(line)

    def near(self, tune: Tune, *, least: float) -> bool:
        """Whether the likeness to any known melody is ``least`` (0 to 1) or more."""
        return any(
            level.near(line, least, self.common)
            for level, line in zip(self._levels, _lines(tune), strict=True)
        )


def _lines(tune: Tune) -> tuple[Line, Line]:
    return note_line(tune), beat_line(tune)
