"""A model fitted to a collection in closed form: what the map does, and that the file holds it."""

import sys
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from src.audio.cqt import CQTSpec
from src.data.crema_features import write_features
from src.errors import UserError
from src.models.coverhunter import CoverHunter
from src.models.move import MOVEModel
from src.retrieval.references import References
from src.training.adapt import apply_map, fit_map, measure_gain
from src.training.checkpoint import (
    load_coverhunter,
    load_move,
    read_metadata,
    save_generator,
    save_move,
)
from src.training.generator_files import generator_path, read_generator
from tests.training.coverhunter_world import BINS, hparams, make_world, write_model_dir
from tools import adapt, make_embeds

LAST = "_pool_layer._final_layer.weight"


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
    windows = list(x[:, None])
    gain = measure_gain(windows, works, distance="cosine", shrinkage=0.1)
    assert gain.after > gain.before + 0.1
    assert gain.interval[0] > 0
    # Labels that mean nothing have nothing to give.
    shuffled = list(np.random.default_rng(1).permutation(works))
    nothing = measure_gain(windows, shuffled, distance="cosine", shrinkage=0.1)
    assert abs(nothing.after - nothing.before) < 0.05


def trained_like(size: int, seed: int = 0) -> MOVEModel:
    torch.manual_seed(seed)
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


@pytest.fixture
def typed(monkeypatch, capsys):
    """Run a front with arguments; returns what it prints."""

    def call(front, *arguments) -> str:
        monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
        front.main()
        return capsys.readouterr().out

    return call


def test_from_recordings_to_a_re_move_model(tmp_path, typed):
    source, out = tmp_path / "start.pt", tmp_path / "fitted" / "own.pt"
    save_move(trained_like(6), source, metadata={"crema_version": "0.2.0", "options": {"loss": 2}})
    for work in range(4):
        pattern = np.random.default_rng(work).random((340, 12)) ** 3
        for version in range(2):
            noise = np.random.default_rng((work, version)).random(pattern.shape)
            path = tmp_path / "own" / f"work {work}" / f"{version}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_features(path, (pattern + 0.2 * noise).astype(np.float32), "0.2.0")
    typed(make_embeds, source, tmp_path / "own", tmp_path / "refs", "--device", "cpu")
    printed = typed(adapt, tmp_path / "refs", out)
    assert "8 recordings of 4 works" in printed
    assert "before" in printed
    typed(make_embeds, out, tmp_path / "own", tmp_path / "fitted refs", "--device", "cpu")
    before, after = (References.load(tmp_path / name) for name in ("refs", "fitted refs"))
    x, y = (refs_windows(refs) for refs in (before, after))
    np.testing.assert_allclose(y, fit_map(x, before.works)(x), atol=1e-3)
    assert after.identity["features"] == {"crema": "0.2.0"}
    bold = tmp_path / "bold.pt"
    typed(adapt, tmp_path / "refs", bold, "--shrinkage", "0.5")
    assert read_metadata(bold)["adapted_to"] == {"recordings": 8, "works": 4, "shrinkage": 0.5}
    assert not torch.equal(load_move(bold).lin1.weight, load_move(out).lin1.weight)
    with pytest.raises(UserError, match="shrinkage lies above 0"):
        typed(adapt, tmp_path / "refs", tmp_path / "none.pt", "--shrinkage", "1.5")
    with pytest.raises(UserError, match="choose another name"):
        typed(adapt, tmp_path / "refs", source)
    # A map of one model's embeddings is never written into another: neither into the one that is
    # named, nor into the project's own, which is tried where the references' own was moved.
    unlike, damaged = tmp_path / "unlike.pt", tmp_path / "damaged.pt"
    save_move(trained_like(6, seed=1), unlike, metadata={"crema_version": "0.2.0"})
    with pytest.raises(UserError, match=r"other weights than .*unlike\.pt has"):
        typed(adapt, tmp_path / "refs", damaged, "--model", unlike)
    unlike.replace(source)
    with pytest.raises(UserError, match=r"other weights than .*start\.pt has"):
        typed(adapt, tmp_path / "refs", damaged)
    source.unlink()
    with pytest.raises(UserError, match=r"than .* has"):
        typed(adapt, tmp_path / "refs", damaged)
    assert not damaged.exists()


def refs_windows(references: References) -> np.ndarray:
    found = references.windows_of(list(range(len(references))))
    return np.concatenate([found[position].embeddings for position in range(len(references))])


def test_from_recordings_to_a_coverhunter(tmp_path, typed, monkeypatch):
    paths = make_world(tmp_path)
    folder = write_model_dir(tmp_path / "model", hparams(paths))
    torch.manual_seed(0)
    model = CoverHunter({**hparams(paths), "ce": {"output_dims": 3}})
    model.feature_spec = CQTSpec(n_bins=BINS)
    save_generator(model, generator_path(folder, 1))
    typed(make_embeds, folder, paths["train"], tmp_path / "refs", "--device", "cpu")
    assert "12 recordings of 6 works" in typed(adapt, tmp_path / "refs", tmp_path / "fitted")
    typed(make_embeds, tmp_path / "fitted", paths["train"], tmp_path / "refs2", "--device", "cpu")
    before, after = (References.load(tmp_path / name) for name in ("refs", "refs2"))
    x, y = (refs_windows(refs) for refs in (before, after))
    works = np.repeat(before.works, np.diff(before.table.offsets))
    np.testing.assert_allclose(y, fit_map(x, works, centre=False)(x), atol=1e-4)
    assert not np.allclose(x, y, atol=1e-3)
    with pytest.raises(ValueError, match="cannot move the middle"):
        apply_map(model, fit_map(x, works))

    # References may name one of several checkpoints; it is that which is fitted, and it stays.
    checkpoint, kept = generator_path(folder, 1), generator_path(folder, 1).read_bytes()
    torch.manual_seed(1)
    other = CoverHunter({**hparams(paths), "ce": {"output_dims": 3}})
    save_generator(other, generator_path(folder, 2))
    header = tmp_path / "refs" / "references.json"
    header.write_text(header.read_text("utf-8").replace(str(folder), str(checkpoint)), "utf-8")
    typed(adapt, tmp_path / "refs", tmp_path / "again")
    again, fitted = (load_coverhunter(tmp_path / name).state_dict() for name in ("again", "fitted"))
    assert all(torch.equal(again[name], fitted[name]) for name in fitted)
    for output in (folder, checkpoint):
        with pytest.raises(UserError, match="choose another name"):
            typed(adapt, tmp_path / "refs", output)
    assert checkpoint.read_bytes() == kept

    # Stopped before the configuration, which is written last: no model that looks finished.
    monkeypatch.setattr(
        "src.training.generator_files.yaml.safe_dump", Mock(side_effect=KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        typed(adapt, tmp_path / "refs", tmp_path / "stopped")
    found = read_generator(generator_path(tmp_path / "stopped", 1)).state
    assert torch.equal(found[LAST], fitted[LAST])
    with pytest.raises(UserError, match=r"hparams\.yaml is missing"):
        load_coverhunter(tmp_path / "stopped")


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
        measure_gain(list(np.eye(4)[:, None]), ["a", "a", "b", "b"], distance="cosine")
