"""The loop of CoverHunter: it learns, survives, stops, and continues to the same numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.files import load_tensors, save_tensors
from src.models.coverhunter import CoverHunter
from src.training import coverhunter_loop, coverhunter_state
from src.training.coverhunter_loop import EvaluatedSet, Loop, Plan, Sources
from src.training.coverhunter_state import load_pair, saved_epochs, training_file
from src.training.distributed import Team
from src.training.generator_files import generator_path

BINS, FRAMES, WORKS, EACH = 12, 16, 4, 3
CPU = Team(torch.device("cpu"))
HPARAMS = {
    "input_dim": BINS,
    "embed_dim": 8,
    "mean_size": 1,
    "encoder": {"output_dims": 8, "num_blocks": 1, "attention_dim": 8},
    "ce": {"output_dims": WORKS, "weight": 1.0, "gamma": 2},
    "triplet": {"weight": 0.1, "margin": 0.3},
    "center": {"weight": 0.01},
}


def batch(seed: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Chunks in which every work is loud in bins of its own."""
    draw = np.random.default_rng(seed)
    labels = np.repeat(np.arange(WORKS), EACH)
    x = draw.normal(-50, 5, (len(labels), FRAMES, BINS))
    for item, label in enumerate(labels):
        x[item, :, 3 * label : 3 * label + 3] += 30
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(labels)


def sources(steps: int = 3, tests=()) -> Sources:
    return Sources(
        train=lambda epoch: (batch((1, epoch, step)) for step in range(steps)),
        count=steps,
        validation={"train_sample": lambda: [batch((2,))], "dev": lambda: [batch((3,))]},
        tests=list(tests),
    )


def make_loop(folder: Path, *, loop_sources: Sources | None = None, **plan) -> Loop:
    torch.manual_seed(0)
    options = {"max_epochs": 3, "learning_rate": 0.01, "betas": (0.8, 0.99), "lr_decay": 0.9}
    return Loop(
        CoverHunter(HPARAMS),
        Plan(**{"min_lr": 1e-4, "lr_decay_steps": 2, "seed": 5, **options, **plan}),
        loop_sources or sources(),
        model_dir=folder,
        log_dir=folder / "logs" / "run",
        team=CPU,
    )


def resume(folder: Path, **options) -> Loop:
    loop = make_loop(folder, **options)
    found = load_pair(folder)
    if found:
        weights, training = found
        loop.model.load_state_dict(weights)
        loop.restore(training, "do_")
    return loop


def final(folder: Path) -> dict:
    weights, training = load_pair(folder)
    return {"weights": weights, **{k: training[k] for k in ("optim_g", "steps", "epoch")}}


def assert_same(a, b) -> None:
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def lines(folder: Path) -> list[dict]:
    text = (folder / "logs" / "run" / "epochs.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An uninterrupted run of three epochs."""
    folder = tmp_path_factory.mktemp("whole")
    make_loop(folder).run()
    return folder


# --- what a run leaves --------------------------------------------------------------------------


def test_a_run_learns_and_says_so(whole):
    written = lines(whole)
    assert [line["epoch"] for line in written] == [0, 1, 2]
    assert written[-1]["train"]["loss"] < written[0]["train"]["loss"]
    assert written[-1]["dev"]["ce_loss"] < written[0]["dev"]["ce_loss"]
    assert {"loss", "ce_loss", "tri_loss", "cen_loss", "grad_norm"} == written[0]["train"].keys()
    assert saved_epochs(whole) == [2, 1, 0]


def test_checkpoints_hold_what_the_original_writes(whole):
    training = load_tensors(training_file(whole, 2))
    assert training["epoch"] == 2
    assert training["steps"] == 10  # the next one: nine were made
    assert len(training["optim_g"]["param_groups"]) == 1
    content = load_tensors(generator_path(whole, 2))
    assert content["generator"].keys() == CoverHunter(HPARAMS).state_dict().keys()


def test_the_rate_decays_before_every_so_manieth_step(whole):
    # Decays at steps 2, 4, 6, 8: one in the first epoch (steps 1 to 3), then two, then one.
    rates = [line["lr"] for line in lines(whole)]
    assert rates == pytest.approx([0.01 * 0.9**n for n in (1, 3, 4)])


def test_the_rate_rises_in_the_first_steps_and_the_schedule_knows_nothing_of_it(tmp_path):
    loop = make_loop(tmp_path, lr_warmup_steps=5, lr_decay_steps=100)
    used, step = [], loop.optimizer.step

    def watched(*args, **kwargs):
        used.append(loop.optimizer.param_groups[0]["lr"])
        return step(*args, **kwargs)

    loop.optimizer.step = watched
    loop.run()
    assert used == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01, 0.01, 0.01, 0.01, 0.01])
    assert [line["lr"] for line in lines(tmp_path)] == [0.01] * 3


def test_a_run_killed_while_the_rate_rises_ends_the_same(tmp_path):
    make_loop(tmp_path / "whole", lr_warmup_steps=8).run()
    make_loop(tmp_path / "parts", lr_warmup_steps=8, max_epochs=1).run()
    resume(tmp_path / "parts", lr_warmup_steps=8).run()
    assert_same(final(tmp_path / "parts"), final(tmp_path / "whole"))


def test_the_same_seed_gives_the_same_weights_and_another_does_not(whole, tmp_path):
    make_loop(tmp_path / "same").run()
    assert_same(final(tmp_path / "same"), final(whole))
    make_loop(tmp_path / "other", seed=6).run()  # other dropout
    a, b = load_pair(tmp_path / "other")[0], load_pair(whole)[0]
    assert not torch.equal(a["_ce_layer.weight"], b["_ce_layer.weight"])


def test_the_caller_keeps_its_random_state(tmp_path):
    loop = make_loop(tmp_path, max_epochs=1)
    before = torch.get_rng_state()
    loop.run()
    assert torch.equal(torch.get_rng_state(), before)


# --- interruptions ------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for a signal."""


def kill_at(monkeypatch, target, name: str, call: int) -> None:
    """Let the ``call``-th call of a function die, before it does anything."""
    original, calls = getattr(target, name), []

    def dying(*args, **kwargs):
        calls.append(None)
        if len(calls) == call:
            raise Killed
        return original(*args, **kwargs)

    monkeypatch.setattr(target, name, dying)


@pytest.mark.parametrize(
    ("target", "name", "call"),
    [
        (Loop, "_step", 1),  # before anything is complete
        (Loop, "_step", 5),  # in the middle of an epoch
        (Loop, "_validate", 3),
        (coverhunter_state, "save_generator", 2),  # before the first of two files
        (coverhunter_state, "save_tensors", 2),  # between them
        (Loop, "_finish", 2),  # after both
        (coverhunter_loop, "write_epochs", 3),  # after all, before its line
    ],
)
def test_a_killed_run_ends_where_the_whole_run_ends(
    target, name, call, whole, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        kill_at(patch, target, name, call)
        with pytest.raises(Killed):
            make_loop(tmp_path).run()
    resume(tmp_path).run()
    assert_same(final(tmp_path), final(whole))
    theirs, ours = lines(whole), lines(tmp_path)
    for line in theirs + ours:
        line.pop("seconds"), line.pop("chunks_per_second")
    assert ours == theirs


def test_a_run_killed_twice_with_checkpoints_every_second_epoch(tmp_path, monkeypatch):
    make_loop(tmp_path / "whole", max_epochs=5, save_every=2).run()
    folder = tmp_path / "killed"
    for call in (5, 8):
        with monkeypatch.context() as patch:
            kill_at(patch, Loop, "_step", call)
            with pytest.raises(Killed):
                resume(folder, max_epochs=5, save_every=2).run()
    resume(folder, max_epochs=5, save_every=2).run()
    assert saved_epochs(folder) == saved_epochs(tmp_path / "whole") == [4, 3, 1]
    assert_same(final(folder), final(tmp_path / "whole"))
    assert [line["epoch"] for line in lines(folder)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("damaged", [generator_path, training_file])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(damaged, whole, tmp_path, caplog):
    make_loop(tmp_path, max_epochs=2).run()
    path = damaged(tmp_path, 1)
    path.write_bytes(path.read_bytes()[:1000])
    loop = resume(tmp_path)
    assert loop.epoch == 1
    assert path.name in caplog.text
    loop.run()
    assert_same(final(tmp_path), final(whole))


def test_checkpoints_none_of_which_can_be_read_are_not_written_over(tmp_path):
    make_loop(tmp_path, max_epochs=1).run()
    training_file(tmp_path, 0).write_bytes(b"")
    with pytest.raises(UserError, match=r"no checkpoint in .*pt_model can be read"):
        load_pair(tmp_path)


def test_a_state_of_the_original_continues(whole, tmp_path):
    make_loop(tmp_path, max_epochs=2).run()
    path = training_file(tmp_path, 1)
    content = load_tensors(path)
    save_tensors({key: content[key] for key in ("optim_g", "steps", "epoch")}, path)
    loop = resume(tmp_path)
    assert (loop.epoch, loop.steps) == (2, 7)
    loop.run()
    assert_same(final(tmp_path)["weights"], final(whole)["weights"])  # no rate is paid for it


def test_an_optimizer_of_another_model_is_refused(whole):
    training = load_tensors(training_file(whole, 2))
    training["optim_g"]["state"][0]["exp_avg"] = torch.zeros(3)
    with pytest.raises(UserError, match="do_x belongs to a model of another size"):
        make_loop(whole).restore(training, "do_x")


# --- stopping -----------------------------------------------------------------------------------


def test_training_stops_when_the_dev_loss_does_not_improve(tmp_path):
    loop = make_loop(tmp_path, max_epochs=50, patience=2, learning_rate=1e-12, min_lr=0.0)
    loop.sources.validation["dev"] = lambda: [batch((3,)), batch((4,))]
    loop.stopping.update(-1.0, 7)  # nothing will be better
    loop.run()
    assert saved_epochs(tmp_path) == [1, 0]
    again = resume(tmp_path, max_epochs=50, patience=2)
    assert again.stopping.stopped
    again.run()  # complete: nothing happens
    assert saved_epochs(tmp_path) == [1, 0]
    resume(tmp_path, max_epochs=50, patience=3, learning_rate=1e-12).run()
    assert saved_epochs(tmp_path)[-2:] == [1, 0]
    assert len(saved_epochs(tmp_path)) > 2


def test_more_epochs_continue_a_complete_run(whole, tmp_path):
    make_loop(tmp_path, max_epochs=2).run()
    resume(tmp_path, max_epochs=3).run()
    assert_same(final(tmp_path), final(whole))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(value, tmp_path):
    def train(epoch):
        for step in range(3):
            x, labels = batch((1, epoch, step))
            if (epoch, step) == (1, 1):
                x[0, 0, 0] = value
            yield x, labels

    broken = sources()
    broken.train = train
    with pytest.raises(UserError, match=r"the loss became nan at step 5; .*learning_rate"):
        make_loop(tmp_path, loop_sources=broken).run()
    weights, training = load_pair(tmp_path)
    assert training["epoch"] == 0
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_no_batch_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="no whole batch; choose a smaller batch_size"):
        make_loop(tmp_path, loop_sources=sources(steps=0)).run()


def test_old_checkpoints_are_removed_on_request_but_the_best_stays(tmp_path):
    loop = make_loop(tmp_path, max_epochs=4, keep=1)
    original = loop.stopping.update
    loop.stopping.update = lambda loss, epoch: original(10.0 - (epoch == 1), epoch)
    loop.run()
    assert saved_epochs(tmp_path) == [3, 1]
    assert len(list((tmp_path / "pt_model").iterdir())) == 4


# --- test sets ----------------------------------------------------------------------------------


def make_test_set(calls: list, every: int = 1) -> EvaluatedSet:
    def evaluate(model, folder: Path) -> dict[str, float]:
        assert not model.training
        calls.append(folder.name)
        folder.mkdir(parents=True, exist_ok=True)
        rows = []
        for item in range(3):
            np.save(folder / f"{item}.npy", np.full(4, item, np.float32))
            rows.append({"utt": f"u{item}", "song": "a\tb", "embed": str(folder / f"{item}.npy")})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "query.txt").write_text(text, "utf-8")
        return {"mean_ap": 0.25}

    return EvaluatedSet("demo", every, evaluate)


def test_test_sets_are_evaluated_every_so_many_epochs_and_at_the_end(tmp_path):
    calls = []
    make_loop(tmp_path, max_epochs=5, loop_sources=sources(tests=[make_test_set(calls, 2)])).run()
    assert calls == ["embed_1_demo", "embed_3_demo", "embed_4_demo"]
    assert [line["tests"] for line in lines(tmp_path)][1] == {"demo": {"mean_ap": 0.25}}
    projector = list((tmp_path / "logs" / "run").rglob("tensors.tsv"))
    assert len(projector) == 3


def test_an_interrupted_test_is_made_up_for(tmp_path, monkeypatch):
    calls = []
    given = sources(tests=[make_test_set(calls)])
    with monkeypatch.context() as patch:
        kill_at(patch, Loop, "_test", 2)
        with pytest.raises(Killed):
            make_loop(tmp_path, loop_sources=given).run()
    resume(tmp_path, loop_sources=given).run()
    assert calls == ["embed_0_demo", "embed_1_demo", "embed_2_demo"]
    assert [line["epoch"] for line in lines(tmp_path)] == [0, 1, 2]


def test_first_eval_evaluates_an_epoch_without_training_it(whole, tmp_path):
    calls = []
    loop = make_loop(
        tmp_path, max_epochs=2, first_eval=True, loop_sources=sources(tests=[make_test_set(calls)])
    )
    start = {name: value.clone() for name, value in loop.model.state_dict().items()}
    loop.sources.train = lambda epoch: pytest.fail("trained") if epoch == 0 else [batch((1,))]
    loop.run()
    assert calls == ["embed_0_demo", "embed_1_demo"]
    assert "train" not in lines(tmp_path)[0]
    assert saved_epochs(tmp_path) == [1]
    assert not torch.equal(start["_ce_layer.weight"], loop.model.state_dict()["_ce_layer.weight"])


def test_evaluate_leaves_no_checkpoint(whole, tmp_path):
    calls = []
    loop = make_loop(tmp_path, loop_sources=sources(tests=[make_test_set(calls, 7)]))
    figures = loop.evaluate()
    assert calls == ["embed_0_demo"]
    assert figures["tests"]["demo"] == {"mean_ap": 0.25}
    assert figures["dev"]["ce_loss"] > 0
    assert not (tmp_path / "pt_model").exists()


# --- speed --------------------------------------------------------------------------------------


def test_mixed_precision_stays_near_full_precision(whole, tmp_path):
    make_loop(tmp_path, amp=True).run()
    full, mixed = lines(whole)[-1], lines(tmp_path)[-1]
    assert mixed["dev"]["loss"] != full["dev"]["loss"]
    assert mixed["dev"]["loss"] == pytest.approx(full["dev"]["loss"], rel=0.2)
    weights, _ = load_pair(tmp_path)
    assert weights["_ce_layer.weight"].dtype == torch.float32
