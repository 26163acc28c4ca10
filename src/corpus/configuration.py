"""The configuration of a corpus: what its YAML file may say."""

import os
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from src.corpus.features import Feature
from src.corpus.recording import check_kinds
from src.errors import UserError


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
        distractors: at most so many further works, by collection, of which there is one version
            only: references that match nothing.
        versions: of each work.
        printed_settings: the versions of a work are its printed settings, each played once as it
            stands (see :mod:`src.corpus.printed`): real variants. Only works with two settings and
            more are chosen, and the distractors among the others.
        hard_negatives: share of the versions, 0 to 0.5, that are played over the chords of a
            version of another work and like it (see :mod:`src.corpus.contrafact`).
        metre_changes: share of the versions that are played in another metre, 0 to 1.
        first_version: number of the first; version numbers decide what is drawn.
        duration: shortest and longest recording in seconds.
        sample_rate: Hz at which instruments and recordings are computed. No feature listens
            above 8 kHz (cremaPCP 4.2, the CQT 8), and at 22050 a corpus takes half the time:
            cremaPCP is the same (cosine 0.999), the CQT differs by one to three decibels, less
            than by another microphone. Ask for 44100 where people will listen.
        soundfonts: names or paths; None takes the free ones found on this machine.
        recordings: weight by kind of recording; None takes the usual ones.
        exclude: files with one work identity a line.
        exclude_corpora: configurations of other corpora; the works they choose are left out, such
            as those that are kept for validation.
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
    distractors: dict[str, int] = {}
    versions: int = Field(4, ge=1)
    printed_settings: bool = False
    hard_negatives: float = Field(0.0, ge=0, le=0.5)
    metre_changes: float = Field(0.0, ge=0, le=1)
    first_version: int = Field(0, ge=0)
    duration: tuple[float, float] = (60.0, 180.0)
    sample_rate: int = Field(22050, ge=16000, le=48000)
    soundfonts: list[str] | None = None
    recordings: dict[str, float] | None = None
    exclude: list[str] = []
    exclude_corpora: list[str] = []
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

    @field_validator("works", "distractors")
    @classmethod
    def _check_counts(cls, value: dict[str, int] | None) -> dict[str, int] | None:
        for name, count in (value or {}).items():
            if count < 0:
                raise ValueError(f"{count} works of collection {name}; needs 0 or more")
        return value

    @model_validator(mode="after")
    def _check_printed(self) -> "CorpusConfig":
        if self.printed_settings:
            for name in ("versions", "first_version", "hard_negatives", "metre_changes", "blocks"):
                if name in self.model_fields_set:
                    raise ValueError(f"'{name}' has no place beside 'printed_settings'")
        return self


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
        raise UserError(": ".join(part for part in (str(path), key, what) if part)) from error
    except TypeError as error:  # keys that are no strings
        raise UserError(f"{path}: {error}") from error
    if config.recordings is not None:
        check_kinds(config.recordings)
    return config
