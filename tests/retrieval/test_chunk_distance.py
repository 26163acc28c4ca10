"""Minimum cosine distance over window pairs: reference numbers, invariants, refusals."""

import numpy as np
import pytest
import torch

from src.errors import UserError
from src.retrieval.chunk_distance import chunk_distances
from tests.parity_weights import read_fixture


def plain(query, reference):
    """The definition, pair by pair, in float64."""

    def unit(x):
        x = np.asarray(x, dtype=np.float64)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    return np.array([[(1 - unit(q) @ unit(r).T).min() for r in reference] for q in query])


def recordings(seed, n, *, most=6, dimensions=9):
    generator = np.random.default_rng(seed)
    counts = generator.integers(1, most + 1, size=n)
    return [generator.standard_normal((c, dimensions)).astype(np.float32) for c in counts]


def fixture_recordings(prefix, listed):
    arrays = read_fixture("c15_dist.npz")
    return [arrays[f"{prefix}_{utt}"] for utt, *_ in listed]


def test_reference_matrices():
    order, arrays = read_fixture("c15_dist.json"), read_fixture("c15_dist.npz")
    query = fixture_recordings("q", order["query"])
    reference = fixture_recordings("r", order["ref"])
    np.testing.assert_allclose(chunk_distances(query, reference), arrays["cross"], atol=1e-5)
    expected = arrays["self"]
    off_diagonal = ~np.eye(len(query), dtype=bool)
    found = chunk_distances(query)
    np.testing.assert_allclose(found[off_diagonal], expected[off_diagonal], atol=1e-5)
    np.testing.assert_allclose(np.diag(found), 0, atol=1e-6)


@pytest.mark.parametrize("block_elements", [1, 40, 1 << 20])
def test_equals_the_double_loop_whatever_the_block(block_elements):
    query, reference = recordings(0, 13), recordings(1, 17, most=3)
    found = chunk_distances(query, reference, block_elements=block_elements)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, plain(query, reference), atol=2e-6)


def test_symmetric_and_scale_free():
    query, reference = recordings(2, 5), recordings(3, 6)
    found = chunk_distances(query, reference)
    np.testing.assert_allclose(chunk_distances(reference, query).T, found, atol=1e-6)
    louder = [1000 * windows for windows in query]
    np.testing.assert_allclose(chunk_distances(louder, reference), found, atol=1e-6)


def test_order_of_recordings_and_windows_does_not_matter():
    query, reference = recordings(4, 8), recordings(5, 8)
    found = chunk_distances(query, reference)
    turned = [windows[::-1].copy() for windows in reference]
    np.testing.assert_allclose(chunk_distances(query, turned), found, atol=1e-6)
    order = np.random.default_rng(0).permutation(8)
    shuffled = chunk_distances(query, [reference[i] for i in order])
    np.testing.assert_allclose(shuffled, found[:, order], atol=1e-6)


def test_rounding_makes_no_negative_distance():
    same = recordings(6, 200, most=1, dimensions=128)
    found = chunk_distances(same, [torch.from_numpy(windows) for windows in same])
    assert found.min() == 0
    assert np.diag(found).max() < 1e-6


def test_an_embedding_of_zeros_is_like_nothing():
    found = chunk_distances([np.zeros((1, 4), np.float32)], recordings(7, 3, dimensions=4))
    np.testing.assert_array_equal(found, np.ones((1, 3)))


@pytest.mark.parametrize(
    ("query", "reference", "sentence"),
    [
        ([], [np.ones((1, 3))], "no query"),
        ([np.ones((1, 3))], [], "no reference"),
        ([np.ones((1, 3)), np.ones((0, 3))], None, "recording 1 has no windows"),
        ([np.ones(3)], None, "recording 0 has no windows"),
        ([np.ones((1, 3))], [np.ones((1, 4))], "3 dimensions but references 4"),
        ([np.ones((2, 3)), np.ones((1, 4))], None, "recording 1 has embeddings of 4"),
        ([np.ones((2, 3)), np.full((2, 3), np.nan)], None, "query recording 1 is not finite"),
    ],
)
def test_refusals(query, reference, sentence):
    with pytest.raises(UserError, match=sentence):
        chunk_distances(query, reference)
