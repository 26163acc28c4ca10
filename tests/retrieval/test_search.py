"""Nearest windows: exact and approximate indexes, on disk, and files that are not ours."""

import numpy as np
import pytest

from src.errors import UserError
from src.retrieval import search
from src.retrieval.search import WindowIndex, kind_for, recall_of
from src.retrieval.windows import comparable, pairwise


def rows(count: int, distance: str = "cosine", seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.standard_normal((40, 16))
    noise = 0.7 * generator.standard_normal((count, 16))
    return comparable(centres[generator.integers(0, 40, count)] + noise, distance)


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "pearson"])
def test_exact_search_is_exact(distance):
    references, queries = rows(300, distance), rows(20, distance, seed=1)
    index = WindowIndex.build(references, distance, kind="exact")
    found, numbers = index.search(queries, 7)
    distances = pairwise(queries, references, distance)
    np.testing.assert_array_equal(numbers, np.argsort(distances, axis=1, kind="stable")[:, :7])
    np.testing.assert_allclose(found, np.sort(distances, axis=1)[:, :7], atol=1e-5)


@pytest.mark.parametrize("kind", ["graph", "lists"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_measured_recall_holds_for_other_queries(kind, distance):
    references, queries = np.split(rows(2100, distance), [2000])
    index = WindowIndex.build(references, distance, kind=kind)
    exact = WindowIndex.build(references, distance, kind="exact")
    recall = recall_of(index.search(queries, 10)[1], exact.search(queries, 10)[1])
    assert index.recall >= search.WANTED_RECALL
    assert recall > 0.9


def test_the_kind_is_chosen_by_size(monkeypatch):
    assert [kind_for(n) for n in (10, 199_999, 200_000, 3_000_000)] == [
        "exact", "exact", "graph", "lists",
    ]  # fmt: skip
    monkeypatch.setattr(search, "EXACT_UP_TO", 100)
    assert WindowIndex.build(rows(150), "cosine").kind == "graph"


@pytest.mark.parametrize("kind", ["graph", "lists"])
def test_an_index_survives_the_disk(kind, tmp_path):
    """With the breadth of search that reached the recall."""
    references, queries = rows(500), rows(10, seed=3)
    index = WindowIndex.build(references, "cosine", kind=kind)
    description = index.save(tmp_path / "index.faiss")
    again = WindowIndex.load(tmp_path, description, "cosine")
    np.testing.assert_array_equal(index.search(queries, 5)[1], again.search(queries, 5)[1])
    assert (again.kind, again.recall, len(again)) == (kind, index.recall, 500)


def test_a_file_that_is_not_ours_is_never_given_to_faiss(tmp_path, monkeypatch):
    description = WindowIndex.build(rows(50), "cosine", kind="exact").save(tmp_path / "i.faiss")
    content = (tmp_path / "i.faiss").read_bytes()
    (tmp_path / "i.faiss").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    monkeypatch.setattr(search, "faiss_library", lambda: pytest.fail("read an unknown file"))
    with pytest.raises(UserError, match="not the index that belongs"):
        WindowIndex.load(tmp_path, description, "cosine")
