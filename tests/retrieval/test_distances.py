import numpy as np
import pytest
import torch

from src.retrieval import distances
from tests.parity_weights import FIXTURES


@pytest.mark.parametrize(
    ("kind", "function"),
    [
        ("euclidean", distances.squared_euclidean),
        ("cosine", distances.cosine),
        ("pearson", distances.pearson),
    ],
)
def test_values_equal_the_reference_numbers(kind, function):
    stored = np.load(FIXTURES / "c03_metrics.npz")
    x, y = torch.from_numpy(stored["x"]), torch.from_numpy(stored["y"])
    assert np.abs(function(x).numpy() - stored[f"{kind}_self"]).max() < 1e-5
    assert np.abs(function(x, y).numpy() - stored[f"{kind}_cross"]).max() < 1e-5


def test_cosine_of_a_zero_vector_is_undefined():
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    assert torch.isnan(distances.cosine(x)).tolist() == [[True, True], [True, False]]
