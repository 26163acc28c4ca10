"""Where versions of a work sound alike: the shift in time between two recordings.

This is the alignment step of coarse-to-fine training (Liu et al., "CoverHunter: Cover Song
Identification with Refined Attention and Alignments", arXiv 2306.09025): a coarse model embeds
short windows (15 s) of every recording, and windows of two versions that are alike say how far one
must be shifted to fit the other. If recording j at second t sounds like i at second t + n, the
shift from i to j is n.

The original lets every window of i vote for the window of j that is nearest to it. That is
available as ``original=True``. By default all pairs of windows count: the similarities of two
recordings form a matrix, a shift is one of its diagonals (in another tempo a steeper or flatter
line, whose shift is that in its middle), and the line with the largest sum wins. The matrix is
first centred by rows and columns, so that windows which resemble everything count no more than
others, and a long overlap is preferred to a short one. Within a work, the shifts of all pairs are
then made to agree: what i -> k and k -> j add up to speaks for that shift of i -> j.

Defects of the original that are not repeated, with ``original=True`` neither unless said so:

* recordings are told apart by their whole names (``tune`` does not take the windows of
  ``sp_0.8-tune`` or ``tune10``);
* recordings with a single window are aligned, at shift 0 (the original stops with an error);
* missing embeddings are named in one sentence;
* ties do not depend on the order of a directory: the shift nearest to 0 wins, and of two of them
  the negative one. With ``original=True`` the order of names decides, ascending or descending;
* a shift of 0 is found. The original passes over windows that begin in the same second, so it
  always answers something else; this is its vote, and ``original=True`` keeps it.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from src.data.manifest import dict_to_line, read_manifest
from src.errors import UserError
from src.files import atomic_path

WINDOW_S = 15.0
SHIFT_KEY = "shift_frame_i_to_j"  # in seconds, whatever its name says
OVERLAP = 0.7  # what a pair of windows adds to its line, in standard deviations of similarity
TEMPI = np.exp(np.linspace(-1, 1, 9) * np.log(1.43))  # of j to i: 0.7 to 1.43
TEMPO_COST = 10.0  # of a tempo e times as fast, in the same unit
AGREEMENT = 1.5  # weight of the other versions, in standard deviations of the score
AGREEMENT_ROUNDS = 2

Embeddings = np.ndarray
Shift = int | float


def align_pair(
    embeddings_i: Embeddings,
    starts_i: Sequence[float] | np.ndarray,
    embeddings_j: Embeddings,
    starts_j: Sequence[float] | np.ndarray,
    *,
    hop_s: float = WINDOW_S,
    original: bool = False,
    descending: bool = False,
) -> Shift:
    """Shift in seconds from recording i to recording j.

    Args:
        embeddings_i: ``(W_i, d)``.
        starts_i: ``(W_i,)`` starts of the windows in seconds.
        embeddings_j: ``(W_j, d)``.
        starts_j: ``(W_j,)``.
        hop_s: distance of windows; the shift is a multiple of it.
        original: the vote of nearest windows (Euclidean distance) that begin in another second.
        descending: with ``original``, ties are decided by descending names of windows.

    Returns:
        n, if j at second t sounds like i at second t + n; an ``int`` if it is whole.

    Raises:
        UserError: no windows, or embeddings that are not finite or of different sizes.
    """
    if original:
        return _vote(embeddings_i, starts_i, embeddings_j, starts_j, descending)
    unit_i, unit_j = _unit(embeddings_i), _unit(embeddings_j)
    if unit_i.shape[1] != unit_j.shape[1]:
        raise UserError(
            f"embeddings of {unit_i.shape[1]} and {unit_j.shape[1]} dimensions cannot be aligned"
        )
    places = _places(starts_i, hop_s), _places(starts_j, hop_s)
    scores, first = _line_scores(unit_i @ unit_j.T, *places)
    return _seconds(_best(scores, first), hop_s)


def align_work(
    embeddings: Sequence[Embeddings],
    starts: Sequence[Sequence[float] | np.ndarray],
    *,
    hop_s: float = WINDOW_S,
    original: bool = False,
    descending: bool = False,
    agreement: bool = True,
) -> np.ndarray:
    """Shifts between all versions of one work.

    Args:
        embeddings: K arrays ``(W, d)``.
        starts: K arrays ``(W,)`` of seconds.
        hop_s, original, descending: see :func:`align_pair`.
        agreement: let the other versions take part in the decision on each pair (not with
            ``original``).

    Returns:
        ``(K, K)`` shifts from i to j in seconds; antisymmetric unless ``original``.

    Raises:
        UserError: see :func:`align_pair`.
    """
    n = len(embeddings)
    shifts = np.zeros((n, n))
    if original:
        for i in range(n):
            for j in range(n):
                if i != j:
                    shifts[i, j] = _vote(
                        embeddings[i], starts[i], embeddings[j], starts[j], descending
                    )
        return shifts
    units = [_unit(windows) for windows in embeddings]
    places = [_places(seconds, hop_s) for seconds in starts]
    scores: dict[tuple[int, int], tuple[np.ndarray, int]] = {}
    ends = np.cumsum([len(unit) for unit in units])
    for i in range(n - 1):
        similarity = units[i] @ np.concatenate(units[i + 1 :]).T  # one product for all that follow
        for j in range(i + 1, n):
            columns = slice(ends[j - 1] - ends[i], ends[j] - ends[i])
            scores[i, j] = _line_scores(similarity[:, columns], places[i], places[j])
    steps = np.zeros((n, n), dtype=np.int64)
    for (i, j), (values, first) in scores.items():
        steps[i, j] = _best(values, first)
        steps[j, i] = -steps[i, j]
    if agreement and n > 2:
        for _ in range(AGREEMENT_ROUNDS):
            steps = _agree(scores, steps, hop_s)
    return steps * hop_s


def align_rows(
    rows: Sequence[Mapping[str, Any]],
    embeddings: Sequence[Embeddings],
    starts: Sequence[Sequence[float] | np.ndarray],
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """Lines of an alignment: every ordered pair of recordings of one work, also with itself.

    Args:
        rows: recordings with ``utt`` and ``song_id``.
        embeddings: ``(W, d)`` of each.
        starts: ``(W,)`` seconds of each.
        options: see :func:`align_work`.

    Yields:
        ``{"utt_i", "utt_j", "shift_frame_i_to_j"}``, work by work in order of their first line.

    Raises:
        UserError: see :func:`align_pair` and :func:`works_of`.
    """
    for members in works_of(rows).values():
        shifts = align_work(
            [embeddings[i] for i in members], [starts[i] for i in members], **options
        )
        for place_i, i in enumerate(members):
            for place_j, j in enumerate(members):
                shift = _whole(float(shifts[place_i, place_j]))
                yield {"utt_i": rows[i]["utt"], "utt_j": rows[j]["utt"], SHIFT_KEY: shift}


def works_of(rows: Sequence[Mapping[str, Any]]) -> dict[Any, list[int]]:
    """Numbers of the lines of each work, by ``song_id``.

    Raises:
        UserError: a line has no ``song_id``, or one ``song_id`` stands for two titles.
    """
    works: dict[Any, list[int]] = {}
    for number, row in enumerate(rows):
        if row.get("song_id") is None:
            raise UserError(
                f"recording {row['utt']!r} has no song_id; run tools.extract_csi_features, which "
                "writes it into full.txt"
            )
        members = works.setdefault(row["song_id"], [])
        members.append(number)
        first = rows[members[0]]
        if row.get("song") != first.get("song"):
            raise UserError(
                f"song_id {row['song_id']} is {first.get('song')!r} for {first['utt']!r} but "
                f"{row.get('song')!r} for {row['utt']!r}; every work needs an id of its own"
            )
    return works


def write_alignment(lines: Iterable[Mapping[str, Any]], path: str | os.PathLike) -> int:
    """Write the lines of an alignment as they come, atomically; returns their number.

    Raises:
        UserError: there is no line, or the file cannot be written.
    """
    count = 0
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for line in lines:
            file.write(dict_to_line(line) + "\n")
            count += 1
        if not count:
            raise UserError(f"{path} was not written, because there is nothing to align")
    return count


def read_alignment(path: str | os.PathLike) -> dict[tuple[str, str], float]:
    """Shift in seconds from i to j, by ``(utt_i, utt_j)``.

    Raises:
        UserError: the file cannot be read or a line is not that of an alignment.
    """
    path = Path(path)
    alignment = {}
    for row in read_manifest(path, required=("utt_i", "utt_j"), unique=False):
        shift = row.get(SHIFT_KEY)
        if isinstance(shift, str):
            try:
                shift = float(shift)
            except ValueError:
                shift = None
        number = isinstance(shift, int | float) and not isinstance(shift, bool)
        if not number or not np.isfinite(shift):
            raise UserError(
                f"{path}: {row['utt_i']!r} -> {row['utt_j']!r} has no {SHIFT_KEY} in seconds; "
                "write the file with tools.alignment_for_frame"
            )
        alignment[str(row["utt_i"]), str(row["utt_j"])] = shift
    return alignment


def _vote(
    embeddings_i: Embeddings,
    starts_i: Sequence[float] | np.ndarray,
    embeddings_j: Embeddings,
    starts_j: Sequence[float] | np.ndarray,
    descending: bool,
) -> Shift:
    """The original's vote: most frequent difference of starts between nearest windows."""
    _unit(embeddings_i), _unit(embeddings_j)  # for their checks

    def by_name(starts: Sequence[float] | np.ndarray) -> list[int]:
        return sorted(range(len(starts)), key=lambda k: str(int(starts[k])), reverse=descending)

    order_i, order_j = by_name(starts_i), by_name(starts_j)
    seconds_i = np.asarray(starts_i, dtype=np.float64)[order_i]
    seconds_j = np.asarray(starts_j, dtype=np.float64)[order_j]
    difference = seconds_i[:, None] - seconds_j[None, :]  # (W_i, W_j)
    x = np.asarray(embeddings_i, dtype=np.float64)[order_i]
    y = np.asarray(embeddings_j, dtype=np.float64)[order_j]
    squared = (x**2).sum(1)[:, None] + (y**2).sum(1)[None, :] - 2 * x @ y.T
    squared[difference == 0] = np.inf
    votes: Counter[float] = Counter()
    for row, distances in enumerate(squared):
        nearest = int(distances.argmin())
        if np.isfinite(distances[nearest]):
            votes[float(difference[row, nearest])] += 1
    return _whole(votes.most_common(1)[0][0]) if votes else 0


def _unit(embeddings: Embeddings) -> np.ndarray:
    """Embeddings of length 1, ``(W, d)`` float64; zeros stay zeros."""
    array = np.asarray(embeddings, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise UserError(
            f"embeddings must be windows by dimensions, not of shape {array.shape}; embed the "
            "recording again"
        )
    if not np.isfinite(array).all():
        raise UserError("embeddings that are not finite cannot be aligned")
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    return array / np.where(lengths > 0, lengths, 1)


def _places(starts: Sequence[float] | np.ndarray, hop_s: float) -> np.ndarray:
    """Windows as multiples of the hop, ``(W,)``."""
    return np.rint(np.asarray(starts, dtype=np.float64) / hop_s).astype(np.int64)


def _line_scores(
    similarity: np.ndarray, places_i: np.ndarray, places_j: np.ndarray
) -> tuple[np.ndarray, int]:
    """Score of every shift: that of the best line through the similarities, in any tempo.

    Args:
        similarity: ``(W_i, W_j)``.
        places_i: ``(W_i,)`` starts in hops.
        places_j: ``(W_j,)``.

    Returns:
        scores of consecutive shifts in hops, -inf where no windows overlap, and the first shift.
    """
    centred = similarity - similarity.mean(axis=0) - similarity.mean(axis=1, keepdims=True)
    centred += similarity.mean()
    spread = centred.std()
    # What is left of a matrix without contrast is rounding, which must decide nothing.
    centred = centred / spread if spread > 1e-9 else np.zeros_like(centred)
    origin_i, origin_j = int(places_i.min()), int(places_j.min())
    size_i, size_j = int(places_i.max()) - origin_i + 1, int(places_j.max()) - origin_j + 1
    # One more line of zeros all around: what lies outside adds nothing.
    gain, there = np.zeros((2, size_i + 2, size_j + 2))
    where = np.ix_(places_i - origin_i + 1, places_j - origin_j + 1)
    gain[where], there[where] = centred + OVERLAP, 1
    first = -(size_j - 1)
    scores = np.full(size_i + size_j - 1, -np.inf)
    for tempo in TEMPI:
        if tempo <= 1:
            values, shifts = _lines(gain, there, tempo)
        else:  # the same lines, seen from the other side
            values, shifts = _lines(gain.T, there.T, 1 / tempo)
            shifts = -shifts
        # A line in another tempo has more points, but not more to say; and it must be worth it.
        values = values * np.exp(-abs(np.log(tempo)) / 2) - TEMPO_COST * abs(np.log(tempo))
        np.maximum.at(scores, shifts - first, values)
    return scores, first + origin_i - origin_j


def _lines(gain: np.ndarray, there: np.ndarray, tempo: float) -> tuple[np.ndarray, np.ndarray]:
    """Sums along the lines ``i = b + tempo * j``, for all whole b.

    Args:
        gain: ``(I + 2, J + 2)``, what each pair of windows adds, with a border of zeros.
        there: the same shape, 1 where there is a pair.
        tempo: hops of i in one of j, at most 1.

    Returns:
        ``(B,)`` sums and ``(B,)`` shifts i - j in the middle of each line, in hops.
    """
    rows, columns = gain.shape[0] - 2, gain.shape[1] - 2
    j = np.arange(columns)
    b = np.arange(-int(tempo * (columns - 1)), rows)
    i = b[:, None] + tempo * j  # (B, J)
    place = np.clip(i + 1, 0, rows + 1)
    low = np.minimum(place.astype(np.int64), rows)
    weight = place - low
    sums = (1 - weight) * gain[low, j + 1] + weight * gain[low + 1, j + 1]
    present = (1 - weight) * there[low, j + 1] + weight * there[low + 1, j + 1]
    length = present.sum(axis=1)
    kept = length > 0
    middle = ((i - j) * present).sum(axis=1)[kept] / length[kept]
    return sums.sum(axis=1)[kept], np.rint(middle).astype(np.int64)


def _best(scores: np.ndarray, first: int) -> int:
    """Shift in hops with the largest score; of several the nearest to 0."""
    best = np.flatnonzero(scores >= scores.max() - 1e-9) + first
    return int(best[np.abs(best).argmin()])


def _agree(
    scores: Mapping[tuple[int, int], tuple[np.ndarray, int]], steps: np.ndarray, hop_s: float
) -> np.ndarray:
    """Decide every pair again, with the detours over all other versions as votes.

    A detour speaks for its own shift, and less for shifts up to a window away.
    """
    n = len(steps)
    reach = max(1, round(WINDOW_S / hop_s))
    kernel = 1 - np.abs(np.arange(-reach, reach + 1)) / (reach + 1)
    weight = AGREEMENT * (n - 2) / (n - 1)  # the fewer detours, the less they are believed
    decided = np.zeros_like(steps)
    for (i, j), (values, first) in scores.items():
        detours = np.delete(steps[i] + steps[:, j], (i, j)) - first  # (n - 2,)
        votes = np.zeros(len(values) + 2 * reach)
        inside = (detours >= -reach) & (detours < len(values) + reach)
        np.add.at(votes, detours[inside] + reach, 1 / (n - 2))
        bonus = np.convolve(votes, kernel, mode="same")[reach : reach + len(values)]
        spread = values[np.isfinite(values)].std()
        decided[i, j] = _best(values + weight * spread * bonus, first)
        decided[j, i] = -decided[i, j]
    return decided


def _seconds(steps: int, hop_s: float) -> Shift:
    return _whole(steps * hop_s)


def _whole(seconds: float) -> Shift:
    return int(seconds) if float(seconds).is_integer() else seconds
