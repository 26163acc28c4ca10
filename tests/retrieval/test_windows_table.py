"""Windows of many recordings side by side: distances, and the rules by which they are cut."""

import numpy as np
import pytest

from src.retrieval.recording_windows import sounding_windows, window_starts
from src.retrieval.windows import WindowTable, comparable, pairwise


def recordings(seed: int, counts: list[int], d: int = 6) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [generator.standard_normal((count, d)).astype(np.float32) for count in counts]


def plain(a: np.ndarray, b: np.ndarray, distance: str) -> float:
    """Smallest distance between rows, one pair at a time, in double precision."""
    best = np.inf
    for x in a.astype(float):
        for y in b.astype(float):
            if distance == "euclidean":
                value = ((x - y) ** 2).mean()
            elif distance == "pearson":
                value = 1 - np.corrcoef(x, y)[0, 1]
            else:
                value = 1 - x @ y / np.linalg.norm(x) / np.linalg.norm(y)
            best = min(best, value)
    return best


@pytest.mark.parametrize("distance", ["cosine", "euclidean", "pearson"])
@pytest.mark.parametrize("block", [1, 7, 1 << 24])
def test_nearest_of_all_pairs_of_windows(distance, block, monkeypatch):
    monkeypatch.setattr("src.retrieval.windows._BLOCK_ELEMENTS", block)
    queries, references = recordings(0, [1, 4, 2]), recordings(1, [3, 1, 1, 5])
    table = WindowTable.build(references, distance)
    found = table.nearest_to(WindowTable.build(queries, distance))
    expected = [[plain(a, b, distance) for b in references] for a in queries]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_selected_recordings_keep_their_windows():
    table = WindowTable.build(recordings(2, [2, 1, 3]), "cosine")
    chosen = table.select(np.array([2, 0]))
    np.testing.assert_array_equal(chosen.of(0), table.of(2))
    np.testing.assert_array_equal(chosen.of(1), table.of(0))
    assert table.recording_of(np.array([0, 1, 2, 3, 5])).tolist() == [0, 0, 1, 2, 2]
    assert len(table.select(np.zeros(0, np.int64))) == 0


def test_an_embedding_without_direction_is_far_from_everything():
    rows = comparable(np.array([[0.0, 0, 0], [1, 2, 3]]), "cosine")
    np.testing.assert_allclose(pairwise(rows, rows, "cosine"), [[1, 1], [1, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("total", "expected"),
    [(5, [0]), (10, [0]), (11, [0, 1]), (15, [0, 5]), (22, [0, 5, 10, 12])],
)
def test_windows_reach_the_end_and_are_full(total, expected):
    assert window_starts(total, 10, 5) == expected


def test_silent_windows_are_left_out():
    level = np.full(40, -20.0)
    level[20:] = -100
    assert sounding_windows(level, [0, 10, 20, 30], 10) == [0, 10]
    level[:] = -100
    level[35] = 0  # a single click: the window with it stays
    assert sounding_windows(level, [0, 10, 20, 30], 10) == [30]
