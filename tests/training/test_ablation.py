"""Ablations with runs of a second: what is trained, what is written, what a stop leaves."""

import json
import shutil
import sys
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from src.config import REPOSITORY
from src.corpus.arrange import arrange
from src.corpus.recording import draw_recording
from src.data.cqt_features import save_cqt
from src.data.crema_features import write_features
from src.data.manifest import read_manifest, write_manifest
from src.data.row_choice import by_work
from src.errors import UserError, run_front
from src.models.move import MOVEModel
from src.training import ablation as ablation_module
from src.training.ablation import RESULTS, Ablation
from src.training.ablation_plan import load_plan, rows_of
from tests.corpus.tunes import simple_tune
from tests.training.coverhunter_world import BINS, CQTSpec, features, write_rows, write_spec
from tools import ablate

CPU = torch.device("cpu")
TRAINED, HELD_OUT = range(6), range(6, 10)


@pytest.fixture(scope="module")
def lists(tmp_path_factory) -> dict[str, str]:
    """Six works to train on, whose versions were made in two ways, and four held out."""
    folder = tmp_path_factory.mktemp("corpus")
    write_spec(folder / "cqt_feat", CQTSpec(n_bins=BINS))
    paths = {
        "train": write_rows(folder, "train.txt", range(4), TRAINED),
        "unseen": write_rows(folder, "unseen.txt", range(2), HELD_OUT),
    }
    for path in paths.values():
        rows = read_manifest(path)
        for number, row in enumerate(rows):
            pitches = np.random.default_rng((row["song_id"], number)).random((340, 12))
            pitches[:, row["song_id"]] += 3
            row["features"] = str(folder / f"{row['utt']}.npz")
            write_features(folder / f"{row['utt']}.npz", pitches.astype(np.float32), "0.1.0")
            row["choices"] = {"arrangement": {"harmony": ("given", "none")[number % 4 % 2]}}
        write_manifest(rows, path)
    return {name: str(path) for name, path in paths.items()}


HPARAMS = {
    "input_dim": BINS,
    "embed_dim": 8,
    "encoder": {"output_dims": 8, "attention_dim": 8, "num_blocks": 1},
    "cqt": {"n_bins": BINS},
    "chunk_frame": [20],
    "batch_size": 4,
    "m_per_class": 2,
    "mixed_precision": False,
}


def write_plan(path, lists, **changes):
    values = {
        "system": "coverhunter",
        "corpus": lists["train"],
        "sets": {"unseen": lists["unseen"]},
        "steps": 5,
        "seeds": [0, 1],
        "options": HPARAMS,
        "variants": {
            "half the works": {"works": 3},
            "harmony given": {"where": {"arrangement.harmony": "given"}},
            "as many": {"like": "harmony given", "against": "harmony given"},
            "short chunks": {"options": {"chunk_frame": [16]}},
        },
    }
    path.write_text(yaml.safe_dump(values | changes), "utf-8")
    return path


def lines_of(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / RESULTS).read_text("utf-8").splitlines()]


def test_what_variants_are_trained_on(lists, tmp_path):
    plan = load_plan(write_plan(tmp_path / "plan.yaml", lists))
    runs = Ablation(plan, tmp_path / "out", device=CPU).runs
    assert [(run.variant, run.seed) for run in runs[:5]] == [(name, 0) for name in plan.names]
    rows = {run.variant: run.rows for run in runs if run.seed == 0}
    assert {name: (len(by_work(part)), len(part)) for name, part in rows.items()} == {
        "base": (6, 24),
        "half the works": (3, 12),
        "harmony given": (6, 12),
        "as many": (6, 12),
        "short chunks": (6, 24),
    }
    assert rows["as many"] != rows["harmony given"]
    assert plan.options_of("short chunks")["chunk_frame"] == [16]
    assert plan.options_of("base")["chunk_frame"] == [20]
    assert len({run.identity for run in runs}) == len(runs)


def test_runs_are_made_once_and_continue(lists, tmp_path, monkeypatch, caplog):
    path = write_plan(tmp_path / "plan.yaml", lists, variants={"half the works": {"works": 3}})
    out = tmp_path / "out"
    monkeypatch.setattr(sys, "argv", ["tool", str(path), str(out), "--device", "cpu"])

    trained = []
    real = ablation_module.train_coverhunter_run

    def stopped_at_the_third(folder, rows, options, **rest):
        trained.append((len(rows), rest["seed"]))
        if len(trained) == 3:
            raise KeyboardInterrupt
        return real(folder, rows, options, **rest)

    monkeypatch.setattr(ablation_module, "train_coverhunter_run", stopped_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        ablate.main()
    assert trained == [(24, 0), (12, 0), (24, 1)]
    assert [(line["variant"], line["seed"]) for line in lines_of(out)] == [
        ("base", 0), ("half the works", 0),
    ]  # fmt: skip
    with (out / RESULTS).open("a") as file:
        file.write('{"variant": "base", "se')  # the line that was being written
    ablate.main()
    assert trained[3:] == [(24, 1), (12, 1)]
    ablate.main()
    assert len(trained) == 5  # nothing is left to do

    plan = load_plan(path)
    made = Ablation(plan, out, device=CPU)
    results = made.results()
    assert len(results) == 4
    line = results["half the works", 1]
    assert line["works"] == 3
    assert line["recordings"] == 12
    assert line["steps"] in (5, 6)
    figures = line["sets"]["unseen"]
    assert np.mean(figures["average_precision"]) == pytest.approx(figures["mAP"], abs=1e-5)
    assert len(figures["average_precision"]) == 8
    rows = [row.split(" | ") for row in made.table(resamples=50).splitlines()[2:]]
    assert [row[0] for row in rows] == ["| base", "| half the works"]
    mean = np.mean([results["half the works", s]["sets"]["unseen"]["mAP"] for s in (0, 1)])
    base = np.mean([results["base", s]["sets"]["unseen"]["mAP"] for s in (0, 1)])
    assert rows[1][5].startswith(f"{mean:.3f} (")
    assert rows[1][6].startswith(f"{mean - base:+.3f} (")
    assert rows[0][6] == " |" or rows[0][6].strip(" |") == ""

    # Another set is measured with the models that are there; other steps are other runs.
    more = write_plan(
        tmp_path / "plan2.yaml", lists, variants={"half the works": {"works": 3}},
        sets={"unseen": lists["unseen"], "again": lists["unseen"]},
    )  # fmt: skip
    Ablation(load_plan(more), out, device=CPU).work()
    assert len(trained) == 5
    assert "again" in Ablation(load_plan(more), out, device=CPU).results()["base", 0]["sets"]
    other = load_plan(write_plan(tmp_path / "plan3.yaml", lists, steps=3, variants={}))
    assert Ablation(other, out, device=CPU).results() == {}


def test_nothing_is_trained_or_evaluated_twice(lists, tmp_path, monkeypatch):
    """Not for another comparison, another name or another set; but for a set that has changed."""
    variants = {
        "half": {"works": 3},
        "given": {"where": {"arrangement.harmony": "given"}},
        "half, against given": {"works": 3, "against": "given"},
    }
    trained, evaluated = [], []
    train, evaluate = ablation_module.train_coverhunter_run, ablation_module.evaluate

    def training(folder, *rest, **more):
        trained.append(folder)
        return train(folder, *rest, **more)

    def evaluating(method, collection):
        evaluated.append(collection.name)
        return evaluate(method, collection)

    monkeypatch.setattr(ablation_module, "train_coverhunter_run", training)
    monkeypatch.setattr(ablation_module, "evaluate", evaluating)

    def work(**changes) -> Ablation:
        values = {"seeds": [0], "variants": variants, "sets": sets} | changes
        plan = load_plan(write_plan(tmp_path / "plan.yaml", lists, **values))
        made = Ablation(plan, tmp_path / "out", device=CPU)
        evaluated.clear()
        made.work()
        return made

    sets = {"unseen": lists["unseen"]}
    made = work()
    assert len(trained) == len(set(trained)) == 3
    assert evaluated == ["unseen"] * 3
    results = made.results()
    assert results["half", 0]["sets"] == results["half, against given", 0]["sets"]
    assert "half, against given (against given)" in made.table(resamples=10)

    again = elsewhere(lists["unseen"], tmp_path / "again")
    sets["again"] = str(again)
    results = work(variants={"half": {"works": 3}, "given, renamed": variants["given"]}).results()
    assert len(trained) == 3
    assert evaluated == ["list"] * 3
    assert set(results) == {("base", 0), ("half", 0), ("given, renamed", 0)}
    assert all(list(line["sets"]) == ["unseen", "again"] for line in results.values())
    assert [list(line["sets"]) for line in lines_of(tmp_path / "out")] == [
        ["unseen"], ["unseen"], ["unseen"], ["again"], ["again"], ["again"],
    ]  # fmt: skip
    work()
    assert evaluated == []

    render_anew(again, "feat")
    work(variants={})
    assert len(trained) == 3
    assert evaluated == ["list"]


def elsewhere(source: str, folder, changed: str | None = None):
    """A list with the same lines as another one, whose files are copies; one may have changed."""
    rows = read_manifest(source)
    for row in rows:
        for key in ("feat", "features"):
            old = Path(row[key])
            row[key] = str(folder / old.name)
            folder.mkdir(exist_ok=True)
            shutil.copy(old, row[key])
    write_spec(folder, CQTSpec(n_bins=BINS))
    write_manifest(rows, folder / "list.txt")
    if changed is not None:
        render_anew(folder / "list.txt", changed)
    return folder / "list.txt"


def render_anew(path, key: str) -> None:
    """Another rendering of the last recording, with a file of the same name."""
    file = Path(read_manifest(path)[-1][key])
    if key == "feat":
        save_cqt(features(9, 9), file)
    else:
        write_features(file, np.full((340, 12), 0.5, np.float32), "0.1.0")


def identities(path, folder) -> dict[str, str]:
    return {run.variant: run.identity for run in Ablation(load_plan(path), folder, device=CPU).runs}


def test_what_is_trained_on_is_known_by_its_content(lists, tmp_path):
    """The same works, rendered otherwise or anew, are another run; a copied corpus is not."""
    teacher = tmp_path / "move.pt"
    teacher.write_bytes(b"weights")
    copied = elsewhere(lists["train"], tmp_path / "copied")
    other = elsewhere(lists["train"], tmp_path / "other", changed="feat")
    validation = write_part(lists["unseen"], tmp_path / "validation.txt", ("work 8", "work 9"))
    validation = elsewhere(str(validation), tmp_path / "validating")
    sets = {"unseen": str(write_part(lists["unseen"], tmp_path / "u.txt", ("work 6", "work 7")))}
    imitates = {"teacher": {"path": str(teacher), "relations": 1.0}}
    variants = {
        "copied": {"corpus": str(copied)},
        "otherwise": {"corpus": str(other)},
        "imitates": {"corpus": str(copied), "options": imitates},
        "re-move": {"system": "re-move", "corpus": str(copied), "options": {"emb_size": 4}},
    }
    plan = write_plan(
        tmp_path / "plan.yaml", lists, seeds=[0], sets=sets, variants=variants,
        validation=str(validation),
    )  # fmt: skip
    out = tmp_path / "out"
    first = identities(plan, out)
    assert first["copied"] == first["base"]
    assert len(set(first.values())) == 4
    folders = {run.variant: run.folder for run in Ablation(load_plan(plan), out, device=CPU).runs}
    assert folders["otherwise"] != folders["base"] == folders["copied"]
    assert identities(plan, out) == first

    def changed_by(change) -> set[str]:
        before = identities(plan, out)
        change()
        after = identities(plan, out)
        return {name for name in before if before[name] != after[name]}

    assert changed_by(lambda: render_anew(copied, "features")) == {"imitates", "re-move"}
    assert changed_by(lambda: render_anew(validation, "features")) == {"re-move"}
    assert changed_by(lambda: render_anew(validation, "feat")) == set()
    assert changed_by(lambda: teacher.write_bytes(b"others")) == {"imitates"}
    described = teacher.with_suffix(".json")
    assert changed_by(lambda: described.write_text('{"mean_frames": 5}')) == {"imitates"}
    assert changed_by(lambda: render_anew(copied, "feat")) == {"copied", "imitates"}


def test_weights_are_known_by_their_content(lists, tmp_path):
    """Another model under the name that an option gives makes another run."""
    model = tmp_path / "model"
    files = [model / "config" / "hparams.yaml", model / "pt_model" / "g_00000002"]
    for path in files:
        path.parent.mkdir(parents=True)
        path.write_text("1")
    (tmp_path / "move.pt").write_text("1")
    variants = {
        "on": {"options": {"start_from": str(model)}},
        "lsr": {
            "system": "re-move",
            "options": {"exp_type": "lsr", "move": str(tmp_path / "move.pt")},
        },
    }
    part = write_part(lists["unseen"], tmp_path / "validation.txt", ("work 8", "work 9"))
    plan = write_plan(
        tmp_path / "plan.yaml", lists, seeds=[0], variants=variants, validation=str(part)
    )
    found = [identities(plan, tmp_path / "out")]
    for path in [*files, tmp_path / "move.pt", model / "log.txt"]:
        path.write_text("2")
        found.append(identities(plan, tmp_path / "out"))
    assert len({one["base"] for one in found}) == 1
    assert [one["on"] == two["on"] for one, two in pairwise(found)] == [False, False, True, True]
    assert [one["lsr"] == two["lsr"] for one, two in pairwise(found)] == [True, True, False, True]


def test_the_mean_of_checkpoints(lists, tmp_path):
    plan = load_plan(
        write_plan(tmp_path / "plan.yaml", lists, steps=4, average=2, seeds=[0], variants={})
    )
    made = Ablation(plan, tmp_path / "out", device=CPU)
    made.work()
    (run,) = made.runs
    folder = tmp_path / "out" / "runs" / run.folder
    assert (folder / "mean" / "config" / "hparams.yaml").is_file()
    assert len(list((folder / "pt_model").glob("g_*"))) >= 2


def test_re_move_beside_it(lists, tmp_path):
    """Another system in a variant, from weights that are there."""
    start = tmp_path / "start.pt"
    torch.manual_seed(0)
    torch.save(MOVEModel(emb_size=4).state_dict(), start)
    validation = str(write_part(lists["unseen"], tmp_path / "validation.txt", ("work 8", "work 9")))
    sets = {"unseen": str(write_part(lists["unseen"], tmp_path / "u.txt", ("work 6", "work 7")))}
    remove = {
        "emb_size": 4, "chunks": 1, "batch_size": 8, "patch_len": 330, "loss": 2,
        "data_aug": 0, "start_from": str(start), "learning_rate": 0.01,
    }  # fmt: skip
    plan = load_plan(
        write_plan(
            tmp_path / "plan.yaml",
            lists,
            seeds=[0],
            validation=validation,
            decay_at=[0.5],
            sets=sets,
            steps=4,
            variants={"move": {"system": "re-move", "options": remove, "versions": 3}},
        )
    )
    made = Ablation(plan, tmp_path / "out", device=CPU)
    made.work(only=["move"])
    (line,) = lines_of(tmp_path / "out")
    assert (line["variant"], line["recordings"], line["steps"]) == ("move", 18, 4)
    folder = tmp_path / "out" / line["folder"]
    assert not (folder / "data").exists()
    (model,) = folder.glob("models/baseline_models/*.json")
    description = json.loads(model.read_text("utf-8"))
    assert description["start_from"] == "start.pt"
    assert description["options"]["lr_schedule"] == [1]
    assert "| move |" in made.table(resamples=20)
    with pytest.raises(UserError, match="no variant 'mov'"):
        made.work(only=["mov"])


def write_part(source, path, works):
    write_manifest([row for row in read_manifest(source) if row["song"] in works], path)
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"variants": {"base": {}}}, "base is the name of the plan itself"),
        ({"variants": {"a": {"like": "b"}}}, "names 'b', which is no other variant"),
        ({"variants": {"a b": {}, "A-b": {"works": 3}}}, "too much like another"),
        ({"variants": {"a": {"versions": 1}}}, "versions must be a largest number"),
        ({"variants": {"a": {"work": 3}}}, "unknown key variants.a.work; the nearest"),
        ({"options": {"train_path": "x"}}, "options say nothing of data"),
        ({"step": 4}, "unknown key step"),
    ],
)
def test_a_plan_with_a_slip_is_refused(lists, tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        load_plan(write_plan(tmp_path / "plan.yaml", lists, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sets": {"unseen": "{train}"}}, "6 of its works are in the set unseen"),
        ({"variants": {"a": {"where": {"arrangement.harmonies": "x"}}}}, "variant 'a': no record"),
        ({"variants": {"a": {"system": "re-move"}}}, "lacks validation"),
        ({"corpus": "nowhere.txt"}, "nowhere.txt"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_training(lists, tmp_path, changes, words):
    changes = yaml.safe_load(yaml.safe_dump(changes).replace("{train}", lists["train"]))
    plan = load_plan(write_plan(tmp_path / "plan.yaml", lists, **changes))
    with pytest.raises(UserError, match=words):
        Ablation(plan, tmp_path / "out", device=CPU)
    assert not (tmp_path / "out").exists()


def test_a_held_out_work_is_known_however_its_accents_are_encoded(lists, tmp_path):
    paths = {}
    for name, form in (("train", "NFC"), ("unseen", "NFD")):
        rows = read_manifest(lists[name])
        for row in rows[:2]:
            row["song"] = unicodedata.normalize(form, "Águas")
        paths[name] = str(tmp_path / f"{name}.txt")
        write_manifest(rows, paths[name])
    plan = load_plan(write_plan(tmp_path / "plan.yaml", paths))
    with pytest.raises(UserError, match=r"1 of its works are in the set unseen, such as Águas"):
        Ablation(plan, tmp_path / "out", device=CPU)


def test_the_plan_of_the_corpus_fits_what_the_corpus_says():
    """Every condition names a choice that is made, and leaves something to train on."""
    plan = load_plan(REPOSITORY / "egs" / "opencorpus" / "ablations.yaml")
    dice = np.random.default_rng(0)
    rows = [
        {
            "utt": f"{work} {version}",
            "song": f"work {work}",
            "choices": {
                "arrangement": arrange(
                    simple_tune(work=f"work {work}"), seed=1, version=version
                ).choices,
                "recording": draw_recording(dice),
            },
        }
        for work in range(2)
        for version in range(12)
    ]
    corpora = {plan.corpus, *(v.corpus for v in plan.variants.values() if v.corpus)}
    for name in plan.names:
        assert rows_of(plan, name, dict.fromkeys(corpora, rows))


def test_the_front_ends_in_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tool", str(tmp_path / "no.yaml"), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        run_front(ablate.main)
    assert ended.value.code == 2
    assert "cannot read" in capsys.readouterr().err
