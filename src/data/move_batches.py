"""Training batches for MOVE and Re-MOVE: patches of recordings, by clique or one by one.

Every random choice is a function of (seed, epoch, mini-epoch, item), so that a resumed run draws
what the uninterrupted one would have drawn, with any number of loader workers.
"""

import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from src.config import CLIQUE_LOSSES
from src.data.augment import Augmenter, ChromaAugmenter, random_start
from src.data.chroma import CHROMA_ROWS, crop_frames, pad_frames
from src.data.dataset_file import load_dataset_file
from src.data.strong_augment import StrongAugmenter
from src.errors import UserError

MINI_EPOCHS = 4
PER_CLIQUE = 4  # recordings that a clique gives to a batch
AUGMENTERS = (None, ChromaAugmenter(), StrongAugmenter())  # of ``--data_aug``, by number
MOST_VISITS = 4  # how often a large clique is drawn in a mini-epoch

_ORDER, _ITEM = 0, 1  # streams of random numbers: order of the batches, choices for an item


class Recordings:
    """Features and class numbers of one or more dataset files; the features stay on disk.

    Args:
        files: dataset files.
        label_index: label -> class number.

    Attributes:
        data: features ``(1, 23, T)``.
        classes: class numbers.

    Raises:
        UserError: a file is wrong, or has a label that the index does not know.
    """

    def __init__(self, files: Sequence[str | os.PathLike], label_index: Mapping[str, int]) -> None:
        self.files = [Path(path) for path in files]
        self.data: list[Tensor] = []
        self.classes: list[int] = []
        for path in self.files:
            content = load_dataset_file(path)
            unknown = next((name for name in content.labels if name not in label_index), None)
            if unknown is not None:
                raise UserError(
                    f"{path}: label {unknown!r} has no class number; remake red_label_idx.pt "
                    "from these training files, or remove it"
                )
            self.data += content.data
            self.classes += [label_index[name] for name in content.labels]

    def __len__(self) -> int:
        return len(self.data)

    # A worker process that does not inherit memory opens the files itself instead of being sent
    # all features.
    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "classes": self.classes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.data = [
            item for path in self.files for item in load_dataset_file(path, check_values=False).data
        ]


class _Draws:
    """The random choices for one item of one mini-epoch."""

    def __init__(self, *key: int) -> None:
        seeds = np.random.SeedSequence(key).generate_state(2, np.uint64)
        self.numpy = np.random.Generator(np.random.PCG64(seeds[0]))
        self.torch = torch.Generator().manual_seed(int(seeds[1] >> np.uint64(1)))


class _PatchDataset(Dataset):
    """What both kinds of data set share: how a patch is cut, and where its choices come from.

    Args:
        recordings: features with class numbers.
        patch_len: length of a patch in frames.
        augmenter: cuts and changes a patch, or None.
        key: numbers that, with the number of an item, decide all its random choices.
    """

    def __init__(
        self,
        recordings: Recordings,
        *,
        patch_len: int,
        augmenter: Augmenter | None = None,
        key: Sequence[int] = (0,),
    ) -> None:
        self.recordings = recordings
        self.patch_len = patch_len
        self.augmenter = augmenter
        self.key = tuple(key)

    def _draws(self, item: int) -> _Draws:
        return _Draws(*self.key, _ITEM, item)

    def _fill(self, patch: Tensor, recording: int, draws: _Draws) -> None:
        """Write a patch of a recording into ``(1, 23, patch_len)``."""
        chroma = self.recordings.data[recording]
        if self.augmenter is None:
            start = random_start(chroma.shape[-1], self.patch_len, draws.numpy)
            patch.copy_(crop_frames(chroma, start, self.patch_len))
        else:
            cut = self.augmenter.cut(
                chroma, self.patch_len, decisions=draws.torch, frame_draws=draws.numpy
            )
            patch.copy_(pad_frames(cut, self.patch_len))


class InstanceDataset(_PatchDataset):
    """One patch of each recording. Items: ``(1, 1, 23, patch_len)`` and class numbers ``(1,)``."""

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        patches = torch.empty(1, 1, CHROMA_ROWS, self.patch_len)
        self._fill(patches[0], item, self._draws(item))
        return patches, torch.tensor([self.recordings.classes[item]])


class CliqueDataset(_PatchDataset):
    """Four patches of a clique. Items: ``(4, 1, 23, patch_len)`` and class numbers ``(4,)``.

    A label with one recording is left out, one with 2 to 5 is an item once, with 6 to 9 twice,
    with 10 to 13 three times, with more four times. Two recordings a, b are given as a b a b;
    three all appear, one of them twice; of more, four different ones are drawn. Each of the four
    is augmented and cropped on its own.

    Attributes:
        cliques: per item the numbers of all recordings of its label.
    """

    def __init__(self, recordings: Recordings, **options: Any) -> None:
        super().__init__(recordings, **options)
        members: dict[int, list[int]] = {}
        for number, label in enumerate(recordings.classes):
            members.setdefault(label, []).append(number)
        self.cliques = [clique for clique in members.values() for _ in range(_visits(len(clique)))]

    def __len__(self) -> int:
        return len(self.cliques)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        clique, draws = self.cliques[item], self._draws(item)
        patches = torch.empty(PER_CLIQUE, 1, CHROMA_ROWS, self.patch_len)
        for patch, recording in zip(patches, _four_of(clique, draws.numpy), strict=True):
            self._fill(patch, recording, draws)
        return patches, torch.full((PER_CLIQUE,), self.recordings.classes[clique[0]])


def collate(items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Join items into chroma ``(B, 1, 23, patch_len)`` and class numbers ``(B,)``."""
    patches, labels = zip(*items, strict=True)
    return torch.cat(patches), torch.cat(labels)


def make_loader(
    files: Sequence[str | os.PathLike],
    *,
    label_index: Mapping[str, int],
    loss: int,
    batch_size: int,
    patch_len: int,
    augment: int | Augmenter,
    seed: int,
    epoch: int,
    mini_epoch: int,
    num_workers: int = 0,
) -> DataLoader:
    """Batches of one mini-epoch, shuffled; an incomplete last batch is dropped.

    A mini-epoch with fewer items than a batch has no batches.

    Args:
        files: dataset files of this mini-epoch; may be none.
        label_index: label -> class number.
        loss: number of the loss: 0, 3 and 4 draw ``batch_size // 4`` cliques of four recordings,
            the others single recordings.
        batch_size: recordings in a batch.
        patch_len: frames of a patch; shorter recordings are followed by silence.
        augment: number of ``--data_aug`` (0: no augmentation), or an augmenter.
        seed, epoch, mini_epoch: decide all random choices, together.
        num_workers: processes that prepare batches; the batches do not depend on it.

    Returns:
        loader of chroma ``(B, 1, 23, patch_len)`` in single precision and labels ``(B,)`` int64.

    Raises:
        UserError: a file is wrong, a label unknown, or a batch too small for one clique.
    """
    augmenter = AUGMENTERS[augment] if isinstance(augment, int) else augment
    key = (seed, epoch, mini_epoch)
    recordings = Recordings(files, label_index)
    options = {"patch_len": patch_len, "augmenter": augmenter, "key": key}
    if loss in CLIQUE_LOSSES:
        dataset: _PatchDataset = CliqueDataset(recordings, **options)
        items_per_batch = batch_size // PER_CLIQUE
    else:
        dataset = InstanceDataset(recordings, **options)
        items_per_batch = batch_size
    if items_per_batch < 1:
        raise UserError(f"batch size {batch_size} is too small: one clique is four recordings")
    draws = _Draws(*key, _ORDER)
    order = draws.numpy.permutation(len(dataset)).tolist()
    whole = len(order) // items_per_batch * items_per_batch
    batches = [order[at : at + items_per_batch] for at in range(0, whole, items_per_batch)]
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=num_workers,
        generator=draws.torch,  # otherwise every loader would draw from torch's default generator
    )


def chunk_order(chunks: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Which training files (numbered from 1) each of the four mini-epochs of an epoch reads."""
    key = np.random.SeedSequence((seed, epoch)).generate_state(1)
    return split_chunks(chunks, random.Random(int(key[0])))


def split_chunks(chunks: int, shuffler: random.Random) -> list[list[int]]:
    """Shuffle the files into four groups of equal size; the last files join the fourth group.

    Of the usual 17 files, 16 are shuffled into groups of four and number 17 always goes with the
    fourth.
    """
    size = chunks // MINI_EPOCHS
    numbers = list(range(1, size * MINI_EPOCHS + 1))
    shuffler.shuffle(numbers)
    groups = [numbers[at * size : (at + 1) * size] for at in range(MINI_EPOCHS)]
    groups[-1] += range(size * MINI_EPOCHS + 1, chunks + 1)
    return groups


def _visits(clique_size: int) -> int:
    if clique_size < 2:
        return 0
    return min((clique_size - 2) // 4 + 1, MOST_VISITS)


def _four_of(clique: Sequence[int], draws: np.random.Generator) -> list[int]:
    if len(clique) == 2:
        return [*clique, *clique]
    chosen = draws.permutation(clique)[:PER_CLIQUE].tolist()
    if len(chosen) < PER_CLIQUE:
        chosen.append(chosen[draws.integers(len(chosen))])
    return chosen
