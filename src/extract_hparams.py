"""The hparams.yaml of a folder of recordings: how features are extracted from it."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AliasChoices, Field, model_validator

from src.audio.cqt import CQTSpec
from src.hparams import DEVICES, Block, Count, CQTBlock, Device, Positive, Share, Text, Weight
from src.yaml_file import read_yaml, validated

EXTRACT_FILE = "hparams.yaml"
NEWER_CQT_KEYS = ("fmin", "n_bins", "bins_per_octave", "hop_size")
Speed = Annotated[int | float, Field(gt=0, allow_inf_nan=False)]  # 2 stays 2 in names of copies


class NoiseBlock(Block):
    """``add_noise:``, copies of the recordings with noise mixed in."""

    noise_path: Text = Field(description="the path of a list of recordings of noise")
    prob: Share = Field(0.75, description="a probability between 0 and 1")
    sr: Count = Field(16000, description="a sample rate in Hz, such as 16000")
    chunk: Positive = Field(3, description="a number of seconds, such as 3")
    name: Text = Field("cqt_with_noise", description="a name; it has no effect")
    volume: list[Weight] = Field(
        [0.3, 1.0],
        min_length=2,
        max_length=2,
        description="a range of the noise's peak as a share of the recording's, such as [0.3, 1.0]",
    )
    snr_db: list[float] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="a range of signal-to-noise ratios in dB, such as [5, 20]",
    )

    @model_validator(mode="after")
    def _ranges(self) -> "NoiseBlock":
        if any(low > high for low, high in filter(None, (self.volume, self.snr_db))):
            raise ValueError("the ranges volume and snr_db begin with the lower number")
        return self


class ExtractHparams(Block):
    """How features are extracted from a folder with dataset.txt.

    The four shares of the split are None where they are left out; without any of them there is no
    split. The newer line's ``fmin``, ``n_bins`` and ``bins_per_octave`` may stand alone or in a
    block ``cqt``.
    """

    aug_speed_mode: list[Speed] = Field(
        [1.0], min_length=1, description="a list of ratios, such as [0.8, 0.9, 1.0, 1.1, 1.2]"
    )
    add_noise: NoiseBlock | None = Field(None, description="a block with prob and noise_path")
    train_sample_data_split: Share | None = Field(
        None,
        description="a share between 0 and 1",
        validation_alias=AliasChoices("train-sample_data_split", "val_data_split"),
    )
    train_sample_unseen: Share | None = Field(
        None,
        description="a share between 0 and 1",
        validation_alias=AliasChoices("train-sample_unseen", "val_unseen"),
    )
    test_data_split: Share | None = Field(None, description="a share between 0 and 1")
    test_data_unseen: Share | None = Field(None, description="a share between 0 and 1")
    seed: Annotated[int, Field(ge=0)] = Field(1, description="a whole number from 0, such as 1")
    cqt: CQTBlock = Field(CQTBlock(), description="a block such as {hop_size: 0.04}")
    device: Device = Field("auto", description=DEVICES)
    num_workers: Annotated[int, Field(ge=0)] = Field(0, description="a number of processes")

    @model_validator(mode="after")
    def _fits_together(self) -> "ExtractHparams":
        try:
            self.cqt.spec  # noqa: B018 - asked for its error
        except ValueError as error:
            raise ValueError(f"these settings describe no CQT: {error}") from error
        for one, other in (
            ("train_sample_data_split", "test_data_split"),
            ("train_sample_unseen", "test_data_unseen"),
        ):
            total = (getattr(self, one) or 0) + (getattr(self, other) or 0)
            if total > 1:
                raise ValueError(
                    f"{one.replace('train_', 'train-')} and {other} add up to {total:g}; "
                    "together they are at most 1"
                )
        return self

    @property
    def splits(self) -> bool:
        """Whether the recordings are divided into training, validation and test lists."""
        shares = ("train_sample_data_split", "train_sample_unseen", "test_data_split")
        return any(getattr(self, name) is not None for name in (*shares, "test_data_unseen"))

    @property
    def feature_spec(self) -> CQTSpec:
        """The CQT to compute."""
        return self.cqt.spec


def load_extract_hparams(data_dir: str | os.PathLike) -> ExtractHparams:
    """Read ``<data_dir>/hparams.yaml``, the settings of a feature extraction.

    Raises:
        UserError: see :func:`load_hparams`.
    """
    path = Path(data_dir) / EXTRACT_FILE
    values = read_yaml(path)
    alone = {key: values.pop(key) for key in NEWER_CQT_KEYS if key in values}
    if alone:
        block = values.get("cqt", {})
        values["cqt"] = {**block, **alone} if isinstance(block, dict) else block
    return validated(ExtractHparams, values, path)
