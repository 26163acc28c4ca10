"""A model fitted to a collection in closed form: what the map does, and that the file holds it."""

import sys

import numpy as np
import pytest
import torch

from src.data.crema_features import write_features
from src.errors import UserError
from src.models.move import MOVEModel
from src.retrieval.window_networks import MoveNetwork
from src.training.adapt import apply_map, fit_map, measure_gain
from src.training.checkpoint import save_move
from tools import adapt

CPU = torch.device("cpu")


def collection(works: int, versions: int = 3, size: int = 12) -> tuple[np.ndarray, list[str]]:
    """Works differ everywhere, versions of a work mostly in three directions; all off centre."""
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(size) < 3, 3.0, 0.3)
    middles = rng.standard_normal((works, 1, size))
    x = middles + spread * rng.standard_normal((works, versions, size)) + 2.0
    return x.reshape(-1, size), [f"work {w}" for w in range(works) for _ in range(versions)]


def test_versions_differ_alike_in_all_directions():
    x, works = collection(200)
    y = fit_map(x, works, shrinkage=1e-6)(x)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-9)
    labels = np.array(works)
    residuals = np.concatenate([y[labels == w] - y[labels == w].mean(axis=0) for w in set(works)])
    within = residuals.T @ residuals
    np.testing.assert_allclose(within / np.trace(within) * len(within), np.eye(12), atol=1e-3)
    # Shrunk all the way, only the middle moves.
    only = fit_map(x, works, shrinkage=1.0)
    np.testing.assert_allclose(only(x), x - x.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(fit_map(5 * x, works).matrix, fit_map(x, works).matrix, atol=1e-12)


def test_works_that_were_left_out_gain():
    x, works = collection(30)
    gain = measure_gain(x, works, distance="cosine", shrinkage=0.1)
    assert gain.after > gain.before + 0.1
    assert gain.interval[0] > 0
    # Labels that mean nothing have nothing to give.
    shuffled = list(np.random.default_rng(1).permutation(works))
    nothing = measure_gain(x, shuffled, distance="cosine", shrinkage=0.1)
    assert abs(nothing.after - nothing.before) < 0.05


def trained_like(size: int) -> MOVEModel:
    torch.manual_seed(0)
    model = MOVEModel(emb_size=size).eval()
    model.lin_bn.running_mean.normal_()
    model.lin_bn.running_var.uniform_(0.5, 2)
    return model


def test_the_model_computes_the_map():
    model = trained_like(8)
    features = torch.randn(12, 256)
    before = model.head(features).detach().numpy()
    fitted = fit_map(before, [f"w{i // 3}" for i in range(12)], shrinkage=0.5)
    apply_map(model, fitted)
    np.testing.assert_allclose(model.head(features).detach().numpy(), fitted(before), atol=1e-4)
    with pytest.raises(UserError, match="no plain batch norm"):
        apply_map(MOVEModel(emb_size=8, final_activation=0), fitted)


def test_from_recordings_to_a_model(tmp_path, monkeypatch, capsys):
    source = tmp_path / "start.pt"
    save_move(trained_like(6), source, metadata={"crema_version": "0.2.0", "options": {"loss": 2}})
    for work in range(4):
        pattern = np.random.default_rng(work).random((340, 12)) ** 3
        for version in range(2):
            noise = np.random.default_rng((work, version)).random(pattern.shape)
            path = tmp_path / "own" / f"work {work}" / f"{version}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_features(path, (pattern + 0.2 * noise).astype(np.float32), "0.2.0")
    out = tmp_path / "fitted" / "own.pt"
    arguments = ["tool", str(tmp_path / "own"), str(out), "--model", str(source), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", arguments)
    adapt.main()
    printed = capsys.readouterr().out
    assert "8 recordings of 4 works" in printed
    assert "before" in printed
    network = MoveNetwork(out, CPU)
    assert (network.crema_version, network.distance) == ("0.2.0", "cosine")
    paths = sorted((tmp_path / "own").rglob("*.npz"))
    embeddings = [network.embed(network.load(path)[0], [0], 340) for path in paths]
    np.testing.assert_allclose(np.concatenate(embeddings).mean(axis=0), 0, atol=1e-3)
    monkeypatch.setattr(sys, "argv", [*arguments[:2], "own.bin", *arguments[3:]])
    with pytest.raises(UserError, match=r"must end with \.pt"):
        adapt.main()


@pytest.mark.parametrize(
    ("x", "works", "options", "words"),
    [
        (np.eye(3), ["a", "b", "c"], {}, "no work has two versions"),
        (np.ones((4, 2)), ["a", "a", "b", "b"], {}, "the same embedding"),
        (np.eye(4), ["a", "a", "b", "b"], {"shrinkage": 0.0}, "shrinkage lies"),
        (np.zeros((2, 5000)), ["a", "a"], {}, "too large"),
    ],
)
def test_what_cannot_be_fitted(x, works, options, words):
    with pytest.raises(UserError, match=words):
        fit_map(x, works, **options)
    with pytest.raises(UserError, match="at least 4"):
        measure_gain(np.eye(4), ["a", "a", "b", "b"], distance="cosine")
