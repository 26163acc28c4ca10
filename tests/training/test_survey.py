"""The survey of a corpus beside plain loops."""

import csv

import numpy as np
import pytest

from src.errors import UserError
from src.training.survey import flat_choices, grouped, survey, survey_table, write_survey

WORKS, VERSIONS = 30, 4


@pytest.fixture(scope="module")
def corpus():
    """Average precisions that depend on the style, a little on tempo, and on nothing else."""
    rng = np.random.default_rng(5)
    works = [f"w{n // VERSIONS}" for n in range(WORKS * VERSIONS)]
    choices, ap = [], []
    for _ in works:
        style = str(rng.choice(["folk", "jazz", "trap"], p=[0.5, 0.4, 0.1]))
        tempo = float(rng.uniform(0.7, 1.4))
        recording = {"kind": str(rng.choice(["studio", "vinyl"]))}
        if rng.random() < 0.5:
            recording["room"] = {"size": str(rng.choice(["small", "large"])), "seed": 3}
        solos = int(rng.integers(0, 3))
        arrangement = {"style": style, "tempo": tempo, "solos": solos, "players": [1] * solos}
        if rng.random() < 0.3:
            arrangement["doubled_by"] = "flute"
        choices.append({"arrangement": arrangement, "recording": recording, "soundfont": "one"})
        ap.append(
            {"folk": 0.8, "jazz": 0.3, "trap": 0.0}[style] + 0.1 * tempo + 0.02 * rng.random()
        )
    ap[7] = np.nan
    return np.array(ap), works, choices


def test_every_value_as_in_plain_loops(corpus):
    ap, works, choices = corpus
    found = {choice.name: choice for choice in survey(ap, works, choices, resamples=50)}
    style = found["arrangement.style"]
    for value in style.values:
        own = [
            i
            for i, row in enumerate(choices)
            if row["arrangement"]["style"] == value.text and not np.isnan(ap[i])
        ]
        assert value.queries == len(own)
        assert value.works == len({works[i] for i in own})
        assert value.mean_ap == pytest.approx(sum(ap[i] for i in own) / len(own))
        assert value.interval[0] < value.mean_ap < value.interval[1]
    assert [value.text for value in style.values] == ["folk", "jazz", "trap"]
    # Too few versions are trap to count.
    assert style.values[2].queries < 20
    assert style.difference == pytest.approx(style.values[0].mean_ap - style.values[1].mean_ap)

    tempo = found["arrangement.tempo"]
    numbers = sorted(
        row["arrangement"]["tempo"] for i, row in enumerate(choices) if not np.isnan(ap[i])
    )
    quarter = len(numbers) / 4
    assert len(tempo.values) == 4
    assert all(abs(value.queries - quarter) <= 1 for value in tempo.values)
    assert tempo.values[0].text.startswith(f"{numbers[0]:g} to ")
    assert tempo.values[-1].text.endswith(f" to {numbers[-1]:g}")


def test_what_matters_comes_first_and_chance_is_told_apart(corpus):
    ap, works, choices = corpus
    found = survey(ap, works, choices, resamples=50)
    assert found[0].name == "arrangement.style"
    assert found[0].difference > 2 * found[0].by_chance
    others = [choice for choice in found if choice.name in ("recording.kind", "recording.room")]
    assert len(others) == 2
    # Groups of 60 with a deviation of 0.25: their means differ by 0.045 or so.
    assert all(choice.difference < 0.15 for choice in others)
    assert all(0.05 < choice.by_chance < 0.15 for choice in others)
    assert [choice.difference for choice in found] == sorted(
        (choice.difference for choice in found), reverse=True
    )
    assert "soundfont" not in {choice.name for choice in found}  # one value
    assert survey(ap, works, choices, resamples=50) == found


def test_nested_choices_as_columns():
    columns = flat_choices([
        {"a": {"x": 1, "seed": 9, "b": {"y": "deep"}, "on": True}, "list": [1, 2]},
        {"a": {"z": None, "on": False}},
        {"list": []},
    ])  # fmt: skip
    assert columns == {
        "a": ["with", "with", "without"],
        "a.b": ["with", "without", None],
        "a.b.y": ["deep", None, None],
        "a.on": ["yes", "no", None],
        "a.x": [1, "none", None],
        "a.z": ["none", "none", None],
        "list": [2, "none", 0],
    }


def test_numbers_and_words_in_groups():
    groups = grouped([3, "none", 1, None, 3, "a", 2], 4)
    assert [(text, members.tolist()) for text, members in groups] == [
        ("1", [2]), ("2", [6]), ("3", [0, 4]), ("a", [5]), ("none", [1]),
    ]  # fmt: skip
    values = [1.0] * 90 + [float(n) for n in range(2, 12)]
    groups = grouped(values, 4)
    assert sorted(np.concatenate([members for _, members in groups])) == list(range(100))
    assert all(len(members) for _, members in groups)


def test_table_and_file(corpus, tmp_path):
    ap, works, choices = corpus
    found = survey(ap, works, choices, resamples=50)
    write_survey(found, tmp_path / "survey.csv")
    with open(tmp_path / "survey.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(choice.values) for choice in found)
    assert rows[0]["choice"] == "arrangement.style"
    assert float(rows[0]["mAP"]) == pytest.approx(found[0].values[0].mean_ap, rel=1e-5)
    lines = survey_table(found[:1]).splitlines()
    assert len(lines) == 2 + 3
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| arrangement.style | ")
    trap = found[0].values[2]
    assert lines[4] == f"|  |  | 1 rarer | {trap.queries} | {trap.mean_ap:.3f} |"


def test_refusals(corpus):
    ap, works, choices = corpus
    with pytest.raises(UserError, match="no query has another version"):
        survey(np.full_like(ap, np.nan), works, choices)
    with pytest.raises(UserError, match="bins"):
        survey(ap, works, choices, bins=1)
