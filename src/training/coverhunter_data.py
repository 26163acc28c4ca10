"""From hparams.yaml to the batches of a CoverHunter run: manifests checked, loaders made."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.audio.cqt import CQTSpec
from src.config import Hparams
from src.data.aligned import Alignment
from src.data.chunk_dataset import FeatureStore, check_row
from src.data.chunk_loader import ChunkLoader, make_chunk_loader, multi_length_batches
from src.data.cqt_features import check_spec, read_spec
from src.data.manifest import read_manifest
from src.data.recordings import locate
from src.data.samplers import fitting_batch_size
from src.data.spec_augment import SpecAugment
from src.errors import UserError
from src.training.coverhunter_loop import Batch
from src.training.distributed import Team

TRAIN, SAMPLE, DEV = "train", "train_sample", "dev"
DEBUG_STEPS = 6  # optimizer steps of an epoch with --debug
VALIDATION_SEED = 1_000_003  # apart from those of the training loaders

Row = dict[str, Any]


@dataclass(frozen=True)
class TrainingRows:
    """The recordings of a run.

    Attributes:
        train: lines of ``train_path``.
        validation: lines of ``train_sample_path`` and ``dev_path``, where given.
        spec: the CQT of all of them.
        classes: number of classes that the labels need.
    """

    train: list[Row]
    validation: dict[str, list[Row]]
    spec: CQTSpec
    classes: int


def read_rows(hp: Hparams) -> TrainingRows:
    """Read the manifests of a run and check that they belong together.

    Raises:
        UserError: a manifest is missing or wrong, or recordings have features of different CQTs,
            or of other bins than ``input_dim``.
    """
    if hp.train_path is None:
        raise UserError("hparams.yaml lacks train_path, the list of recordings to train on")
    paths = {TRAIN: hp.train_path, SAMPLE: hp.train_sample_path, DEV: hp.dev_path}
    rows = {name: _read(Path(path)) for name, path in paths.items() if path}
    spec = _common_spec([row for part in rows.values() for row in part])
    check_spec(hp.feature_spec, spec, hp.train_path)
    classes = _classes(hp, {str(paths[name]): part for name, part in rows.items()})
    train = rows.pop(TRAIN)
    return TrainingRows(train, rows, spec, classes)


def _classes(hp: Hparams, parts: Mapping[str, Sequence[Row]]) -> int:
    """Number of classes of the focal loss, enough for all labels."""
    stated = hp.focal.output_dims
    highest = -1
    for name, rows in parts.items():
        for row in rows:
            check_row(row)
            label = row["song_id"]
            if isinstance(stated, int) and label >= stated:
                raise UserError(
                    f"song_id {label} of {row['utt']} in {name} needs ce.output_dims of at least "
                    f"{label + 1}, but it is {stated}; correct it in hparams.yaml or write auto"
                )
            highest = max(highest, label)
    return stated if isinstance(stated, int) else highest + 1


def _read(path: Path) -> list[Row]:
    rows = read_manifest(path, required=("utt", "feat", "song_id"))
    return [{**row, "feat": str(locate(row["feat"], path.parent))} for row in rows]


def _common_spec(rows: Sequence[Mapping[str, Any]]) -> CQTSpec:
    """The CQT of all feature folders."""
    folders = dict.fromkeys(Path(row["feat"]).parent for row in rows)
    found = {folder: read_spec(folder) or CQTSpec() for folder in folders}
    (first, spec), *others = found.items()
    for folder, other in others:
        if other != spec:
            raise UserError(
                f"{folder} has features of {other.describe()}, but {first} of {spec.describe()}; "
                "extract one of them again with the CQT of the other"
            )
    return spec


def _alignment(hp: Hparams) -> Alignment | None:
    if hp.alignment_path is None:
        return None
    from src.retrieval.alignment import read_alignment

    return read_alignment(hp.alignment_path)


class Batches:
    """The batches of a run, as the loop asks for them.

    Args:
        hp: configuration.
        rows: the recordings.
        team: this process and how many there are; each takes its share of the batches.
        debug: a few batches an epoch only.
        targets: what a teacher says of each recording of ``train_path``, by its ``utt``.
    """

    def __init__(
        self,
        hp: Hparams,
        rows: TrainingRows,
        team: Team,
        *,
        debug: bool = False,
        targets: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.hp, self.rows, self.team, self.targets = hp, rows, team, targets
        # A plain file is mapped and read in part, an archive must be unpacked as a whole.
        archives = any(row["feat"].endswith(".npz") for row in rows.train)
        self.store = FeatureStore(
            cache=archives if hp.cache_features is None else hp.cache_features
        )
        self.alignment = _alignment(hp)
        augmentation = hp.spec_augmentation
        self.augment = SpecAugment(augmentation.model_dump()) if augmentation else None
        limits = [hp.steps_per_epoch, DEBUG_STEPS if debug else None]
        self.limit = min((limit for limit in limits if limit), default=None)
        self.loaders = [
            self._train_loader(number, frames) for number, frames in enumerate(hp.chunk_frame)
        ]
        available = len(self.loaders) * min(len(loader) for loader in self.loaders)
        self.count = min(available, self.limit or available)
        """Training batches in an epoch."""
        self.validation = {
            name: self._validation(name, part, debug=debug)
            for name, part in rows.validation.items()
        }
        """For every validation set, a function that returns its batches."""

    def train(self, epoch: int) -> Iterator[Batch]:
        """The batches of an epoch; the same number gives the same batches."""
        batches = multi_length_batches(self.loaders, self.hp.seed, epoch)
        for names, chunks, labels in itertools.islice(batches, self.count):
            if self.targets is None:
                yield chunks, labels
            else:
                yield chunks, labels, torch.stack([self.targets[name] for name in names])

    def _train_loader(self, number: int, chunk_frame: int) -> ChunkLoader:
        hp = self.hp
        return make_chunk_loader(
            self.rows.train,
            chunk_frame=chunk_frame,
            m_per_class=hp.m_per_class,
            batch_size=hp.batch_size,
            seed=hp.seed + number,
            mode=hp.mode,
            augment=self.augment,
            alignment=self.alignment,
            num_workers=hp.num_workers,
            # What a shorter epoch leaves is the beginning of the next.
            max_batches=None if self.limit is None else -(-self.limit // len(hp.chunk_frame)),
            **self._shared(),
        )

    def _validation(
        self, name: str, rows: list[Row], *, debug: bool
    ) -> Callable[[], Iterable[Batch]]:
        """The same crops every time, so that epochs can be compared."""
        hp = self.hp
        m = 1 if name == SAMPLE else hp.m_per_class
        labels = [row["song_id"] for row in rows]
        # A validation set may be smaller than a training batch.
        size = fitting_batch_size(labels, m=m, batch_size=hp.batch_size // m * m)
        alone = len(rows) < size * self.team.size
        loader = make_chunk_loader(
            rows,
            chunk_frame=hp.chunk_frame[0],
            m_per_class=m,
            batch_size=size,
            seed=hp.seed + VALIDATION_SEED,
            mode=hp.mode,
            **{**self._shared(), **({"rank": 0, "world_size": 1} if alone else {})},
        )

        def batches() -> Iterator[Batch]:
            loader.set_epoch(0)
            for _, chunks, labels in itertools.islice(loader, 2 if debug else None):
                yield chunks, labels

        return batches

    def _shared(self) -> dict[str, Any]:
        return {
            "mean_size": self.hp.mean_size,
            "frames_per_second": self.rows.spec.frames_per_second,
            "bins": self.rows.spec.bins,
            "store": self.store,
            "rank": self.team.rank,
            "world_size": self.team.size,
            "pin_memory": self.team.device.type == "cuda",
        }
