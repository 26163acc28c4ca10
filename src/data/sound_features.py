"""Sound to the features of several models at once, held in memory and written nowhere."""

import os
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

from src.audio.cqt import Audio2CQT, CQTSpec
from src.audio.crema import Audio2CremaPCP
from src.data.cqt_features import decode_cqt, encode_cqt
from src.data.crema_features import FILES_PER_PASS
from src.data.in_parallel import in_parallel
from src.errors import UserError

Features = CQTSpec | str  # a CQT, or cremaPCP of this version of crema
Sound = tuple[np.ndarray, int]  # (n,) float32 and its sample rate in Hz
Item = TypeVar("Item")


class Sound2Features:
    """Signals -> the features that are wanted; the networks are loaded once.

    A CQT is rounded to half decibels, as the feature files that models are trained on.

    Args:
        wanted: which features.
        device: where to compute.
        workers: recordings transformed at the same time; None uses all cores.
    """

    def __init__(
        self, wanted: Sequence[Features], *, device: torch.device, workers: int | None = None
    ) -> None:
        self.wanted = tuple(dict.fromkeys(wanted))
        self.workers = workers or os.cpu_count() or 1
        self._cqts = {f: Audio2CQT(f, device) for f in self.wanted if isinstance(f, CQTSpec)}
        self._cremas = {f: Audio2CremaPCP(f, device) for f in self.wanted if isinstance(f, str)}

    def __call__(
        self,
        items: Sequence[Item],
        load: Callable[[Item], Sound],
        *,
        names: Sequence[str] | None = None,
        label: str = "features",
        progress: bool = False,
    ) -> dict[Features, list[np.ndarray]]:
        """Features of recordings.

        Args:
            items: what to load.
            load: makes a signal of an item; called in threads.
            names: of the items, for the sentences of errors; None makes them text.
            label: of the progress bar.
            progress: show it.

        Returns:
            For each kind of features a list as long as ``items``; see :func:`decoded` for what is
            in it.

        Raises:
            UserError: an item cannot be loaded or is too short; the first one is named.
        """
        names = list(map(str, items)) if names is None else names

        def half(position: int) -> dict[Features, np.ndarray | torch.Tensor]:
            return self._transformed(load(items[position]), names[position])

        found: dict[Features, list[np.ndarray]] = {features: [] for features in self.wanted}
        with tqdm(total=len(items), desc=label, unit="recording", disable=not progress) as bar:
            for start in range(0, len(items), FILES_PER_PASS):
                block = range(start, min(start + FILES_PER_PASS, len(items)))
                halves, reasons = in_parallel(block, half, workers=self.workers)
                if reasons:
                    raise UserError(next(iter(reasons.values())))
                for features in self._cqts:
                    found[features] += [halves[n][features] for n in range(len(block))]
                for features, crema in self._cremas.items():
                    found[features] += crema.from_features(
                        [halves[n][features] for n in range(len(block))]
                    )
                bar.update(len(block))
        return found

    def _transformed(self, sound: Sound, name: str) -> dict[Features, np.ndarray | torch.Tensor]:
        """The CQTs, and what the networks of crema read."""
        try:
            return {
                **{f: encode_cqt(cqt(*sound)) for f, cqt in self._cqts.items()},
                **{f: crema.features(*sound) for f, crema in self._cremas.items()},
            }
        except ValueError as error:
            raise UserError(f"{name} has no features: {error}") from error


def decoded(features: Features, stored: np.ndarray) -> np.ndarray:
    """What :class:`Sound2Features` keeps, for a model.

    Returns:
        ``(frames, bins)`` float32 dB for a CQT, ``(frames, 12)`` float32 for cremaPCP.
    """
    return decode_cqt(stored) if isinstance(features, CQTSpec) else stored


def describe_features(features: Features) -> str:
    """In words, for a sentence."""
    if isinstance(features, CQTSpec):
        return f"CQT of {features.describe()}"
    return f"cremaPCP {features}"
