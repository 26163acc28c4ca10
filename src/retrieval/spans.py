"""Where two recordings agree: runs of similar windows along a common course of time."""

from dataclasses import dataclass

import numpy as np

from src.retrieval.windows import Windows, comparable, pairwise

MOST_SPANS = 3
# Windows of one recording for one of the other: tempi from half to double.
STEPS = ((1, 1), (1, 2), (2, 1))
BACKGROUND = 80  # percentile of the similarities that a run must exceed to grow
WORTH = 0.34  # of the best run's score; weaker runs are chance


@dataclass(frozen=True)
class Span:
    """A stretch of the query that sounds like a stretch of the reference; all in seconds.

    Attributes:
        query_start: where it begins in the query.
        query_end: where it ends.
        reference_start: the same in the reference.
        reference_end: the same in the reference.
        distance: mean over the windows of the run.
    """

    query_start: float
    query_end: float
    reference_start: float
    reference_end: float
    distance: float


def matching_spans(
    query: Windows, reference: Windows, *, distance: str, most: int = MOST_SPANS
) -> list[Span]:
    """Stretches in which two recordings agree, the best first.

    Local alignment (Smith and Waterman; for versions: Serrà, Serra and Andrzejak, "Cross
    recurrence quantification for cover song identification", 2009) of the windows by their
    similarity above a background, the 80th percentile of the pair: the windows of the best run
    are merged into one span and taken out, then the next run is sought.

    Args:
        query: windows, ascending in time.
        reference: the same.
        distance: ``cosine``, ``euclidean`` or ``pearson``.
        most: spans at most.

    Returns:
        At least one span: where no run stands out, the pair of windows with the smallest distance.
    """
    distances = pairwise(
        comparable(query.embeddings, distance), comparable(reference.embeddings, distance), distance
    )
    gains = np.percentile(-distances, BACKGROUND) * -1 - distances  # (N, M), > 0: stands out
    spans: list[Span] = []
    first_score = 0.0
    while len(spans) < most:
        path, score = _best_run(gains)
        if not path or (spans and (score < WORTH * first_score or len(path) < 2)):
            break
        first_score = first_score or score
        rows, columns = np.array(path).T
        spans.append(_span(query, reference, rows, columns, distances))
        gains[rows.min() : rows.max() + 1] = -np.inf
        gains[:, columns.min() : columns.max() + 1] = -np.inf
    if not spans:
        row, column = np.unravel_index(int(distances.argmin()), distances.shape)
        spans = [_span(query, reference, np.array([row]), np.array([column]), distances)]
    return spans


def _best_run(gains: np.ndarray) -> tuple[list[tuple[int, int]], float]:
    """Cells of the run with the highest sum, and that sum; no cells where nothing is positive."""
    n, m = gains.shape
    pad = 2
    scores = np.zeros((n + pad, m + pad))
    for i in range(n):
        before = [
            scores[i + pad - di, pad - dj : m + pad - dj] for di, dj in STEPS
        ]  # each (M,): none looks at the row itself
        scores[i + pad, pad:] = np.maximum(gains[i] + np.maximum.reduce(before), 0)
    best = float(scores.max())
    if best <= 0:
        return [], 0.0
    i, j = (int(x) - pad for x in np.unravel_index(int(scores.argmax()), scores.shape))
    path = [(i, j)]
    while True:
        di, dj = max(STEPS, key=lambda step: scores[i + pad - step[0], j + pad - step[1]])
        if scores[i + pad - di, j + pad - dj] <= 0:
            return path[::-1], best
        i, j = i - di, j - dj
        path.append((i, j))


def _span(
    query: Windows,
    reference: Windows,
    rows: np.ndarray,
    columns: np.ndarray,
    distances: np.ndarray,
) -> Span:
    return Span(
        query_start=float(query.starts_s[rows[0]]),
        query_end=float(query.ends_s[rows[-1]]),
        reference_start=float(reference.starts_s[columns[0]]),
        reference_end=float(reference.ends_s[columns[-1]]),
        distance=float(distances[rows, columns].mean()),
    )
