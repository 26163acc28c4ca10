"""Feature extraction and the preparation of Covers80 as typed."""

import sys
from pathlib import Path

import pytest

from src.audio import sound_augment
from src.errors import run_front
from tests.data.csi_folder import SHARES, make_folder, read_lines, set_hparams
from tools import extract_csi_features, prepare_covers80


def exit_code(monkeypatch, front, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        run_front(front.main)
    return caught.value.code


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_folder(Path("ds"), {"a": 3, "b": 2, "c": 1}, aug_speed_mode=[1.0], **SHARES)


def test_a_folder_with_its_trailing_slash(folder, monkeypatch, capsys):
    assert exit_code(monkeypatch, extract_csi_features, "ds/", "--workers", 2) == 0
    out = capsys.readouterr().out
    assert "ds/full.txt (6 lines)" in out
    assert "ds/train.txt" in out
    assert read_lines(folder / "full.txt")[0]["feat"] == "ds/cqt_feat/u0.cqt.npy"


def test_stages_as_typed(folder, monkeypatch):
    assert exit_code(monkeypatch, extract_csi_features, "ds", "--end_stage", 4) == 0
    assert "song_id" not in read_lines(folder / "full.txt")[0]
    assert not (folder / "train.txt").exists()
    options = ("--start_stage", 8, "--end_stage", 13)
    assert exit_code(monkeypatch, extract_csi_features, "ds", *options) == 0
    assert read_lines(folder / "full.txt")[0]["song_id"] == 0
    assert (folder / "train.txt").exists()


def test_bad_recordings_are_told_and_counted(folder, monkeypatch, capsys):
    (folder / "wav" / "1.wav").write_bytes(b"")
    (folder / "wav" / "4.wav").unlink()
    assert exit_code(monkeypatch, extract_csi_features, "ds/") == 1
    out = capsys.readouterr().out
    assert "left out: u1: ds/wav/1.wav is empty" in out
    assert "left out: u4: ds/wav/4.wav does not exist" in out
    assert "2 recordings left out" in out


@pytest.mark.parametrize(
    ("break_it", "word"),
    [
        (lambda folder: (folder / "dataset.txt").unlink(), "dataset.txt"),
        (lambda folder: (folder / "hparams.yaml").unlink(), "hparams.yaml"),
        (lambda folder: set_hparams(folder, aug_sped_mode=[1.0]), "aug_sped_mode"),
        (lambda folder: set_hparams(folder, aug_speed_mode="fast"), "aug_speed_mode"),
        (lambda folder: set_hparams(folder, fmin=9000), "hparams.yaml"),
    ],
)
def test_bad_input_is_one_sentence(folder, monkeypatch, capsys, break_it, word):
    break_it(folder)
    assert exit_code(monkeypatch, extract_csi_features, "ds/") == 2
    error = capsys.readouterr().err
    assert word in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1
    assert not (folder / "full.txt").exists()


def test_a_missing_sox_is_one_sentence_before_any_work(folder, monkeypatch, capsys):
    set_hparams(folder, aug_speed_mode=[0.9, 1.0])
    monkeypatch.setattr(sound_augment.shutil, "which", lambda _: None)
    assert exit_code(monkeypatch, extract_csi_features, "ds/") == 2
    assert "brew install sox" in capsys.readouterr().err
    assert not (folder / "cqt_feat").exists()


def test_the_numbers_of_workers_and_stages_are_checked(folder, monkeypatch, capsys):
    assert exit_code(monkeypatch, extract_csi_features, "ds/", "--workers", 0) == 2
    assert exit_code(monkeypatch, extract_csi_features, "ds/", "--start_stage", 14) == 2
    assert "no stage" in capsys.readouterr().err


def test_preparation_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert exit_code(monkeypatch, prepare_covers80, "covers80.tgz") == 2
    assert "covers80.tgz does not exist" in capsys.readouterr().err
