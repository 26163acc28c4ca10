"""Pictures of a ranking: where the first version stands, and precision against recall."""

import os

import numpy as np

from src.errors import UserError
from src.files import atomic_path
from src.retrieval.ranking import Ranking

_BLUE, _GREY = "#1f5fa8", "#b8b8b8"


def precision_recall(ranking: Ranking, points: int = 101) -> tuple[np.ndarray, np.ndarray]:
    """Mean interpolated precision at evenly spaced recalls.

    The interpolated precision at recall r is the best precision at any recall of at least r; the
    mean is taken over the queries that have another version.

    Returns:
        ``(points,)`` recalls from 0 to 1 and ``(points,)`` precisions.
    """
    recall = np.linspace(0, 1, points)
    counts = ranking.counts
    total = np.zeros(points)
    for n in np.unique(counts[counts > 0]):
        rows = np.flatnonzero(counts == n)
        ranks = ranking.ranks[ranking.offsets[rows][:, None] + np.arange(n)]  # (rows, n)
        precision = np.arange(1, n + 1) / ranks
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # Rounding must not push a recall of exactly i / n to the next version.
        needed = np.maximum(np.ceil(recall * n - 1e-9).astype(int), 1) - 1
        total += best.sum(axis=0)[needed]
    return recall, total / max(1, (counts > 0).sum())


def first_rank_shares(ranking: Ranking) -> tuple[np.ndarray, np.ndarray]:
    """Share of queries whose first version stands at or above each rank that occurs.

    Returns:
        ascending ranks, and for each the share of the queries that have another version.
    """
    first = ranking.first_ranks
    ranks, counts = np.unique(first[first > 0], return_counts=True)
    return ranks, np.cumsum(counts) / max(1, counts.sum())


def plot_ranks(ranking: Ranking, path: str | os.PathLike) -> None:
    """Write a PNG: share of queries whose first version is within the first n places."""
    ranks, shares = first_rank_shares(ranking)
    figure, axes = _axes()
    last = max(ranking.n_references, 2)
    axes.step(
        np.concatenate([[1], ranks, [last]]),
        np.concatenate([[shares[0] if ranks[0] == 1 else 0], shares, [1]]),
        where="post",
        color=_BLUE,
        linewidth=2,
    )
    axes.axvline(10, color=_GREY, linewidth=1, linestyle="--")
    axes.set(
        xscale="log",
        xlim=(1, last),
        xlabel="rank n",
        ylabel="queries with a version within n places",
        title=f"Rank of the first version, {len(ranking.first_ranks[ranking.counts > 0]):,} "
        f"queries among {ranking.n_references:,} references",
    )
    save_figure(figure, path)


def plot_precision_recall(ranking: Ranking, path: str | os.PathLike) -> None:
    """Write a PNG: mean interpolated precision against recall."""
    recall, precision = precision_recall(ranking)
    figure, axes = _axes()
    axes.plot(recall, precision, color=_BLUE, linewidth=2)
    axes.set(
        xlim=(0, 1),
        xlabel="recall",
        ylabel="precision (mean, interpolated)",
        title="Precision and recall",
    )
    save_figure(figure, path)


def new_axes(size: tuple[float, float] = (6.4, 4.4)):
    """A figure of so many inches, and its axes.

    Raises:
        UserError: matplotlib is not installed.
    """
    figure, (axes,) = new_panels(1, size=size)
    return figure, axes


def new_panels(count: int, *, size: tuple[float, float] = (6.4, 4.4), across: int = 3):
    """A figure of ``count`` panels of so many inches, ``across`` in a row, and their axes.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("plots need matplotlib: pip install matplotlib") from error
    across = min(across, count)
    down = -(-count // across)
    figure = Figure(figsize=(size[0] * across, size[1] * down), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)  # no pyplot: nothing global, and no display is needed
    panels = [figure.add_subplot(down, across, number + 1) for number in range(count)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _axes():
    figure, axes = new_axes()
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.3)
    return figure, axes


def save_figure(figure, path: str | os.PathLike) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_path(path) as temporary:
        # Without the version of matplotlib in it, the same ranking gives the same bytes.
        figure.savefig(temporary, format="png", metadata={"Software": None})
