"""CoverHunter imitating a Re-MOVE teacher."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.losses import imitation_loss, relation_loss
from src.models.move import MOVEModel
from src.training import teacher as teacher_module
from src.training.checkpoint import save_move
from src.training.coverhunter import train_coverhunter
from src.training.teacher import teacher_targets
from tests.training.coverhunter_world import hparams, make_world, write_model_dir

CPU = torch.device("cpu")


def with_features(rows: list[dict], folder: Path, key: str = "crema_pcp_020") -> list[dict]:
    """The rows with cremaPCP; recordings of one work play the same in different keys."""
    result = []
    for number, row in enumerate(rows):
        pattern = np.random.default_rng(row["song_id"]).random((34, 12)) ** 3
        pcp = np.roll(np.repeat(pattern, 10, axis=0), number % 12, axis=1).astype(np.float16)
        path = folder / f"{row['utt']}.npz"
        np.savez(path, **{key: pcp})
        result.append({**row, "features": str(path)})
    return result


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "model.pt"
    torch.manual_seed(0)
    save_move(MOVEModel(16), path, metadata={"crema_version": "0.1.0"})
    return path


@pytest.fixture
def rows(tmp_path) -> list[dict]:
    plain = [{"utt": f"u{i}", "song_id": i // 2} for i in range(12)]
    return with_features(plain, tmp_path)


def test_loss_is_one_minus_cosine_and_leaves_the_teacher_alone():
    a = torch.tensor([[3.0, 4.0], [1.0, 0.0]], requires_grad=True)
    b = torch.tensor([[4.0, 3.0], [0.0, 2.0]], requires_grad=True)
    loss = imitation_loss(a, b)
    assert float(loss.detach()) == pytest.approx((1 - 24 / 25 + 1) / 2)
    loss.backward()
    assert a.grad is not None
    assert b.grad is None


def test_relations_compare_all_pairs_of_a_batch_from_its_mean():
    generator = torch.Generator().manual_seed(1)
    a = torch.randn(5, 3, generator=generator, requires_grad=True)
    b = torch.randn(5, 4, generator=generator, requires_grad=True)
    total = 0.0
    for i in range(5):
        for j in range(5):
            p, q = (a.detach()[k] - a.detach().mean(0) for k in (i, j))
            here = float(p @ q / (p.norm() * q.norm()))
            there = float(torch.cosine_similarity(b.detach()[i], b.detach()[j], dim=0))
            total += (here - there) ** 2
    loss = relation_loss(a, b)
    assert float(loss.detach()) == pytest.approx(total / 25, rel=1e-5)
    loss.backward()
    assert a.grad is not None
    assert b.grad is None


def test_relations_see_what_differs_in_vectors_that_point_nearly_the_same_way():
    generator = torch.Generator().manual_seed(2)
    a = torch.randn(6, 3, generator=generator)
    assert float(relation_loss(a + 1000, a - a.mean(0))) == pytest.approx(0, abs=1e-4)


def test_targets_are_unit_vectors_near_for_versions_of_one_work(rows, weights):
    targets = teacher_targets(rows, weights, size=6, device=CPU)
    stacked = torch.stack([targets[row["utt"]] for row in rows])
    assert stacked.shape == (12, 6)
    torch.testing.assert_close(stacked.norm(dim=1), torch.ones(12))
    cosines = stacked @ stacked.T
    same = torch.tensor([[i // 2 == j // 2 and i != j for j in range(12)] for i in range(12)])
    other = ~same & ~torch.eye(12, dtype=torch.bool)
    assert cosines[same].min() > 0.95  # the teacher does not hear the key
    assert cosines[other].max() < 0.95


def test_the_teacher_is_asked_once(rows, weights, tmp_path, monkeypatch):
    cache = tmp_path / "kept.pt"
    first = teacher_targets(rows, weights, size=4, device=CPU, cache=cache)
    monkeypatch.setattr(teacher_module, "embed_tracks", None)  # whoever calls it fails
    again = teacher_targets(rows, weights, size=4, device=CPU, cache=cache)
    assert all(torch.equal(first[name], again[name]) for name in first)
    with pytest.raises(TypeError):  # other recordings: it would be asked again
        teacher_targets(rows[:-1], weights, size=4, device=CPU, cache=cache)


def test_faults_are_said_in_a_sentence(rows, weights):
    with pytest.raises(UserError, match="u0 has no cremaPCP"):
        teacher_targets([{"utt": "u0", "song_id": 0}], weights, size=1, device=CPU)
    with pytest.raises(UserError, match="do not span 13 directions"):
        teacher_targets(rows, weights, size=13, device=CPU)
    Path(rows[3]["features"]).write_bytes(b"PK")
    with pytest.raises(UserError, match=r"u3.npz"):
        teacher_targets(rows, weights, size=4, device=CPU)


def test_a_training_with_a_teacher_says_its_loss_and_continues(weights, tmp_path):
    paths = make_world(tmp_path)
    train = paths["train"]
    lines = [json.loads(line) for line in train.read_text("utf-8").splitlines()]
    train.write_text(
        "".join(json.dumps(row) + "\n" for row in with_features(lines, tmp_path)), "utf-8"
    )
    values = hparams(paths, max_epochs=1, teacher={"path": str(weights), "weight": 0.5})
    folder = write_model_dir(tmp_path / "model", values)
    train_coverhunter(folder)
    line = (folder / "logs" / "run" / "epochs.jsonl").read_text("utf-8").splitlines()[-1]
    assert 0 < json.loads(line)["train"]["tea_loss"] < 2
