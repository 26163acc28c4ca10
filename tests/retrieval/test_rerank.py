"""A second order of the nearest references: what moves, what stays, what is asked for."""

import numpy as np
import pytest
import torch

from src.data.crema_features import write_features
from src.data.dataset_file import DatasetFile
from src.errors import UserError
from src.models.move import MOVEModel
from src.retrieval.blend import blend_order
from src.retrieval.metrics import rank_distances, summarise
from src.retrieval.ranking import nearest_others, rank_relevant
from src.retrieval.relevance import relevance_from_labels
from src.retrieval.rerank import reorder, rerank, rerank_ranking
from src.retrieval.rerank_testset import reranked
from src.retrieval.testset import compare_testset
from src.training import evaluation
from src.training.methods import Qmax
from tests.retrieval.music import MeanModel, rewrite, write_set


def test_first_k_are_ordered_anew_and_the_rest_stays():
    distances = np.array([[0.1, 0.2, 0.3, 0.4, 0.5], [5.0, 4.0, 3.0, 2.0, 1.0]])
    other = np.array([[3.0, 2.0, 1.0, 0.0, 0.0], [0.0, 0.5, 7.0, 9.0, 8.0]])
    asked = []

    def pair_distance(i, j):
        asked.append((i, j))
        return other[i, j]

    places = rerank(distances, 3, pair_distance, blend=1)
    np.testing.assert_array_equal(places, [[2, 1, 0, 3, 4], [4, 3, 0, 2, 1]])
    assert sorted(asked) == [(0, 0), (0, 1), (0, 2), (1, 2), (1, 3), (1, 4)]
    np.testing.assert_array_equal(
        rerank(distances, 1, pair_distance).argsort(), distances.argsort()
    )
    np.testing.assert_array_equal(
        rerank(distances, 99, pair_distance, blend=1), other.argsort(kind="stable").argsort()
    )


def test_both_distances_have_a_say():
    # The pair distances hardly tell the first two apart, the embedding does; and the reverse.
    near = np.array([[0.2, 0.6, 0.7], [0.50, 0.51, 0.9]])
    pairs = np.array([[0.22, 0.21, 0.9], [0.9, 0.2, 0.8]])
    np.testing.assert_array_equal(blend_order(near, pairs), [[0, 1, 2], [1, 0, 2]])
    np.testing.assert_array_equal(blend_order(near, pairs, blend=0), [[0, 1, 2], [0, 1, 2]])
    np.testing.assert_array_equal(blend_order(near, pairs, blend=1), [[1, 0, 2], [1, 2, 0]])


def test_the_blend_is_a_sum_of_standard_scores():
    rng = np.random.default_rng(2)
    near, pairs = rng.random((2, 6, 9))
    a = (near - near.mean(1, keepdims=True)) / near.std(1, keepdims=True)
    b = (1 / pairs - (1 / pairs).mean(1, keepdims=True)) / (1 / pairs).std(1, keepdims=True)
    expected = np.argsort(0.4 * a - 0.6 * b, axis=1)
    np.testing.assert_array_equal(blend_order(near, pairs, blend=0.6), expected)
    # Only differences within a query count.
    moved = near * rng.random((6, 1)) * 5 + rng.standard_normal((6, 1))
    np.testing.assert_array_equal(blend_order(moved, 3 * pairs, blend=0.6), expected)


def test_the_blend_of_what_is_infinite_equal_or_absent():
    near = np.array([[0.1, 0.2, np.inf, 0.3]])
    pairs = np.array([[np.inf, 0.5, 0.1, 9.0]])
    np.testing.assert_array_equal(blend_order(near, pairs), [[2, 0, 1, 3]])
    np.testing.assert_array_equal(blend_order(near[:, :2], pairs[:, 2:]), [[0, 1]])
    valid = np.array([[True, False, True, True]])
    np.testing.assert_array_equal(blend_order(near, pairs, valid=valid), [[2, 0, 3, 1]])
    equal = np.full((1, 4), 0.3)
    np.testing.assert_array_equal(blend_order(equal, pairs), [[2, 1, 3, 0]])
    np.testing.assert_array_equal(blend_order(near, equal), [[0, 1, 2, 3]])
    # A recording that is the query itself is the first, whatever the others are.
    for others in (np.inf, 0.5):
        pairs = np.array([[others, others, 0.0, others]])
        assert blend_order(np.full((1, 4), np.inf), pairs)[0, 0] == 2
    assert blend_order(np.zeros((2, 0)), np.zeros((2, 0))).shape == (2, 0)


def test_ties_keep_their_order():
    distances = np.array([[3.0, 1.0, 2.0, 1.0]])
    np.testing.assert_array_equal(rerank(distances, 4, lambda i, j: 1.0), [[3, 0, 2, 1]])
    np.testing.assert_array_equal(rerank(distances, 4, lambda i, j: np.inf), [[3, 0, 2, 1]])


def test_excluded_pairs_are_never_compared():
    distances = np.array([[-1.0, 2.0, 1.0], [np.inf, -1.0, 0.0], [-1.0, -1.0, -1.0]])
    asked = []
    places = rerank(distances, 5, lambda i, j: asked.append((i, j)) or 9 - j)
    np.testing.assert_array_equal(places, [[-1, 1, 0], [1, -1, 0], [-1, -1, -1]])
    assert sorted(asked) == [(0, 1), (0, 2), (1, 0), (1, 2)]
    mask = np.eye(3, dtype=bool)
    places = rerank(np.abs(distances), 5, lambda i, j: 9 - j, excluded=mask, blend=1)
    np.testing.assert_array_equal(places, [[-1, 1, 0], [1, -1, 0], [1, 0, -1]])


def test_threads_change_nothing():
    rng = np.random.default_rng(0)
    distances, other = rng.random((2, 20, 30))
    expected = rerank(distances, 7, lambda i, j: other[i, j])
    found = rerank(distances, 7, lambda i, j: other[i, j], workers=4)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("k", [1, 3, 10, 99])
def test_ranks_without_a_matrix_are_those_of_the_matrix(k):
    rng = np.random.default_rng(1)
    labels = [str(label) for label in rng.integers(0, 8, 24)]
    embeddings = torch.from_numpy(rng.standard_normal((24, 3))).float()
    embeddings[5] = embeddings[9]  # equally near to all others
    other = rng.random((24, 24))
    relevance = relevance_from_labels(labels)
    ranking = rank_relevant(embeddings, None, relevant=relevance, distance="euclidean")
    nearest, near = nearest_others(embeddings, k, distance="euclidean")
    assert nearest.shape == near.shape == (24, min(k, 23))
    found = rerank_ranking(ranking, relevance, nearest, near, lambda i, j: other[i, j])
    distances = torch.cdist(embeddings.double(), embeddings.double()).square().numpy()
    mask = np.eye(24, dtype=bool)
    places = rerank(distances, k, lambda i, j: other[i, j], excluded=mask)
    expected = rank_distances(places, labels, labels, excluded=mask)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    np.testing.assert_array_equal(found.ranks, expected.ranks)


def test_bad_calls_are_refused_in_a_sentence():
    for distances, k, words in [
        (np.zeros((2, 3)), 0, "1 or more"),
        (np.zeros(3), 1, "matrix"),
        (np.array([[np.nan, 1]]), 1, "NaN"),
    ]:
        with pytest.raises(UserError, match=words):
            rerank(distances, k, lambda i, j: 0.0)
    with pytest.raises(UserError, match="not a number"):
        reorder([[0, 1]], [[0.1, 0.2]], lambda i, j: np.nan)
    with pytest.raises(UserError, match="negative"):
        reorder([[0, 1]], [[0.1, 0.2]], lambda i, j: -1.0)
    for blend in (-0.1, 1.1, np.nan):
        with pytest.raises(UserError, match="between 0"):
            rerank(np.zeros((2, 3)), 1, lambda i, j: 0.0, blend=blend)
    with pytest.raises(UserError, match="shape"):
        rerank(np.zeros((2, 3)), 1, lambda i, j: 0.0, excluded=np.eye(2))
    with pytest.raises(UserError, match="at least 1"):
        nearest_others(torch.eye(3), 0, distance="cosine")


def chroma(work: int, version: int, frames: int = 160) -> np.ndarray:
    pcp = np.repeat(np.random.default_rng(work).random((frames // 8, 12)) ** 3, 8, axis=0)
    noise = np.random.default_rng((work, version)).random(pcp.shape)
    return np.roll(pcp + 0.3 * noise, version, axis=1).astype(np.float32)


WORKS = [0, 0, 1, 1, 2, 2]


def test_test_set_by_the_cremapcp_its_lists_name(tmp_path):
    # By CQT these six are one work; by cremaPCP they are three.
    full = write_set(tmp_path / "set", [(0, 0, 9)] * 6)
    rewrite(full, lambda row: {**row, "song_id": WORKS[int(row["utt"][-1])], "song": ""})
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    assert result.figures["Top1"] < 6
    with pytest.raises(UserError, match=r"names no cremaPCP \(key 'features'\) for rec0"):
        reranked(result, 5, query_path=full, ref_path=full)

    def with_features(row):
        number = int(row["utt"][-1])
        name = f"crema/{row['utt']}.npz"
        version = "0.1.0" if number % 2 else "0.2.0"
        write_features(full.parent / name, chroma(WORKS[number], number), version)
        return {**row, "features": name}

    rewrite(full, with_features)
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    found = reranked(result, 5, query_path=full, ref_path=full, workers=2)
    assert found.figures["mAP"] == 1
    np.testing.assert_array_equal(found.distances == -1, np.eye(6, dtype=bool))
    np.testing.assert_array_equal(
        reranked(result, 1, query_path=full, ref_path=full).ranking.ranks, result.ranking.ranks
    )
    some = result.restricted(["1"])
    assert reranked(some, 5, query_path=full, ref_path=full).figures["mAP"] == 1


def test_move_re_ranked_and_qmax_alone(monkeypatch):
    tracks = [np.concatenate([chroma(w, v, 480)] * 2, axis=1)[:, :23] for v, w in enumerate(WORKS)]
    data = [torch.from_numpy(np.ascontiguousarray(track.T))[None] for track in tracks]
    dataset = DatasetFile(data, [f"work {work}" for work in WORKS], "0.1.0")
    pcp = [track[0, :12].T.numpy() for track in data]
    alone = Qmax().rank(Qmax().describe(pcp, dataset.labels), dataset.labels)
    assert summarise(alone)["mAP"] == 1
    # A network that finds nothing: all references in the order of the list.
    monkeypatch.setattr(evaluation, "embed_tracks", lambda *_, **__: torch.ones(6, 2))
    options = {"distance": "euclidean", "device": torch.device("cpu")}
    alone = evaluation.evaluate_network(MOVEModel(emb_size=2), dataset, **options)
    some = evaluation.evaluate_network(MOVEModel(emb_size=2), dataset, rerank=3, **options)
    every = evaluation.evaluate_network(MOVEModel(emb_size=2), dataset, rerank=5, **options)
    assert alone.figures["mAP"] < some.figures["mAP"] < every.figures["mAP"] == 1
    short = DatasetFile([*data, data[0][..., :30]], [*dataset.labels, "short"])
    with pytest.raises(UserError, match=r"recording 6 \(short\) has 30 frames"):
        evaluation.evaluate_network(MOVEModel(emb_size=2), short, rerank=3, **options)
