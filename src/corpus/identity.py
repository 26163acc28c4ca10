"""Which notations are the same work, found by melody and not by title.

Melodies are compared as successions of intervals, so key and tempo do not count, at two levels:
note by note (repeated notes once), and beat by beat, which passing notes and ornaments leave alone.
Two tunes share a passage where interval n-grams follow one another in both at one transposition;
they are the same work if such passages cover enough of the shorter melody.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from src.corpus.tune import MelodyNote, Tune

GRAM = 5  # intervals
THRESHOLD = 0.41
TITLE_THRESHOLD = 0.25  # enough when the titles agree as well
MOST_COMMON = 60  # n-grams in more tunes than this say nothing
LEAST_HITS = 4
RUN = 13  # notes of a common passage that is more than chance
REACH = 12  # notes between two hits of one passage
SLACK = 4  # notes that one player adds or leaves out between two hits
LOOSE = 0.25  # beats by which two players of a passage may differ on average
SHORT = 36  # a melody of fewer notes is not taken for a longer one's beginning


@dataclass(frozen=True)
class Line:
    """Pitches of one level of one tune, and where they begin in beats."""

    pitches: tuple[int, ...]
    times: tuple[float, ...]

    def grams(self) -> list[tuple[int, ...]]:
        """Interval n-grams, one for each place where one starts."""
        p = self.pitches
        steps = [b - a for a, b in pairwise(p)]
        return [tuple(steps[i : i + GRAM]) for i in range(len(steps) - GRAM + 1)]


def note_line(tune: Tune) -> Line:
    """The distinct sections of a tune one after another, a repeated note once."""
    pitches: list[int] = []
    times: list[float] = []
    start = 0.0
    for section in tune.sections:
        for note in section.melody:
            if not pitches or pitches[-1] != note.pitch:
                pitches.append(note.pitch)
                times.append((start + note.onset) / tune.meter.pulse)
        start += section.bars * tune.meter.bar
    return Line(tuple(pitches), tuple(times))


def beat_line(tune: Tune) -> Line:
    """What sounds on every beat of the distinct sections (repeats count)."""
    pitches: list[int] = []
    for section in tune.sections:
        pitches += _on_beats(section.melody, section.bars * tune.meter.bar, tune.meter.pulse)
    return Line(tuple(pitches), tuple(map(float, range(len(pitches)))))


def _on_beats(melody: Sequence[MelodyNote], length: float, pulse: float) -> list[int]:
    notes = sorted(melody, key=lambda n: n.onset)
    pitches: list[int] = []
    place = 0
    for beat in range(round(length / pulse)):
        at = beat * pulse + 0.05
        while place + 1 < len(notes) and notes[place + 1].onset <= at:
            place += 1
        if notes and notes[place].onset <= at < notes[place].onset + notes[place].duration + pulse:
            pitches.append(notes[place].pitch)
    return pitches


def similarity_pairs(
    tunes: Sequence[Tune], *, least: float = TITLE_THRESHOLD, split: int | None = None
) -> dict[tuple[int, int], float]:
    """Share of the shorter melody that two tunes have in common.

    Args:
        least: smaller similarities are left out.
        split: compare only the tunes before this index with those from it on.

    Returns:
        ``{(i, j): similarity}`` with i < j for pairs of at least ``least``; 0 to 1, the better of
        the two levels (the beat level alone must be better by a fifth: it is coarser).
    """
    result: dict[tuple[int, int], float] = {}
    for level, factor in ((note_line, 1.0), (beat_line, 0.8)):
        lines = [level(t) for t in tunes]
        for pair, value in _level_pairs(lines, split, least / factor - 1e-9).items():
            value *= factor
            if value >= least and value > result.get(pair, 0.0):
                result[pair] = value
    return result


def _level_pairs(
    lines: Sequence[Line], split: int | None, least: float
) -> dict[tuple[int, int], float]:
    places: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
    for index, line in enumerate(lines):
        for at, gram in enumerate(line.grams()):
            if any(gram):  # a held or repeated note is no melody
                places[gram].append((index, at))
    hits: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for found in places.values():
        if len(found) > 4 * MOST_COMMON or len({i for i, _ in found}) > MOST_COMMON:
            continue
        border = None if split is None else bisect_left(found, (split, 0))
        for n, (i, at) in enumerate(found[:border]):  # in the order of the lines
            for j, other in found[n + 1 if border is None else border :]:
                if i != j:
                    hits[i, j].append((at, other))
    return {
        pair: coverage(lines[pair[0]], lines[pair[1]], found, least=least)
        for pair, found in hits.items()
        if len(found) >= LEAST_HITS
    }


def coverage(a: Line, b: Line, found: Iterable[tuple[int, int]], *, least: float = 0.0) -> float:
    """Share of the shorter line covered by common passages at the best transposition (mod 12).

    A share that cannot reach ``least`` is not computed, and 0 returned in its place.

    A passage is a cluster of n-grams at about the same distance between the lines; one that covers
    less than RUN notes is chance (scales and broken chords are everywhere).
    """
    by_shift: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, j in found:
        by_shift[(b.pitches[j] - a.pitches[i]) % 12].append((i, j))
    shorter = max(SHORT, min(len(a.pitches), len(b.pitches)))
    best = 0.0
    for pairs in sorted(by_shift.values(), key=len, reverse=True)[:2]:
        if len(pairs) < LEAST_HITS or len(pairs) * (GRAM + 1) < least * shorter:
            continue  # a pair covers no more than its n-gram
        in_a: set[int] = set()
        in_b: set[int] = set()
        for cluster in _clusters(pairs):
            cover_a = {i + k for i, _ in cluster for k in range(GRAM + 1)}
            cover_b = {j + k for _, j in cluster for k in range(GRAM + 1)}
            if min(len(cover_a), len(cover_b)) >= RUN and _in_time(cluster, a.times, b.times):
                in_a |= cover_a
                in_b |= cover_b
        best = max(best, min(len(in_a), len(in_b)) / shorter)
    return min(1.0, best)


def _clusters(pairs: Iterable[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Hits near one another in both lines."""
    clusters: list[list[tuple[int, int]]] = []
    for i, j in sorted(pairs):
        for cluster in reversed(clusters[-12:]):
            step_i, step_j = i - cluster[-1][0], j - cluster[-1][1]
            near = 0 < step_i <= REACH and 0 < step_j <= REACH
            if near and abs(step_i - step_j) <= SLACK:
                cluster.append((i, j))
                break
        else:
            clusters.append([(i, j)])
    return [cluster for cluster in clusters if len(cluster) > 1]


def _in_time(cluster, a_times: Sequence[float], b_times: Sequence[float]) -> bool:
    """Whether a passage keeps one ratio of time: its rhythms differ by a tempo and little else."""
    first = np.array([a_times[i] for i, _ in cluster])
    second = np.array([b_times[j] for _, j in cluster])
    span = first[-1] - first[0]
    if span <= 0:
        return False
    slope, offset = np.polyfit(first, second, 1)
    if not 0.4 <= slope <= 2.5:
        return False
    residual = np.abs(second - slope * first - offset).mean()
    return bool(residual <= LOOSE * max(1.0, slope))


def title_words(title: str) -> frozenset[str]:
    """Words of a title that say something; articles and kinds of tunes do not."""
    plain = "".join(c if c.isalnum() else " " for c in title.lower().replace("'", ""))
    idle = {
        "the",
        "a",
        "an",
        "of",
        "or",
        "o",
        "reel",
        "jig",
        "hornpipe",
        "march",
        "air",
        "and",
        "to",
    }
    return frozenset(plain.split()) - idle


def same_title(a: str, b: str) -> bool:
    """Whether two titles name the same tune as far as words tell."""
    first, second = title_words(a), title_words(b)
    if not first or not second:
        return False
    return len(first & second) / min(len(first), len(second)) >= 0.75


def group(tunes: Sequence[Tune]) -> tuple[list[list[int]], dict[tuple[int, int], float]]:
    """Groups of indices that are one work (also groups of one), and the similarities used."""
    pairs = similarity_pairs(tunes)
    parent = list(range(len(tunes)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    kept: dict[tuple[int, int], float] = {}
    for (i, j), value in pairs.items():
        if value >= THRESHOLD or same_title(tunes[i].title, tunes[j].title):
            kept[i, j] = value
            low, high = sorted((find(i), find(j)))
            parent[high] = low
    groups: dict[int, list[int]] = defaultdict(list)
    for i in range(len(tunes)):
        groups[find(i)].append(i)
    return list(groups.values()), kept


def merge_works(tunes: Sequence[Tune]) -> list[Tune]:
    """One tune a work; the other notations of the same work become its ``settings``.

    The notation with chords, else the one most like the others, gives its name to the work. The
    result does not depend on the order of ``tunes``.
    """
    tunes = sorted(tunes, key=lambda t: t.work)
    groups, pairs = group(tunes)
    merged: list[Tune] = []
    for members in groups:
        weight: Counter[int] = Counter()
        for i, j in ((i, j) for i in members for j in members if i < j):
            weight[i] += pairs.get((i, j), 0.0)
            weight[j] += pairs.get((i, j), 0.0)
        members = sorted(
            members,
            key=lambda i: (-bool(tunes[i].sections[0].chords), -weight[i], tunes[i].work),
        )
        head = tunes[members[0]]
        settings: list[Tune] = []
        known = {_steps(head)}
        for other in (*head.settings, *(s for i in members[1:] for s in _notations(tunes[i]))):
            if _steps(other) not in known:  # the same print twice is no variant
                known.add(_steps(other))
                settings.append(replace(other, work=head.work, settings=()))
        merged.append(replace(head, settings=tuple(settings)))
    return merged


def _notations(tune: Tune) -> tuple[Tune, ...]:
    return (tune, *tune.settings)


def _steps(tune: Tune) -> tuple[int, ...]:
    pitches = note_line(tune).pitches
    return tuple(b - a for a, b in pairwise(pitches))
