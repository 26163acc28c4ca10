"""Fine training: the chunks of one work in a batch are cut where they sound alike.

Coarse-to-fine training of CoverHunter (Liu et al., "CoverHunter: Cover Song Identification with
Refined Attention and Alignments", arXiv 2306.09025): a first model, trained on chunks from
anywhere, aligns the versions of each work; the second is trained on aligned chunks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from src.data.chunk_dataset import START, derived_rng, feature_length, random_start

Alignment = Mapping[tuple[str, str], float]


class AlignedStarts:
    """Decides where the chunks of a batch begin.

    Of the lines of a work in a batch, one is the anchor (that with the most known alignments to
    the others, the first of them) and begins at random. If another at second t sounds like the
    anchor at second t + n, it begins n seconds before the anchor does, or as near to that as it
    can. What is not aligned with the anchor begins at random. Copies in another tempo are
    recordings like any other, under their own names.

    Args:
        rows: lines of the manifest, as given to the data set.
        alignment: shift in seconds by ``(utt_i, utt_j)``: j at second t sounds like i at second
            t + shift. A pair that is there in one order only is taken in the other, too.
        frames: length of a chunk in frames of the features, before averaging.
        frames_per_second: rate of the features.
        seed: that of the data set.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        alignment: Alignment,
        *,
        frames: int,
        frames_per_second: float = 25,
        seed: int = 0,
    ) -> None:
        self.rows = rows
        self.alignment = alignment
        self.frames = frames
        self.frames_per_second = frames_per_second
        self.seed = seed

    def __call__(self, lines: Sequence[int], *, epoch: int, position: int) -> list[int | None]:
        """First frames for a batch; None where any start will do.

        Args:
            lines: numbers of the lines of the batch.
            epoch: number of the epoch.
            position: place of the first line in the epoch.
        """
        works: dict[int, list[int]] = {}
        for place, line in enumerate(lines):
            works.setdefault(self.rows[line]["song_id"], []).append(place)
        starts: list[int | None] = [None] * len(lines)
        for places in works.values():
            anchor = max(places, key=lambda at: self._partners(lines, at, places))
            row = self.rows[lines[anchor]]
            rng = derived_rng(self.seed, epoch, position + anchor, START)
            begin = random_start(feature_length(row) - self.frames, rng)
            for place in places:
                if place == anchor:
                    starts[place] = begin
                else:
                    starts[place] = self._start(row["utt"], begin, self.rows[lines[place]])
        return starts

    def _partners(self, lines: Sequence[int], at: int, places: Sequence[int]) -> int:
        """How many others of a work are aligned with one."""
        utt = self.rows[lines[at]]["utt"]
        others = (self.rows[lines[place]]["utt"] for place in places if place != at)
        return sum(self._shift(utt, other) is not None for other in others)

    def _shift(self, anchor: str, other: str) -> float | None:
        if anchor == other:
            return 0.0
        shift = self.alignment.get((anchor, other))
        if shift is None:
            backward = self.alignment.get((other, anchor))
            shift = None if backward is None else -backward
        return shift

    def _start(self, anchor: str, begin: int, row: Mapping[str, Any]) -> int | None:
        shift = self._shift(anchor, row["utt"])
        if shift is None:
            return None
        last = max(feature_length(row) - self.frames, 0)
        return min(max(begin - round(shift * self.frames_per_second), 0), last)
