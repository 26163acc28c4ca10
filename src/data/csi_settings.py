"""hparams.yaml of a data folder: what feature extraction does, read and validated."""

import difflib
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from src.audio.cqt import CQTSpec
from src.data.csi_noise import NoiseSettings
from src.data.csi_pipeline import ExtractSettings
from src.data.splits import SplitShares
from src.errors import UserError

HPARAMS = "hparams.yaml"
Number = int | float  # an integer stays one: it is part of the names of tempo copies


class NoiseHparams(BaseModel):
    """``add_noise``.

    ``volume`` (peak of the noise relative to that of the recording) and ``snr_db`` are ranges;
    ``snr_db`` counts if it is there. ``sr`` and ``name`` stand in older files: they have no effect.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    noise_path: str
    prob: float = Field(0.75, ge=0, le=1)
    chunk: float = Field(3, gt=0)
    volume: tuple[float, float] = (0.3, 1.0)
    snr_db: tuple[float, float] | None = None
    sr: int | None = None
    name: str | None = None

    @model_validator(mode="after")
    def _ranges(self) -> "NoiseHparams":
        for low, high in filter(None, (self.volume, self.snr_db)):
            if low > high:
                raise ValueError("volume and snr_db are written [lowest, highest]")
        if self.volume[0] < 0:
            raise ValueError("volume must not be negative")
        return self


class ExtractHparams(BaseModel):
    """The keys of hparams.yaml. Every one may be left out, or be null."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    aug_speed_mode: list[Number] | None = None
    add_noise: NoiseHparams | None = None
    sample_rate: int = Field(16000, gt=0)
    hop_size: Number = Field(0.04, gt=0)
    fmin: Number = Field(32, gt=0)
    n_bins: int | None = Field(None, gt=0)
    bins_per_octave: int = Field(12, gt=0)
    test_data_unseen: Number | None = Field(None, ge=0, lt=1)
    train_sample_unseen: Number | None = Field(None, alias="train-sample_unseen", ge=0, lt=1)
    test_data_split: Number | None = Field(None, ge=0, lt=1)
    train_sample_split: Number | None = Field(None, alias="train-sample_data_split", ge=0, lt=1)
    seed: int = 1

    @model_validator(mode="after")
    def _tempi(self) -> "ExtractHparams":
        if self.aug_speed_mode is not None and not self.aug_speed_mode:
            raise ValueError("aug_speed_mode is empty; [1.0] keeps the recordings as they are")
        if any(not 0.1 <= speed <= 10 for speed in self.aug_speed_mode or ()):
            raise ValueError("aug_speed_mode holds tempo factors, between 0.1 and 10")
        return self


def load_extract_settings(data_dir: str | os.PathLike) -> tuple[ExtractSettings, list[str]]:
    """Read ``<data_dir>/hparams.yaml``; without the file, everything is at its default.

    A key that no stage reads is reported, unless it looks like a misspelling: that is refused.

    Returns:
        The settings and sentences for the person.

    Raises:
        UserError: the file is not YAML, or a value is of a wrong type or out of range.
    """
    path = Path(data_dir) / HPARAMS
    values, notes = _read(path), []
    known = {field.alias or name for name, field in ExtractHparams.model_fields.items()}
    for key in sorted(set(values) - known, key=str):
        if near := difflib.get_close_matches(str(key), known, n=1, cutoff=0.8):
            raise UserError(f"{path}: the key {key} is not known; did you mean {near[0]}?")
        notes.append(f"{path}: the key {key} has no effect on feature extraction")
        del values[key]
    # A null is as good as no line at all.
    values = {key: value for key, value in values.items() if value is not None}
    try:
        hparams = ExtractHparams(**values)
        return _settings(hparams), notes
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {where}{reason}") from error
    except (ValueError, UserError) as error:
        raise UserError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML ({' '.join(str(error).split())})") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold keys and values, such as aug_speed_mode: [0.9, 1.0]")
    return dict(values)


def _settings(hparams: ExtractHparams) -> ExtractSettings:
    noise = hparams.add_noise
    shares = (
        hparams.test_data_unseen,
        hparams.train_sample_unseen,
        hparams.test_data_split,
        hparams.train_sample_split,
    )
    return ExtractSettings(
        spec=CQTSpec(
            sample_rate=hparams.sample_rate,
            hop_size=float(hparams.hop_size),
            octave_resolution=hparams.bins_per_octave,
            min_freq=float(hparams.fmin),
            n_bins=hparams.n_bins,
        ),
        speeds=tuple(hparams.aug_speed_mode) if hparams.aug_speed_mode else None,
        noise=NoiseSettings(
            path=noise.noise_path,
            share=noise.prob,
            chunk_s=noise.chunk,
            volume=noise.volume,
            snr_db=noise.snr_db,
            seed=hparams.seed,
        )
        if noise
        else None,
        shares=None if None in shares else SplitShares(*shares),
        seed=hparams.seed,
    )
