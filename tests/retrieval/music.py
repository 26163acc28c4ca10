"""A stand-in for a trained model, and features of works whose versions it recognises."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from src.audio.cqt import CQTSpec
from src.data.cqt_features import save_cqt
from src.data.manifest import write_manifest

BINS = 96


class MeanModel(nn.Module):
    """``(B, T, 96)`` -> mean spectrum ``(B, 96)``, centred: two equal chunks are equal."""

    mean_size = 3

    def __init__(self, chunk_frame: int = 25) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(BINS))
        self.hparams = {"chunk_frame": [chunk_frame], "device": "cpu"}
        self.feature_spec = CQTSpec()
        self.batches: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(x))
        mean = x.mean(dim=1)
        return (mean - mean.mean(dim=1, keepdim=True)) * self.scale


def tune(work: int, seconds: float, *, start_s: float = 0.0, step_s: float = 1.0) -> np.ndarray:
    """``(frames, 96)`` dB: a spectrum of its own for every ``step_s`` of the work."""
    frames = np.arange(round(25 * start_s), round(25 * (start_s + seconds)))
    parts = (frames / 25 / step_s).astype(int)
    spectra = {p: np.random.default_rng((work, int(p))).uniform(-80, 0, BINS) for p in set(parts)}
    return np.stack([spectra[part] for part in parts]).astype(np.float32)


def write_set(folder: Path, versions: list[tuple[int, float, float]], *, noise_db=2.0) -> Path:
    """A feature folder with ``full.txt``: (work, start in the work, seconds) of each recording."""
    rows = []
    generator = np.random.default_rng(7)
    for number, (work, start_s, seconds) in enumerate(versions):
        features = tune(work, seconds, start_s=start_s)
        features += noise_db * generator.standard_normal(features.shape).astype(np.float32)
        feat = folder / "cqt_feat" / f"rec{number}.cqt.npy"
        save_cqt(features, feat)
        rows.append({
            "utt": f"rec{number}", "dur_s": seconds, "song": f"Work {work}", "version": "v",
            "feat": str(feat), "feat_len": len(features), "song_id": work,
        })  # fmt: skip
    write_manifest(rows, folder / "full.txt")
    return folder / "full.txt"


def rewrite(path: Path, change) -> None:
    """Apply ``change`` to every line of a manifest."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    write_manifest([change(dict(row)) for row in rows], path)
