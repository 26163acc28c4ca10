"""main.py as a person types it: what it prints, writes, and says when something is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from src.data.dataset_file import save_dataset_file
from src.files import save_tensors
from src.models.move import MOVEModel
from src.training.checkpoint import save_move

REPOSITORY = Path(__file__).parents[2]
SMALL = "-ch 5 -emb 8 -bs 8 -pl 320 -noe 2 -lr 0.001 --device cpu".split()


def run(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, REPOSITORY / "main.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(*arguments: str | Path) -> str:
    """The one sentence of a command that must end with exit code 2."""
    result = run(*arguments)
    assert result.returncode == 2, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def save_benchmark(main: Path, labels: list[str]) -> None:
    generator = torch.Generator().manual_seed(3)
    data = [torch.rand(1, 12, 330, generator=generator) for _ in labels]
    data = [torch.cat((x, x), dim=1)[:, :23] for x in data]
    path = main / "data" / "benchmark_crema.pt"
    save_dataset_file(path, data=data, labels=labels, crema_version="0.1.0")


def save_model(main: Path, emb_size: int = 256) -> Path:
    torch.manual_seed(0)
    path = main / "models" / "lsr_models" / "model_re-move_lsr.pt"
    save_move(MOVEModel(emb_size=emb_size), path, metadata={"crema_version": "0.1.0"})
    return path


def test_train_then_test(world):
    trained = run("-mp", world, "--exp_type", "baseline", *SMALL)
    assert trained.returncode == 0, trained.stderr
    assert "best weights" in trained.stdout
    again = run("-mp", world, "--exp_type", "baseline", "-rt", "test", *SMALL)
    assert again.returncode == 0, again.stderr  # no benchmark there: the bundled demo
    assert "bundled demo" in again.stdout


def test_figures_are_printed_in_the_order_of_the_original(tmp_path):
    save_model(tmp_path)
    save_benchmark(tmp_path, ["a", "a", "b", "b", "alone"])
    report = tmp_path / "report"
    result = run("-mp", tmp_path, "-rt", "test", "--device", "cpu", "--report", report)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("mAP: "))
    names = [line.split(":")[0] for line in lines[start : start + 6]]
    assert names == ["mAP", "MRR", "MR", "Top1", "Top10", "queries without another version"]
    assert lines[start + 4] == "Top10: 4"
    assert lines[start + 5].endswith("1 of 5")
    assert list(report.glob("*.csv"))
    assert list(report.glob("*.png"))
    original = run("-mp", tmp_path, "-rt", "test", "--device", "cpu", "--metrics", "original")
    assert original.returncode == 0
    assert original.stdout.splitlines()[start : start + 3] != lines[start : start + 3]


def test_missing_weights_are_named_before_the_data(tmp_path):
    sentence = refused("-mp", tmp_path, "-rt", "test")
    assert "model_re-move_lsr.pt" in sentence
    assert "emb_512" in refused("-mp", tmp_path, "-rt", "test", "-emb", "512")


def test_weights_of_another_size(tmp_path):
    save_model(tmp_path, emb_size=64)
    sentence = refused("-mp", tmp_path, "-rt", "test")
    assert "64" in sentence
    assert "256" in sentence


def test_a_malicious_file_is_not_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "exploded",))

    path = save_model(tmp_path)
    torch.save({"lin1.weight": Bomb()}, path)
    assert "model_re-move_lsr.pt" in refused("-mp", tmp_path, "-rt", "test")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("kind", ["keys", "shape", "dtype", "nan"])
def test_a_damaged_benchmark_is_named(tmp_path, kind):
    save_model(tmp_path)
    good = torch.rand(1, 23, 330)
    content = {
        "keys": {"features": [good], "labels": ["a"]},
        "shape": {"data": [good[:, :12]], "labels": ["a"]},
        "dtype": {"data": [good.long()], "labels": ["a"]},
        "nan": {"data": [good * torch.nan], "labels": ["a"]},
    }[kind]
    save_tensors(content, tmp_path / "data" / "benchmark_crema.pt")
    assert "benchmark_crema.pt" in refused("-mp", tmp_path, "-rt", "test", "--device", "cpu")


def test_labels_with_a_single_version_cannot_be_evaluated(tmp_path):
    save_model(tmp_path)
    save_benchmark(tmp_path, ["a", "b", "c"])
    assert "another version" in refused("-mp", tmp_path, "-rt", "test", "--device", "cpu")


def test_a_ground_truth_of_another_size_is_refused(tmp_path):
    save_model(tmp_path)
    save_benchmark(tmp_path, ["a", "a", "b", "b"])
    save_tensors(1 - torch.eye(3), tmp_path / "data" / "ytrue_benchmark.pt")
    sentence = refused("-mp", tmp_path, "-rt", "test", "--device", "cpu")
    assert "3 recordings" in sentence


def test_mistyped_options_end_in_one_sentence(tmp_path):
    assert "cuda:9" in refused("-mp", tmp_path, "--device", "cuda:9")
    assert "train_chunk_1.pt" in refused("-mp", tmp_path)
    for bad in (["--exp_type", "magic"], ["-l", "5"], ["--seed", "-1"], ["-emb", "many"]):
        result = run(*bad)
        assert result.returncode == 2
        assert "usage: main.py" in result.stderr
