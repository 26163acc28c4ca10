"""A test set as a picture: recordings laid out by t-SNE, versions of a work in one colour."""

import os
from typing import Any

import numpy as np

from src.errors import UserError
from src.retrieval.plots import new_axes, save_figure
from src.retrieval.testset_result import Evaluated

FEWEST = 4  # points that t-SNE can lay out
NAMED_WORKS = 20  # as many colours can be told apart, and named in a legend
SYMBOLS = "os^vDP*Xd<>p"
LONGEST_NAME = 40
GREY = "#c8c8c8"


def plot_testset(
    result: Evaluated, path: str | os.PathLike, *, marks: str | None = None, seed: int = 0
) -> None:
    """Write a PNG with one point for every recording.

    A recording is the mean of its windows, each of length 1; t-SNE (van der Maaten and Hinton,
    2008) places it by cosine distance. Works have colours; up to 20 of them are named. References
    of works without a query are grey. The same input and seed give the same picture on the same
    machine.

    Args:
        result: from :func:`~src.retrieval.testset.compare_testset`.
        path: file to write.
        marks: key of the manifest whose values get symbols, the most frequent ones first; beyond
            the number of symbols the rest shares the last.
        seed: of the layout.

    Raises:
        UserError: fewer than four recordings, or no line has the key ``marks``.
    """
    vectors, labels, rows = _recordings(result)
    if len(rows) < FEWEST:
        raise UserError(f"{len(rows)} recordings cannot be laid out; {path} needs {FEWEST} or more")
    kinds = ["" if marks is None else str(row.get(marks, "")) for row in rows]
    if marks is not None and not any(kinds):
        raise UserError(f"no recording has the key {marks!r}; -marks takes a key of the manifest")
    places = layout(vectors, seed)
    figure, axes = new_axes((8.0, 6.4))
    colours = _colours(labels, set(result.query_labels))
    shown = sorted(set(kinds), key=lambda kind: (-kinds.count(kind), kind))
    symbol = {kind: SYMBOLS[min(i, len(SYMBOLS) - 1)] for i, kind in enumerate(shown)}
    for kind in shown:
        chosen = [i for i, other in enumerate(kinds) if other == kind]
        axes.scatter(
            places[chosen, 0], places[chosen, 1], s=26, marker=symbol[kind], linewidths=0,
            c=[colours[labels[i]] for i in chosen],
        )  # fmt: skip
    _legend(axes, labels, rows, colours, symbol if marks else {}, marks)
    axes.set(xticks=[], yticks=[], title=_title(result, len(rows)))
    save_figure(figure, path)


def layout(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Places ``(N, 2)`` of vectors ``(N, d)``, neighbours by cosine staying neighbours."""
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise UserError("the picture needs scikit-learn: pip install scikit-learn") from error
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, metric="cosine", init="random", random_state=seed)
    return tsne.fit_transform(np.asarray(vectors, dtype=np.float32))


def _recordings(result: Evaluated) -> tuple[np.ndarray, list[str], list[dict[str, Any]]]:
    """Every recording once: mean unit vectors, works, lines."""
    vectors: dict[str, np.ndarray] = {}
    labels: dict[str, str] = {}
    rows: dict[str, dict[str, Any]] = {}
    for some_rows, embeddings, some_labels in (
        (result.queries, result.query_embeddings, result.query_labels),
        (result.references, result.reference_embeddings, result.reference_labels),
    ):
        for row, windows, label in zip(some_rows, embeddings, some_labels, strict=True):
            if row["utt"] not in rows:
                lengths = np.linalg.norm(windows, axis=1, keepdims=True)
                vectors[row["utt"]] = (windows / np.maximum(lengths, 1e-12)).mean(axis=0)
                labels[row["utt"]], rows[row["utt"]] = label, row
    return np.stack(list(vectors.values())), list(labels.values()), list(rows.values())


def _colours(labels: list[str], coloured: set[str]) -> dict[str, Any]:
    from matplotlib import colormaps

    works = sorted(set(labels) & coloured)
    few = len(works) <= NAMED_WORKS
    scale = colormaps["tab20" if few else "hsv"]
    found = {w: scale(i if few else i / len(works)) for i, w in enumerate(works)}
    return {label: found.get(label, GREY) for label in labels}


def _legend(axes, labels, rows, colours, symbols, marks) -> None:
    from matplotlib.lines import Line2D

    entries = []
    named = [work for work in dict.fromkeys(labels) if colours[work] != GREY]
    if len(named) <= NAMED_WORKS:
        titles = {
            label: str(row.get("song", label)) for label, row in zip(labels, rows, strict=True)
        }
        entries += [(titles[work], "o", colours[work]) for work in named]
    entries += [(f"{marks}: {kind or 'none'}", symbol, "black") for kind, symbol in symbols.items()]
    handles = [
        # An unescaped dollar sign in a title would begin a formula.
        Line2D([], [], linestyle="", marker=symbol, color=colour,
               label=text[:LONGEST_NAME].replace("$", r"\$"))
        for text, symbol, colour in entries
    ]  # fmt: skip
    if handles:
        axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)


def _title(result: Evaluated, recordings: int) -> str:
    works = len(set(result.query_labels))
    return (
        f"{recordings:,} recordings, queries of {works:,} works, "
        f"mean AP {result.figures['mean_ap']:.3f}"
    )
