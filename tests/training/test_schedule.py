"""CoverHunter's learning rates, as recorded."""

import pytest
import torch

from src.training.schedule import UserDefineExponentialLR
from tests.parity_weights import read_fixture

RECORDED = read_fixture("c12_scheduler.json")


def make_optimizer(groups=1):
    return torch.optim.AdamW(
        [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(groups)], lr=0.001
    )


def rates(optimizer):
    return [group["lr"] for group in optimizer.param_groups]


def advance(optimizer, schedule):
    optimizer.step()
    schedule.step()
    return rates(optimizer)


@pytest.mark.parametrize("gamma", [0.9975, 0.9, 0.99])
def test_rates_of_a_fresh_run(gamma):
    optimizer = make_optimizer()
    schedule = UserDefineExponentialLR(optimizer, gamma=gamma, min_lr=1e-4)
    found = [rates(optimizer)[0]] + [advance(optimizer, schedule)[0] for _ in range(60)]
    assert found == pytest.approx(RECORDED[f"fresh_gamma{gamma}"], rel=1e-9)


def test_only_the_first_group_has_a_floor():
    optimizer = make_optimizer(groups=2)
    schedule = UserDefineExponentialLR(optimizer, 0.9, 1e-4)
    recorded = RECORDED["fresh_gamma0.9_two_groups"]
    found = [rates(optimizer)] + [advance(optimizer, schedule) for _ in recorded[1:]]
    for one, expected in zip(found, recorded, strict=True):
        assert one == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("gamma", [0.9975, 0.9])
def test_a_position_instead_of_a_state_costs_one_factor(gamma):
    """What the original does at every restart."""
    recorded = RECORDED[f"resume_gamma{gamma}"]
    optimizer = make_optimizer()
    schedule = UserDefineExponentialLR(optimizer, gamma, 1e-4)
    for _ in range(12):
        advance(optimizer, schedule)
    assert rates(optimizer)[0] == pytest.approx(recorded["lr_in_checkpoint"], rel=1e-9)
    state = optimizer.state_dict()

    for position, key in ((5, None), (0, "lr_after_construction_with_last_epoch_0")):
        again = make_optimizer()
        again.load_state_dict(state)
        resumed = UserDefineExponentialLR(again, gamma, 1e-4, last_epoch=position)
        found = [rates(again)[0]]
        if key:
            assert found[0] == pytest.approx(recorded[key], rel=1e-9)
            continue
        positions = [resumed.last_epoch]
        for _ in range(6):
            found += advance(again, resumed)
            positions.append(resumed.last_epoch)
        series = recorded["lr_right_after_construction_then_after_each_step"]
        assert found == pytest.approx(series, rel=1e-9)
        assert positions == recorded["last_epoch_values"]


def test_a_position_without_an_optimizer_state_is_refused():
    with pytest.raises(KeyError, match="initial_lr"):
        UserDefineExponentialLR(make_optimizer(), 0.9, 1e-4, last_epoch=3)


def test_a_restored_state_continues_exactly():
    optimizer = make_optimizer()
    schedule = UserDefineExponentialLR(optimizer, 0.9, 1e-4)
    for _ in range(7):
        advance(optimizer, schedule)
    again = make_optimizer()
    resumed = UserDefineExponentialLR(again, 0.9, 1e-4)
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    for _ in range(30):
        assert advance(again, resumed) == advance(optimizer, schedule)
