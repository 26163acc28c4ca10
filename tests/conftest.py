"""A small world to train in: synthetic works whose versions share a pattern of chroma."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from src.config import remove_config
from src.data.chroma import double_chroma
from src.data.dataset_file import make_label_index, save_dataset_file, ytrue_from_labels
from src.files import save_tensors
from src.models.move import MOVEModel
from src.training.checkpoint import save_move

# The same examples every time, and no limit of time for one of them: machines may be busy.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")

FRAMES = 330
CHUNKS = 5


def version_of(work: int, version: int) -> torch.Tensor:
    """Doubled chroma of one version: the work's pattern, transposed and with noise."""
    pattern = np.random.default_rng(work).random((FRAMES // 10, 12)) ** 3
    noise = np.random.default_rng((work, version)).random((FRAMES, 12))
    chroma = 0.8 * np.repeat(pattern, 10, axis=0) + 0.2 * noise
    return double_chroma(np.roll(chroma, version, axis=1).astype(np.float32))


def write_dataset(path: Path, works: range, versions: int) -> list[str]:
    pairs = [(work, version) for work in works for version in range(versions)]
    labels = [f"work {work}" for work, _ in pairs]
    save_dataset_file(
        path,
        data=[version_of(work, version) for work, version in pairs],
        labels=labels,
        crema_version="0.1.0",
    )
    return labels


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A main path with training files, validation set, label index, teacher and centroids."""
    main = tmp_path_factory.mktemp("prepared")
    labels = []
    for chunk in range(1, CHUNKS + 1):
        works = range(2 * chunk, 2 * chunk + 2)
        labels += write_dataset(main / "data" / f"train_chunk_{chunk}.pt", works, 4)
    held_out = write_dataset(main / "data" / "val_chunk.pt", range(100, 103), 2)
    save_tensors(ytrue_from_labels(held_out), main / "data" / "ytrue_val.pt")
    index = make_label_index(labels)
    save_tensors(index, main / "data" / "red_label_idx.pt")
    torch.manual_seed(0)
    centroids = {number: torch.randn(1, 16000) for number in index.values()}
    save_tensors(centroids, main / "data" / "centroids.pt")
    teacher = MOVEModel()
    save_move(teacher, main / "models" / "model_move.pt", metadata={"crema_version": "0.1.0"})
    return main


@pytest.fixture
def world(prepared, tmp_path) -> Path:
    """The prepared main path, with folders of its own to write to."""
    (tmp_path / "data").symlink_to(prepared / "data")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "model_move.pt").symlink_to(prepared / "models" / "model_move.pt")
    return tmp_path


@pytest.fixture
def small():
    """Options small enough to train within a second."""

    def config(exp_type: str, **changes):
        options = {
            "chunks": CHUNKS,
            "emb_size": 8,
            "batch_size": 8,
            "patch_len": 320,
            "num_of_epochs": 2,
            "learning_rate": 0.001,
        }
        return remove_config(exp_type, options | changes)

    return config


@pytest.fixture
def one_thread():
    """PyTorch on one thread, as where several tests share a processor."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
