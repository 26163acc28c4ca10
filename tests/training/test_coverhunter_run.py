"""CoverHunter runs from hparams.yaml: what they write, refuse, and continue."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from src.audio.cqt import CQTSpec
from src.data.cqt_features import write_spec
from src.data.manifest import read_manifest, write_manifest
from src.errors import UserError
from src.files import load_tensors, save_tensors
from src.training import coarse_to_fine, coverhunter, coverhunter_state
from src.training.checkpoint import load_coverhunter
from src.training.coarse_to_fine import train_coarse_to_fine
from src.training.coverhunter import RunOptions, train_coverhunter
from src.training.coverhunter_loop import Loop
from src.training.coverhunter_state import saved_epochs, training_file
from src.training.generator_files import generator_path
from src.training.state import lock_run
from tests.training.coverhunter_world import BINS, WORKS, hparams, make_world, write_model_dir


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> dict[str, Path]:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def trained(paths, tmp_path_factory) -> Path:
    """A model directory after an uninterrupted training of three epochs."""
    folder = write_model_dir(tmp_path_factory.mktemp("trained"), hparams(paths, max_epochs=3))
    train_coverhunter(folder)
    return folder


def refused(folder: Path, options: RunOptions | None = None) -> str:
    with pytest.raises(UserError) as caught:
        train_coverhunter(folder, options)
    assert not list(folder.glob("pt_model/g_*"))
    return str(caught.value)


def weights(folder: Path, epoch: int) -> dict[str, torch.Tensor]:
    return load_tensors(generator_path(folder, epoch))["generator"]


def same_weights(a: Path, b: Path, epoch: int) -> bool:
    first, second = weights(a, epoch), weights(b, epoch)
    assert first.keys() == second.keys()
    return all(torch.equal(first[key], second[key]) for key in first)


# --- what a run writes --------------------------------------------------------------------------


def test_the_files_of_a_run(trained):
    assert saved_epochs(trained) == [2, 1, 0]
    folder = trained / "embed_2_unseen"
    for name, count in (("query.txt", WORKS), ("ref.txt", 2 * WORKS)):
        windows = read_manifest(folder / name, required=("utt", "embed"))
        assert len(windows) >= count
        assert np.load(windows[0]["embed"]).shape == (8,)
    assert list((trained / "logs" / "run").glob("events.*"))
    lines = (trained / "logs" / "run" / "epochs.jsonl").read_text("utf-8").splitlines()
    assert {"mean_ap", "rank1", "mAP"} <= json.loads(lines[-1])["tests"]["unseen"].keys()


def test_the_model_is_one_for_evaluation(trained):
    model = load_coverhunter(trained)
    assert model.epoch == 2
    assert model.feature_spec == CQTSpec(n_bins=BINS)
    assert model._ce_layer.out_features == WORKS  # auto


def test_a_complete_training_stays_as_it_is(trained):
    before = generator_path(trained, 2).stat().st_mtime_ns
    train_coverhunter(trained)
    assert generator_path(trained, 2).stat().st_mtime_ns == before
    assert saved_epochs(trained) == [2, 1, 0]


def test_only_eval_returns_figures_and_writes_no_checkpoint(trained):
    figures = train_coverhunter(trained, RunOptions(only_eval=True))
    assert figures["epoch"] == 2
    assert 0 <= figures["tests"]["unseen"]["mean_ap"] <= 1
    assert figures["dev"]["ce_loss"] > 0
    assert saved_epochs(trained) == [2, 1, 0]


def test_debug_and_steps_per_epoch_shorten_an_epoch(paths, tmp_path):
    values = hparams(paths, max_epochs=1, batch_size=2, steps_per_epoch=3)
    folder = write_model_dir(tmp_path / "a", values)
    train_coverhunter(folder)
    assert load_tensors(training_file(folder, 0))["steps"] == 4
    folder = write_model_dir(tmp_path / "b", values | {"steps_per_epoch": 1000})
    train_coverhunter(folder, RunOptions(debug=True))
    assert load_tensors(training_file(folder, 0))["steps"] == 7


# --- interruptions ------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a signal."""


def killed(monkeypatch, target, name: str, call: int, start) -> None:
    """Run ``start`` until the ``call``-th call of a function."""
    original, calls = getattr(target, name), []

    def dying(*args, **kwargs):
        calls.append(None)
        if len(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(target, name, dying)
        with pytest.raises(Killed):
            start()


@pytest.mark.parametrize(
    ("target", "name", "call"),
    [(Loop, "_step", 9), (coverhunter_state, "save_tensors", 2)],
)
def test_batches_augmentation_and_dropout_continue(
    target, name, call, paths, trained, tmp_path, monkeypatch
):
    folder = write_model_dir(tmp_path, hparams(paths, max_epochs=3))
    killed(monkeypatch, target, name, call, lambda: train_coverhunter(folder))
    train_coverhunter(folder)
    assert same_weights(folder, trained, 2)
    ours, theirs = (load_tensors(training_file(f, 2)) for f in (folder, trained))
    assert ours["scheduler"] == theirs["scheduler"]
    assert ours["early_stopping"] == theirs["early_stopping"]


def test_first_eval_is_not_repeated_when_the_run_continues(paths, tmp_path, monkeypatch):
    values = hparams(paths, max_epochs=3)
    options = RunOptions(first_eval=True)
    whole = write_model_dir(tmp_path / "whole", values)
    train_coverhunter(whole, options)
    assert saved_epochs(whole) == [2, 1]
    folder = write_model_dir(tmp_path / "killed", values)
    killed(monkeypatch, Loop, "_step", 9, lambda: train_coverhunter(folder, options))
    train_coverhunter(folder, options)
    assert same_weights(folder, whole, 2)


def test_a_checkpoint_of_the_original_continues(paths, trained, tmp_path):
    folder = write_model_dir(tmp_path, hparams(paths, max_epochs=3))
    state = load_tensors(training_file(trained, 1))
    save_tensors({"generator": weights(trained, 1)}, generator_path(folder, 1))
    kept = {key: state[key] for key in ("optim_g", "steps", "epoch")}
    save_tensors(kept, training_file(folder, 1))
    train_coverhunter(folder)
    assert same_weights(folder, trained, 2)


# --- what is refused ----------------------------------------------------------------------------


def test_a_label_beyond_the_classes(paths, tmp_path):
    folder = write_model_dir(tmp_path, hparams(paths, ce={"output_dims": WORKS - 1}))
    message = refused(folder)
    assert f"song_id {WORKS - 1} of" in message
    assert f"needs ce.output_dims of at least {WORKS}" in message


def test_features_of_another_cqt(paths, tmp_path):
    changes = {"cqt": {"n_bins": BINS + 1}, "input_dim": BINS + 1}
    message = refused(write_model_dir(tmp_path, hparams(paths, **changes)))
    assert f"{BINS} bins" in message
    assert f"{BINS + 1} bins" in message


def test_feature_folders_that_differ(tmp_path):
    paths = make_world(tmp_path / "one")
    other = make_world(tmp_path / "other")
    write_spec(other["dev"].parent / "cqt_feat", CQTSpec(n_bins=BINS, octave_resolution=24))
    values = hparams(paths, dev_path=str(other["dev"]))
    message = refused(write_model_dir(tmp_path / "model", values))
    assert "24 an octave" in message
    assert "12 an octave" in message


def test_missing_files_are_named_before_anything_is_trained(paths, tmp_path):
    missing = str(tmp_path / "nothing.txt")
    values = hparams(paths, unseen={"query_path": missing, "ref_path": missing})
    message = refused(write_model_dir(tmp_path / "a", values))
    assert message.startswith(f"test set unseen: {missing} does not exist")
    message = refused(write_model_dir(tmp_path / "b", hparams(paths, train_path=missing)))
    assert missing in message
    values = hparams(paths)
    del values["train_path"]
    assert "train_path" in refused(write_model_dir(tmp_path / "c", values))


def test_fewer_works_than_a_batch_needs(paths, tmp_path):
    values = hparams(paths, batch_size=2 * WORKS + 2)
    message = refused(write_model_dir(tmp_path, values))
    assert f"recordings of {WORKS} work(s)" in message


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"chunk_frame": [20, 5]}, "chunk_frame 5"),
        ({"batch_size": 1, "m_per_class": 1}, "batch_size"),
        ({"ce": {"weight": 0.0}, "triplet": {"weight": 0.01}}, "ce, triplet, center and"),
    ],
)
def test_settings_that_leave_nothing_to_train(changes, named, paths, tmp_path):
    assert named in refused(write_model_dir(tmp_path, hparams(paths, **changes)))


def test_only_eval_without_a_checkpoint(paths, tmp_path):
    folder = write_model_dir(tmp_path, hparams(paths))
    assert "no checkpoint to evaluate" in refused(folder, RunOptions(only_eval=True))


def test_a_checkpoint_of_another_architecture(trained, paths, tmp_path):
    folder = write_model_dir(tmp_path, hparams(paths, embed_dim=16))
    for path in (generator_path(trained, 2), training_file(trained, 2)):
        target = folder / "pt_model" / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    with pytest.raises(UserError, match="does not fit its hparams"):
        train_coverhunter(folder)


def test_two_processes_do_not_train_into_one_folder(paths, tmp_path):
    folder = write_model_dir(tmp_path, hparams(paths))
    with lock_run(folder / "pt_model" / "training"):
        assert "another run is training" in refused(folder)


def test_a_folder_that_cannot_be_written_to(paths, tmp_path):
    folder = write_model_dir(tmp_path, hparams(paths))
    (folder / "pt_model").write_text("in the way")
    assert f"cannot write to {folder / 'pt_model'}" in refused(folder)


@pytest.mark.parametrize("name", ["", " ", "..", "a/b", "a\\b"])
def test_a_runid_that_is_no_folder(name):
    with pytest.raises(UserError, match="--runid"):
        RunOptions(runid=name)


def test_nan_in_the_features_names_the_file(tmp_path):
    paths = make_world(tmp_path / "world")
    feat = Path(read_manifest(paths["train"])[0]["feat"])
    np.save(feat, np.full_like(np.load(feat), np.nan))
    message = refused(write_model_dir(tmp_path / "model", hparams(paths)))
    assert feat.name in message


# --- unusual data -------------------------------------------------------------------------------


def test_a_work_with_one_version_and_validation_sets_smaller_than_a_batch(tmp_path):
    paths = make_world(tmp_path)
    rows = read_manifest(paths["train"])
    write_manifest(rows[1:], paths["train"])
    write_manifest(read_manifest(paths["dev"])[:1], paths["dev"])
    values = hparams(paths, max_epochs=1, batch_size=8)
    folder = write_model_dir(tmp_path / "model", values)
    train_coverhunter(folder)
    assert saved_epochs(folder) == [0]


def test_without_validation_sets(paths, tmp_path):
    values = hparams(paths, max_epochs=1)
    for key in ("train_sample_path", "dev_path", "unseen"):
        del values[key]
    folder = write_model_dir(tmp_path, values)
    train_coverhunter(folder)
    assert saved_epochs(folder) == [0]


def test_without_a_compiler_training_goes_on(paths, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(coverhunter, "can_compile", lambda device: False)
    folder = write_model_dir(tmp_path, hparams(paths, max_epochs=1, compile=True))
    train_coverhunter(folder)
    assert saved_epochs(folder) == [0]
    assert "compile: true needs" in caplog.text


# --- weights to start from ----------------------------------------------------------------------


def test_start_from_another_model(trained, paths, tmp_path):
    values = hparams(paths, start_from=str(trained), learning_rate=1e-12, min_lr=0.0, max_epochs=1)
    folder = write_model_dir(tmp_path / "same", values)
    train_coverhunter(folder)
    ours, theirs = weights(folder, 0), weights(trained, 2)
    for key, value in ours.items():
        if "running" not in key and "num_batches" not in key:
            torch.testing.assert_close(value, theirs[key], rtol=0, atol=1e-6)
    folder = write_model_dir(tmp_path / "more", values | {"ce": {"output_dims": WORKS + 3}})
    train_coverhunter(folder)
    assert weights(folder, 0)["_ce_layer.weight"].shape == (WORKS + 3, 8)


def test_start_from_another_architecture(trained, paths, tmp_path):
    values = hparams(paths, start_from=str(trained), embed_dim=16)
    assert "start_from" in refused(write_model_dir(tmp_path, values))


# --- coarse to fine -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aligned_by_hand():
    """An alignment that needs no model: every version is as the first. Counts its calls."""
    calls = []

    def align(coarse, hp, path, team):
        load_coverhunter(coarse)
        calls.append(path)
        utts = [row["utt"] for row in read_manifest(hp.train_path)]
        pairs = [(i, j) for i in utts for j in utts if i.split("v")[0] == j.split("v")[0]]
        rows = [{"utt_i": i, "utt_j": j, "shift_frame_i_to_j": 0} for i, j in pairs]
        write_manifest(rows, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coarse_to_fine, "align", align)
        yield calls


@pytest.fixture(scope="module")
def coarse_then_fine(paths, aligned_by_hand, tmp_path_factory) -> Path:
    """A model directory after all three parts: two coarse epochs of six steps, a fine one."""
    folder = tmp_path_factory.mktemp("fine")
    write_model_dir(folder, hparams(paths, fine_epochs=1))
    train_coarse_to_fine(folder)
    return folder


def test_coarse_to_fine_leaves_two_models(coarse_then_fine):
    assert saved_epochs(coarse_then_fine / "coarse") == [1, 0]
    assert saved_epochs(coarse_then_fine) == [0]
    state = load_tensors(training_file(coarse_then_fine, 0))
    assert state["alignment_path"] == str(coarse_then_fine / "alignment.txt")
    coarse, fine = weights(coarse_then_fine / "coarse", 1), weights(coarse_then_fine, 0)
    key = "_ce_layer.weight"
    moved, size = (fine[key] - coarse[key]).norm(), coarse[key].norm()
    assert 0 < moved < 0.5 * size  # it went on from there


@pytest.mark.parametrize("step", [9, 15])  # in the coarse part and in the fine one
def test_coarse_to_fine_continues_in_every_part(
    step, paths, coarse_then_fine, tmp_path, monkeypatch, aligned_by_hand
):
    aligned_by_hand.clear()
    folder = write_model_dir(tmp_path, hparams(paths, fine_epochs=1))
    killed(monkeypatch, Loop, "_step", step, lambda: train_coarse_to_fine(folder))
    train_coarse_to_fine(folder)
    assert same_weights(folder, coarse_then_fine, 0)
    train_coarse_to_fine(folder)  # complete: nothing is done again
    assert aligned_by_hand == [folder / "alignment.txt"]


def test_coarse_to_fine_refuses_a_model_trained_otherwise(trained, paths, tmp_path):
    with pytest.raises(UserError, match="was trained without"):
        train_coarse_to_fine(trained)
    values = hparams(paths, alignment_path="alignment.txt")
    with pytest.raises(UserError, match="remove alignment_path"):
        train_coarse_to_fine(write_model_dir(tmp_path, values))
