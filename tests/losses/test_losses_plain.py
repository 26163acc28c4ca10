"""Every Re-MOVE loss against its formula written with plain loops, and at its edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src import losses
from src.errors import UserError

seeds = st.integers(0, 10_000)
few = settings(max_examples=15, deadline=None)


def batch(seed, items=8, size=5, classes=6, groups=False):
    random = np.random.RandomState(seed)
    labels = np.repeat(random.permutation(classes)[: items // 4], 4) if groups else None
    labels = random.randint(0, classes, items) if labels is None else labels
    emb = torch.tensor(random.standard_normal((items, size)), requires_grad=True)
    proxies = torch.tensor(random.standard_normal((classes, size)), requires_grad=True)
    return emb, torch.tensor(labels), proxies


def squared(a, b):
    return float(((a - b) ** 2).sum())


@few
@given(seed=seeds, margin=st.floats(0, 3))
def test_hard_triplet_mean_over_anchors_with_a_positive(seed, margin):
    emb, labels, _ = batch(seed)
    x, terms = emb.detach().numpy(), []
    for i in range(len(x)):
        positive = [squared(x[i], x[j]) for j in range(8) if j != i and labels[j] == labels[i]]
        negative = [squared(x[i], x[j]) for j in range(8) if labels[j] != labels[i]]
        if positive and negative:
            terms.append(max(0, max(positive) / 5 + margin - min(negative) / 5))
    expected = np.mean(terms) if terms else 0
    loss = losses.triplet_loss(emb, labels, margin, 2, emb_size=5)
    assert loss.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@few
@given(seed=seeds)
def test_proxy_nca(seed):
    emb, labels, proxies = batch(seed)
    x, p, total = emb.detach().numpy(), proxies.detach().numpy(), 0.0
    for item, label in zip(x, labels.tolist(), strict=True):
        closeness = [math.exp(-squared(item, proxy) / 5) for proxy in p]
        own = closeness.pop(label)
        total -= math.log(own / (sum(closeness) + 1e-8) + 1e-8)
    assert losses.proxy_nca_loss(emb, labels, proxies, 5).item() == pytest.approx(total / 8)


@few
@given(seed=seeds, items=st.integers(1, 6))
def test_normalized_softmax(seed, items):
    emb, labels, proxies = batch(seed, items=items)
    x, p, total = emb.detach().numpy(), proxies.detach().numpy(), 0.0
    for item, label in zip(x, labels.tolist(), strict=True):
        logits = [item @ proxy / np.linalg.norm(item) / np.linalg.norm(proxy) / 0.05 for proxy in p]
        total -= logits[label] - np.logaddexp.reduce(logits)
    loss = losses.normalized_softmax_loss(emb, labels, proxies)
    assert loss.item() == pytest.approx(total / items)


@few
@given(seed=seeds)
def test_group(seed):
    emb, labels, proxies = batch(seed, groups=True)
    x, p, y = emb.detach().numpy(), proxies.detach().numpy(), labels.tolist()
    count, classes = len(x), len(p)
    start = np.zeros((count, classes))
    for i in range(count):
        if i % 4 == 0:
            start[i, y[i]] = 1
        else:
            logits = [x[i] @ proxy / np.linalg.norm(proxy) for proxy in p]
            start[i] = np.exp(logits) / np.exp(logits).sum()
    correlation = np.corrcoef(x)
    terms = []
    for i in range(count):
        if i % 4 == 0:
            continue
        support = sum(max(0, correlation[i, j]) * start[j] for j in range(count) if j != i)
        row = start[i]
        for _ in range(3):
            row = row * support / ((row * support).sum() + 1e-8)
        terms.append(-math.log(row[y[i]] + 1e-8))
    assert losses.group_loss(emb, labels, proxies).item() == pytest.approx(np.mean(terms))


@few
@given(seed=seeds, items=st.integers(2, 7))
def test_kd_distance(seed, items):
    emb, _, _ = batch(seed, items=items)
    teacher = torch.from_numpy(np.random.RandomState(seed + 1).standard_normal((items, 40)))
    x, t = emb.detach().numpy(), teacher.numpy()
    terms = [
        abs(squared(x[i], x[j]) / 5 - squared(t[i], t[j]) / 16000)
        for i in range(items)
        for j in range(items)
        if i != j
    ]
    assert losses.kd_distance_loss(emb, teacher).item() == pytest.approx(np.mean(terms))


@few
@given(seed=seeds)
def test_kd_cluster(seed):
    emb, labels, _ = batch(seed)
    projection = torch.nn.Linear(30, 5, bias=False).double()
    random = np.random.RandomState(seed)
    centroids = {c: torch.from_numpy(random.standard_normal((1, 30))) for c in range(6)}
    x = emb.detach().numpy()
    present = sorted(set(labels.tolist()))
    centre = {c: projection(centroids[c])[0].detach().numpy() for c in present}
    spread = {
        c: sum(squared(x[i], centre[c]) / 5 for i in range(8) if labels[i] == c) / 8
        for c in present
    }
    worst = [
        max(
            [
                (spread[u] + spread[v]) / (squared(centre[u], centre[v]) / 5)
                for v in present
                if v != u
            ],
            default=0.0,
        )
        for u in present
    ]
    loss = losses.kd_cluster_loss(emb, labels, centroids, projection)
    assert loss.item() == pytest.approx(np.mean(worst), rel=1e-6)


def everything(emb, labels, proxies, dtype=None):
    """All Re-MOVE losses of one batch, with a teacher of the right size."""
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(len(emb), 16000, generator=generator).to(dtype or emb.dtype)
    projection = torch.nn.Linear(16000, emb.shape[1], bias=False).to(proxies.dtype)
    centroids = {c: torch.randn(1, 16000, generator=generator) for c in range(len(proxies))}
    found = {
        f"triplet{s}": losses.triplet_loss(emb, labels, 1.0, s, emb.shape[1]) for s in range(4)
    }
    found["nca"] = losses.proxy_nca_loss(emb, labels, proxies, emb.shape[1])
    found["softmax"] = losses.normalized_softmax_loss(emb, labels, proxies)
    found["group"] = losses.group_loss(emb, labels, proxies)
    found["distance"] = losses.kd_distance_loss(emb, teacher)
    found["cluster"] = losses.kd_cluster_loss(emb, labels, centroids, projection)
    return found


@pytest.mark.parametrize("items", [1, 2, 4])
def test_batches_of_one_label_give_finite_losses_and_gradients(items):
    emb, _, proxies = batch(3, items=items)
    found = everything(emb, torch.full((items,), 2), proxies)
    sum(found.values()).backward()
    assert emb.grad.isfinite().all()
    for strategy in range(4):  # no negative, hence no triplet
        assert found[f"triplet{strategy}"].item() == 0
    assert found["cluster"].item() == 0
    assert (found["group"].item() == 0) == (items == 1)


def test_identical_embeddings_keep_gradients_finite():
    emb = torch.ones(8, 4, requires_grad=True)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    for strategy in range(4):
        loss = losses.triplet_loss(emb, labels, 1.0, strategy, 4)
        assert loss.item() == pytest.approx(1.0)
        loss.backward()
    losses.kd_distance_loss(emb, torch.ones(8, 16000)).backward()
    assert emb.grad.isfinite().all()


def test_half_precision_and_autocast_compute_in_single_precision():
    emb, labels, proxies = batch(5, groups=True)
    emb, proxies = emb.detach().bfloat16(), proxies.detach().bfloat16()
    torch.manual_seed(0)
    expected = everything(emb.float(), labels, proxies.float(), dtype=torch.bfloat16)
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = everything(emb, labels, proxies)
    expected.pop("cluster"), found.pop("cluster")  # its projection is drawn anew
    for name, value in found.items():
        assert value.dtype == torch.float32, name
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-5), name


def test_pruned_network_divides_by_the_given_size():
    emb, labels, _ = batch(1, groups=True)
    whole = losses.triplet_loss(emb, labels, 0.0, 2, emb_size=5)
    assert losses.triplet_loss(emb, labels, 0.0, 2, emb_size=10).item() == pytest.approx(
        whole.item() / 2
    )


def test_the_teacher_receives_no_gradient():
    emb, _, _ = batch(1)
    teacher = torch.randn(8, 10, requires_grad=True)
    losses.kd_distance_loss(emb, teacher).backward()
    assert teacher.grad is None


def test_missing_centroid_is_named():
    emb, labels, _ = batch(1, groups=True)
    projection = torch.nn.Linear(16000, 5, bias=False)
    with pytest.raises(UserError, match="no centroid for class"):
        losses.kd_cluster_loss(emb, labels, {}, projection)
