"""Mining: the recorded choices, and the rules written out with plain loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.losses.mining import (
    HARD,
    RANDOM,
    SEMI_HARD,
    SEMI_HARD_ALL_POSITIVES,
    label_masks,
    mine_triplets,
)
from tests.parity_weights import read_fixture


@pytest.fixture(scope="module")
def arrays():
    return read_fixture("c02_losses.npz")


def counts(arrays, strategy, labels, runs=200):
    """How often item j was the positive / the negative of anchor i over seeds 0..runs-1."""
    distances = torch.from_numpy(arrays["distance_matrix"])
    positive, negative = np.zeros((2, 16, 16), dtype=int)
    for seed in range(runs):
        torch.manual_seed(seed)
        anchors, positives, negatives = mine_triplets(distances, labels, strategy)
        np.add.at(positive, (anchors, positives), 1)
        np.add.at(negative, (anchors, negatives), 1)
    return positive, negative


@pytest.mark.parametrize(
    ("strategy", "name"),
    [(RANDOM, "random"), (SEMI_HARD, "semihard"), (SEMI_HARD_ALL_POSITIVES, "allpos")],
)
@pytest.mark.parametrize("uneven", ["", "uneven_"])
def test_choices_under_recorded_seeds(arrays, strategy, name, uneven):
    """The same seed makes the recorded choices, but for anchors whose positives have run out."""
    labels = torch.from_numpy(arrays[f"{uneven}labels"])
    positive, negative = counts(arrays, strategy, labels)
    full = label_masks(labels)[0].sum(1).numpy() >= (3 if name == "allpos" else 1)
    assert full.any()
    expected_positive = arrays[f"mining_{uneven}{name}_pos_count"]
    expected_negative = arrays[f"mining_{uneven}{name}_neg_count"]
    np.testing.assert_array_equal(positive[full], expected_positive[full])
    np.testing.assert_array_equal(negative[full], expected_negative[full])
    assert not (positive * ~label_masks(labels)[0].numpy()).any()
    assert not positive[13].any() or not uneven  # item 13 is the only one of its label


def test_hard_distances(arrays):
    distances = torch.from_numpy(arrays["distance_matrix"])
    anchors, positives, negatives = mine_triplets(
        distances, torch.from_numpy(arrays["labels"]), HARD
    )
    np.testing.assert_array_equal(anchors, np.arange(16))
    np.testing.assert_array_equal(
        distances[anchors, positives], arrays["triplet_hard_dist_pos"][:, 0]
    )
    np.testing.assert_array_equal(
        distances[anchors, negatives], arrays["triplet_hard_dist_neg"][:, 0]
    )


def test_masks_and_walk_through_positives(arrays):
    labels = torch.from_numpy(arrays["labels"])
    positive, negative = label_masks(labels)
    np.testing.assert_array_equal(positive.int().numpy(), arrays["mask_pos"])
    np.testing.assert_array_equal(negative.int().numpy(), arrays["mask_neg"])
    distances = torch.from_numpy(arrays["distance_matrix"])
    anchors, positives, _ = mine_triplets(distances, labels, SEMI_HARD_ALL_POSITIVES)
    walk = read_fixture("c02_mining.json")["allpos_order_of_positives"]
    assert positives.reshape(3, 16).T.tolist() == walk
    assert anchors.tolist() == list(range(16)) * 3


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    strategy=st.integers(0, 3),
    seed=st.integers(0, 10_000),
)
def test_rules_by_plain_loops(labels, strategy, seed):
    size = len(labels)
    distances = torch.from_numpy(np.random.RandomState(seed).rand(size, size))
    generator = torch.Generator().manual_seed(seed)
    triplets = mine_triplets(distances, torch.tensor(labels), strategy, generator=generator)
    expected_anchors = []
    chosen = list(zip(*(part.tolist() for part in triplets), strict=True))
    for anchor in range(size):
        same = [j for j in range(size) if labels[j] == labels[anchor] and j != anchor]
        other = [j for j in range(size) if labels[j] != labels[anchor]]
        mine = [(p, n) for a, p, n in chosen if a == anchor]
        if not same or not other:
            assert mine == []
            continue
        rounds = min(3, len(same)) if strategy == SEMI_HARD_ALL_POSITIVES else 1
        assert len(mine) == rounds
        if strategy == SEMI_HARD_ALL_POSITIVES:
            assert [p for p, _ in mine] == same[:3]
        for positive, negative in mine:
            assert positive in same
            assert negative in other
            row = distances[anchor]
            closer = [j for j in other if row[j] < row[positive]]
            if strategy in (SEMI_HARD, SEMI_HARD_ALL_POSITIVES) and closer:
                assert negative in closer
            if strategy == HARD:
                assert row[positive] == max(row[same])
                assert row[negative] == min(row[other])
        expected_anchors.append(anchor)
    assert sorted(set(triplets.anchors.tolist())) == expected_anchors


def test_a_generator_is_used_and_the_default_one_left_alone(arrays):
    distances = torch.from_numpy(arrays["distance_matrix"])
    labels = torch.from_numpy(arrays["labels"])

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return mine_triplets(distances, labels, RANDOM, generator=generator).negatives.tolist()

    before = torch.get_rng_state()
    first, again, other = draw(1), draw(1), draw(2)
    assert torch.equal(before, torch.get_rng_state())
    assert first == again != other


def test_unknown_strategy():
    with pytest.raises(ValueError, match="0, 1, 2 or 3"):
        mine_triplets(torch.zeros(2, 2), torch.tensor([0, 0]), 4)
