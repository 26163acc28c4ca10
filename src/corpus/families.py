"""Works that recur across collections, found by melody.

A fiddle tune may be an OpenEWLD song as well, under another title. Such works stay apart in the
files of tunes, since collections are parsed one by one, but they are one *family*, which the
manifest calls the song: no melody then stands on both sides of a split.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from src.corpus.identity import TITLE_THRESHOLD, same_title, similarity_pairs
from src.corpus.tune import Tune
from src.errors import UserError
from src.files import read_json, write_json

FORMAT = 1
# Above the best chance likeness of unrelated collections (0.48 between pop songs and old ones).
THRESHOLD = 0.5
# The same melody, turned too much for passages to be found: by ear.
KNOWN_PAIRS = (("fiddle/rogers-farewell-aird-3-528", "openewld/auld-lang-syne"),)
_COMPARED_AT_ONCE = 600


def find_families(collections: Mapping[str, Sequence[Tune]]) -> list[list[str]]:
    """Works of different collections that are the same.

    Args:
        collections: works by collection, merged within each (``identity.merge_works``).

    Returns:
        families of two works and more, sorted; the order of the arguments does not matter.
    """
    works = {tune.work for tunes in collections.values() for tune in tunes}
    pairs = [pair for pair in KNOWN_PAIRS if works.issuperset(pair)]
    for first, second in combinations(sorted(collections), 2):
        pairs += same_across(collections[first], collections[second])
    return join_pairs(pairs)


def same_across(a: Sequence[Tune], b: Sequence[Tune]) -> Iterator[tuple[str, str]]:
    """Pairs of a work of ``a`` and one of ``b`` with one melody, in any of their settings.

    The second collection is compared by some hundreds at a time: what is a common turn among
    thousands of tunes, and would therefore not be counted, is still rare there.
    """
    fixed = _settings(a)
    others = _settings(b)
    for start in range(0, len(others), _COMPARED_AT_ONCE):
        part = others[start : start + _COMPARED_AT_ONCE]
        pairs = similarity_pairs([*fixed, *part], least=TITLE_THRESHOLD, split=len(fixed))
        for (i, j), value in pairs.items():
            first, second = fixed[i], part[j - len(fixed)]
            if value >= THRESHOLD or same_title(first.title, second.title):
                yield first.work, second.work


def _settings(tunes: Sequence[Tune]) -> list[Tune]:
    ordered = sorted(tunes, key=lambda tune: tune.work)
    return [setting for tune in ordered for setting in (tune, *tune.settings)]


def join_pairs(pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Families of works that are connected by pairs.

    >>> join_pairs([("c", "d"), ("b", "a"), ("b", "e")])
    [['a', 'b', 'e'], ['c', 'd']]
    """
    head: dict[str, str] = {}

    def find(work: str) -> str:
        while head.setdefault(work, work) != work:
            work = head[work]
        return work

    for first, second in pairs:
        low, high = sorted((find(first), find(second)))
        head[high] = low
    families: dict[str, list[str]] = defaultdict(list)
    for work in sorted(head):
        families[find(work)].append(work)
    return sorted(members for members in families.values() if len(members) > 1)


def write_same_works(families: Sequence[Sequence[str]], path: str | os.PathLike) -> None:
    """Write families as JSON, for people to read and correct."""
    write_json({"format": FORMAT, "same_works": [list(family) for family in families]}, path)


def read_same_works(path: str | os.PathLike) -> dict[str, str]:
    """Family (its alphabetically first work) by work.

    Raises:
        UserError: the file is missing, is not such a file, or names a work twice.
    """
    content = read_json(path)
    families = content.get("same_works") if isinstance(content, dict) else None
    if not isinstance(families, list) or not all(
        isinstance(family, list) and family and all(isinstance(work, str) for work in family)
        for family in families
    ):
        raise UserError(f"{path} is not a file of same works; make it by tools.make_tunes")
    song_of: dict[str, str] = {}
    for family in families:
        for work in family:
            if work in song_of:
                raise UserError(f"{path} names {work} twice; join the two families")
            song_of[work] = min(family)
    return song_of
