"""make_embeds, identify, compare, compute_centroids and plot_histogram as they are typed."""

import json
import shutil
import sys

import pytest
import torch

from src.config import REPOSITORY, experiment_name, remove_config
from src.errors import run_front
from src.retrieval import references
from src.retrieval.reference_builder import LOCK
from src.retrieval.window_networks import open_network
from src.training.paths import DEFAULT_COVERHUNTER, DEFAULT_MODEL, find_model, model_file
from tests.retrieval.collection import (
    HALF_DEAF,
    model_dir,
    save_recording,
    stand_in,
    write_collection,
)
from tools import compare, compute_centroids, identify, make_embeds, plot_histogram


@pytest.fixture
def call(monkeypatch):
    """Run a front with arguments; returns the exit code."""

    def run(front, *arguments) -> int:
        monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            run_front(front.main)
        return caught.value.code

    return run


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two models, full.txt and the references made of them by the tool, ``refs`` and ``refs2``."""
    root = tmp_path_factory.mktemp("fronts")
    manifest = write_collection(root / "data", range(12))
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        for name, refs in (("model", "refs"), (HALF_DEAF, "refs2")):
            model = model_dir(root / name)
            arguments = ["tool", str(model), str(manifest), str(root / refs), "--device", "cpu"]
            patch.setattr(sys, "argv", arguments)
            make_embeds.main()
    return root


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch):
    stand_in(monkeypatch)


def test_make_embeds_says_what_it_did(world, tmp_path, call, capsys):
    manifest = write_collection(tmp_path / "data", range(2))
    (tmp_path / "data" / "cqt_feat" / "w01v1.cqt.npy").write_bytes(b"broken")
    arguments = (world / "model", manifest, tmp_path / "refs", "--device", "cpu")
    assert call(make_embeds, *arguments) == 0
    out = capsys.readouterr().out
    assert "3 recordings of 2 works" in out
    assert "3 added, 0 changed, 0 with another work, 0 unchanged, 1 left out" in out
    assert "w01v1.cqt.npy is damaged" in out
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(lines[:2]))
    assert call(make_embeds, *arguments) == 0
    assert "no longer among the recordings, but kept: w01v0" in capsys.readouterr().out
    assert call(make_embeds, *arguments, "--prune") == 0
    assert "removed: w01v0" in capsys.readouterr().out


def test_identify_prints_writes_and_skips(world, tmp_path, call, capsys):
    known = save_recording(tmp_path / "known.npy", 4, start_s=7, seed=6)
    unknown = save_recording(tmp_path / "unknown.npy", 50)
    arguments = (world / "refs", known, tmp_path / "gone.wav", unknown, "--device", "cpu")
    assert call(identify, *arguments, "--top", 2) == 0
    out, err = capsys.readouterr()
    assert "work 04 (p " in out
    assert "nothing here matches" in out
    assert "gone.wav does not exist" in err
    assert "1 of 3 queries left out" in err
    path = tmp_path / "out" / "answers.json"
    assert call(identify, *arguments, "--format", "json", "--out", path) == 0
    first, second = json.loads(path.read_text())
    assert (first["verdict"], second["verdict"]) == ("match", "nothing here matches")
    assert capsys.readouterr().out == ""
    # Nothing among the queries matches: an answer, not an error.
    assert call(identify, world / "refs", unknown, "--device", "cpu") == 0
    assert call(identify, world / "refs", tmp_path / "gone.wav", "--device", "cpu") == 2
    assert "none of the queries can be used" in capsys.readouterr().err


def test_two_models_together(world, tmp_path, call, capsys):
    known = save_recording(tmp_path / "known.npy", 4, start_s=7, seed=6)
    arguments = (world / "refs", known, "--device", "cpu", "--format", "json")
    answers = {}
    for refs, more in (
        ("refs", []),
        ("refs2", []),
        ("refs", ["--together", world / "refs2"]),
        ("refs2", ["--together", world / "refs"]),
    ):
        assert call(identify, world / refs, *arguments[1:], *more) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        assert answer["works"][0]["work"] == "work 04"
        assert answer["verdict"] == "match"
        orders = [[work["work"] for work in answer["works"]], answer["works"][0]["distance"]]
        answers[refs, bool(more)] = orders
    # Two distances as one: whichever is named first, and neither's own order.
    assert answers["refs", True] == answers["refs2", True]
    assert len({str(answer) for answer in answers.values()}) == 3
    assert call(identify, *arguments, "--together", tmp_path / "none") == 2
    assert "holds no references" in capsys.readouterr().err


def test_the_second_of_two_models_was_moved(world, tmp_path, call, capsys, caplog):
    query = save_recording(tmp_path / "q.npy", 4, start_s=7, seed=6)
    arguments = (world / "refs", query, "--device", "cpu", "--together")
    away = tmp_path / "refs2"
    shutil.copytree(world / "refs2", away)
    text = (away / "references.json").read_text("utf-8")
    moved = text.replace(str(world / HALF_DEAF), str(tmp_path / "moved"))
    (away / "references.json").write_text(moved, "utf-8")
    assert call(identify, *arguments, away) == 2
    assert f"{away} was made with another kind of model" in capsys.readouterr().err
    assert f"the model of {away}, is not there (name it with --together-model)" in caplog.text
    assert call(identify, *arguments, away, "--together-model", world / HALF_DEAF) == 0
    named = capsys.readouterr().out
    assert call(identify, *arguments, world / "refs2") == 0
    assert capsys.readouterr().out == named
    assert call(identify, *arguments, away, "--together-model", world / "model") == 2
    assert f"{away} was made with other weights" in capsys.readouterr().err
    assert call(identify, *arguments, away, "--together-model", tmp_path / "none") == 2
    assert "correct --together-model" in capsys.readouterr().err
    assert call(identify, *arguments[:-1], "--together-model", world / HALF_DEAF) == 2
    assert "name these with --together" in capsys.readouterr().err


def test_a_folder_or_a_manifest_of_queries(world, call, capsys):
    assert call(identify, world / "refs", world / "data" / "full.txt", "--format", "csv",
                "--top", 1, "--device", "cpu") == 0  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 24 * 2
    assert all(line.split(",")[7] == "yes" for line in lines[1:])


def test_another_model_is_refused(world, tmp_path, call, capsys, caplog, monkeypatch):
    query = save_recording(tmp_path / "q.npy", 1)
    stand_in(monkeypatch, scale=3.0)
    assert call(identify, world / "refs", query, "--device", "cpu") == 2
    assert "was made with other weights" in capsys.readouterr().err
    content = (world / "refs" / "references.json").read_text()
    moved = content.replace(str(world / "model"), str(tmp_path / "away"))
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs" / "references.json").write_text(moved)
    assert call(identify, tmp_path / "refs", query, "--device", "cpu") == 2
    assert "made with another kind of model" in capsys.readouterr().err
    assert "name it with --model" in caplog.text


def test_compare_with_and_without_confidence(world, tmp_path, call, capsys):
    a = save_recording(tmp_path / "a.npy", 40, seed=1)
    b = save_recording(tmp_path / "b.npy", 40, start_s=4, seed=2)
    arguments = (world / "model", a, b, "--device", "cpu")
    assert call(compare, *arguments) == 0
    assert "confidence unknown" in capsys.readouterr().out
    assert call(compare, *arguments, "--refs", world / "refs", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "match"
    assert call(make_embeds, world / "model", world / "data" / "full.txt", world / "refs",
                "--calibrate-model", "--device", "cpu") == 0  # fmt: skip
    assert "calibration.json" in capsys.readouterr().out
    assert call(compare, *arguments) == 0
    assert "versions of one work: two recordings" in capsys.readouterr().out
    (world / "model" / "calibration.json").unlink()


def test_without_a_name_the_models_of_the_project_answer(
    world, tmp_path, call, capsys, monkeypatch
):
    """The order of the arguments stays, whether the model is named or not."""
    a = save_recording(tmp_path / "a.npy", 40, seed=1)
    b = save_recording(tmp_path / "b.npy", 41, seed=2)
    full = world / "data" / "full.txt"
    for front in (make_embeds, compare, references):
        monkeypatch.setattr(front, "DEFAULT_MODEL", world / "model")
    assert call(make_embeds, full, tmp_path / "refs", "--device", "cpu") == 0
    assert "24 added" in capsys.readouterr().out
    assert call(make_embeds, "--device", "cpu", world / "model", full, tmp_path / "refs") == 0
    assert "24 unchanged" in capsys.readouterr().out
    assert call(compare, a, "--device", "cpu", b) == 0
    unnamed = capsys.readouterr().out
    assert call(compare, world / "model", "--device", "cpu", a, b) == 0
    assert capsys.readouterr().out == unnamed
    header = tmp_path / "refs" / "references.json"
    text = header.read_text("utf-8")
    header.write_text(text.replace(str(world / "model"), str(tmp_path / "moved")), "utf-8")
    assert call(identify, tmp_path / "refs", a, "--device", "cpu") == 0
    assert call(identify, tmp_path / "refs", a, "--model", tmp_path / "moved") == 2
    assert "correct --model" in capsys.readouterr().err


def test_the_shipped_models_are_there():
    open_network(DEFAULT_MODEL, torch.device("cpu"))
    open_network(DEFAULT_COVERHUNTER, torch.device("cpu"))
    # The experiment that main.py evaluates without options is the one the others use.
    assert (
        find_model(REPOSITORY, model_file("lsr", experiment_name("lsr", remove_config("lsr"))))
        == DEFAULT_MODEL
    )


def test_centroids_and_histogram(world, tmp_path, call, capsys):
    assert call(compute_centroids, world / "refs", tmp_path / "c.npz") == 0
    assert "12 works from 24 recordings" in capsys.readouterr().out
    assert call(plot_histogram, world / "refs", tmp_path / "h.png") == 0
    assert "equal error rate: 0.0 %" in capsys.readouterr().out
    assert (tmp_path / "h.png").is_file()
    assert (tmp_path / "c.json").is_file()


@pytest.mark.parametrize(
    ("extra", "words"),
    [(("--top", "0"), "--top"), (("--threshold", "0"), "--threshold"),
     (("--device", "nowhere"), "unknown device")],
)  # fmt: skip
def test_bad_flags_are_one_sentence(world, call, capsys, extra, words):
    assert call(identify, world / "refs", "q.wav", *extra) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_a_folder_in_use(world, call, capsys):
    from filelock import FileLock

    with FileLock(world / "refs" / LOCK):
        assert call(make_embeds, world / "model", world / "data" / "full.txt", world / "refs",
                    "--device", "cpu") == 2  # fmt: skip
    assert "another program is writing" in capsys.readouterr().err
