"""CoverHunter's hparams.yaml, read and checked: what a model is and how it is trained.

Every field says in its description what it takes; messages are made of that.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from src.audio.cqt import CQTSpec
from src.errors import UserError
from src.yaml_file import BLOCKS_OF_ANY_NAME, read_yaml, validated

HPARAMS_FILE = Path("config") / "hparams.yaml"

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[float, Field(ge=-100, le=0)]
Text = Annotated[str, Field(min_length=1)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]
DEVICES = "auto, cpu, cuda, cuda:N or mps"


class Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class CQTBlock(Block):
    """``cqt:``, the features a model takes."""

    hop_size: Positive = Field(0.04, description="seconds between frames, such as 0.04")
    sample_rate: Count = Field(16000, description="a sample rate in Hz, such as 16000")
    octave_resolution: Count = Field(
        12,
        description="a number of bins, such as 12",
        validation_alias=AliasChoices("octave_resolution", "bins_per_octave"),
    )
    min_freq: Positive = Field(
        32.0,
        description="a frequency in Hz, such as 32",
        validation_alias=AliasChoices("min_freq", "fmin"),
    )
    max_freq: Positive | None = Field(None, description="a frequency in Hz, such as 8000")
    n_bins: Count | None = Field(None, description="a number of bins, such as 96")

    @property
    def spec(self) -> CQTSpec:
        """The CQT that is meant.

        Raises:
            ValueError: the bins do not fit below half the sample rate.
        """
        return CQTSpec(**self.model_dump())


class EncoderBlock(Block):
    """``encoder:``, the conformer."""

    output_dims: Count = Field(128, description="the width of the encoder, such as 128")
    attention_dim: Count = Field(256, description="the width inside the blocks, such as 256")
    num_blocks: Count = Field(6, description="a number of blocks, such as 6")


class FocalBlock(Block):
    """``ce:`` or ``foc:``, the focal loss on the classes."""

    output_dims: Count | Literal["auto"] | None = Field(
        None, description="the number of works in the training set, or auto to count them"
    )
    weight: Weight = Field(1.0, description="a weight, such as 1.0")
    gamma: Weight = Field(2.0, description="a number, such as 2")
    alpha: list[Weight] | None = Field(None, description="a list with a weight for each class")


class TripletBlock(Block):
    """``triplet:``, the triplet loss with hardest examples."""

    margin: Weight = Field(0.3, description="a distance, such as 0.3")
    weight: Weight = Field(0.1, description="a weight; the loss counts above 0.01")


class CenterBlock(Block):
    """``center:``, the centre loss."""

    weight: Weight = Field(0.0, description="a weight; 0 switches the loss off")


class ContrastiveBlock(Block):
    """``contrastive:``, the supervised contrastive loss on cosines; not in the paper."""

    temperature: Positive = Field(0.1, description="a temperature, such as 0.1")
    weight: Weight = Field(0.0, description="a weight; 0 switches the loss off")


class TeacherBlock(Block):
    """``teacher:``, a Re-MOVE model whose embeddings are imitated; not in the paper."""

    path: Text = Field(description="the path of Re-MOVE weights, such as models/model_move.pt")
    weight: Weight = Field(1.0, description="a weight; 0 switches the imitation off")
    relations: Weight = Field(0.0, description="a weight; 0 leaves out relations in the batch")

    @property
    def listens(self) -> bool:
        """Whether the teacher has any weight."""
        return self.weight > 0 or self.relations > 0


class RandomErase(Block):
    """Erased regions: see :class:`src.data.spec_augment.SpecAugment`."""

    prob: Share = Field(0.5, description="a probability between 0 and 1")
    erase_num: Annotated[int, Field(ge=0)] = Field(4, description="a number of regions, such as 4")
    region_size: list[Share] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="a list of two shares, of frames and of bins, such as [0.25, 0.1]",
    )


class RollPitch(Block):
    """Transposed chunks: see :class:`src.data.spec_augment.SpecAugment`."""

    prob: Share = Field(0.5, description="a probability between 0 and 1")
    shift_num: Count = Field(12, description="the number of bins in an octave, such as 12")
    method: Literal["octave", "uniform"] = Field("octave", description="octave or uniform")


class Equalizer(Block):
    """Another microphone or room: see :class:`src.data.spec_augment.SpecAugment`."""

    prob: Share = Field(0.5, description="a probability between 0 and 1")
    depth: Weight = Field(9.0, description="a number of dB, such as 9")


class Noise(Block):
    """A bed of noise: see :class:`src.data.spec_augment.SpecAugment`."""

    prob: Share = Field(0.5, description="a probability between 0 and 1")
    level: list[Level] | None = Field(
        None,
        min_length=2,
        max_length=2,
        description="a list of two levels in dB, such as [-70, -35]",
    )


class SpecAugmentation(Block):
    """``spec_augmentation:``; a part that is left out is not done."""

    random_erase: RandomErase | None = Field(
        None, description="a block such as {prob: 0.5, erase_num: 4}"
    )
    roll_pitch: RollPitch | None = Field(
        None, description="a block such as {prob: 0.5, shift_num: 12}"
    )
    equalizer: Equalizer | None = Field(None, description="a block such as {prob: 0.5, depth: 9}")
    noise: Noise | None = Field(None, description="a block such as {prob: 0.5, level: [-70, -35]}")


class TestSet(Block):
    """A set that is evaluated while training goes on, under a name of its own."""

    __test__ = False  # not a class of tests

    query_path: Text = Field(description="the path of a list of recordings, such as full.txt")
    ref_path: Text = Field(description="the path of a list of recordings, such as full.txt")
    query_in_ref_path: Text | None = Field(None, description="the path of a query_in_ref file")
    every_n_epoch_to_dev: Count = Field(1, description="a number of epochs, such as 1")


class Hparams(Block):
    """What a model is and how it is trained. Paths are relative to the current directory."""

    # The model
    embed_dim: Count = Field(128, description="the size of an embedding, such as 128")
    input_dim: Count = Field(96, description="the number of bins of the features, such as 96")
    encoder: EncoderBlock = Field(EncoderBlock(), description="a block with output_dims and so on")
    ce: FocalBlock | None = Field(None, description="a block with output_dims, weight, gamma")
    foc: FocalBlock | None = Field(None, description="a block with output_dims, weight, gamma")
    triplet: TripletBlock = Field(TripletBlock(), description="a block with margin and weight")
    center: CenterBlock = Field(CenterBlock(), description="a block with weight")
    contrastive: ContrastiveBlock = Field(
        ContrastiveBlock(), description="a block with temperature and weight"
    )
    teacher: TeacherBlock | None = Field(None, description="a block with path and weight")
    pool_type: str | None = Field(None, description="text; it has no effect")

    # What it hears
    cqt: CQTBlock = Field(CQTBlock(), description="a block such as {hop_size: 0.04}")
    data_type: Literal["cqt"] = Field("cqt", description="cqt (nothing else is implemented)")
    chunk_frame: list[Count] = Field(
        [1125, 900, 675],
        min_length=1,
        description="a list of whole numbers, such as [1125, 900, 675]",
    )
    mean_size: Count = Field(3, description="a whole number, such as 3")
    chunk_s: Positive | None = Field(None, description="seconds, such as 135")
    mode: Literal["random", "defined"] = Field("random", description="random or defined")
    spec_augmentation: SpecAugmentation | None = Field(
        None, description="a block with random_erase and roll_pitch"
    )
    alignment_path: Text | None = Field(
        None, description="the path of the alignment.txt that tools.alignment_for_frame wrote"
    )

    # Data
    train_path: Text | None = Field(None, description="the path of a list, such as train.txt")
    train_sample_path: Text | None = Field(None, description="the path of a list of recordings")
    dev_path: Text | None = Field(None, description="the path of a list, such as dev.txt")
    test_sets: dict[str, TestSet] = Field(
        {}, description="blocks with query_path and ref_path, each under its name"
    )

    # Training
    batch_size: Count = Field(64, description="a whole number, such as 64")
    m_per_class: Count = Field(8, description="a whole number that divides batch_size, such as 8")
    num_workers: Annotated[int, Field(ge=0)] = Field(0, description="a number of processes")
    learning_rate: Positive = Field(0.001, description="a number such as 0.001")
    adam_b1: Share = Field(0.8, lt=1, description="a number from 0 up to 1, such as 0.8")
    adam_b2: Share = Field(0.99, lt=1, description="a number from 0 up to 1, such as 0.99")
    weight_decay: Weight = Field(0.01, description="a number such as 0.01")
    lr_warmup_steps: Annotated[int, Field(ge=0)] = Field(
        0, description="a number of first steps in which the rate rises, such as 100; 0 for none"
    )
    lr_decay: Positive = Field(0.99, le=1, description="a factor such as 0.99")
    lr_decay_steps: Count = Field(1000, description="a number of optimizer steps, such as 1000")
    min_lr: Weight = Field(0.0001, description="a number such as 0.0001")
    max_epochs: Count = Field(10000, description="a number of epochs")
    early_stopping_patience: Count = Field(10000, description="a number of epochs, such as 8")
    every_n_epoch_to_save: Count = Field(1, description="a number of epochs, such as 1")
    every_n_epoch_to_dev: Count = Field(1, description="a number of epochs, such as 1")
    keep_checkpoints: Count | None = Field(
        None, description="how many of the newest checkpoints to keep; leave it out to keep all"
    )
    steps_per_epoch: Count | None = Field(
        None, description="a largest number of optimizer steps in an epoch, such as 500"
    )
    start_from: Text | None = Field(
        None, description="the model directory whose weights training starts from"
    )
    fine_epochs: Count | None = Field(
        None, description="a number of epochs for the fine part of coarse-to-fine training"
    )
    seed: Annotated[int, Field(ge=0)] = Field(1234, description="a whole number from 0, e.g. 1234")

    # Machine
    device: Device = Field("auto", description=DEVICES)
    mixed_precision: bool | Literal["auto"] = Field("auto", description="auto, true or false")
    compile: bool = Field(False, description="true or false")
    cache_features: bool | None = Field(
        None, description="true or false: keep features in memory (left out: those in archives)"
    )

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> "Hparams":
        strict = info.context is None or info.context.get("strict", True)
        if strict and self.batch_size % self.m_per_class:
            raise ValueError(
                f"m_per_class must divide batch_size, but {self.batch_size} is no multiple of "
                f"{self.m_per_class}"
            )
        if self.ce and self.foc:
            raise ValueError("ce and foc are two names of the same block; keep one of them")
        try:
            spec = self.cqt.spec
        except ValueError as error:
            raise ValueError(f"the cqt block describes no CQT: {error}") from error
        if self.input_dim != spec.bins:
            raise ValueError(
                f"input_dim is {self.input_dim}, but the cqt block gives {spec.bins} bins; make "
                "them equal"
            )
        computed = self.chunk_frame[0] * self.mean_size / spec.frames_per_second
        if self.chunk_s is None:
            object.__setattr__(self, "chunk_s", computed)
        elif abs(self.chunk_s - computed) > 1e-6 * computed:
            raise ValueError(
                f"chunk_s is {self.chunk_s:g}, but chunk_frame[0] * mean_size / frames per second "
                f"= {self.chunk_frame[0]} * {self.mean_size} / {spec.frames_per_second:g} = "
                f"{computed:g}; correct it or leave it out"
            )
        return self

    @property
    def feature_spec(self) -> CQTSpec:
        """The CQT that the model takes."""
        return self.cqt.spec

    @property
    def frames_per_second(self) -> float:
        """Rate of the features before averaging."""
        return self.feature_spec.frames_per_second

    @property
    def focal(self) -> FocalBlock:
        """``ce`` or ``foc``, whichever is there."""
        return self.ce or self.foc or FocalBlock()

    def to_dict(self) -> dict[str, Any]:
        """What ``CoverHunter(hp)`` takes, and what hparams.yaml may hold: set values only."""
        values = self.model_dump(exclude_none=True, exclude={"test_sets"})
        sets = {name: test.model_dump(exclude_none=True) for name, test in self.test_sets.items()}
        return values | sets


def load_hparams(model_dir: str | os.PathLike, *, strict: bool = True) -> Hparams:
    """Read ``<model_dir>/config/hparams.yaml``.

    Keys that have no effect (the originals' warm-up) are passed over. What is left out takes the
    value of the original's example; ``chunk_s`` is computed.

    Args:
        model_dir: CoverHunter's model directory.
        strict: refuse keys that are not known, and settings that only matter for training. False
            is for using a model that others configured: unknown keys are passed over.

    Raises:
        UserError: the file is missing or no YAML, or a key is unknown, has a wrong value or does
            not match another; one sentence names file, key and what is needed.
    """
    path = Path(model_dir) / HPARAMS_FILE
    values = read_yaml(path)
    known = set(Hparams.model_fields) - {BLOCKS_OF_ANY_NAME}
    tests: dict[str, Any] = {}
    for key in [key for key in values if key not in known]:
        value = values[key]
        if key.startswith("warm"):
            del values[key]
        elif isinstance(value, dict) and {"query_path", "ref_path"} & value.keys():
            tests[key] = values.pop(key)
    alone = {
        key: values.pop(key) for key in TestSet.model_fields if key in values and key not in known
    }
    if alone:
        tests["testset"] = alone
    every = values.get("every_n_epoch_to_dev")  # for test sets without a number of their own
    if every is not None:
        tests = {name: {"every_n_epoch_to_dev": every, **test} for name, test in tests.items()}
    if BLOCKS_OF_ANY_NAME in values:
        raise UserError(
            f"{path}: unknown key {BLOCKS_OF_ANY_NAME}; a test set is a block with query_path and "
            "ref_path under a name of its own"
        )
    return validated(Hparams, {**values, BLOCKS_OF_ANY_NAME: tests}, path, strict=strict)
