"""tools.compare_models, tools.robustness and tools.survey_choices as typed."""

import sys

import pytest

from src.data.manifest import read_manifest, write_manifest
from src.errors import run_front
from tests.training.comparison_world import write_coverhunter, write_features, write_sounds
from tools import compare_models, robustness, survey_choices


@pytest.fixture
def front(monkeypatch, capsys):
    def call(tool, *arguments):
        """Exit code, standard output, standard error."""
        monkeypatch.setattr(sys, "argv", ["tool", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_front(tool.main)
        return (ended.value.code, *capsys.readouterr())

    return call


def refused(front, *arguments) -> str:
    code, output, error = front(*arguments)
    assert code == 2, output + error
    sentences = [line for line in error.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1
    assert "Traceback" not in error
    return sentences[0]


def test_two_sets_in_one_command(front, tmp_path):
    model = write_coverhunter(tmp_path / "mine")
    sets = [write_features(tmp_path / name, works) for name, works in
            (("a", [0, 0, 1, 1]), ("b", [2, 2, 3, 3, 4]))]  # fmt: skip
    code, output, error = front(
        compare_models, *sets, "--models", model, "--skip-qmax", "--skip-untrained",
        "--difference", "mine", "fourier", "--resamples", 20, "--csv", tmp_path / "t.csv",
        "--device", "cpu",
    )  # fmt: skip
    assert code == 0, error
    lines = output.splitlines()
    assert lines[0] == "a: 4 recordings of 2 works"
    assert lines[4].startswith("| CoverHunter mine, 16 | ") or lines[5].startswith(
        "| CoverHunter mine, 16 | "
    )
    assert "b: 5 recordings of 3 works" in lines
    assert sum(line.startswith("mAP of CoverHunter mine, 16 minus 2D") for line in lines) == 2
    assert len((tmp_path / "t.csv").read_text("utf-8").splitlines()) == 1 + 2 * 3


def test_two_rows_as_one(front, tmp_path):
    model, manifest = (
        write_coverhunter(tmp_path / "mine"),
        write_features(tmp_path / "a", [0, 0, 1, 1]),
    )
    arguments = [compare_models, manifest, "--models", model, "--skip-qmax", "--device", "cpu",
                 "--resamples", 20, "--together", "mine", "fourier"]  # fmt: skip
    code, output, error = front(*arguments, "--difference", "fourier + mine", "mine")
    assert code == 0, error
    both = "CoverHunter mine, 16 + 2D Fourier magnitude (unsupervised)"
    lines = output.splitlines()
    assert sum(line.startswith(f"| {both} | ") for line in lines) == 1
    assert (
        sum(line.startswith(f"mAP of {both} minus CoverHunter mine, 16: ") for line in lines) == 1
    )
    sentence = refused(front, *arguments, "--together", "fourier", "mine")
    assert "2D Fourier magnitude (unsupervised) + CoverHunter mine, 16 is given twice" in sentence
    sentence = refused(
        front, compare_models, manifest, "--models", model, "--together", "mine", "mine"
    )
    assert f"{model} is given twice" in sentence


def test_what_cannot_be_is_one_sentence(front, tmp_path):
    manifest = write_features(tmp_path / "a", [0, 0])
    missing = tmp_path / "no model.pt"
    for tool, *arguments in [
        (compare_models, manifest, "--models", missing),
        (robustness, missing, manifest),
        (survey_choices, missing, manifest),
    ]:
        assert f"{missing} does not exist" in refused(front, tool, *arguments)
    model = write_coverhunter(tmp_path / "mine")
    sentence = refused(
        front, compare_models, manifest, "--models", model, "--difference", "mine", "yours"
    )
    assert "'yours' is no row" in sentence
    assert str(missing) in refused(front, compare_models, missing, "--models", model)
    assert "1 or more" in refused(front, compare_models, manifest, "--rerank", "0")
    assert "unknown change" in refused(front, robustness, "fourier", manifest, "--changes", "x")
    assert "no sound" in refused(front, robustness, "fourier", manifest)
    assert "choices" in refused(front, survey_choices, "fourier", manifest)


def test_robustness_front(front, tmp_path):
    manifest = write_sounds(tmp_path / "a", [0, 0, 1, 1], seconds=3.0)
    model = write_coverhunter(tmp_path / "mine")
    code, output, error = front(
        robustness, model, manifest, "--changes", "length=2", "lowpass=500", "--resamples", 10,
        "--csv", tmp_path / "r.csv", "--plot", tmp_path / "r.png",
    )  # fmt: skip
    assert code == 0, error
    assert "| length (s) | 2 | whole |" in output.splitlines()
    assert len((tmp_path / "r.csv").read_text("utf-8").splitlines()) == 1 + 3
    assert (tmp_path / "r.png").is_file()


def test_survey_front(front, tmp_path):
    manifest = write_features(tmp_path / "a", [0, 0, 1, 1, 2, 2])
    rows = read_manifest(manifest)
    for number, row in enumerate(rows):
        row["choices"] = {"arrangement": {"style": "folk" if number % 2 else "jazz"}}
    write_manifest(rows, manifest)
    arguments = (survey_choices, "fourier", manifest, "--fewest", 2)
    code, output, error = front(*arguments, "--csv", tmp_path / "s.csv")
    assert code == 0, error
    assert output.splitlines()[2].startswith("| arrangement.style | ")
    assert len((tmp_path / "s.csv").read_text("utf-8").splitlines()) == 1 + 2
    (tmp_path / "works.txt").write_text("work 1\nwork 2\n", "utf-8")
    code, output, _ = front(*arguments, "--only-works", tmp_path / "works.txt")
    assert code == 0
    assert [line.split(" | ")[3] for line in output.splitlines()[2:]] == ["2", "2"]
    (tmp_path / "works.txt").write_text("work 9\n", "utf-8")
    assert "no query" in refused(front, *arguments, "--only-works", tmp_path / "works.txt")
