import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.retrieval.metrics import (
    average_precision,
    average_precisions,
    calc_map,
    format_figures,
    summarise,
)
from src.retrieval.ranking import rank_similarities
from src.retrieval.relevance import relevance_from_matrix
from tests.parity_weights import BASE_SEED, FIXTURES, normal
from tests.retrieval import plain

C03 = json.loads((FIXTURES / "c03_metrics.json").read_text())
C13 = json.loads((FIXTURES / "c13_map.json").read_text())


def reference_case(n):
    """Similarity and ground truth of the reference numbers."""
    labels = np.load(FIXTURES / "c03_metrics.npz")[f"N{n}_labels"]
    same = (labels[:, None] == labels) & ~np.eye(n, dtype=bool)
    seed = BASE_SEED + 311 + 10 * [40, 300].index(n)
    similarity = (normal(seed, (n, n)) + 1.5 * same).astype("float32")
    np.fill_diagonal(similarity, -np.inf)
    return torch.from_numpy(similarity), torch.from_numpy(same.astype("float32"))


@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize("k", [None, 10])
def test_original_figures_equal_the_reference_numbers(n, k):
    expected = C03[f"N{n}" if k is None else f"N{n}_k{k}"]
    figures = average_precision(*reference_case(n), k, original=True)
    assert list(figures) == ["mAP", "MRR", "MR", "Top1", "Top10"]
    for name, value in figures.items():
        assert value == pytest.approx(expected[name], abs=1e-6)
    assert format_figures(figures) == expected["printed"]


@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize("k", [None, 10])
def test_average_precision_of_each_query_equals_the_reference_numbers(n, k):
    similarity, ytrue = reference_case(n)
    ap = average_precisions(rank_similarities(similarity, relevance_from_matrix(ytrue)), k)
    expected = np.load(FIXTURES / "c03_metrics.npz")[f"N{n}_ap" if k is None else f"N{n}_k{k}_ap"]
    assert np.isnan(ap).tolist() == (ytrue.sum(1) == 0).tolist()
    assert np.abs(ap[~np.isnan(ap)] - expected).max() < 1e-5


@pytest.mark.parametrize("k", [None, 1, 10])
@pytest.mark.parametrize("original", [False, True])
def test_figures_equal_plain_loops(k, original):
    similarity, ytrue = reference_case(40)
    expected = plain.re_move(similarity.tolist(), ytrue.tolist(), k, original)
    assert average_precision(similarity, ytrue, k, original=original) == pytest.approx(expected)


def test_queries_without_a_version_are_left_out_of_all_figures():
    similarity, ytrue = reference_case(40)
    has = ytrue.sum(1) > 0
    assert 0 < int(has.sum()) < 40
    assert average_precision(similarity, ytrue) == pytest.approx(
        average_precision(similarity[has], ytrue[has])
    )


def test_original_counts_queries_without_a_version_as_rank_one():
    similarity = torch.tensor([[-math.inf, 0.0, 1.0]] * 2)
    ytrue = torch.tensor([[0, 1, 0], [0, 0, 0]])
    assert average_precision(similarity, ytrue) == {
        "mAP": 0.5, "MRR": 0.5, "MR": 2, "Top1": 0, "Top10": 1
    }  # fmt: skip
    assert average_precision(similarity, ytrue, original=True) == {
        "mAP": 0.5, "MRR": 0.75, "MR": 1.5, "Top1": 0, "Top10": 1
    }  # fmt: skip


@st.composite
def cases(draw):
    """Similarities with many ties, not square, and a ground truth with at least one version."""
    q, r = draw(st.integers(1, 6)), draw(st.integers(2, 12))
    values = st.lists(st.integers(-3, 3), min_size=r, max_size=r)
    truth = st.lists(st.integers(0, 1), min_size=r, max_size=r)
    similarity = draw(st.lists(values, min_size=q, max_size=q))
    ytrue = draw(st.lists(truth, min_size=q, max_size=q))
    ytrue[0][draw(st.integers(0, r - 1))] = 1
    return similarity, ytrue


@settings(max_examples=60, deadline=None)
@given(case=cases(), k=st.sampled_from([None, 1, 3]), original=st.booleans())
def test_ties_are_broken_by_position(case, k, original):
    similarity, ytrue = case
    figures = average_precision(torch.tensor(similarity).float(), ytrue, k, original=original)
    assert figures == pytest.approx(plain.re_move(similarity, ytrue, k, original))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_figures_do_not_depend_on_the_order_of_the_recordings(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 5, 15)
    labels[1] = labels[0]
    similarity = rng.standard_normal((15, 15))
    np.fill_diagonal(similarity, -np.inf)
    ytrue = (labels[:, None] == labels) & ~np.eye(15, dtype=bool)
    order = rng.permutation(15)
    shuffled = average_precision(similarity[order][:, order], ytrue[order][:, order])
    assert shuffled == pytest.approx(average_precision(similarity, ytrue))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_only_the_order_of_the_similarities_counts(seed):
    rng = np.random.default_rng(seed)
    similarity = rng.standard_normal((6, 20))
    ytrue = rng.integers(0, 2, (6, 20))
    ytrue[0, 0] = 1
    assert average_precision(np.exp(similarity) * 3 - 1, ytrue) == average_precision(
        similarity, ytrue
    )


def test_a_perfect_ranking_and_the_worst_one():
    ytrue = torch.tensor([[1, 1, 0, 0, 0]])
    best = average_precision(torch.tensor([[5.0, 4, 3, 2, 1]]), ytrue)
    assert best == {"mAP": 1, "MRR": 1, "MR": 1, "Top1": 1, "Top10": 2}
    worst = average_precision(torch.tensor([[1.0, 2, 3, 4, 5]]), ytrue)
    assert worst == pytest.approx(
        {"mAP": (1 / 4 + 2 / 5) / 2, "MRR": 1 / 4, "MR": 4, "Top1": 0, "Top10": 2}
    )


@pytest.mark.parametrize("name", sorted(C13))
def test_calc_map_equals_the_reference_numbers(name):
    stored = np.load(FIXTURES / "c13_map.npz")
    case, topk = name.removeprefix("case").split("_topk")
    figures = calc_map(stored[f"D{case}"], stored[f"lq{case}"], stored[f"lr{case}"], int(topk))
    assert list(figures) == ["mean_ap", "top10", "rank1", "hit_rate"]
    assert figures == pytest.approx(C13[name], abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), topk=st.sampled_from([1, 2, 4, 10000]))
def test_calc_map_equals_plain_loops(seed, topk):
    rng = np.random.default_rng(seed)
    distances = rng.integers(-1, 6, (7, 13)).astype(float)  # ties and excluded pairs
    queries, refs = rng.choice(list("abcd"), 7), rng.choice(list("abc"), 13)
    expected = plain.coverhunter(distances.tolist(), queries.tolist(), refs.tolist(), topk)
    assert calc_map(distances, queries, refs, topk) == pytest.approx(expected)


def test_calc_map_keeps_identical_recordings_whose_distance_rounds_below_zero():
    figures = calc_map(np.array([[-6e-8, 0.5]]), ["a"], ["a", "b"])
    assert figures == {"mean_ap": 1, "top10": 0.1, "rank1": 1, "hit_rate": 1}


def test_calc_map_tells_close_doubles_apart():
    figures = calc_map(np.array([[0.5 + 1e-12, 0.5]]), ["a"], ["b", "a"])
    assert figures["rank1"] == 1


@pytest.mark.parametrize(
    ("similarity", "ytrue", "words"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), "shape"),
        (np.zeros((0, 0)), np.zeros((0, 0)), "matrix"),
        (np.zeros(3), np.zeros(3), "matrix"),
        (np.zeros((2, 2), int), np.eye(2), "real numbers"),
        (np.array([[0.0, 1], [np.nan, 0]]), np.eye(2), "query 1 contain NaN"),
        (np.zeros((2, 2)), np.full((2, 2), 2), "nothing but 0 and 1"),
        (np.where(np.eye(2), -np.inf, 0), np.eye(2), "diagonal"),
        (np.zeros((2, 2)), np.zeros((2, 2)), "no query has another version"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(similarity, ytrue, words):
    with pytest.raises(UserError, match=words):
        average_precision(similarity, ytrue)


@pytest.mark.parametrize(
    ("distances", "queries", "refs", "words"),
    [
        (np.zeros((2, 2)), ["a"], ["a", "b"], "do not fit"),
        (np.full((1, 1), np.nan), ["a"], ["a"], "query 0 contain NaN"),
        (np.zeros(2), ["a"], ["a"], "matrix"),
        (np.zeros((1, 1)), ["a"], [1], "differ in type"),
    ],
)
def test_calc_map_refuses_bad_input_in_a_sentence(distances, queries, refs, words):
    with pytest.raises(UserError, match=words):
        calc_map(distances, queries, refs)


@pytest.mark.parametrize("k", [0, -1])
def test_k_must_be_positive(k):
    ranking = rank_similarities(torch.zeros(1, 2), relevance_from_matrix(np.array([[1, 0]])))
    with pytest.raises(UserError, match="at least 1"):
        summarise(ranking, k=k)


def test_a_mask_says_which_pairs_are_excluded():
    """With a mask, a distance below zero by rounding is a candidate like any other."""
    distances = np.array([[-1e-4, 0.5, 0.2], [0.5, 0.0, 0.1]])
    mask = np.array([[False, False, True], [False, True, False]])
    found = calc_map(distances, [0, 1], [0, 1, 1], excluded=mask)
    assert found == {"mean_ap": 1, "top10": 0.1, "rank1": 1, "hit_rate": 1}
    without = calc_map(distances, [0, 1], [0, 1, 1])
    assert without["rank1"] == 0.5  # the first query lost its only version
    with pytest.raises(UserError, match=r"\(1, 3\)"):
        calc_map(distances, [0, 1], [0, 1, 1], excluded=mask[:1])


def test_intervals_of_both_systems_are_of_the_same_draws():
    from src.retrieval.confidence import bootstrap_intervals, bootstrap_map_intervals
    from src.retrieval.metrics import rank_distances

    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(30), 3)
    distances = generator.random((90, 90)) + 0.5 * (labels[:, None] != labels)
    ranking = rank_distances(distances, labels, labels, excluded=np.eye(90, dtype=bool))
    ours = bootstrap_map_intervals(
        ranking, labels, generator=np.random.default_rng(1), resamples=300
    )
    theirs = bootstrap_intervals(ranking, labels, generator=np.random.default_rng(1), resamples=300)
    # Every query has a version, and all within topk: the definitions agree.
    assert ours["mean_ap"] == pytest.approx(theirs["mAP"])
    assert ours["rank1"] == pytest.approx(theirs["MR"])
    figures = calc_map(np.where(np.eye(90, dtype=bool), -1, distances), labels, labels)
    for name, (low, high) in ours.items():
        assert low <= figures[name] <= high
    alone = bootstrap_map_intervals(ranking, [0] * 90, generator=np.random.default_rng(1))
    assert set(alone.values()) == {None}
