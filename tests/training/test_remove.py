"""Training runs of the four experiments: what they learn, write, and survive."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from src.config import RemoveConfig, experiment_name, remove_config
from src.errors import UserError
from src.models.move import MOVEModel
from src.training import remove
from src.training.checkpoint import load_move, read_metadata
from src.training.experiments import (
    PRUNED_OUTPUTS,
    Baseline,
    DistanceDistillation,
    LatentSpaceReconfiguration,
    MetricLoss,
    Pruning,
    weakest_outputs,
)
from src.training.loop import Loop, make_optimizer, make_schedule, validates_after
from src.training.paths import ExperimentFiles
from src.training.remove import train_experiment
from src.training.state import lock_run

FIXTURES = Path(__file__).parents[1] / "fixtures"
FACTS = json.loads((FIXTURES / "c08_trainer.json").read_text())
CPU = torch.device("cpu")


def train(world: Path, exp_type: str, config: RemoveConfig, seed: int = 0) -> ExperimentFiles:
    name = experiment_name(exp_type, config)
    train_experiment(exp_type, config, name, main_path=world, device=CPU, seed=seed)
    return ExperimentFiles.of(world, exp_type, name)


def chroma(items: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand(items, 1, 12, 320, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(items) // 4
    return torch.cat((x, x), dim=2)[:, :, :23], labels


# --- every combination computes a gradient ------------------------------------------------------


@pytest.mark.parametrize("optimizer", [0, 1])
@pytest.mark.parametrize("loss", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("mining", [0, 1, 2, 3])
def test_every_loss_mining_and_optimizer_learns(optimizer, loss, mining):
    config = remove_config(
        "baseline",
        {"emb_size": 6, "loss": loss, "mining_strategy": mining, "optimizer": optimizer},
    )
    torch.manual_seed(0)
    metric = MetricLoss(config, 3, 6)
    embeddings = torch.nn.Parameter(torch.randn(8, 6))
    labels = torch.arange(8) // 4
    rate = 0.05 if optimizer else 0.5
    step = make_optimizer(config, [{"params": [embeddings, *metric.parameters()], "lr": rate}])
    values = []
    for _ in range(12):
        step.zero_grad()
        value = metric(embeddings, labels, torch.Generator().manual_seed(0))  # the same draws
        value.backward()
        step.step()
        values.append(value.item())
    assert all(np.isfinite(values))
    assert np.mean(values[-4:]) < np.mean(values[:4])


@pytest.mark.parametrize(
    ("exp_type", "changes"),
    [
        ("baseline", {"overfit_batch": 1, "optimizer": 1}),
        ("baseline", {"loss": 3}),
        ("lsr", {}),
        ("lsr", {"loss": 1, "data_aug": 0}),
        ("lsr", {"loss": 4, "temperature": 0.1}),
        ("baseline", {"loss": 4, "data_aug": 2}),
        ("kd", {}),
        ("kd", {"kd_loss": "cluster", "loss": 2}),
    ],
)
def test_experiments_run_and_write_their_files(world, small, exp_type, changes):
    config = small(exp_type, **changes)
    files = train(world, exp_type, config)
    model = load_move(files.model, emb_size=8)
    embedding = model(chroma(2)[0])
    assert embedding.shape == (2, 8)
    assert torch.isfinite(embedding).all()
    logs = json.loads(files.log.read_text())
    assert len(logs["train_loss_log"]) == 2
    assert len(logs["val_loss_log"]) == 1
    assert list(files.events.glob("events.out.tfevents*"))
    assert not files.state.exists()
    metadata = read_metadata(files.model)
    assert metadata["crema_version"] == "0.1.0"
    assert metadata["options"] == config.model_dump()
    assert metadata["validation_mAP"] == pytest.approx(logs["val_loss_log"][0])


@pytest.mark.parametrize("temperature", [None, 0.07])
def test_the_contrastive_loss_is_the_one_of_the_formula(small, temperature):
    config = small("baseline", loss=4, temperature=temperature)
    torch.manual_seed(0)
    experiment = Baseline(config, 3)
    assert not [*experiment.metric.parameters()]
    batch, labels = chroma()
    found = float(experiment(batch, labels).detach())
    with torch.no_grad():
        units = torch.nn.functional.normalize(experiment.model(batch).double(), dim=1)
    terms = []
    for i in range(8):
        scores = {j: math.exp(units[i] @ units[j] / (temperature or 0.2)) for j in range(8)}
        del scores[i]  # not compared with itself
        total = sum(scores.values())
        versions = [j for j in scores if labels[j] == labels[i]]
        terms.append(-sum(math.log(scores[j] / total) for j in versions) / len(versions))
    assert found == pytest.approx(sum(terms) / len(terms), rel=1e-4)
    assert math.isfinite(experiment.metric(torch.randn(2, 8), torch.tensor([0, 1]), None))


def test_distillation_and_pruning_keep_the_triplet_loss(small):
    teacher = MOVEModel(emb_size=8)
    assert DistanceDistillation(small("kd", loss=4), 3, teacher).metric.loss == 0
    assert Pruning(small("pruning", loss=4), 3).metric.loss == 0


def test_pruning_cuts_rewinds_and_keeps_the_last_cycle(world, small):
    config = small("pruning", pruning_iterations=1, num_of_epochs=1, emb_size=16000)
    files = train(world, "pruning", config)
    assert load_move(files.initial).fin_emb_size == 16000
    model = load_move(files.model)
    active = (model.lin1.weight != 0).any(dim=1)
    assert int(active.sum()) == 8000
    metadata = read_metadata(files.model)
    assert (metadata["cycle"], metadata["active_outputs"]) == (1, 8000)
    assert len(json.loads(files.log.read_text())["train_loss_log"]) == 2


# --- what is trained ----------------------------------------------------------------------------


def changed_parameters(experiment, config, epoch: int) -> set[str]:
    before = {k: v.clone() for k, v in experiment.model.state_dict().items()}
    experiment.start_epoch(epoch)
    optimizer = make_optimizer(config, experiment.parameter_groups())
    loss = experiment(*chroma(), torch.Generator())
    loss.backward()
    optimizer.step()
    after = experiment.model.state_dict()
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_lsr_learns_only_the_new_layer_in_its_first_epoch(small):
    config = small("lsr", optimizer=0, finetune_learning_rate=0.1)
    torch.manual_seed(0)
    experiment = LatentSpaceReconfiguration(config, 3, MOVEModel(emb_size=32))
    head = {"lin1.weight", "lin_bn.running_mean", "lin_bn.running_var"}
    first = changed_parameters(experiment, config, 0) - {"lin_bn.num_batches_tracked"}
    assert first == head
    later = changed_parameters(experiment, config, 1)
    assert {f"conv{i}.weight" for i in range(1, 6)} <= later
    frozen = small("lsr", optimizer=0, finetune_learning_rate=0)
    experiment = LatentSpaceReconfiguration(frozen, 3, MOVEModel(emb_size=32))
    later = changed_parameters(experiment, frozen, 1) - {"lin_bn.num_batches_tracked"}
    assert later == head


def test_learning_rates_follow_the_schedule():
    facts = FACTS["lr_by_epoch"]
    config = remove_config("lsr", {"lr_schedule": facts["milestones"], "lr_gamma": facts["gamma"]})
    experiment = LatentSpaceReconfiguration(config, 3, MOVEModel(emb_size=16))
    optimizer = make_optimizer(config, experiment.parameter_groups())
    schedule = make_schedule(config, optimizer)
    rates = []
    for _ in range(70):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    for epoch, wanted in facts["changes"]:
        assert rates[epoch] == pytest.approx(wanted, rel=1e-9)
    constant = remove_config("baseline", {"lr_schedule": [0]})
    optimizer = make_optimizer(constant, [{"params": [torch.nn.Parameter(torch.ones(1))]}])
    schedule = make_schedule(constant, optimizer)
    for wanted in FACTS["lr_schedule_[0]_means_constant"]:
        assert [group["lr"] for group in optimizer.param_groups] == wanted
        optimizer.step()
        schedule.step()


def test_validation_comes_every_second_epoch_and_at_the_end():
    for epochs, wanted in FACTS["validation_epochs"].items():
        assert [e for e in range(int(epochs)) if validates_after(e, int(epochs))] == wanted


def test_outputs_to_cut_equal_the_recorded_ones():
    assert list(PRUNED_OUTPUTS) == FACTS["pruned_rows_table"]
    draw = np.random.RandomState(130000).standard_normal((16000, 256)) / 16
    weight = torch.from_numpy(draw.astype(np.float32))
    recorded = np.load(FIXTURES / "c08_prune.npz")
    for cycle, count in enumerate(PRUNED_OUTPUTS):
        chosen = weakest_outputs(weight, count)
        bits = np.unpackbits(recorded[f"pruned_bits_iter{cycle}"])[:16000].astype(bool)
        # Outputs at the threshold differ by rounding only: up to two may be exchanged.
        assert int((chosen.numpy() != bits).sum()) <= 4
        assert 16000 - count == FACTS["pruned_rows_active_in_iteration"][str(cycle + 1)]
        weight = weight * ~chosen[:, None]


def test_pruned_outputs_stay_zero_and_do_not_move_distances(small):
    config = small("pruning", optimizer=1)
    torch.manual_seed(0)
    experiment = Pruning(config, 3)
    experiment.kept[:] = False
    experiment.kept[:100] = True
    optimizer = make_optimizer(config, experiment.parameter_groups())
    for _ in range(2):
        optimizer.zero_grad()
        experiment(*chroma(), None).backward()
        optimizer.step()
        experiment.after_step()
    experiment.eval()
    with torch.no_grad():
        embeddings = experiment.model(chroma()[0])
    assert int((experiment.model.lin1.weight != 0).any(dim=1).sum()) == 100
    cut = embeddings[:, 100:]
    assert torch.allclose(cut, cut[:1].expand_as(cut))


def test_the_teacher_is_neither_trained_nor_saved(small):
    torch.manual_seed(0)
    teacher = MOVEModel()
    before = {k: v.clone() for k, v in teacher.state_dict().items()}
    experiment = DistanceDistillation(small("kd"), 3, teacher)
    experiment.train()
    experiment(*chroma(), None).backward()
    assert all(torch.equal(before[k], v) for k, v in teacher.state_dict().items())
    assert not teacher.training
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert experiment.state_dict().keys() == Baseline(small("kd"), 3).state_dict().keys()


def test_one_batch_can_be_overfitted(small):
    config = small("baseline", overfit_batch=1, optimizer=1, learning_rate=0.01)
    torch.manual_seed(0)
    experiment = Baseline(config, 3)
    optimizer = make_optimizer(config, experiment.parameter_groups())
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = experiment(*chroma(), None)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_what_is_kept_is_never_worse_than_the_start(world, small, tmp_path, monkeypatch):
    start = tmp_path / "start.pt"
    torch.manual_seed(3)
    torch.save(MOVEModel(emb_size=8).state_dict(), start)
    config = small("baseline", num_of_epochs=4)
    figures = iter([0.5, 0.3, 0.5004])  # the start, then after epochs 2 and 4
    monkeypatch.setattr(remove, "make_validation", lambda *_: lambda model: next(figures))
    name = experiment_name("baseline", config)
    path = train_experiment("baseline", config, name, main_path=world, device=CPU, start_from=start)
    description = read_metadata(path)
    assert (description["epoch"], description["validation_mAP"]) == (0, 0.5)
    kept, given = load_move(path).state_dict(), torch.load(start, weights_only=True)
    assert all(torch.equal(kept[key], given[key]) for key in given)
    log = json.loads(ExperimentFiles.of(world, "baseline", name).log.read_text("utf-8"))
    assert log["val_loss_log"] == [0.3, 0.5004]


def test_a_baseline_can_start_from_trained_weights(world, small):
    config = small("baseline", emb_size=8)
    trained = load_move(world / "models" / "model_move.pt")
    experiment = remove.make_experiment(
        "baseline", config, 3, world, None, world / "models" / "model_move.pt"
    )
    assert torch.equal(experiment.model.conv5.weight, trained.conv5.weight)
    assert experiment.model.fin_emb_size == 8
    with pytest.raises(UserError, match="start_from"):
        remove.make_experiment("lsr", config, 3, world, None, world / "models" / "model_move.pt")


# --- interruptions ------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the program may catch it."""


def kill_at_step(monkeypatch, number: int) -> None:
    original, count = Loop._step, [0]

    def step(self, *batch):
        count[0] += 1
        if count[0] == number:
            raise Killed
        return original(self, *batch)

    monkeypatch.setattr(Loop, "_step", step)


@pytest.mark.parametrize(
    ("exp_type", "changes", "step"),
    [
        ("baseline", {"optimizer": 1, "mining_strategy": 0}, 8),
        ("lsr", {"num_of_epochs": 3}, 9),
        ("baseline", {"loss": 4, "data_aug": 2}, 8),
        ("pruning", {"pruning_iterations": 1, "emb_size": 16000}, 17),
    ],
)
def test_a_killed_run_ends_where_the_whole_run_ends(
    world, small, tmp_path, monkeypatch, exp_type, changes, step
):
    config = small(exp_type, **({"num_of_epochs": 2} | changes))
    whole = train(world, exp_type, config)
    wanted = {k: v.clone() for k, v in load_move(whole.model).state_dict().items()}
    log = whole.log.read_text()
    for path in (whole.model, whole.log):
        path.unlink()
    with monkeypatch.context() as patch:
        kill_at_step(patch, step)
        with pytest.raises(Killed):
            train(world, exp_type, config)
    assert whole.state.exists()
    again = train(world, exp_type, config)
    assert again.log.read_text() == log
    resumed = load_move(again.model).state_dict()
    assert all(torch.equal(wanted[key], resumed[key]) for key in wanted)


def test_another_seed_does_not_continue_an_interrupted_run(world, small, monkeypatch):
    config = small("baseline")
    with monkeypatch.context() as patch:
        kill_at_step(patch, 6)
        with pytest.raises(Killed):
            train(world, "baseline", config)
    with pytest.raises(UserError, match="seed 0 \\(now 1\\)"):
        train(world, "baseline", config, seed=1)


# --- what a person can do wrong -----------------------------------------------------------------


def test_missing_files_are_named(world, small, tmp_path):
    with pytest.raises(UserError, match=r"train_chunk_6\.pt does not exist"):
        train(world, "baseline", small("baseline", chunks=6))
    with pytest.raises(UserError, match=r"nowhere\.pt does not exist"):
        train(world, "baseline", small("baseline", val_file="nowhere.pt"))
    (world / "models" / "model_move.pt").unlink()
    with pytest.raises(UserError, match=r"model_move\.pt"):
        train(world, "lsr", small("lsr"))


def test_two_runs_in_one_folder(world, small):
    config = small("baseline")
    files = ExperimentFiles.of(world, "baseline", experiment_name("baseline", config))
    with lock_run(files.model), pytest.raises(UserError, match="another run"):
        train(world, "baseline", config)


def test_a_folder_that_cannot_be_written_to(world, small):
    (world / "models" / "baseline_models").write_text("a file where a folder is needed")
    with pytest.raises(UserError, match="cannot write"):
        train(world, "baseline", small("baseline"))


def test_a_batch_larger_than_any_file(world, small):
    with pytest.raises(UserError, match="batch_size"):
        train(world, "baseline", small("baseline", batch_size=400))


def test_a_learning_rate_that_explodes_is_reported(world, small):
    config = small("baseline", learning_rate=1e30, optimizer=1, num_of_epochs=4)
    with pytest.raises(UserError, match="learning_rate"):
        train(world, "baseline", config)


def test_features_of_another_crema_are_noticed(world, small, caplog, monkeypatch):
    description = world / "models" / "model_move.json"
    description.write_text(json.dumps({"crema_version": "0.2.0"}))
    with caplog.at_level("WARNING"), monkeypatch.context() as patch:
        patch.setattr(remove, "lock_run", lock_run)
        train(world, "lsr", small("lsr", num_of_epochs=1))
    assert any("crema 0.2.0" in message for message in caplog.messages)
