"""Small sets of recordings with every kind of features, and models too small to be any good."""

from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml

from src.data.cqt_features import encode_cqt
from src.data.manifest import write_manifest
from src.models.coverhunter import CoverHunter
from src.models.move import MOVEModel
from src.training.checkpoint import save_generator, save_move
from tests.retrieval.music import tune

HPARAMS = {
    "input_dim": 96,
    "embed_dim": 16,
    "encoder": {"output_dims": 16, "attention_dim": 16, "num_blocks": 1},
    "ce": {"output_dims": 4, "weight": 1.0},
    "mean_size": 3,
    "chunk_frame": [125],
}
PCP_FRAMES = 340


def pcp(work: int, version: int, noise: float = 2.5) -> np.ndarray:
    """``(T, 12)``: a pattern of the work, transposed, with noise of the version."""
    pattern = np.repeat(np.random.default_rng(work).random((PCP_FRAMES // 10, 12)) ** 3, 10, axis=0)
    own = np.random.default_rng((work, version)).random(pattern.shape)
    return np.roll(pattern + noise * own, version, axis=1).astype(np.float32)


def cqt(work: int, version: int) -> np.ndarray:
    """``(frames, 96)`` dB of 33 s."""
    features = tune(work, 33.0, start_s=2.0 * version)
    own = np.random.default_rng((work, version)).standard_normal(features.shape)
    return (features + 8 * own).clip(-100, 0).astype(np.float32)


def write_features(folder: Path, works: list[int], **more) -> Path:
    """A set whose ``.npz`` files carry both kinds of features under the key ``file``."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, work in enumerate(works):
        name = f"rec{number}.npz"
        np.savez(
            folder / name,
            cqt_u8=encode_cqt(cqt(work, number)),
            crema_pcp=pcp(work, number).astype(np.float16),
        )
        rows.append({"utt": f"rec{number}", "song": f"work {work}", "file": name} | more)
    write_manifest(rows, folder / "dataset.txt")
    return folder / "dataset.txt"


def sound(work: int, version: int, seconds: float = 6.0, rate: int = 16000) -> np.ndarray:
    """Notes of a work as decaying tones: a melody and its fifths, with noise of the version."""
    generator = np.random.default_rng(work)
    time = np.arange(int(0.3 * rate)) / rate
    notes = [
        sum(
            np.sin(2 * np.pi * 220 * 2 ** ((key + above) / 12) * time) * np.exp(-4 * time)
            for above in (0, 7, 12)
        )
        for key in generator.integers(0, 12, int(seconds / 0.3))
    ]
    signal = np.concatenate(notes)
    hiss = np.random.default_rng((work, version)).standard_normal(len(signal))
    return (0.2 * signal + 0.01 * hiss).astype(np.float32)


def write_sounds(folder: Path, works: list[int], seconds: float = 6.0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, work in enumerate(works):
        path = folder / f"rec{number}.wav"
        soundfile.write(path, sound(work, number, seconds), 16000)
        rows.append({"utt": f"rec{number}", "song": f"work {work}", "wav": path.name})
    write_manifest(rows, folder / "dataset.txt")
    return folder / "dataset.txt"


def write_models(folder: Path) -> Path:
    """``model_move.pt``, ``lsr_models/``, ``kd_models/`` and ``coverhunter/``, untrained."""
    torch.manual_seed(3)
    save_move(MOVEModel(emb_size=24), folder / "model_move.pt", metadata={"options": {"loss": 0}})
    for size, name in ((8, "lsr"), (8, "kd")):
        path = folder / f"{name}_models" / f"model_re-move_{name}.pt"
        save_move(MOVEModel(emb_size=size), path, metadata={"options": {"loss": 2}})
    (folder / "lsr_models" / "model_re-move_lsr.state.pt").write_bytes(b"of training")
    write_coverhunter(folder / "coverhunter")
    return folder


def write_coverhunter(folder: Path) -> Path:
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "hparams.yaml").write_text(yaml.safe_dump(HPARAMS), "utf-8")
    save_generator(CoverHunter(HPARAMS), folder / "pt_model" / "g_00000001")
    return folder
