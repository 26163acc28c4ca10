"""The tool that turns recordings into Re-MOVE's data files."""

import json
import sys

import numpy as np
import pytest
import soundfile
import torch

from src.audio.crema import Audio2CremaPCP, File2CremaPCP
from src.data.chroma import double_chroma
from src.data.dataset_file import (
    load_centroids,
    load_dataset_file,
    load_label_index,
    load_ytrue,
)
from src.models.move import MOVEModel
from src.training.checkpoint import save_move
from tools import extract_crema_pcp

RATE = 16000
WORKS = 4


def sound(work: int, version: int) -> np.ndarray:
    t = np.arange(int(RATE * (1.5 + 0.3 * version))) / RATE
    notes = 220 * 2 ** ((np.array([0, 4, 7]) + work + version) / 12)
    return 0.2 * np.sin(2 * np.pi * notes[:, None] * t).sum(0)


@pytest.fixture
def folder(tmp_path):
    """Four works with two versions each, one work with one."""
    root = tmp_path / "recordings"
    for work in range(WORKS):
        (root / f"work {work}").mkdir(parents=True)
        for version in range(2):
            path = root / f"work {work}" / f"version {version}.wav"
            soundfile.write(path, sound(work, version), RATE)
    (root / "solo").mkdir()
    soundfile.write(root / "solo" / "only.flac", sound(7, 0), RATE)
    return root


def run(monkeypatch, *arguments) -> None:
    monkeypatch.setattr(sys, "argv", ["extract_crema_pcp", *map(str, arguments), "--device", "cpu"])
    extract_crema_pcp.main()


def exit_code(monkeypatch, *arguments) -> int:
    from src.errors import run_front

    with pytest.raises(SystemExit) as caught:
        run_front(lambda: run(monkeypatch, *arguments))
    return caught.value.code


@pytest.fixture
def passes(monkeypatch):
    """How many recordings every pass of the network had."""
    counts = []
    original = Audio2CremaPCP.from_features

    def counted(self, features):
        counts.append(len(features))
        return original(self, features)

    monkeypatch.setattr(Audio2CremaPCP, "from_features", counted)
    return counts


def test_benchmark_files(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    run(monkeypatch, folder, "--output-dir", out)
    dataset = load_dataset_file(out / "benchmark_crema.pt")
    assert dataset.labels == ["solo"] + [f"work {i // 2}" for i in range(8)]
    assert dataset.crema_version == "0.1.0"
    ytrue = load_ytrue(out / "ytrue_benchmark.pt")
    expected = torch.block_diag(torch.zeros(1, 1), *[1 - torch.eye(2)] * WORKS)
    assert torch.equal(ytrue, expected)
    pcp = File2CremaPCP("0.1.0", "cpu")(folder / "work 2" / "version 1.wav")
    torch.testing.assert_close(dataset.data[6], double_chroma(pcp), atol=1e-5, rtol=0)
    said = capsys.readouterr().out
    assert "9 recordings of 5 works" in said
    assert "1 works have a single version; 0 recordings left out" in said


def test_bad_recordings_are_reported_skipped_and_counted(folder, tmp_path, monkeypatch, capsys):
    (folder / "work 0" / "empty.wav").touch()
    (folder / "work 1" / "letter.mp3").write_text("Dear Sir, " * 200)
    soundfile.write(folder / "work 1" / "click.wav", np.zeros(500), RATE)
    nan = np.full(RATE, np.nan, dtype=np.float32)
    soundfile.write(folder / "work 2" / "nan.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(folder / "work 3" / "silence.wav", np.zeros(RATE), RATE)  # is not bad
    run(monkeypatch, folder, "--output-dir", tmp_path / "out", "--workers", "2")
    said = capsys.readouterr().out
    reasons = {
        "work 0/empty.wav": "is empty",
        "work 1/letter.mp3": "not a recording",
        "work 1/click.wav": "shorter than one frame",
        "work 2/nan.wav": "not numbers",
    }
    for name, reason in reasons.items():
        line = next(line for line in said.splitlines() if line.startswith(f"left out: {name}"))
        assert reason in line
    assert "4 recordings left out" in said
    dataset = load_dataset_file(tmp_path / "out" / "benchmark_crema.pt")
    assert len(dataset.data) == 10


def test_only_what_is_new_or_changed_is_computed(folder, tmp_path, monkeypatch, passes):
    out = tmp_path / "out"
    run(monkeypatch, folder, "--output-dir", out)
    first = load_dataset_file(out / "benchmark_crema.pt")
    run(monkeypatch, folder, "--output-dir", out)
    assert sum(passes) == 9
    soundfile.write(folder / "solo" / "only.flac", sound(9, 1), RATE)
    soundfile.write(folder / "solo" / "second.flac", sound(8, 0), RATE)
    run(monkeypatch, folder, "--output-dir", out)
    assert sum(passes) == 11
    second = load_dataset_file(out / "benchmark_crema.pt")
    assert first.data[0].shape != second.data[0].shape
    assert torch.equal(first.data[-1], second.data[-1])
    run(monkeypatch, folder, "--output-dir", out, "--crema-version", "0.2.0")
    assert sum(passes) == 21
    assert load_dataset_file(out / "benchmark_crema.pt").crema_version == "0.2.0"


def test_an_interrupted_run_continues(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("src.data.crema_features.FILES_PER_PASS", 2)
    original = Audio2CremaPCP.from_features
    done = []

    def interrupted(self, features):
        if len(done) >= 4:
            raise KeyboardInterrupt
        done.extend(features)
        return original(self, features)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Audio2CremaPCP, "from_features", interrupted)
        assert exit_code(patch, folder, "--output-dir", out, "--workers", "1") == 130
    assert not (out / "benchmark_crema.pt").exists()
    kept = len(done)
    assert len(list(out.rglob("*.npz"))) == kept < 9

    def rest(self, features):
        done.extend(features)
        return original(self, features)

    monkeypatch.setattr(Audio2CremaPCP, "from_features", rest)
    run(monkeypatch, folder, "--output-dir", out)
    assert len(done) == 9
    assert len(load_dataset_file(out / "benchmark_crema.pt").data) == 9


def test_files_that_finish_together_do_not_end_the_run(folder, tmp_path, monkeypatch):
    def at_once(running, return_when):
        for future in running:
            future.exception()  # waits
        return set(running), set()

    monkeypatch.setattr("src.data.crema_features.wait", at_once)
    run(monkeypatch, folder, "--output-dir", tmp_path, "--workers", "1")
    assert len(load_dataset_file(tmp_path / "benchmark_crema.pt").data) == 9


def test_training_files(folder, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run(monkeypatch, folder, "--output-dir", out, "--training", "--chunks", "3", "--seed", "5")
    chunks = [load_dataset_file(out / f"train_chunk_{i}.pt") for i in (1, 2, 3)]
    validation = load_dataset_file(out / "val_chunk.pt")
    works = [set(part.labels) for part in [*chunks, validation]]
    assert sum(map(len, works)) == len(set.union(*works)) == 5
    assert len(validation.labels) == 2
    assert torch.equal(load_ytrue(out / "ytrue_val.pt"), 1 - torch.eye(2))
    index = load_label_index(out / "red_label_idx.pt")
    assert sorted(index) == sorted(set.union(*works[:3]))
    assert sorted(index.values()) == [0, 1, 2, 3]
    assert not (out / "benchmark_crema.pt").exists()


def test_centroids_are_the_mean_embeddings_of_a_work(folder, tmp_path, monkeypatch):
    torch.manual_seed(0)
    teacher = MOVEModel().eval()
    path = tmp_path / "teacher.pt"
    save_move(teacher, path)
    out = tmp_path / "out"
    options = ("--training", "--chunks", "1", "--centroids", path)
    run(monkeypatch, folder, "--output-dir", out, *options)
    centroids = load_centroids(out / "centroids.pt")
    index = load_label_index(out / "red_label_idx.pt")
    assert sorted(centroids) == sorted(index.values())
    chunk = load_dataset_file(out / "train_chunk_1.pt")
    label = next(label for label in index if label != "solo")
    with torch.no_grad():
        versions = [
            teacher(item[None])
            for item, own in zip(chunk.data, chunk.labels, strict=True)
            if own == label
        ]
    torch.testing.assert_close(
        centroids[index[label]], torch.cat(versions).mean(0, keepdim=True), atol=1e-4, rtol=1e-4
    )


def chroma_files(folder, *names: str):
    """Ready-made features: ``work/version.npz``, as tools.render_corpus lists them."""
    folder.mkdir()
    rows = []
    for number, name in enumerate(names):
        path = folder / f"{number}.npz"
        np.savez(path, crema_pcp=np.full((50, 12), number / 10, np.float32))
        row = {"utt": name.replace("/", "_"), "song": name.split("/")[0], "features": str(path)}
        rows.append(json.dumps(row))
    (folder / "dataset.txt").write_text("\n".join(rows) + "\n", "utf-8")
    return folder / "dataset.txt"


def test_several_sources_and_recordings_for_validation(tmp_path, monkeypatch, capsys):
    first = chroma_files(tmp_path / "a", "x/1", "x/2", "y/1")
    second = chroma_files(tmp_path / "b", "z/1", "z/2", "z/3")
    third = chroma_files(tmp_path / "c", "v/1", "v/2")
    out = tmp_path / "data"
    options = ("--output-dir", out, "--training", "--chunks", "1", "--validation")
    run(monkeypatch, first, second, *options, third)
    assert sorted(load_dataset_file(out / "train_chunk_1.pt").labels) == list("xxyzzz")
    assert load_dataset_file(out / "val_chunk.pt").labels == ["v", "v"]
    assert load_ytrue(out / "ytrue_val.pt").tolist() == [[0, 1], [1, 0]]
    assert sorted(load_label_index(out / "red_label_idx.pt")) == ["x", "y", "z"]

    shared = chroma_files(tmp_path / "d", "z/9")
    assert exit_code(monkeypatch, first, second, *options, shared) == 2
    assert "1 works are in training and in validation, such as z" in capsys.readouterr().err
    again = chroma_files(tmp_path / "e", "x/1")
    run(monkeypatch, first, again, "--output-dir", tmp_path / "twice")
    assert load_dataset_file(tmp_path / "twice" / "benchmark_crema.pt").labels == list("xxyx")
    assert exit_code(monkeypatch, first, first, first) == 2
    assert "the recording x_1 was named before;" in capsys.readouterr().err
    assert exit_code(monkeypatch, first, "--validation", third) == 2
    assert "add --training" in capsys.readouterr().err


def test_features_that_are_already_there_are_taken(tmp_path, monkeypatch, passes):
    rng = np.random.default_rng(0)
    rows = []
    pcps = []
    for number in range(4):
        pcps.append(rng.random((20 + number, 12)).astype(np.float16))
        path = tmp_path / "features" / f"{number}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez_compressed(path, crema_pcp=pcps[-1])
        row = {"utt": str(number), "wav": "", "song": f"work {number // 2}"}
        rows.append(row | {"features": f"gone/features/{number}.npz"})
    manifest = tmp_path / "dataset.txt"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    run(monkeypatch, manifest, "--output-dir", tmp_path / "out")
    dataset = load_dataset_file(tmp_path / "out" / "benchmark_crema.pt")
    assert dataset.labels == ["work 0", "work 0", "work 1", "work 1"]
    for pcp, item in zip(pcps, dataset.data, strict=True):
        assert torch.equal(item, double_chroma(pcp.astype(np.float32)))
    assert not passes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--training",), "17 training files need at least 17 works"),
        (("--workers", "0"), "--workers must be 1 or more"),
        (("--training", "--validation-share", "1"), "between 0 and 1"),
        (("--centroids", "teacher.pt"), "add --training"),
        (("--training", "--centroids", "teacher.pt"), "teacher.pt does not exist"),
        (("--output-dir", "recordings/solo/only.flac/out"), "cannot write"),
    ],
)
def test_wrong_requests_end_in_one_sentence(folder, options, message, monkeypatch, capsys):
    monkeypatch.chdir(folder.parent)
    assert exit_code(monkeypatch, "recordings", *options) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert message in error


def test_a_folder_without_a_usable_recording(tmp_path, monkeypatch, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.wav").touch()
    assert exit_code(monkeypatch, tmp_path, "--output-dir", tmp_path / "out") == 2
    assert "none of the 1 recordings can be used" in capsys.readouterr().err
    assert not (tmp_path / "out" / "benchmark_crema.pt").exists()
