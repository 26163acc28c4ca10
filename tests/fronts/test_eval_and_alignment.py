"""tools.eval_testset and tools.alignment_for_frame as typed, with a small untrained CoverHunter."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from src.audio.cqt import CQTSpec
from src.data.cqt_features import write_spec
from src.data.manifest import read_manifest
from src.errors import run_front
from src.models.coverhunter import CoverHunter
from src.training.checkpoint import save_generator
from tests.retrieval.music import rewrite, write_set
from tools import alignment_for_frame, eval_testset

VERSIONS = [(0, 0, 70), (0, 15, 60), (1, 0, 50), (1, 0, 40), (2, 0, 12)]
HPARAMS = {
    "input_dim": 96,
    "embed_dim": 16,
    "encoder": {"output_dims": 16, "attention_dim": 16, "num_blocks": 1},
    "ce": {"output_dims": 4, "weight": 1.0},
    "mean_size": 3,
    "chunk_frame": [125, 100],
    "chunk_s": 15,
    "device": "mps",  # the original's; whoever has none computes elsewhere
}


@pytest.fixture
def model_dir(tmp_path) -> Path:
    """The layout of a checkpoint of the original projects."""
    folder = tmp_path / "pretrained_model"
    (folder / "config").mkdir(parents=True)
    (folder / "config" / "hparams.yaml").write_text(yaml.safe_dump(HPARAMS), "utf-8")
    torch.manual_seed(0)
    state = CoverHunter(HPARAMS).state_dict()
    (folder / "pt_model").mkdir()
    torch.save({"generator": state}, folder / "pt_model" / "g_00000003")
    return folder


@pytest.fixture
def full(tmp_path) -> Path:
    return write_set(tmp_path / "covers", VERSIONS)


@pytest.fixture
def front(monkeypatch, capsys):
    def call(tool, *arguments):
        """Exit code, standard output, standard error."""
        monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_front(tool.main)
        return (ended.value.code, *capsys.readouterr())

    return call


def test_evaluation_as_in_the_walk_through(front, model_dir, full, tmp_path):
    dataset = full.with_name("dataset.txt")
    rows = [
        {key: row[key] for key in ("utt", "dur_s", "song", "version")}
        for row in read_manifest(full)
    ]
    dataset.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    code, output, _ = front(eval_testset, model_dir, dataset, dataset, "--device", "cpu")
    assert code == 0
    lines = output.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == ["mean_ap", "top10", "rank1", "hit_rate"]
    assert lines[-1] == "5 queries, 5 references; 1 queries have no version among them"
    windows = list(model_dir.rglob("*-▁start-*.npy"))
    assert len(windows) == 4 + 3 + 3 + 2 + 1
    assert all(np.load(path).dtype == np.float32 for path in windows)
    assert {path.name for path in model_dir.rglob("*.txt")} == {"query.txt", "ref.txt"}


def test_without_a_model_the_coverhunter_of_the_project(
    front, model_dir, full, tmp_path, monkeypatch
):
    monkeypatch.setattr(eval_testset, "DEFAULT_COVERHUNTER", model_dir)
    options = ("--device", "cpu", "--embed-dir", tmp_path / "embeddings")
    named = front(eval_testset, model_dir, full, full, *options)
    assert named[0] == 0
    assert front(eval_testset, full, full, *options)[:2] == named[:2]
    assert front(eval_testset, full, *options, full)[:2] == named[:2]
    assert front(eval_testset, full, *options)[0] == 2


def test_evaluation_with_every_option(front, model_dir, full, tmp_path):
    (tmp_path / "works.txt").write_text("0\n1\n", "utf-8")
    (tmp_path / "pairs.txt").write_text('{"query_in_ref": [[0, 0]]}', "utf-8")
    other = full.with_name("other.txt")
    other.write_text(full.read_text("utf-8"), "utf-8")
    arguments = (
        model_dir, full, other, tmp_path / "pairs.txt", "-plot_name", tmp_path / "p.png",
        "-dist_name", tmp_path / "d.npy", "-test_only_labels", tmp_path / "works.txt",
        "-marks", "version", "--bootstrap", 50, "--reuse-embeddings", "--keep-tail",
        "--epoch", 3, "--embed-dir", tmp_path / "embeddings",
    )  # fmt: skip
    code, output, _ = front(eval_testset, *arguments)
    assert code == 0
    assert output.splitlines()[0].startswith("mean_ap: ")
    assert "(95 %: " in output.splitlines()[0]
    assert output.splitlines()[-1] == "4 queries, 5 references"
    distances = np.load(tmp_path / "d.npy")
    assert distances.shape == (4, 5)
    assert np.argwhere(distances < 0).tolist() == [[0, 0]]
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert len(list((tmp_path / "embeddings").rglob("*.npy"))) == 13 + 4  # 60 s are whole windows
    assert front(eval_testset, *arguments)[1] == output


def test_alignment_front(front, model_dir, full, tmp_path):
    target = tmp_path / "out" / "alignment.txt"
    code, output, _ = front(alignment_for_frame, model_dir, full, target)
    assert code == 0
    lines = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert [(line["utt_i"], line["utt_j"]) for line in lines] == [
        (f"rec{i}", f"rec{j}")
        for i, j in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (2, 3), (3, 2), (3, 3), (4, 4)]
    ]
    shifts = [line["shift_frame_i_to_j"] for line in lines]
    assert shifts == [0, 15, -15, 0, 0, 0, 0, 0, 0]
    assert output.strip().endswith("9 shifts between 5 recordings of 3 works")
    windows = {path: path.stat().st_mtime_ns for path in model_dir.rglob("*.npy")}
    target.unlink()
    assert front(alignment_for_frame, model_dir, full, target)[0] == 0
    assert windows == {path: path.stat().st_mtime_ns for path in model_dir.rglob("*.npy")}
    finer = tmp_path / "finer.txt"
    assert front(alignment_for_frame, model_dir, full, finer, "--hop", 5)[0] == 0
    assert json.loads(finer.read_text("utf-8").splitlines()[1])["shift_frame_i_to_j"] == 15
    assert front(alignment_for_frame, model_dir, full, finer, "--original")[0] == 0
    shifts = [json.loads(line)["shift_frame_i_to_j"] for line in finer.open(encoding="utf-8")]
    assert 0 not in shifts[5:7]  # rec2 and rec3 begin together, which the vote cannot say


def refused(front, *arguments) -> str:
    code, output, error = front(*arguments)
    assert code == 2, output + error
    sentences = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1
    return sentences[0]


def test_refusals(front, model_dir, full, tmp_path):
    missing = tmp_path / "no.txt"
    assert str(missing) in refused(front, eval_testset, model_dir, missing, full)
    assert "pt_model" in refused(front, eval_testset, tmp_path, full, full)
    assert "epoch" in refused(front, eval_testset, model_dir, full, full, "--epoch", 9)
    assert "-plot_name" in refused(front, eval_testset, model_dir, full, full, "-marks", "version")
    sentence = refused(front, eval_testset, model_dir, full, full, "--device", "cuda:99")
    assert "cuda:99" in sentence
    assert "between 0 and 15" in refused(
        front, alignment_for_frame, model_dir, full, missing, "--hop", 20
    )
    write_spec(full.parent / "cqt_feat", CQTSpec(n_bins=84))
    assert "84 bins" in refused(front, eval_testset, model_dir, full, full)
    rewrite(full, lambda row: {k: v for k, v in row.items() if k != "song_id"})
    sentence = refused(front, alignment_for_frame, model_dir, full, missing)
    assert "song_id" in sentence
    assert not missing.exists()


def test_another_architecture_is_one_sentence(front, model_dir, full):
    torch.save({"generator": {"x": torch.zeros(3)}}, model_dir / "pt_model" / "g_00000003")
    sentence = refused(front, eval_testset, model_dir, full, full, "--epoch", 3)
    assert "g_00000003" in sentence


def test_our_checkpoint_knows_its_features(front, model_dir, full):
    model = CoverHunter(HPARAMS)
    model.feature_spec = CQTSpec(min_freq=31.0, n_bins=96)
    save_generator(model, model_dir / "pt_model" / "g_00000004")
    sentence = refused(front, eval_testset, model_dir, full, full)
    assert "31 Hz" in sentence
    assert "32 Hz" in sentence
