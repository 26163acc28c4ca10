"""From references to a model that is fitted to them, on disk."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from src.errors import UserError
from src.retrieval.recording_windows import Recording2Windows
from src.retrieval.references import References
from src.retrieval.window_networks import CoverHunterNetwork
from src.training.adapt import SHRINKAGE, Gain, apply_map, fit_windows, measure_gain
from src.training.checkpoint import read_metadata, save_move
from src.training.generator_files import write_coverhunter


@dataclass(frozen=True)
class Adapted:
    """What was written.

    Attributes:
        path: the model.
        recordings: that it was fitted to.
        works: of these.
        gain: on works that were left out.
    """

    path: Path
    recordings: int
    works: int
    gain: Gain

    def lines(self) -> list[str]:
        """For a person."""
        gain, interval = self.gain, ""
        if gain.interval is not None:
            interval = f" (95 %: {gain.interval[0]:+.3f} to {gain.interval[1]:+.3f})"
        return [
            f"{self.recordings} recordings of {self.works} works",
            f"works left out of the fit: mAP {gain.before:.3f} before, {gain.after:.3f} after, "
            f"difference {gain.after - gain.before:+.3f}{interval}",
            f"written: {self.path}",
        ]


def adapt_model(
    references: References,
    output: Path,
    *,
    model: Path | None = None,
    shrinkage: float = SHRINKAGE,
) -> Adapted:
    """Fit the model of some references to them and write it; see :mod:`src.training.adapt`.

    Args:
        references: with their works.
        output: a file (Re-MOVE) or a directory (CoverHunter).
        model: where the model of the references is, if it was moved.
        shrinkage: see :func:`src.training.adapt.fit_map`.

    Raises:
        UserError: too few works, another model than that of the references or one that cannot be
            fitted, or the output cannot be written or is the model itself.
    """
    cpu = torch.device("cpu")  # float64 is needed, and there is little to compute
    embedder = Recording2Windows(references.model(model), device=cpu, settings=references.settings)
    references.require_model(embedder)
    source, network = embedder.model_path, embedder.network
    own = {source, source.parent.parent} if isinstance(network, CoverHunterNetwork) else {source}
    if output.resolve() in {path.resolve() for path in own}:
        raise UserError(f"{output} is the model that is fitted; choose another name for the result")
    works = references.works
    found = references.windows_of(range(len(works)), "wide")
    windows = [np.asarray(found[position].embeddings) for position in range(len(works))]
    options = {"shrinkage": shrinkage, "centre": not isinstance(network, CoverHunterNetwork)}
    gain = measure_gain(windows, works, distance=references.distance, **options)
    apply_map(network.model, fit_windows(windows, works, **options))
    if isinstance(network, CoverHunterNetwork):
        write_coverhunter(network.model, output)
    else:
        about = {"recordings": len(works), "works": len(set(works)), "shrinkage": shrinkage}
        metadata = {**read_metadata(source), "adapted_from": source.name, "adapted_to": about}
        save_move(network.model, output, metadata=metadata)
    return Adapted(output, len(works), len(set(works)), gain)
