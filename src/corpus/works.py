"""Which works a corpus consists of: exclusions, choice, and works that have one version only."""

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from src.corpus.configuration import CorpusConfig, load_config
from src.corpus.dice import generator
from src.corpus.families import read_same_works
from src.corpus.identity import GRAM, LEAST_HITS, beat_line, note_line, similarity_pairs
from src.corpus.tune import Tune, load_tunes
from src.errors import UserError

logger = logging.getLogger(__name__)

_COMPARED_AT_ONCE = 300


def load_corpus_tunes(config: CorpusConfig) -> list[Tune]:
    """The tunes of all files of a configuration without the excluded works and their likes.

    Works that other corpora choose (``exclude_corpora``) are excluded like those of the lists. A
    list that names works of which no file of tunes knows anything is told in a warning.

    Raises:
        UserError: a file is missing or damaged, a list excludes nothing that is there, or no tune
            is left.
    """
    loaded = [tune for path in config.tunes for tune in load_tunes(path)]
    elsewhere = [tune for path in config.exclude_corpora for tune in _chosen_by(path)]
    excluded = _excluded_works(config, {tune.work for tune in loaded})
    excluded |= {tune.work for tune in elsewhere}
    if config.same_works is not None:
        song_of = read_same_works(config.same_works)
        loaded = [replace(tune, family=song_of.get(tune.work, "")) for tune in loaded]
        songs = {song_of.get(work, work) for work in excluded}
        excluded |= {tune.work for tune in loaded if tune.song in songs}
    tunes: dict[str, Tune] = {}
    left_out = {tune.work: tune for tune in elsewhere}
    for tune in loaded:
        if tune.work in excluded:
            left_out.setdefault(tune.work, tune)
        else:
            tunes.setdefault(tune.work, tune)
    if config.exclude_similar is not None and left_out:
        for work in similar_works(
            list(left_out.values()), list(tunes.values()), least=config.exclude_similar
        ):
            del tunes[work]
    if not tunes:
        raise UserError(f"no work is left in {', '.join(config.tunes)} after the exclusions")
    return list(tunes.values())


def _excluded_works(config: CorpusConfig, known: Container[str]) -> set[str]:
    """Works of all lists of exclusions, after a look at those that exclude nothing."""
    files = ", ".join(config.tunes)
    excluded: set[str] = set()
    for path in config.exclude:
        works = read_work_list(path)
        unknown = [work for work in works if work not in known]
        if works and len(unknown) == len(works):
            raise UserError(
                f"none of the works that {path} excludes ({_some(works)}) is in {files}; add the "
                "file of tunes that has them, so that their melodies are known, or drop the list"
            )
        if unknown:
            logger.warning(
                "%s excludes works that are not in %s, which may stand there by other names: %s",
                path,
                files,
                _some(unknown),
            )
        excluded.update(works)
    return excluded


def _some(names: Sequence[str], count: int = 8) -> str:
    rest = len(names) - count
    return ", ".join(names[:count]) + (f" and {rest} more" if rest > 0 else "")


def _chosen_by(path: str) -> list[Tune]:
    """All works of another corpus."""
    works, distractors = choose_works(load_config(path))
    return [*works, *distractors]


def similar_works(known: Sequence[Tune], others: Sequence[Tune], *, least: float) -> set[str]:
    """Works among ``others`` that share a melody with one of ``known``, in any of their settings.

    Both are compared by some hundreds at a time: what is a common turn among thousands of tunes,
    and would therefore not be counted, is still rare there.
    """
    fixed = [setting for tune in known for setting in (tune, *tune.settings)]
    rest = [setting for tune in others for setting in (tune, *tune.settings)]
    turns = [_grams(tune) for tune in rest]
    found: set[str] = set()
    for first in range(0, len(fixed), _COMPARED_AT_ONCE):
        block = fixed[first : first + _COMPARED_AT_ONCE]
        near = _near(block, rest, turns, least)
        for start in range(0, len(near), _COMPARED_AT_ONCE):
            part = near[start : start + _COMPARED_AT_ONCE]
            for _, j in similarity_pairs([*block, *part], least=least, split=len(block)):
                found.add(part[j - len(block)].work)
    return found


_Grams = tuple[set[tuple[int, ...]], set[tuple[int, ...]]]


def _grams(tune: Tune) -> _Grams:
    """The turns of a tune at both levels of :mod:`src.corpus.identity`."""
    return set(note_line(tune).grams()), set(beat_line(tune).grams())


def _near(
    known: Sequence[Tune], others: Sequence[Tune], turns: Sequence[_Grams], least: float
) -> list[Tune]:
    """The others that share enough turns with a known tune; far cheaper than the comparison itself.

    A turn in common covers GRAM + 1 notes at most.
    """
    near: dict[int, Tune] = {}
    for level in (0, 1):
        sizes: list[int] = []
        where: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, tune in enumerate(known):
            grams = _grams(tune)[level]
            sizes.append(len(grams))
            for gram in grams:
                where[gram].append(index)
        for place, tune in enumerate(others):
            if place in near:
                continue
            shared = Counter(i for gram in turns[place][level] for i in where.get(gram, ()))
            size = len(turns[place][level])
            if any(
                count >= max(LEAST_HITS, least * min(size, sizes[i]) / (GRAM + 1))
                for i, count in shared.items()
            ):
                near[place] = tune
    return [near[place] for place in sorted(near)]


def read_work_list(path: str | os.PathLike) -> list[str]:
    """Work identities from a file, one a line; ``#`` begins a comment.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise UserError(
            f"cannot read the list of works {path}: {error.strerror or error}"
        ) from error
    return [work for line in lines if (work := line.split("#")[0].strip())]


def collection(work: str) -> str:
    """The collection of a work identity such as ``fiddle/the-white-cockade``."""
    return work.split("/")[0]


def choose_works(config: CorpusConfig) -> tuple[list[Tune], list[Tune]]:
    """The works of a corpus, and its distractors: further works that have one version only.

    Works are taken from the beginning of an order that depends on the seed alone, distractors from
    its end, so that both stay where more are asked for. No distractor is the same song as another
    work.

    Raises:
        UserError: see :func:`load_corpus_tunes`; or a collection that is asked for has no works.
    """
    tunes = load_corpus_tunes(config)
    if config.printed_settings:
        several = [tune for tune in tunes if tune.settings]
        works = select_works(several, config.works, seed=config.seed)
        rest = [tune for tune in tunes if not tune.settings]
        reserved = _last(rest, config.distractors, seed=config.seed)
    else:
        reserved = _last(tunes, config.distractors, seed=config.seed)
        kept = {tune.work for tune in reserved}
        rest = [tune for tune in tunes if tune.work not in kept]
        works = select_works(rest, config.works, seed=config.seed)
    songs = {tune.song for tune in works}
    distractors = []
    for tune in reserved:
        if tune.song not in songs:
            songs.add(tune.song)
            distractors.append(tune)
    return works, distractors


def _in_order(tunes: Iterable[Tune], seed: int) -> dict[str, list[Tune]]:
    """Works by collection, in an order that depends on their identity and the seed alone."""
    by_collection: dict[str, list[Tune]] = {}
    for tune in tunes:
        by_collection.setdefault(collection(tune.work), []).append(tune)
    for members in by_collection.values():
        members.sort(key=lambda tune: (generator(seed, "order", tune.work).random(), tune.work))
    return by_collection


def _check_collections(names: Iterable[str], there: Iterable[str]) -> None:
    for name in names:
        if name not in there:
            raise UserError(f"there are no works of collection {name}; there are {sorted(there)}")


def _last(tunes: Iterable[Tune], limits: Mapping[str, int], *, seed: int) -> list[Tune]:
    """The last works of every collection in ``limits``, collections evenly mixed."""
    if not limits:
        return []
    ordered = _in_order(tunes, seed)
    _check_collections(limits, ordered)
    return _mix([ordered[name][::-1][: limits[name]] for name in limits])


def _mix(parts: Iterable[Sequence[Tune]]) -> list[Tune]:
    """Collections evenly mixed, each in its own order."""
    ranked = [((i + 0.5) / len(part), t.work, t) for part in parts for i, t in enumerate(part)]
    return [tune for *_, tune in sorted(ranked, key=lambda item: item[:2])]


def select_works(
    tunes: Iterable[Tune], limits: Mapping[str, int] | None, *, seed: int
) -> list[Tune]:
    """Choose works at random, collections evenly mixed.

    The order of a work depends on its identity and the seed alone, so that more works can be
    asked for later and the first ones stay.

    Raises:
        UserError: a collection in ``limits`` has no works.
    """
    ordered = _in_order(tunes, seed)
    if limits is not None:
        _check_collections(limits, ordered)
    return _mix(
        [
            members if limits is None else members[: limits.get(name, 0)]
            for name, members in ordered.items()
        ]
    )
