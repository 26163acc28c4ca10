"""Pairwise distances: recorded values, gradients, precision."""

import numpy as np
import pytest
import torch

from src.models.pairwise import cosine, pearson, squared_euclidean
from tests.parity_weights import read_fixture

FUNCTIONS = {"euclidean": squared_euclidean, "cosine": cosine, "pearson": pearson}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_recorded_values(name):
    arrays = read_fixture("c03_metrics.npz")
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    np.testing.assert_allclose(FUNCTIONS[name](x), arrays[f"{name}_self"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(FUNCTIONS[name](x, y), arrays[f"{name}_cross"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("cross", [False, True])
def test_gradients(name, cross):
    random = np.random.RandomState(0)
    operands = [torch.tensor(random.randn(n, 6), requires_grad=True) for n in (5, 4)]
    assert torch.autograd.gradcheck(FUNCTIONS[name], operands[: 1 + cross])


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_16_bit_input_is_computed_in_single_precision_also_under_autocast(name, kind):
    x = torch.randn(6, 500, generator=torch.Generator().manual_seed(0)).to(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = FUNCTIONS[name](x, x[:2])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, FUNCTIONS[name](x.float(), x[:2].float()))


def test_every_euclidean_entry_carries_the_offset():
    x = torch.zeros(3, 4, dtype=torch.float64)
    assert (squared_euclidean(x) == 1e-12).all()


def test_vectors_without_direction_have_no_similarity():
    x = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    assert cosine(x).isnan().tolist() == [[True, True], [True, False]]
    assert pearson(torch.ones(1, 4)).isnan().all()
