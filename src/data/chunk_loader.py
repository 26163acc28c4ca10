"""Batches of chunks for an epoch, of one length or of several at once."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from src.data.aligned import AlignedStarts, Alignment
from src.data.chunk_dataset import Augment, ChunkDataset, FeatureStore, Pick, collate_chunks
from src.data.samplers import MPerClassSampler
from src.errors import UserError

Batch = tuple[list[str], Tensor, Tensor]


class PickBatches(Sampler[list[Pick]]):
    """Turns the lines that a sampler chooses into picks, batch by batch.

    Args:
        sampler: chooses the lines.
        starts: decides where chunks begin; None leaves that to the data set.
    """

    def __init__(self, sampler: MPerClassSampler, starts: AlignedStarts | None = None) -> None:
        self.sampler = sampler
        self.starts = starts

    def __len__(self) -> int:
        return self.sampler.num_batches

    def __iter__(self) -> Iterator[list[Pick]]:
        epoch = self.sampler.epoch
        for number, lines in self.sampler.batches():
            position = number * self.sampler.batch_size
            starts: Sequence[int | None] = [None] * len(lines)
            if self.starts:
                starts = self.starts(lines, epoch=epoch, position=position)
            yield [
                Pick(line, epoch, position + place, start)
                for place, (line, start) in enumerate(zip(lines, starts, strict=True))
            ]


class ChunkLoader(DataLoader):
    """Batches ``(names, chunks (B, chunk_frame, bins), classes (B,))`` of one chunk length.

    Call :meth:`set_epoch` before each epoch. What is drawn depends on seed and epoch alone, not
    on the number of loader processes, which live as long as the loader.
    """

    batch_sampler: PickBatches

    @property
    def chunks(self) -> ChunkDataset:
        """The data set."""
        return self.dataset.chunks

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that is iterated next."""
        self.batch_sampler.sampler.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            yield batch


class _Batches(Dataset):
    """Whole batches, or what is wrong with one: a sentence that is raised in a loader process
    would arrive with that process's traceback in it.
    """

    def __init__(self, chunks: ChunkDataset) -> None:
        self.chunks = chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitems__(self, picks: list[Pick]) -> Batch | UserError:
        try:
            return collate_chunks([self.chunks[pick] for pick in picks])
        except UserError as error:
            return error


def _unchanged(batch: Batch | UserError) -> Batch | UserError:
    return batch


def make_chunk_loader(
    rows: Sequence[Mapping[str, Any]],
    *,
    chunk_frame: int,
    mean_size: int,
    m_per_class: int,
    batch_size: int,
    seed: int = 0,
    mode: str = "random",
    augment: Augment | None = None,
    alignment: Alignment | None = None,
    frames_per_second: float = 25,
    bins: int | None = None,
    store: FeatureStore | None = None,
    num_workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    max_batches: int | None = None,
    pin_memory: bool = False,
) -> ChunkLoader:
    """Data set, sampler and loader of one chunk length; see the parts for the arguments.

    Args:
        seed: loaders of several chunk lengths take different seeds, or all would draw the same
            lines at the same time.
        alignment: shifts between versions: the chunks of a work are then cut where they sound
            alike.
        batch_size: lines in a batch of each of the ``world_size`` processes.

    Raises:
        UserError: too few works or lines for a batch, or a line that cannot be used.
    """
    dataset = ChunkDataset(
        rows,
        chunk_frame=chunk_frame,
        mean_size=mean_size,
        mode=mode,
        augment=augment,
        seed=seed,
        bins=bins,
        store=store,
    )
    sampler = MPerClassSampler(
        dataset.labels,
        m=m_per_class,
        batch_size=batch_size,
        seed=seed,
        rank=rank,
        world_size=world_size,
        max_batches=max_batches,
    )
    starts = None
    if alignment is not None:
        starts = AlignedStarts(
            rows,
            alignment,
            frames=dataset.frames,
            frames_per_second=frames_per_second,
            seed=seed,
        )
    return ChunkLoader(
        _Batches(dataset),
        batch_sampler=PickBatches(sampler, starts),
        collate_fn=_unchanged,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=pin_memory,
        # Otherwise every epoch of a loader would draw from torch's default generator.
        generator=torch.Generator(),
    )


def multi_length_batches(loaders: Sequence[ChunkLoader], seed: int, epoch: int) -> Iterator[Batch]:
    """The batches of an epoch of all loaders: one of each in turn, every time in another order.

    Ends with the shortest loader; loaders over the same lines are equally long. The order within
    a turn is a function of (seed, epoch, turn).

    Args:
        loaders: one for each chunk length; their epoch is set here.
        seed: decides the order.
        epoch: number of the epoch.
    """
    for loader in loaders:
        loader.set_epoch(epoch)
    for turn, batches in enumerate(zip(*loaders, strict=False)):
        order = np.random.default_rng((seed, epoch, turn)).permutation(len(batches))
        for number in order:
            yield batches[number]
