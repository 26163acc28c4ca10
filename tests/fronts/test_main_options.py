"""The command line of main.py: options, defaults, experiment names."""

import json
from pathlib import Path

import pytest

from main import RUN_OPTIONS, build_parser
from src.config import (
    ABBREVIATIONS,
    ADDED_ABBREVIATIONS,
    ADDITIONS,
    EXPERIMENT_TYPES,
    FRAMES_TO_AVERAGE,
    REPOSITORY,
    experiment_name,
    remove_config,
    remove_defaults,
)
from src.errors import UserError
from src.models.move import MEAN_FRAMES
from src.training.paths import ExperimentFiles, find_data, find_model, model_file

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = json.loads((FIXTURES / "c05_cli.json").read_text())
DEFAULTS = json.loads((FIXTURES / "c05_defaults.json").read_text())


def resolve(command_line: list[str]):
    arguments = build_parser().parse_args(command_line)
    options = {k: v for k, v in vars(arguments).items() if k not in RUN_OPTIONS}
    config = remove_config(arguments.exp_type, options)
    return arguments, config, experiment_name(arguments.exp_type, config)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["argv"] or "nothing")
def test_names_and_resolved_options(case):
    arguments, config, name = resolve(case["argv"].split())
    assert name == case["experiment_name"]
    for key, value in case["config"].items():
        if key in RUN_OPTIONS:
            resolved = str(getattr(arguments, key))
            assert resolved == value.replace("<REPO>", str(REPOSITORY))
        else:
            assert getattr(config, key) == value
    wanted = case["model_file"].split("saved_models/")[1]
    assert model_file(arguments.exp_type, name) == wanted


def test_defaults_and_their_order():
    for exp_type in EXPERIMENT_TYPES:
        defaults = remove_defaults(exp_type)
        assert defaults == DEFAULTS["values"][exp_type]
        assert list(defaults) == DEFAULTS["key_order_for_naming"]
        assert remove_config(exp_type).model_dump() == defaults | ADDITIONS
    assert DEFAULTS["abbreviations"] == ABBREVIATIONS


@pytest.mark.parametrize(
    ("command_line", "ending"),
    [
        ("--temperature 0.2 --mean_frames 1", ""),
        ("--temperature 0.1", "_t_0-1"),
        ("--mean_frames 4", "_mf_4"),
        ("--padding 180", "_pad_180"),
        ("--mean_frames 20 --temperature 1 -da 2 --loss 4", "_l_4_da_2_t_1_mf_20"),
    ],
)
def test_additions_end_a_name_where_they_are_not_at_their_defaults(command_line, ending):
    for exp_type in EXPERIMENT_TYPES:
        name = resolve(["--exp_type", exp_type, *command_line.split()])[2]
        assert name == f"re-move_{exp_type}{ending}"


def test_no_addition_hides_an_option_of_the_original():
    assert not ADDITIONS.keys() & ABBREVIATIONS.keys()
    assert ADDED_ABBREVIATIONS.keys() == ADDITIONS.keys()
    short = [*ABBREVIATIONS.values(), *ADDED_ABBREVIATIONS.values()]
    assert len(set(short)) == len(short)
    assert FRAMES_TO_AVERAGE == MEAN_FRAMES  # what can be typed is what the network can do


def test_options_stand_in_the_order_of_the_original():
    options = [action.option_strings for action in build_parser()._actions]
    flags = [strings[0] for strings in options]
    original = "-h -rt -mp --exp_type -pri -tf -ch -vf -noe -emb -bs -l -kdl -ms -ma -o -lr -flr "
    original += "-mo -lrs -lrg -pl -da -nw -ofb"
    assert flags[: len(original.split())] == original.split()


def test_the_readme_has_the_help_of_every_option():
    def bare(text: str) -> str:  # lines are broken as the terminal wants it
        return "".join(text.split())

    readme = (REPOSITORY / "README.md").read_text("utf-8")
    shown = bare(readme.partition("usage: main.py")[2].partition("```")[0])
    for action in build_parser()._actions:
        assert bare(action.help) in shown
        assert all(option in shown for option in action.option_strings)
        if action.choices:
            assert f"{{{','.join(map(str, action.choices))}}}" in shown


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"emb_size": 0}, "emb_size"),
        ({"batch_size": 3, "loss": 0}, "batch_size"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"pruning_iterations": 8}, "pruning_iterations"),
        ({"momentum": 1.0}, "momentum"),
        ({"colour": "red"}, "colour"),
        ({"overfit_batch": 2}, "overfit_batch"),
        ({"batch_size": 3, "loss": 4}, "batch_size"),
        ({"temperature": 0}, "temperature"),
        ({"mean_frames": 3}, r"mean_frames: .*1, 2, 4, 5, 10 or 20"),
        ({"mean_frames": 0}, "mean_frames"),
        ({"padding": -1}, "padding"),
        ({"data_aug": 3}, "data_aug"),
    ],
)
def test_a_bad_option_is_named(options, word):
    with pytest.raises(UserError, match=word):
        remove_config("lsr", options)


@pytest.mark.parametrize("option", ["-l 5", "-da 3", "--mean_frames 3", "--temperature hot"])
def test_a_mistyped_addition_is_refused(option, capsys):
    with pytest.raises(SystemExit) as ended:
        resolve(option.split())
    assert ended.value.code == 2
    assert option.split()[0] in capsys.readouterr().err


def test_weights_are_found_in_both_folders(tmp_path):
    relative = model_file("lsr", "re-move_lsr")
    with pytest.raises(UserError, match=r"model_re-move_lsr\.pt"):
        find_model(tmp_path, relative)
    ours = tmp_path / "models" / relative
    ours.parent.mkdir(parents=True)
    ours.touch()
    assert find_model(tmp_path, relative) == ours
    assert ExperimentFiles.of(tmp_path, "lsr", "re-move_lsr").model == ours
    theirs = tmp_path / "saved_models" / relative
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    assert find_model(tmp_path, relative) == theirs
    assert ExperimentFiles.of(tmp_path, "lsr", "re-move_lsr").model == theirs


def test_data_is_found_below_the_main_path_or_here(tmp_path, monkeypatch):
    main, here = tmp_path / "main", tmp_path / "here"
    main.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    assert find_data(main, "val.pt") == main / "val.pt"
    (here / "val.pt").touch()
    assert find_data(main, "val.pt") == Path("val.pt")
    (main / "val.pt").touch()
    assert find_data(main, "val.pt") == main / "val.pt"


def test_re_ranking_does_not_name_an_experiment(capsys):
    arguments, _, name = resolve(["-rt", "test", "--rerank", "20"])
    assert arguments.rerank == 20
    assert name == resolve(["-rt", "test"])[2]
    assert name == resolve(["-rt", "test", "--rerank", "20", "--rerank-blend", "1"])[2]
    with pytest.raises(SystemExit):
        resolve(["--rerank", "0"])
    assert "0 is less than 1" in capsys.readouterr().err
