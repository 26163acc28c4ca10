"""python -m tools.train as a person types it, alone and through torchrun."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.errors import run_front
from src.files import load_tensors
from src.training.coverhunter_state import saved_epochs
from tests.training.coverhunter_world import hparams, make_world, write_model_dir
from tools import train

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> dict[str, Path]:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def command(monkeypatch):
    """Runs the front in this process; returns its exit code."""

    def run(*arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["tools.train", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_front(train.main)
        return ended.value.code

    return run


def test_train_then_evaluate(paths, tmp_path, command, capsys):
    folder = write_model_dir(tmp_path, hparams(paths, max_epochs=1))
    assert command(f"{folder}/", "--runid", "first try", "--device", "cpu") == 0
    assert saved_epochs(folder) == [0]
    assert (folder / "logs" / "first try" / "epochs.jsonl").is_file()
    capsys.readouterr()
    assert command(folder, "--only_eval") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["epoch"] == 0
    assert figures["tests"]["unseen"]["mean_ap"] > 0.3


def test_a_mistake_in_hparams_is_one_sentence(paths, tmp_path, command, capsys):
    folder = write_model_dir(tmp_path, hparams(paths, batch_sise=4))
    assert command(folder) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "batch_sise" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("arguments", [["nowhere"], ["nowhere", "--coarse_to_fine"]])
def test_a_folder_that_is_not_there(arguments, tmp_path, command, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    assert "nowhere" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_is_not_there(paths, tmp_path, command, capsys):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    folder = write_model_dir(tmp_path, hparams(paths))
    assert command(folder, "--device", "cuda") == 2
    assert "device cuda" in capsys.readouterr().err


def test_two_processes_train_one_model(paths, tmp_path):
    folder = write_model_dir(tmp_path, hparams(paths, max_epochs=2))
    probe = REPOSITORY / "tests" / "training" / "ddp_probe.py"
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    result = subprocess.run(
        [*launch, str(probe), str(folder)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    first, second = (load_tensors(folder / f"rank{rank}.pt") for rank in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    assert saved_epochs(folder) == [1, 0]
    lines = (folder / "logs" / "run" / "epochs.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1]
    # 6 batches an epoch alone (two chunk lengths, three each); here each process has one of each.
    assert json.loads(lines[0])["steps"] == 3
    assert len(list((folder / "logs" / "run").glob("events.*"))) == 1
    assert result.stderr.count("unseen mAP") == 2  # said by one process, once an epoch
