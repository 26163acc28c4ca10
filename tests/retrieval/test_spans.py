"""Where recordings agree: shifted, faster, in several places, or nowhere."""

import numpy as np

from src.retrieval.spans import matching_spans
from src.retrieval.windows import Windows

WINDOW, HOP = 15.0, 5.0


def windows(path: np.ndarray) -> Windows:
    """Embeddings along a course of embeddings with one row per 5 s."""
    starts = HOP * np.arange(len(path))
    return Windows(path.astype(np.float32), starts, starts + WINDOW)


def course(seed: int, n: int) -> np.ndarray:
    """A piece of music: neighbours are alike, the rest is unrelated."""
    steps = np.random.default_rng(seed).standard_normal((n + 2, 24))
    return steps[:-2] + steps[1:-1] + steps[2:]


def test_a_passage_is_found_at_its_place():
    piece = course(0, 60)
    query = windows(piece[20:40])
    reference = windows(np.concatenate([course(1, 10), piece]))
    (span, *_) = matching_spans(query, reference, distance="cosine")
    assert abs((span.reference_start - span.query_start) - 30 * HOP) <= HOP
    assert span.query_start <= HOP
    assert span.query_end >= 20 * HOP
    assert span.distance < 0.1


def test_another_tempo_is_followed():
    piece = course(2, 80)
    slow = windows(piece[:40])
    stretched = windows(piece[np.minimum((np.arange(28) * 1.4).astype(int), 79)])
    (span, *_) = matching_spans(stretched, slow, distance="cosine")
    ratio = (span.reference_end - span.reference_start) / (span.query_end - span.query_start)
    assert 1.2 < ratio < 1.6
    assert span.query_end - span.query_start > 100


def test_two_passages_are_two_spans():
    piece = course(3, 60)
    query = windows(np.concatenate([piece[40:55], course(4, 15), piece[5:20]]))
    spans = matching_spans(query, windows(piece), distance="cosine")
    found = sorted((s.query_start, s.reference_start) for s in spans[:2])
    np.testing.assert_allclose(found, [(0, 200), (150, 25)], atol=2 * HOP)


def test_single_windows_give_the_nearest_pair():
    piece = course(5, 6)
    (span,) = matching_spans(windows(piece[3:4]), windows(piece[3:4]), distance="euclidean")
    assert (span.query_start, span.query_end, span.reference_end) == (0, WINDOW, WINDOW)
    assert span.distance < 1e-6
