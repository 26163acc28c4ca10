"""Values and gradients of the Re-MOVE losses against the recorded ones."""

import numpy as np
import pytest
import torch

from src import losses
from tests.parity_weights import BASE_SEED, normal, read_fixture

LABELS = [3, 7, 0, 5]
DIM, PROXIES, TEACHER = 32, 10, 16000


def tensor(array):
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


@pytest.fixture(scope="module")
def arrays():
    return read_fixture("c02_losses.npz")


@pytest.fixture(scope="module")
def values():
    return read_fixture("c02_losses.json")["values"]


@pytest.fixture
def batch():
    labels = torch.tensor(LABELS).repeat_interleave(4)
    return clustered(BASE_SEED + 200, DIM).requires_grad_(), labels


def clustered(seed, size):
    random = np.random.RandomState(seed)
    centres = random.standard_normal((4, size))
    noise = random.standard_normal((16, size))
    return tensor(0.7 * np.repeat(centres, 4, axis=0) + noise)


def proxies():
    return tensor(normal(BASE_SEED + 201, (PROXIES, DIM))).requires_grad_()


def assert_close(actual, expected):
    tolerance = 1e-4 * float(np.abs(expected).max())
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=0, atol=tolerance)


def test_the_batch_is_rebuilt_as_recorded(batch, arrays):
    np.testing.assert_array_equal(batch[0].detach().numpy(), arrays["emb"])
    np.testing.assert_array_equal(proxies().detach().numpy(), arrays["proxies"])


@pytest.mark.parametrize("margin", [1.0, 0.3])
@pytest.mark.parametrize("column", [False, True])
def test_triplet_hard(batch, arrays, values, margin, column):
    emb, labels = batch
    if column:
        labels = labels[:, None].float()
    loss = losses.triplet_loss(emb, labels, margin=margin, mining_strategy=2, emb_size=DIM)
    loss.backward()
    assert loss.item() == pytest.approx(values[f"triplet_hard_m{margin}"], rel=1e-4)
    assert_close(emb.grad, arrays[f"triplet_hard_m{margin}_grad_emb"])


def test_triplet_hard_without_positive_differs_only_by_the_anchor_left_out(arrays, values):
    """The recorded figure pairs the lonely anchor with item 0; here it is left out of the mean."""
    emb, labels = tensor(arrays["emb"]), torch.from_numpy(arrays["uneven_labels"])
    lonely = 13
    rows = np.maximum(
        arrays["triplet_hard_uneven_dist_pos"] + 1 - arrays["triplet_hard_uneven_dist_neg"], 0
    ).ravel()
    assert rows.mean() == pytest.approx(values["triplet_hard_uneven_m1.0"], rel=1e-4)
    loss = losses.triplet_loss(emb, labels, margin=1.0, mining_strategy=2, emb_size=DIM)
    assert loss.item() == pytest.approx(np.delete(rows, lonely).mean(), rel=1e-4)


def test_proxy_nca(batch, arrays, values):
    (emb, labels), prox = batch, proxies()
    loss = losses.proxy_nca_loss(emb, labels, proxies=prox, emb_size=DIM)
    loss.backward()
    assert loss.item() == pytest.approx(values["proxynca"], rel=1e-4)
    assert_close(emb.grad, arrays["proxynca_grad_emb"])
    assert_close(prox.grad, arrays["proxynca_grad_proxies"])


@pytest.mark.parametrize("column", [False, True])
def test_normalized_softmax(batch, arrays, values, column):
    (emb, labels), prox = batch, proxies()
    labels = labels[:, None].float() if column else labels
    loss = losses.normalized_softmax_loss(emb, labels, proxies=prox)
    loss.backward()
    assert loss.item() == pytest.approx(values["normalizedsoftmax"], rel=1e-4)
    assert_close(emb.grad, arrays["normalizedsoftmax_grad_emb"])
    assert_close(prox.grad, arrays["normalizedsoftmax_grad_proxies"])


def test_group(batch, arrays, values):
    (emb, labels), prox = batch, proxies()
    loss = losses.group_loss(emb, labels, proxies=prox)
    loss.backward()
    assert loss.item() == pytest.approx(values["group"], rel=1e-4)
    assert_close(emb.grad, arrays["group_grad_emb"])
    assert_close(prox.grad, arrays["group_grad_proxies"])


def test_kd_distance(batch, arrays, values):
    emb, _ = batch
    loss = losses.kd_distance_loss(emb, clustered(BASE_SEED + 202, TEACHER))
    loss.backward()
    assert loss.item() == pytest.approx(values["kd_distance"], rel=1e-4)
    assert_close(emb.grad, arrays["kd_distance_grad_emb"])


def test_kd_cluster(batch, arrays, values):
    emb, labels = batch
    projection = torch.nn.Linear(TEACHER, DIM, bias=False)
    weight = normal(BASE_SEED + 203, (DIM, TEACHER)) / np.sqrt(TEACHER)
    projection.weight.data = tensor(weight)
    rows = tensor(normal(BASE_SEED + 204, (4, TEACHER)))
    centroids = {label: rows[k : k + 1] for k, label in enumerate(sorted(LABELS))}
    loss = losses.kd_cluster_loss(emb, labels, centroids=centroids, projection=projection)
    loss.backward()
    assert loss.item() == pytest.approx(values["kd_cluster"], rel=1e-4)
    assert_close(emb.grad, arrays["kd_cluster_grad_emb"])
    assert_close(projection.weight.grad[0, :64], arrays["kd_cluster_lp_grad_first64_row0"])
    assert_close(projection.weight.grad.norm(dim=1), arrays["kd_cluster_lp_grad_norm_per_row"])
