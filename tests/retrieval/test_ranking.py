import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.files import load_tensors, save_tensors
from src.retrieval import ranking as ranking_module
from src.retrieval.distances import cosine, pearson, squared_euclidean
from src.retrieval.metrics import average_precision, summarise
from src.retrieval.ranking import DISTANCE_OF_LOSS, rank_relevant
from src.retrieval.relevance import relevance_from_labels, relevance_from_matrix
from tests.retrieval import plain

SIMILARITY = {
    "euclidean": lambda x, y: -squared_euclidean(x, y) / x.shape[1],
    "cosine": cosine,
    "pearson": pearson,
}


def collection(seed=0, n=60, d=16, works=14):
    """Embeddings in loose groups, with some works of a single version."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([rng.integers(0, works, n - 6), 1000 + np.arange(6)])
    rng.shuffle(labels)
    embeddings = 3 + labels[:, None] % 7 + rng.standard_normal((n, d))
    return torch.from_numpy(embeddings).float(), labels


@pytest.mark.parametrize("distance", sorted(SIMILARITY))
@pytest.mark.parametrize("block", [1, 7, None])
@pytest.mark.parametrize("original", [False, True])
def test_figures_equal_those_of_the_whole_matrix(distance, block, original):
    embeddings, labels = collection()
    similarity = SIMILARITY[distance](embeddings.double(), embeddings.double())
    similarity.fill_diagonal_(-torch.inf)
    ytrue = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    ranking = rank_relevant(embeddings, None, labels, distance=distance, block=block)
    expected = average_precision(similarity, ytrue, original=original)
    assert summarise(ranking, original) == pytest.approx(expected)
    assert ranking.n_without_version == int((ytrue.sum(1) == 0).sum()) > 0
    for query in range(len(labels)):
        ranks = plain.relevant_ranks(similarity[query].tolist(), ytrue[query])
        assert ranking.of_query(query).tolist() == ranks
        assert ranking.first_ranks[query] == (ranks[0] if ranks else 0)


@pytest.mark.parametrize("distance", sorted(SIMILARITY))
def test_queries_and_references_may_be_two_sets(distance):
    embeddings, labels = collection(1)
    queries, references = embeddings[:20], embeddings[20:]
    found = rank_relevant(
        queries, references, labels[:20], labels[20:], distance=distance, exclude_self=False
    )
    similarity = SIMILARITY[distance](queries.double(), references.double())
    expected = average_precision(similarity, labels[:20, None] == labels[20:])
    assert summarise(found) == pytest.approx(expected)


def test_larger_similarity_is_closer_for_every_loss():
    embeddings = torch.tensor([[1.0, 0.0, 0.1], [0.9, 0.1, 0.1], [-1.0, 0.2, 0.5]])
    assert list(DISTANCE_OF_LOSS) == [0, 1, 2, 3, 4]
    for distance in DISTANCE_OF_LOSS.values():
        ranking = rank_relevant(embeddings, None, ["a", "a", "b"], distance=distance)
        assert ranking.first_ranks.tolist() == [1, 1, 0]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    distance=st.sampled_from(sorted(SIMILARITY)),
    block=st.integers(1, 12),
)
def test_relabelling_and_reordering_change_nothing(seed, distance, block):
    embeddings, labels = collection(seed, n=25)
    labels[0] = labels[1]
    order = np.random.default_rng(seed).permutation(25)
    names = np.array([f"work {label}" for label in labels])
    first = rank_relevant(embeddings, None, labels, distance=distance)
    second = rank_relevant(embeddings[order], None, names[order], distance=distance, block=block)
    assert summarise(first) == pytest.approx(summarise(second))
    assert first.first_ranks[order].tolist() == second.first_ranks.tolist()


@settings(max_examples=40, deadline=None)
@given(
    points=st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=3, max_size=14),
    block=st.integers(1, 5),
    sort_from=st.sampled_from([1, 64]),
)
def test_ties_are_broken_by_position_when_counting_and_when_sorting(points, block, sort_from):
    embeddings = torch.tensor(points).float()  # whole numbers: distances are exact, ties frequent
    labels = [i % 3 for i in range(len(points))]
    ytrue = [[labels[i] == labels[j] and i != j for j in range(len(points))]
             for i in range(len(points))]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking_module, "_SORT_FROM", sort_from)
        ranking = rank_relevant(embeddings, None, labels, block=block)
    for query, point in enumerate(points):
        similarities = [-sum((a - b) ** 2 for a, b in zip(point, other, strict=True))
                        for other in points]  # fmt: skip
        similarities[query] = -float("inf")
        assert ranking.of_query(query).tolist() == plain.relevant_ranks(similarities, ytrue[query])


def test_a_collapsed_model_does_not_look_good():
    labels = np.arange(200) // 2
    order = np.random.default_rng(0).permutation(200)
    figures = summarise(rank_relevant(torch.ones(200, 8), None, labels[order]))
    assert figures["mAP"] < 0.1


@pytest.mark.parametrize("distance", ["cosine", "pearson"])
def test_an_embedding_without_direction_is_everybodys_last(distance):
    embeddings = torch.tensor([[0.0, 0, 0], [1, 2, 3], [-3, 2, 1], [3, 2, 1]])
    ranking = rank_relevant(embeddings, None, list("aaaa"), distance=distance)
    assert ranking.ranks.tolist() == [1, 2, 3] * 4
    pairs = rank_relevant(embeddings, None, ["a", "b", "c", "a"], distance=distance)
    assert pairs.first_ranks.tolist() == [3, 0, 0, 3]


def test_embeddings_of_another_precision_or_library_are_accepted():
    embeddings, labels = collection(2)
    expected = summarise(rank_relevant(embeddings, None, labels))
    assert summarise(rank_relevant(embeddings.numpy().astype("float64"), None, labels)) == expected
    half = summarise(rank_relevant(embeddings.half(), None, labels))
    assert half["mAP"] == pytest.approx(expected["mAP"], abs=0.02)


def test_a_ground_truth_file_serves_in_place_of_labels(tmp_path):
    embeddings, labels = collection(3)
    ytrue = (labels[:, None] == labels) & ~np.eye(len(labels), dtype=bool)
    save_tensors(torch.from_numpy(ytrue).float(), tmp_path / "ytrue.pt")
    mapped = load_tensors(tmp_path / "ytrue.pt", mmap=True)
    found = rank_relevant(embeddings, None, relevant=mapped)
    assert found.ranks.tolist() == rank_relevant(embeddings, None, labels).ranks.tolist()


@pytest.mark.parametrize("kind", ["bool", "uint8", "int64", "float16", "bfloat16", "float64"])
def test_a_ground_truth_may_have_any_type(kind):
    matrix = torch.tensor([[0, 1, 1], [0, 0, 0]]).to(getattr(torch, kind))
    relevance = relevance_from_matrix(matrix)
    assert relevance.offsets.tolist() == [0, 2, 2]
    assert relevance.columns.tolist() == [1, 2]


@settings(max_examples=40, deadline=None)
@given(labels=st.lists(st.sampled_from("abcd"), min_size=1, max_size=30))
def test_labels_and_matrix_say_the_same(labels):
    matrix = [[a == b and i != j for j, b in enumerate(labels)] for i, a in enumerate(labels)]
    from_labels = relevance_from_labels(labels)
    from_matrix = relevance_from_matrix(np.array(matrix))
    assert from_labels.offsets.tolist() == from_matrix.offsets.tolist()
    assert from_labels.columns.tolist() == from_matrix.columns.tolist()
    assert from_labels.counts.tolist() == [sum(row) for row in matrix]


E1 = torch.eye(3)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((E1, None, [1, 1]), {}, "ground truth is for 2 queries"),
        ((E1, E1[:2], [1, 1, 2], [1, 1]), {}, "same"),
        ((E1, torch.eye(4), [1, 1, 2], [1] * 4), {"exclude_self": False}, "dimensions"),
        ((E1 * torch.nan, None, [1, 1, 2]), {}, "query embedding 0 has values"),
        ((E1, None, [1, 1, 2]), {"distance": "manhattan"}, "manhattan"),
        ((E1, None, [1, 1, 2]), {"block": 0}, "block"),
        ((E1, None), {}, "labels or a ground-truth"),
        ((E1, None), {"relevant": E1}, "diagonal"),
        ((E1, None), {"relevant": 1 - torch.eye(4)}, "4 queries"),
        ((E1[0], None, [1]), {}, "table"),
        ((torch.zeros(0, 3), None, []), {}, "table"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments, options, words):
    with pytest.raises(UserError, match=words):
        rank_relevant(*arguments, **options)
