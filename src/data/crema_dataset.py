"""Re-MOVE's data files from cremaPCP: the benchmark, and training files split by work."""

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path

from src.data.chroma import double_chroma
from src.data.crema_features import FeatureSet
from src.data.dataset_file import make_label_index, save_dataset_file, ytrue_from_labels
from src.errors import UserError
from src.files import save_tensors

BENCHMARK_FILE = "benchmark_crema.pt"
BENCHMARK_YTRUE = "ytrue_benchmark.pt"
VALIDATION_FILE = "val_chunk.pt"
VALIDATION_YTRUE = "ytrue_val.pt"
LABEL_INDEX = "red_label_idx.pt"


def write_benchmark(features: FeatureSet, folder: Path) -> list[Path]:
    """Write ``benchmark_crema.pt`` and ``ytrue_benchmark.pt``; returns their paths."""
    everything = range(len(features.recordings))
    return [
        _write_part(features, everything, folder / BENCHMARK_FILE),
        _write_ytrue(features, everything, folder / BENCHMARK_YTRUE),
    ]


def write_training(
    features: FeatureSet,
    folder: Path,
    *,
    chunk_name: str = "train_chunk",
    chunks: int = 17,
    validation_share: float = 0.1,
    seed: int = 0,
) -> list[Path]:
    """Write training chunks, validation file, ground truth and class numbers.

    A work is on one side only, with all its versions, and within one chunk. Works with a single
    version are of no use for validation and go to training.

    Args:
        features: what to split.
        folder: where to write.
        chunk_name: the files are ``<chunk_name>_1.pt`` and so on.
        chunks: number of training files.
        validation_share: share of the works with several versions that is kept for validation.
        seed: of the split.

    Returns:
        The files, training chunks first.

    Raises:
        UserError: there are too few works, or a file cannot be written.
    """
    training, validation = split_works(
        [r.work for r in features.recordings], validation_share=validation_share, seed=seed
    )
    return write_split(
        features, training, validation, folder, chunk_name=chunk_name, chunks=chunks, seed=seed
    )


def write_split(
    features: FeatureSet,
    training: Sequence[int],
    validation: Sequence[int],
    folder: Path,
    *,
    chunk_name: str = "train_chunk",
    chunks: int = 17,
    seed: int = 0,
) -> list[Path]:
    """The same for a split that is known, by positions of recordings.

    Raises:
        UserError: fewer works for training than chunks, or a file cannot be written.
    """
    groups = group_works([features.recordings[i].work for i in training], chunks, seed=seed)
    paths = [
        _write_part(features, [training[i] for i in group], folder / f"{chunk_name}_{number}.pt")
        for number, group in enumerate(groups, start=1)
    ]
    paths.append(_write_part(features, validation, folder / VALIDATION_FILE))
    paths.append(_write_ytrue(features, validation, folder / VALIDATION_YTRUE))
    index = make_label_index([features.recordings[i].work for i in training])
    save_tensors(index, folder / LABEL_INDEX)
    return [*paths, folder / LABEL_INDEX]


def split_by_name(features: FeatureSet, kept: Collection[str]) -> tuple[list[int], list[int]]:
    """Positions of the recordings for training, and of those that are ``kept`` for validation.

    Raises:
        UserError: one side is empty, or a work is on both.
    """
    sides: tuple[list[int], list[int]] = ([], [])
    for position, recording in enumerate(features.recordings):
        sides[recording.name in kept].append(position)
    works = [{features.recordings[i].work for i in side} for side in sides]
    if not all(sides):
        raise UserError("training and validation need recordings each, but all are on one side")
    if both := sorted(works[0] & works[1]):
        raise UserError(
            f"{len(both)} works are in training and in validation, such as {both[0]}; what is "
            "learnt by heart cannot be validated: leave them out of one"
        )
    return sides


def split_works(
    works: Sequence[str], *, validation_share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Positions of the recordings for training and for validation; no work is on both sides.

    Raises:
        UserError: fewer than two works have several versions.
    """
    counts = Counter(works)
    several = sorted(work for work, count in counts.items() if count > 1)
    if len(several) < 2:
        raise UserError(
            f"training needs at least 2 works with 2 versions each, one of them for validation; "
            f"there is {len(several)} among {len(works)} recordings"
        )
    random.Random(seed).shuffle(several)
    kept = min(max(1, round(validation_share * len(several))), len(several) - 1)
    chosen = set(several[:kept])
    training = [i for i, work in enumerate(works) if work not in chosen]
    validation = [i for i, work in enumerate(works) if work in chosen]
    return training, validation


def group_works(works: Sequence[str], groups: int, *, seed: int) -> list[list[int]]:
    """Positions of the recordings in groups of nearly equal size; a work stays together.

    Raises:
        UserError: fewer works than groups.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for position, work in enumerate(works):
        members[work].append(position)
    if len(members) < groups:
        raise UserError(
            f"{groups} training files need at least {groups} works, but there are {len(members)}; "
            f"use --chunks {len(members)} here and in training"
        )
    order = sorted(members)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda work: -len(members[work]))  # largest first keeps the groups even
    out: list[list[int]] = [[] for _ in range(groups)]
    for work in order:
        min(out, key=len).extend(members[work])
    return [sorted(group) for group in out]


def lonely_works(features: FeatureSet) -> int:
    """How many works have a single version: nothing can be found for them."""
    counts = Counter(recording.work for recording in features.recordings)
    return sum(count == 1 for count in counts.values())


def _write_part(features: FeatureSet, positions: Sequence[int], path: Path) -> Path:
    save_dataset_file(
        path,
        data=[double_chroma(features.load(i)) for i in positions],
        labels=[features.recordings[i].work for i in positions],
        crema_version=features.crema_version,
    )
    return path


def _write_ytrue(features: FeatureSet, positions: Sequence[int], path: Path) -> Path:
    save_tensors(ytrue_from_labels([features.recordings[i].work for i in positions]), path)
    return path
