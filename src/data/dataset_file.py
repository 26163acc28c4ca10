"""Re-MOVE's ``.pt`` files: features with labels, label numbers, centroids, ground truth.

Everything is read without trusting it, and checked before it is used: a file that would fail
hours later, or silently spoil a figure, ends in one sentence here.
"""

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from src.data.chroma import CHROMA_ROWS
from src.errors import UserError
from src.files import load_tensors, save_tensors

TEACHER_SIZE = 16000  # embedding size of the network that the centroids come from
_BLOCK = 1024  # rows of an N x N ground truth checked at a time


@dataclass(frozen=True)
class DatasetFile:
    """Features of recordings, in file order.

    Attributes:
        data: per recording a floating-point tensor ``(1, 23, T)``, one frame per 4096 samples at
            44.1 kHz.
        labels: per recording the name of its work.
        crema_version: version of crema that made the features; None if the file does not say.
    """

    data: list[Tensor]
    labels: list[str]
    crema_version: str | None = None

    def __len__(self) -> int:
        return len(self.data)


def save_dataset_file(
    path: str | os.PathLike,
    *,
    data: Sequence[Tensor],
    labels: Sequence[str],
    crema_version: str | None,
) -> None:
    """Write a dataset file, atomically.

    Raises:
        UserError: what is given breaks the rules of :func:`load_dataset_file`, or the file cannot
            be written.
    """
    checked = _check_dataset(path, {"data": list(data), "labels": list(labels)})
    content: dict[str, Any] = {
        "data": [_compact(item) for item in checked.data],
        "labels": checked.labels,
    }
    if crema_version is not None:
        content["crema_version"] = str(crema_version)
    save_tensors(content, path)


def load_dataset_file(path: str | os.PathLike, *, check_values: bool = True) -> DatasetFile:
    """Read a dataset file; the tensors are mapped from disk where the format allows it.

    Args:
        path: the file.
        check_values: look at every value, which reads the whole file; False for a file that was
            checked before.

    Raises:
        UserError: the file is missing, no plain tensor file, or not a dataset: wrong keys, lists
            of unequal length or empty, shapes other than ``(1, 23, T)``, types that are not
            floating point, values that are not finite, labels that are neither text nor whole
            numbers. The sentence names the file and the first bad item.
    """
    return _check_dataset(path, load_tensors(path, mmap=True), check_values=check_values)


def load_label_index(path: str | os.PathLike) -> dict[str, int]:
    """Read ``red_label_idx.pt``: label of a work -> class number from 0.

    Raises:
        UserError: not such a mapping, or two labels share a number.
    """
    content = load_tensors(path)
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} must hold a mapping from labels to class numbers")
    index: dict[str, int] = {}
    owner: dict[int, str] = {}
    for label, number in content.items():
        name = _label(path, label)
        if isinstance(number, Tensor) and number.numel() == 1 and not number.is_floating_point():
            number = int(number)
        if not _is_int(number) or number < 0:
            raise UserError(f"{path}: the class number of label {name!r} must be 0, 1, 2, ...")
        if name in index or owner.setdefault(number, name) != name:
            raise UserError(f"{path}: label {name!r} or its class number {number} occurs twice")
        index[name] = number
    return index


def make_label_index(labels: Sequence[str]) -> dict[str, int]:
    """Class numbers 0, 1, 2, ... for the distinct labels, in sorted order."""
    return {label: number for number, label in enumerate(sorted(set(labels)))}


def number_of_classes(index: Mapping[str, int]) -> int:
    """How many proxies the classes of ``index`` need: the largest number plus one."""
    return max(index.values()) + 1


def load_centroids(path: str | os.PathLike) -> dict[int, Tensor]:
    """Read ``centroids.pt``: class number -> mean teacher embedding ``(1, 16000)``.

    Raises:
        UserError: not such a mapping; the sentence names the first bad entry.
    """
    content = load_tensors(path, mmap=True)
    if not isinstance(content, Mapping) or not content:
        raise UserError(f"{path} must hold a mapping from class numbers to centroids")
    for number, centroid in content.items():
        if not _is_int(number):
            raise UserError(f"{path}: the key {number!r} is not a class number")
        if not isinstance(centroid, Tensor) or tuple(centroid.shape) != (1, TEACHER_SIZE):
            raise UserError(
                f"{path}: the centroid of class {number} must be a tensor (1, {TEACHER_SIZE}), "
                f"not {_describe(centroid)}"
            )
        if not centroid.is_floating_point() or not _all_finite(centroid):
            raise UserError(f"{path}: the centroid of class {number} has values that are no number")
    return dict(content)


def load_ytrue(path: str | os.PathLike) -> Tensor:
    """Read a ground truth ``(N, N)``: 1 where two recordings are versions of one work.

    The tensor stays on disk (mapped) where the format allows it: for Da-TACOS it takes 900 MB.

    Raises:
        UserError: not a square tensor of zeros and ones, or a recording counts as its own version.
    """
    content = load_tensors(path, mmap=True)
    if not isinstance(content, Tensor) or content.ndim != 2 or len(set(content.shape)) != 1:
        raise UserError(f"{path} must hold a square tensor (N, N), not {_describe(content)}")
    for start in range(0, len(content), _BLOCK):
        rows = content[start : start + _BLOCK]
        if not ((rows == 0) | (rows == 1)).all():
            raise UserError(f"{path} must hold only zeros and ones (see row {start} and below)")
    if content.diagonal().any():
        raise UserError(f"{path}: the diagonal must be 0, a recording is no version of itself")
    return content


def ytrue_from_labels(labels: Sequence[Hashable]) -> Tensor:
    """Ground truth ``(N, N)`` as floats: 1 for the same label in another position."""
    numbers: dict[Hashable, int] = {}
    codes = torch.tensor([numbers.setdefault(label, len(numbers)) for label in labels])
    ytrue = (codes[:, None] == codes[None, :]).float()
    return ytrue.fill_diagonal_(0) if len(codes) else ytrue


def _check_dataset(
    path: str | os.PathLike, content: Any, *, check_values: bool = True
) -> DatasetFile:
    if not isinstance(content, Mapping) or not {"data", "labels"} <= content.keys():
        keys = ", ".join(map(str, content)) if isinstance(content, Mapping) else _describe(content)
        raise UserError(
            f"{path} must hold the keys data and labels, but holds: {keys or 'nothing'}"
        )
    data, labels = content["data"], content["labels"]
    if isinstance(labels, Tensor) and labels.ndim == 1:
        labels = labels.tolist()
    if not isinstance(data, list | tuple) or not isinstance(labels, list | tuple):
        raise UserError(f"{path}: data and labels must be lists, one entry per recording")
    if len(data) != len(labels):
        raise UserError(f"{path}: there are {len(data)} features but {len(labels)} labels")
    if not data:
        raise UserError(f"{path} holds no recording")
    version = content.get("crema_version")
    if version is not None and not isinstance(version, str):
        raise UserError(f"{path}: crema_version must be text such as 0.1.0")
    names = [_label(path, label, position) for position, label in enumerate(labels)]
    for position, (item, name) in enumerate(zip(data, names, strict=True)):
        _check_item(path, f"item {position} (label {name!r})", item, check_values)
    return DatasetFile([item.detach() for item in data], names, version)


def _check_item(path: str | os.PathLike, where: str, item: Any, check_values: bool) -> None:
    expected = f"features are floating-point tensors of shape (1, {CHROMA_ROWS}, frames)"
    if not isinstance(item, Tensor) or item.ndim != 3 or item.shape[:2] != (1, CHROMA_ROWS):
        raise UserError(f"{path}: {where} is {_describe(item)}; {expected}")
    if not item.is_floating_point():
        raise UserError(f"{path}: {where} has type {_type_name(item)}; {expected}")
    if item.shape[2] == 0:
        raise UserError(f"{path}: {where} has no frames; leave that recording out")
    if check_values and not _all_finite(item):
        raise UserError(f"{path}: {where} has values that are not finite; extract it again")


def _label(path: str | os.PathLike, label: Any, position: int | None = None) -> str:
    if isinstance(label, str):
        return label
    if _is_int(label):
        return str(label)
    where = "" if position is None else f" of item {position}"
    raise UserError(f"{path}: the label{where} must be text or a whole number, not {label!r}")


def _all_finite(item: Tensor) -> bool:
    # A finite sum proves finite terms without a mask as large as the item.
    return bool(item.sum(dtype=torch.float).isfinite()) or bool(item.isfinite().all())


def _compact(item: Tensor) -> Tensor:
    """A tensor that owns exactly its values: torch.save would write the whole base of a view."""
    item = item.contiguous()
    stored = item.untyped_storage().nbytes()
    return item if stored == item.numel() * item.element_size() else item.clone()


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _type_name(item: Tensor) -> str:
    return str(item.dtype).removeprefix("torch.")


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a {_type_name(value)} tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
