"""Ranger: recorded trajectories, own counters, exact resume."""

import io

import numpy as np
import pytest
import torch

from src.training.ranger import Ranger
from tests.parity_weights import BASE_SEED, read_fixture

STEPS, SHAPES = 25, [(3, 4), (5,)]


@pytest.fixture(scope="module")
def arrays():
    return read_fixture("c04_ranger.npz")


def problem():
    """Two parameters and, for each step, the gradient of both."""
    random = np.random.RandomState(BASE_SEED + 400)

    def draw(shape):
        return torch.from_numpy(random.standard_normal(shape).astype(np.float32))

    parameters = [torch.nn.Parameter(draw(shape)) for shape in SHAPES]
    return parameters, [[draw(shape) for shape in SHAPES] for _ in range(STEPS)]


def flat(parameters):
    return torch.cat([parameter.detach().reshape(-1) for parameter in parameters]).numpy().copy()


def run(optimizer, parameters, gradients, frozen_steps=0):
    rows = []
    for step, pair in enumerate(gradients):
        for number, (parameter, gradient) in enumerate(zip(parameters, pair, strict=True)):
            parameter.grad = None if number and step < frozen_steps else gradient.clone()
        optimizer.step()
        rows.append(flat(parameters))
    return np.stack(rows)


@pytest.mark.parametrize("lr", [0.1, 0.001])
@pytest.mark.parametrize("decay", ["0", "0.01"])
def test_trajectories(arrays, lr, decay):
    parameters, gradients = problem()
    optimizer = Ranger(parameters, lr=lr, weight_decay=float(decay))
    found = run(optimizer, parameters, gradients)
    np.testing.assert_allclose(found, arrays[f"lr{lr}_wd{decay}"], rtol=0, atol=1e-5)


def test_small_gradients_feel_eps(arrays):
    parameters, gradients = problem()
    gradients = [[gradient * np.float32(1e-4) for gradient in pair] for pair in gradients]
    found = run(Ranger(parameters, lr=0.1), parameters, gradients)
    np.testing.assert_allclose(found, arrays["lr0.1_wd0_gscale1e-4"], rtol=0, atol=1e-5)


def test_a_thawed_parameter_starts_its_own_count_and_slow_copy(arrays):
    parameters, gradients = problem()
    optimizer = Ranger(parameters, lr=0.1)
    found = run(optimizer, parameters, gradients, frozen_steps=4)
    name = "lr0.1_wd0_second_param_frozen"
    np.testing.assert_allclose(found, arrays[name], rtol=0, atol=1e-5)
    assert [optimizer.state[p]["step"] for p in parameters] == [25, 21]
    for number, parameter in enumerate(parameters):
        slow = optimizer.state[parameter]["slow_buffer"].numpy()
        np.testing.assert_allclose(slow, arrays[f"{name}_slow{number}"], rtol=0, atol=1e-5)


def test_equals_torch_radam_with_textbook_lookahead():
    parameters, gradients = problem()
    found = run(Ranger(parameters, lr=0.05, weight_decay=0.1), parameters, gradients)
    fast, _ = problem()
    slow = [parameter.detach().clone() for parameter in fast]
    radam = torch.optim.RAdam(
        fast,
        lr=0.05,
        betas=(0.95, 0.999),
        eps=1e-5,
        weight_decay=0.1,
        decoupled_weight_decay=True,
    )
    for step, pair in enumerate(gradients, start=1):
        for parameter, gradient in zip(fast, pair, strict=True):
            parameter.grad = gradient.clone()
        radam.step()
        if step % 6 == 0:
            for parameter, anchor in zip(fast, slow, strict=True):
                anchor.lerp_(parameter.detach(), 0.5)
                parameter.data.copy_(anchor)
        np.testing.assert_allclose(found[step - 1], flat(fast), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cut", [3, 6, 13])
def test_resuming_from_a_saved_state_is_exact(cut):
    parameters, gradients = problem()
    whole = run(Ranger(parameters, lr=0.1), parameters, gradients, frozen_steps=4)

    parameters, _ = problem()
    optimizer = Ranger(parameters, lr=0.1)
    for step, pair in enumerate(gradients[:cut]):
        for number, (parameter, gradient) in enumerate(zip(parameters, pair, strict=True)):
            parameter.grad = None if number and step < 4 else gradient
        optimizer.step()
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed = [torch.nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    again = Ranger(resumed, lr=0.5, k=2)  # replaced by what was saved
    again.load_state_dict(torch.load(file, weights_only=True))
    rest = run(again, resumed, gradients[cut:], frozen_steps=max(0, 4 - cut))
    np.testing.assert_array_equal(rest, whole[cut:])


def test_groups_have_their_own_learning_rate_and_schedules_work():
    parameters, gradients = problem()
    optimizer = Ranger([{"params": parameters[:1], "lr": 0.0}, {"params": parameters[1:]}], lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10], gamma=0.1)
    before = flat(parameters)
    for pair in gradients[:11]:
        run(optimizer, parameters, [pair])
        schedule.step()
    after = flat(parameters)
    assert (before[:12] == after[:12]).all()
    assert (before[12:] != after[12:]).all()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.0, 0.01])


def test_closure_is_evaluated_with_gradients_and_its_loss_returned():
    parameter = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = Ranger([parameter], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = parameter.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == pytest.approx(9.0)
    assert parameter.item() < 3.0
    for _ in range(300):
        optimizer.step(closure)
    assert abs(parameter.item()) < 0.05


def test_arguments_out_of_range_and_sparse_gradients():
    parameter = torch.nn.Parameter(torch.zeros(3))
    for wrong in ({"lr": -1}, {"betas": (1.0, 0.9)}, {"k": 0}, {"alpha": 2}, {"eps": 0}):
        with pytest.raises(ValueError):
            Ranger([parameter], **wrong)
    parameter.grad = torch.zeros(3).to_sparse()
    with pytest.raises(RuntimeError, match="sparse"):
        Ranger([parameter]).step()
