"""A small world for CoverHunter: works whose versions share a pattern, and a model directory."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from src.audio.cqt import CQTSpec
from src.data.cqt_features import save_cqt, write_spec
from src.data.manifest import write_manifest

BINS = 24  # two octaves of the CQT below
FRAMES = 100
WORKS, VERSIONS = 6, 4


def features(work: int, version: int, frames: int = FRAMES) -> np.ndarray:
    """Decibels ``(frames, BINS)``: the pattern of the work, with the noise of the version."""
    pattern = np.random.default_rng(work).uniform(-60, 0, (frames // 10 + 1, BINS))
    noise = np.random.default_rng((work, version)).normal(0, 6, (frames, BINS))
    return (np.repeat(pattern, 10, axis=0)[:frames] + noise).clip(-80, 0).astype(np.float32)


def write_rows(folder: Path, name: str, versions: range, works: range = range(WORKS)) -> Path:
    """A manifest with the features that it lists."""
    rows = []
    for work in works:
        for version in versions:
            utt = f"w{work}v{version}"
            path = folder / "cqt_feat" / f"{utt}.cqt.npy"
            save_cqt(features(work, version), path)
            rows.append(
                {
                    "utt": utt,
                    "wav": f"{utt}.wav",
                    "dur_s": FRAMES / 25,
                    "song": f"work {work}",
                    "version": f"v{version}",
                    "feat": str(path),
                    "feat_len": FRAMES,
                    "song_id": work,
                }
            )
    write_manifest(rows, folder / name)
    return folder / name


def make_world(root: Path) -> dict[str, Path]:
    """Manifests by name: ``train``, ``train_sample`` and ``dev``."""

    folder = root / "data"
    parts = {"train": range(2), "train_sample": range(2, 3), "dev": range(3, 4)}
    paths = {name: write_rows(folder, f"{name}.txt", part) for name, part in parts.items()}
    write_spec(folder / "cqt_feat", CQTSpec(n_bins=BINS))
    return paths


def hparams(paths: dict[str, Path], **changes: Any) -> dict[str, Any]:
    """hparams.yaml of a model that trains within a second."""
    values: dict[str, Any] = {
        "input_dim": BINS,
        "embed_dim": 8,
        "encoder": {"output_dims": 8, "attention_dim": 8, "num_blocks": 1},
        "ce": {"output_dims": "auto", "weight": 1.0, "gamma": 2},
        "cqt": {"n_bins": BINS},
        "chunk_frame": [20, 16],
        "mean_size": 3,
        "spec_augmentation": {"roll_pitch": {"prob": 0.5, "shift_num": 12}},
        "train_path": str(paths["train"]),
        "train_sample_path": str(paths["train_sample"]),
        "dev_path": str(paths["dev"]),
        "batch_size": 4,
        "m_per_class": 2,
        "learning_rate": 0.005,
        "lr_decay_steps": 3,
        "max_epochs": 2,
        "device": "cpu",
        "mixed_precision": False,
        "unseen": {"query_path": str(paths["dev"]), "ref_path": str(paths["train"])},
    }
    return values | changes


def write_model_dir(folder: Path, values: dict[str, Any]) -> Path:
    """A model directory with a configuration and nothing else."""
    path = folder / "config" / "hparams.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(values), "utf-8")
    return folder
