"""Focal, hardest-triplet and centre loss: recorded numbers, plain loops, edges."""

import math

import numpy as np
import pytest
import torch

from src.losses import CenterLoss, FocalLoss, HardTripletLoss
from tests.parity_weights import read_fixture


@pytest.fixture(scope="module")
def arrays():
    return read_fixture("c10_ch_losses.npz")


@pytest.fixture(scope="module")
def values():
    return read_fixture("c10_ch_losses.json")


def leaf(array):
    return torch.from_numpy(array.copy()).requires_grad_()


def assert_gradient(actual, expected):
    tolerance = 1e-4 * max(float(np.abs(expected).max()), 1e-8)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "gamma", "weighted", "reduction"),
    [
        ("focal_plain_mean", 2, False, "mean"),
        ("focal_plain_sum", 2, False, "sum"),
        ("focal_alpha_mean", 2, True, "mean"),
        ("focal_alpha_sum", 2, True, "sum"),
        ("focal_gamma1_mean", 1, False, "mean"),
    ],
)
@pytest.mark.parametrize("as_type", [list, np.asarray, torch.as_tensor])
def test_focal(arrays, values, name, gamma, weighted, reduction, as_type):
    logits, labels = leaf(arrays["focal_logits"]), torch.from_numpy(arrays["focal_labels"])
    alpha = as_type(arrays["focal_alpha"]) if weighted else None
    loss = FocalLoss(gamma, alpha=alpha, reduction=reduction)(logits, labels)
    loss.backward()
    assert loss.item() == pytest.approx(values[name], rel=1e-4)
    assert_gradient(logits.grad, arrays[f"{name}_grad"])


def test_focal_by_plain_loops_and_with_column_labels():
    random = np.random.RandomState(0)
    logits, labels, alpha = random.randn(5, 4), [0, 3, 1, 3, 2], [1.0, 0.5, 2.0, 0.1]
    weights = [alpha[label] for label in labels]
    total = 0.0
    for row, label, weight in zip(logits, labels, weights, strict=True):
        p = math.exp(row[label]) / sum(map(math.exp, row)) + np.finfo(np.float32).eps
        total += weight / sum(weights) * 5 * (1 - p) ** 1.5 * -math.log(p)
    column = torch.tensor(labels, dtype=torch.float)[:, None]
    loss = FocalLoss(1.5, alpha=alpha)(torch.tensor(logits), column)
    assert loss.item() == pytest.approx(total / 5, rel=1e-6)


@pytest.mark.parametrize("gamma", [0, 0.5, 2])
def test_focal_of_certain_and_hopeless_items_is_finite(gamma):
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    loss = FocalLoss(gamma)(logits, torch.tensor([0, 0]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_focal_refuses_other_reductions_and_adds_nothing_to_checkpoints():
    with pytest.raises(ValueError, match="mean or sum"):
        FocalLoss(2, reduction="none")
    assert FocalLoss(2, alpha=[1.0, 2.0]).state_dict() == {}


@pytest.mark.parametrize("margin", [0.3, 2.0])
@pytest.mark.parametrize("case", ["mixed", "all_same", "all_different"])
def test_hard_triplet(arrays, values, margin, case):
    labels = {
        "mixed": arrays["trip_labels"],
        "all_same": np.zeros(10, dtype=np.int64),
        "all_different": np.arange(10),
    }[case]
    emb = leaf(arrays["trip_emb"])
    loss = HardTripletLoss(margin)(emb, torch.from_numpy(labels))
    loss.backward()
    assert loss.item() == pytest.approx(values[f"trip_{case}_m{margin}"], rel=1e-4, abs=1e-7)
    assert_gradient(emb.grad, arrays[f"trip_{case}_m{margin}_grad"])


def test_hard_triplet_by_plain_loops():
    random = np.random.RandomState(4)
    x, labels = random.randn(9, 6), [0, 0, 1, 1, 1, 2, 2, 3, 3]
    distance = np.linalg.norm(x[:, None] - x[None], axis=2)
    terms = []
    for i in range(9):
        positive = max(distance[i, j] for j in range(9) if labels[j] == labels[i])
        negative = min(distance[i, j] for j in range(9) if labels[j] != labels[i])
        terms.append(max(0, positive + 1 - negative))
    loss = HardTripletLoss(1.0)(torch.tensor(x), torch.tensor(labels)[:, None])
    assert loss.item() == pytest.approx(np.mean(terms))


def test_hard_triplet_of_identical_embeddings_has_finite_gradients():
    emb = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    emb[1] = emb[0]
    emb[3] = emb[2]
    emb.requires_grad_()
    loss = HardTripletLoss(5.0)(emb, torch.tensor([0, 0, 1, 2, 2, 1]))
    loss.backward()
    assert emb.grad.isfinite().all()
    assert emb.grad.abs().sum() > 0


def test_hard_triplet_of_two_identical_embeddings_as_recorded(arrays, values):
    copied = arrays["trip_emb"].copy()
    copied[1] = copied[0]
    emb = leaf(copied)
    loss = HardTripletLoss(0.3)(emb, torch.from_numpy(arrays["trip_labels"]))
    loss.backward()
    assert loss.item() == pytest.approx(values["trip_duplicate_m0.3"], rel=1e-4)
    assert_gradient(emb.grad, arrays["trip_duplicate_m0.3_grad"])


def test_center(arrays, values):
    emb, labels = leaf(arrays["center_emb"]), torch.from_numpy(arrays["center_labels"])
    loss_of = CenterLoss(6, 9)
    loss_of.load_state_dict({"centers": torch.from_numpy(arrays["center_centers"])})
    loss = loss_of(emb, labels)
    loss.backward()
    assert loss.item() == pytest.approx(values["center"], rel=1e-4)
    assert_gradient(emb.grad, arrays["center_grad_emb"])
    assert_gradient(loss_of.centers.grad, arrays["center_grad_centers"])


def test_center_is_the_squared_distance_within_limits():
    loss_of = CenterLoss(2, 3)
    emb = torch.tensor([[1.0, 2.0, 2.0], [0.0, 0.0, 0.0], [1e7, 0.0, 0.0]])
    loss_of.centers.data.zero_()
    assert loss_of(emb[:1], torch.tensor([[1.0]])).item() == pytest.approx(9)
    assert loss_of(emb[1:2], torch.tensor([0])).item() == pytest.approx(1e-12)
    assert loss_of(emb[2:], torch.tensor([0])).item() == pytest.approx(1e12)


def test_all_compute_in_single_precision_under_autocast():
    emb = torch.randn(8, 6, generator=torch.Generator().manual_seed(1)).bfloat16()
    labels = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    for module in (FocalLoss(2), HardTripletLoss(0.3), CenterLoss(4, 6)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = module(emb, labels)
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(module(emb.float(), labels).item(), rel=1e-6)
