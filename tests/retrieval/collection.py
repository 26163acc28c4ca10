"""A folder of features, a stand-in model that recognises them, and references made of both."""

from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.cqt_features import save_cqt, write_spec
from src.data.manifest import write_manifest
from src.retrieval.recording_windows import Recording2Windows
from src.retrieval.reference_builder import build_references, list_recordings
from tests.retrieval.music import MeanModel, tune

WORKS = 24
CHUNK_FRAME = 250  # 30 s


HALF_DEAF = "half deaf"  # a directory whose model hears the lower half of the bins only


def stand_in(monkeypatch: pytest.MonkeyPatch, *, scale: float = 1.0) -> None:
    """Let every CoverHunter directory hold the stand-in, for which equal spectra are equal."""

    def load(model_dir, epoch=None):
        model = MeanModel(CHUNK_FRAME).eval()
        with torch.no_grad():
            model.scale.mul_(scale)
            if Path(model_dir).name == HALF_DEAF:
                model.scale[len(model.scale) // 2 :] = 0
        return model

    monkeypatch.setattr("src.retrieval.window_networks.load_coverhunter", load)


def save_recording(path: Path, work: int, *, start_s=0.0, seconds=60.0, seed=0) -> Path:
    """Features of a stretch of a work, with noise of their own."""
    features = tune(work, seconds, start_s=start_s)
    noise = np.random.default_rng((seed, work)).standard_normal(features.shape)
    save_cqt((features + 4 * noise).clip(-90, 0).astype(np.float32), path)
    return path


def write_collection(folder: Path, works: range = range(WORKS), versions: int = 2) -> Path:
    """``full.txt`` of works with versions that begin 5 s apart."""
    rows = []
    for work in works:
        for version in range(versions):
            utt = f"w{work:02d}v{version}"
            path = folder / "cqt_feat" / f"{utt}.cqt.npy"
            save_recording(path, work, start_s=5.0 * version, seed=version)
            rows.append({"utt": utt, "song": f"work {work:02d}", "feat": str(path)})
    write_spec(folder / "cqt_feat", MeanModel().feature_spec)
    write_manifest(rows, folder / "full.txt")
    return folder / "full.txt"


def model_dir(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def build(manifest: Path, folder: Path, embedder: Recording2Windows, **options):
    return build_references(embedder, list_recordings(manifest, embedder), folder, **options)
