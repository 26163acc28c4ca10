"""What a corpus consists of: its configuration, the works chosen, and the versions in order."""

import logging
import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from src.corpus.dice import generator
from src.corpus.families import read_same_works
from src.corpus.features import Feature
from src.corpus.identity import GRAM, LEAST_HITS, beat_line, note_line, similarity_pairs
from src.corpus.recording import check_kinds
from src.corpus.tune import Tune, load_tunes
from src.errors import UserError

logger = logging.getLogger(__name__)

_COMPARED_AT_ONCE = 300


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AudioFormat(_Strict):
    """How audio is stored: a codec of :mod:`src.corpus.codec`, or FLAC."""

    codec: Literal["flac", "vorbis", "mp3", "opus"] = "vorbis"
    compression: float = Field(0.6, ge=0, le=0.99)
    sample_rate: int = Field(44100, ge=8000, le=48000)


class Blocks(_Strict):
    """Order of the work: all ``versions`` first versions of ``works`` works, then the next."""

    works: int = Field(1_000_000, ge=1)
    versions: int = Field(1_000_000, ge=1)


class CorpusConfig(_Strict):
    """A corpus, as a YAML file describes it.

    Attributes:
        tunes: files of tunes (see :mod:`src.corpus.tune`), relative to the current folder.
        seed: of every choice.
        works: at most so many works, by collection (first part of the work's identity); a
            collection that is not named is left out. None takes all.
        versions: of each work.
        first_version: number of the first; version numbers decide what is drawn.
        duration: shortest and longest recording in seconds.
        sample_rate: Hz at which instruments and recordings are computed.
        soundfonts: names or paths; None takes the free ones found on this machine.
        recordings: weight by kind of recording; None takes the usual ones.
        exclude: files with one work identity a line.
        same_works: file of works that are one across collections (``tools.make_tunes`` writes it):
            they are one ``song`` in the manifest, and excluded together. None takes every work of
            every collection for another song.
        exclude_similar: works that share this much of their melody (0 to 1, see
            :mod:`src.corpus.identity`) with an excluded work are left out as well; None compares
            no melodies.
        features: kept beside or instead of the audio.
        audio: how audio is stored.
        blocks: order in which versions are made, so that a part is usable.
    """

    tunes: list[str] = Field(min_length=1)
    seed: int = Field(0, ge=0)
    works: dict[str, int] | None = None
    versions: int = Field(4, ge=1)
    first_version: int = Field(0, ge=0)
    duration: tuple[float, float] = (60.0, 180.0)
    sample_rate: int = Field(44100, ge=16000, le=48000)
    soundfonts: list[str] | None = None
    recordings: dict[str, float] | None = None
    exclude: list[str] = []
    same_works: str | None = None
    exclude_similar: float | None = Field(0.3, gt=0, le=1)
    features: list[Feature] = []
    audio: AudioFormat = AudioFormat()
    blocks: Blocks = Blocks()

    @field_validator("duration")
    @classmethod
    def _check_duration(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 15 <= value[0] + 5 <= value[1]:
            raise ValueError("needs two numbers of seconds, at least 10, the second 5 more")
        return value


@dataclass(frozen=True, slots=True)
class Job:
    """One version to make. ``setting`` is the printed setting to play, None lets it be drawn."""

    utt: str
    tune: Tune
    version: int
    setting: int | None = None


def load_config(path: str | os.PathLike) -> CorpusConfig:
    """Read and check a corpus configuration.

    Raises:
        UserError: names the file and the key that is missing, unknown or of the wrong type.
    """
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not a valid YAML file ({' '.join(str(error).split())})"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold keys and values, such as 'versions: 4'")
    try:
        config = CorpusConfig(**content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise UserError(f"{path}: {key}: {what}") from error
    except TypeError as error:  # keys that are no strings
        raise UserError(f"{path}: {error}") from error
    if config.recordings is not None:
        check_kinds(config.recordings)
    return config


def load_corpus_tunes(config: CorpusConfig) -> list[Tune]:
    """The tunes of all files of a configuration without the excluded works and their likes.

    A list that names works of which no file of tunes knows anything is told in a warning.

    Raises:
        UserError: a file is missing or damaged, a list excludes nothing that is there, or no tune
            is left.
    """
    loaded = [tune for path in config.tunes for tune in load_tunes(path)]
    excluded = _excluded_works(config, {tune.work for tune in loaded})
    if config.same_works is not None:
        song_of = read_same_works(config.same_works)
        loaded = [replace(tune, family=song_of.get(tune.work, "")) for tune in loaded]
        songs = {tune.song for tune in loaded if tune.work in excluded}
        excluded |= {tune.work for tune in loaded if tune.song in songs}
    tunes: dict[str, Tune] = {}
    left_out: list[Tune] = []
    for tune in loaded:
        if tune.work in excluded:
            left_out.append(tune)
        else:
            tunes.setdefault(tune.work, tune)
    if config.exclude_similar is not None and left_out:
        for work in similar_works(left_out, list(tunes.values()), least=config.exclude_similar):
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


def similar_works(known: Sequence[Tune], others: Sequence[Tune], *, least: float) -> set[str]:
    """Works among ``others`` that share a melody with one of ``known``, in any of their settings.

    The others are compared by some hundreds at a time: what is a common turn among thousands of
    tunes, and would therefore not be counted, is still rare there.
    """
    fixed = [setting for tune in known for setting in (tune, *tune.settings)]
    fixed_grams = [_grams(tune) for tune in fixed]
    near = []
    for setting in (setting for tune in others for setting in (tune, *tune.settings)):
        grams = _grams(setting)
        if any(_may_be_similar(grams, known_grams, least) for known_grams in fixed_grams):
            near.append(setting)
    found: set[str] = set()
    for start in range(0, len(near), _COMPARED_AT_ONCE):
        part = near[start : start + _COMPARED_AT_ONCE]
        for _, j in similarity_pairs([*fixed, *part], least=least, split=len(fixed)):
            found.add(part[j - len(fixed)].work)
    return found


_Grams = tuple[set[tuple[int, ...]], set[tuple[int, ...]]]


def _grams(tune: Tune) -> _Grams:
    """The turns of a tune at both levels of :mod:`src.corpus.identity`."""
    return set(note_line(tune).grams()), set(beat_line(tune).grams())


def _may_be_similar(a: _Grams, b: _Grams, least: float) -> bool:
    """Whether there are enough turns in common; far cheaper than the comparison itself.

    A turn in common covers GRAM + 1 notes at most.
    """
    return any(
        len(x & y) >= max(LEAST_HITS, least * min(len(x), len(y)) / (GRAM + 1))
        for x, y in zip(a, b, strict=True)
    )


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


def select_works(tunes: Iterable[Tune], limits: dict[str, int] | None, *, seed: int) -> list[Tune]:
    """Choose works at random, collections evenly mixed.

    The order of a work depends on its identity and the seed alone, so that more works can be
    asked for later and the first ones stay.

    Raises:
        UserError: a collection in ``limits`` has no works.
    """
    by_collection: dict[str, list[Tune]] = {}
    for tune in tunes:
        by_collection.setdefault(collection(tune.work), []).append(tune)
    if limits is not None:
        for name in limits:
            if name not in by_collection:
                raise UserError(
                    f"there are no works of collection {name}; there are {sorted(by_collection)}"
                )
    ranked: list[tuple[float, str, Tune]] = []
    for name, members in by_collection.items():
        count = len(members) if limits is None else limits.get(name, 0)
        members.sort(key=lambda tune: (generator(seed, "order", tune.work).random(), tune.work))
        chosen = members[:count]
        ranked += [((i + 0.5) / len(chosen), t.work, t) for i, t in enumerate(chosen)]
    return [tune for _, _, tune in sorted(ranked, key=lambda item: item[:2])]


def plan_jobs(
    tunes: Sequence[Tune],
    *,
    versions: int,
    first_version: int = 0,
    blocks: Blocks | None = None,
) -> list[Job]:
    """All versions of all works, in an order of which any beginning is usable.

    Blocks of versions come first, in them blocks of works, in them one version of every work
    after the other.

    Raises:
        UserError: two works would share the names of their files.
    """
    blocks = blocks or Blocks()
    names = [utt_name(tune.work, 0) for tune in tunes]
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two works would both be called {double}; rename one")
    jobs = []
    for first in range(0, versions, blocks.versions):
        for start in range(0, len(tunes), blocks.works):
            for version in range(first, min(first + blocks.versions, versions)):
                for tune in tunes[start : start + blocks.works]:
                    number = first_version + version
                    jobs.append(Job(utt_name(tune.work, number), tune, number))
    return jobs


def utt_name(work: str, version: int) -> str:
    """Name of one version's files: ``fiddle/erin-go-bragh`` -> ``fiddle_erin-go-bragh_v03``."""
    safe = "".join(c if (c.isalnum() and c.isascii()) or c in "-." else "_" for c in work)
    return f"{safe}_v{version:02d}"
