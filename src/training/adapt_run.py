"""From recordings and a Re-MOVE model to a model that is fitted to them, on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from src.data.chroma import double_chroma
from src.data.crema_features import CACHE_FOLDER, extract_collection
from src.data.recordings import Recording
from src.errors import UserError
from src.models.embed import embed_tracks
from src.retrieval.window_networks import MoveNetwork
from src.training.adapt import SHRINKAGE, Gain, apply_map, fit_map, measure_gain
from src.training.checkpoint import read_metadata, save_move


@dataclass(frozen=True)
class Adapted:
    """What was written.

    Attributes:
        path: the model.
        recordings: that it was fitted to.
        works: of these.
        gain: on works that were left out.
        failures: recordings that could not be used -> why.
    """

    path: Path
    recordings: int
    works: int
    gain: Gain
    failures: dict[str, str]

    def lines(self) -> list[str]:
        """For a person."""
        gain = self.gain
        interval = "" if gain.interval is None else (
            f" (95 %: {gain.interval[0]:+.3f} to {gain.interval[1]:+.3f})"
        )  # fmt: skip
        return [
            f"{self.recordings} recordings of {self.works} works",
            f"works left out of the fit: mAP {gain.before:.3f} before, {gain.after:.3f} after, "
            f"difference {gain.after - gain.before:+.3f}{interval}",
            f"written: {self.path}",
        ]


def adapt_model(
    model_path: Path,
    recordings: Sequence[Recording],
    output: Path,
    *,
    device: torch.device,
    workers: int = 1,
    shrinkage: float = SHRINKAGE,
    progress: bool = False,
) -> Adapted:
    """Fit a model to recordings and write it; see :mod:`src.training.adapt`.

    cremaPCP of sound is kept beside the output.

    Raises:
        UserError: the model is none of Re-MOVE's or cannot be fitted, too few works, or the output
            cannot be written.
    """
    if not model_path.is_file():
        raise UserError(f"{model_path} is no file; a Re-MOVE model (.pt) is needed here")
    network = MoveNetwork(model_path, device)
    features = extract_collection(
        recordings,
        cache=output.parent / CACHE_FOLDER,
        crema_version=network.crema_version,
        device=device,
        workers=workers,
        progress=progress,
    )
    works = [recording.work for recording in features.recordings]
    tracks = (double_chroma(features.load(position)) for position in range(len(works)))
    embeddings = embed_tracks(network.model, tracks, device=device).double().numpy()
    gain = measure_gain(embeddings, works, distance=network.distance, shrinkage=shrinkage)
    apply_map(network.model, fit_map(embeddings, works, shrinkage=shrinkage))
    fitted = {"recordings": len(works), "works": len(set(works)), "shrinkage": shrinkage}
    metadata = {**read_metadata(model_path), "adapted_from": model_path.name, "adapted_to": fitted}
    save_move(network.model, output, metadata=metadata)
    return Adapted(output, len(works), len(set(works)), gain, features.failures)
