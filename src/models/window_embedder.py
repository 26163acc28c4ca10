"""Features of recordings of any length -> one embedding per window of ``chunk_s`` seconds."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import nn

from src.audio.cqt import mean_frames
from src.data.windows import window_starts
from src.device import autocast

SILENCE_DB = -100.0  # what fills a window beyond the end of the recording, as in training
FRAMES_PER_SECOND = 25.0


class Feature2Embeddings:
    """Cuts features into windows and embeds them, many windows at a time.

    Windows of several recordings share a batch. A window that the recording does not fill is
    completed with -100 dB and then averaged, as the model has seen it in training.

    Args:
        model: network from ``(B, T, bins)`` dB, averaged over ``mean_size`` frames, to ``(B, d)``;
            its attributes ``mean_size`` (1 if absent) and ``feature_spec`` (25 frames a second if
            absent) are read. It is put into eval mode for each call and left in the mode it was
            in.
        chunk_s: length of a window in seconds.
        hop_s: distance between windows in seconds; None makes it ``chunk_s``.
        keep_tail: also embed what remains at the end and does not fill a window.
        device: where the model is; None takes that of its parameters.
        batch_size: windows computed together.
        amp: mixed precision.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        chunk_s: float,
        hop_s: float | None = None,
        keep_tail: bool = False,
        device: torch.device | None = None,
        batch_size: int = 64,
        amp: bool = False,
    ) -> None:
        self.model = model
        self.mean_size = int(getattr(model, "mean_size", 1))
        spec = getattr(model, "feature_spec", None)
        self.frames_per_second = spec.frames_per_second if spec else FRAMES_PER_SECOND
        self.bins: int | None = spec.bins if spec else getattr(model, "input_dim", None)
        self.chunk_s = float(chunk_s)
        self.hop_s = self.chunk_s if hop_s is None else float(hop_s)
        self.keep_tail = keep_tail
        self.batch_size = batch_size
        self.amp = amp
        if device is None:
            device = next((p.device for p in model.parameters()), None)
        self.device = torch.device(device or "cpu")
        self.window_frames = round(self.chunk_s * self.frames_per_second)
        if self.window_frames < self.mean_size or self.hop_s <= 0 or batch_size < 1:
            raise ValueError(
                f"windows of {chunk_s} s every {hop_s} s in batches of {batch_size} cannot be cut"
            )

    def __call__(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Embed one recording.

        Args:
            features: ``(frames, bins)`` floats in dB, not averaged.

        Returns:
            ``(W, d)`` float32 embeddings and ``(W,)`` float64 starts of the windows in seconds.

        Raises:
            ValueError: no frame, another number of bins than the model's, or NaN or infinity.
        """
        return next(self.embed_features([features]))

    def embed_features(
        self, recordings: Iterable[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Embed recordings one after the other; what :meth:`__call__` returns, for each.

        Only the windows of the batch being filled are held, so the recordings may be a generator
        over files.
        """
        starts: list[list[int]] = []

        def cut() -> Iterator[tuple[np.ndarray, list[int]]]:
            for features in recordings:
                starts.append(self.starts(len(features)))
                yield features, starts[-1]

        for number, embeddings in enumerate(self.embed_windows(cut())):
            seconds = np.asarray(starts[number], dtype=np.float64) / self.frames_per_second
            yield embeddings, seconds

    def starts(self, frames: int) -> list[int]:
        """First frame of each window of a recording of so many frames."""
        starts_s = window_starts(
            frames / self.frames_per_second,
            chunk_s=self.chunk_s,
            hop_s=self.hop_s,
            keep_tail=self.keep_tail,
        )
        return [int(self.frames_per_second * start_s) for start_s in starts_s]

    @torch.inference_mode()
    def embed_windows(
        self, recordings: Iterable[tuple[np.ndarray, list[int]]]
    ) -> Iterator[np.ndarray]:
        """Embed the windows that begin at given frames.

        Args:
            recordings: features ``(frames, bins)`` and first frames of the windows, for each
                recording.

        Yields:
            ``(W, d)`` float32 for each recording, in order.

        Raises:
            ValueError: see :meth:`__call__`; also a recording without a window, or a window that
                begins after the end.
        """
        waiting: list[np.ndarray] = []  # windows not yet embedded, (T, bins) each
        sizes: list[int] = []  # windows of the recordings not yet returned
        ready: list[np.ndarray] = []  # embeddings not yet returned
        for features, starts in recordings:
            waiting.extend(self._windows(features, starts))
            sizes.append(len(starts))
            while len(waiting) >= self.batch_size:
                ready.extend(self._embed(waiting[: self.batch_size]))
                del waiting[: self.batch_size]
            while sizes and len(ready) >= sizes[0]:
                yield _take(ready, sizes)
        if waiting:
            ready.extend(self._embed(waiting))
        while sizes:
            yield _take(ready, sizes)

    def _windows(self, features: np.ndarray, starts: list[int]) -> list[np.ndarray]:
        """Averaged windows ``(T, bins)`` float32."""
        features = np.asarray(features)
        if features.ndim != 2 or 0 in features.shape:
            raise ValueError(f"features must be frames by bins, not of shape {features.shape}")
        if self.bins is not None and features.shape[1] != self.bins:
            raise ValueError(f"the features have {features.shape[1]} bins, the model {self.bins}")
        if not starts:
            raise ValueError("a recording needs at least one window")
        windows = []
        for start in starts:
            if not 0 <= start < len(features):
                raise ValueError(
                    f"a window begins at frame {start}, but there are {len(features)} frames"
                )
            window = np.asarray(features[start : start + self.window_frames], dtype=np.float32)
            missing = self.window_frames - len(window)
            if missing:
                window = np.pad(window, ((0, missing), (0, 0)), constant_values=SILENCE_DB)
            if not np.isfinite(window).all():
                raise ValueError("the features hold NaN or infinity")
            windows.append(mean_frames(window, self.mean_size))
        return windows

    def _embed(self, windows: list[np.ndarray]) -> list[np.ndarray]:
        """Embeddings ``(d,)`` of a batch of averaged windows."""
        batch = torch.from_numpy(np.stack(windows)).to(self.device)  # (B, T, bins)
        was_training = self.model.training
        self.model.eval()
        try:
            with autocast(self.device, enabled=self.amp):
                embeddings = self.model(batch)  # (B, d)
        finally:
            self.model.train(was_training)
        return list(embeddings.float().cpu().numpy())


def _take(ready: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    size = sizes.pop(0)
    embeddings = np.stack(ready[:size])
    del ready[:size]
    return embeddings
