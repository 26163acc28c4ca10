"""How well distances separate versions of one work from the rest."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.data.manifest import read_manifest
from src.errors import UserError
from src.retrieval.plots import new_axes, save_figure
from src.retrieval.references import HEADER, References

MOST_ROWS = 4000  # references drawn for a histogram, where there are more
BINS = 80
_BLUE, _GREY = "#1f5fa8", "#b8b8b8"


@dataclass(frozen=True)
class Separation:
    """Distances of pairs of recordings.

    Attributes:
        same: of pairs of one work.
        different: of pairs of different works.
        equal_error_rate: share of both kinds on the wrong side of ``threshold``.
        threshold: distance at which both shares are equal.
        d_prime: difference of the means over the root mean square of the standard deviations.
    """

    same: np.ndarray
    different: np.ndarray
    equal_error_rate: float
    threshold: float
    d_prime: float


def separation(
    distances: np.ndarray, query_labels: np.ndarray, ref_labels: np.ndarray | None = None
) -> Separation:
    """Separate the pairs of a distance matrix by their labels.

    Args:
        distances: ``(Q, R)``; negative entries are left out.
        query_labels: ``(Q,)``.
        ref_labels: ``(R,)``; None for a matrix of recordings by themselves, of which each pair is
            counted once and the diagonal left out.

    Raises:
        UserError: shapes that do not fit, or a kind of pair that does not occur.
    """
    query_labels = np.asarray(query_labels)
    use = distances >= 0
    if ref_labels is None:
        ref_labels = query_labels
        use &= np.triu(np.ones(distances.shape, bool), 1)
    ref_labels = np.asarray(ref_labels)
    if distances.shape != (len(query_labels), len(ref_labels)):
        raise UserError(
            f"a distance matrix of the shape {distances.shape} does not fit "
            f"{len(query_labels)} queries and {len(ref_labels)} references"
        )
    equal = query_labels[:, None] == ref_labels[None, :]
    same, different = np.sort(distances[use & equal]), np.sort(distances[use & ~equal])
    for pairs, what in ((same, "of one work"), (different, "of different works")):
        if not len(pairs):
            raise UserError(f"there is no pair of recordings {what}, so nothing can be compared")
    rate, threshold = equal_error(same, different)
    spread = np.sqrt((same.var() + different.var()) / 2)
    d_prime = (different.mean() - same.mean()) / spread if spread > 0 else np.inf
    return Separation(same, different, rate, threshold, float(d_prime))


def equal_error(same: np.ndarray, different: np.ndarray) -> tuple[float, float]:
    """Equal error rate and its threshold, from distances sorted ascending."""
    thresholds = np.concatenate([same, different])
    missed = 1 - np.searchsorted(same, thresholds, side="right") / len(same)
    false = np.searchsorted(different, thresholds, side="right") / len(different)
    best = int(np.argmin(np.maximum(missed, false)))
    return float((missed[best] + false[best]) / 2), float(thresholds[best])


def separation_of(
    source: str | os.PathLike,
    *,
    query_path: str | os.PathLike | None = None,
    ref_path: str | os.PathLike | None = None,
    seed: int = 0,
) -> Separation:
    """Separation in a folder of references or in a distance matrix.

    Args:
        source: folder written by tools.make_embeds; ``.npz`` of tools.eval_testset; or a bare
            ``.npy`` matrix, for which the works are read from manifests.
        query_path: manifest of the rows of a bare matrix.
        ref_path: manifest of its columns; None if they are the rows.
        seed: of the sample, where there are very many references.

    Raises:
        UserError: the file is no distance matrix, or its works are not known.
    """
    source = Path(source)
    if source.is_dir() or source.name == HEADER:
        references = References.load(source)
        table, codes = references.table, references.codes
        if len(codes) > MOST_ROWS:  # whole works, so that pairs of one work remain
            order = np.random.default_rng(seed).permutation(codes.max() + 1)[codes]
            chosen = np.argsort(order, kind="stable")[:MOST_ROWS]
            table, codes = table.select(chosen), codes[chosen]
        return separation(table.nearest_to(table), codes)
    try:
        content = np.load(source, allow_pickle=False)
        if isinstance(content, np.ndarray):
            distances, queries, refs = content, None, None
        else:
            with content:
                distances = content["distances"]
                queries, refs = content["query_label"], content["ref_label"]
                same = queries.shape == refs.shape and (
                    content["query_utt"].tolist() == content["ref_utt"].tolist()
                )
                refs = None if same else refs
    except FileNotFoundError as error:
        raise UserError(f"{source} does not exist") from error
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise UserError(
            f"{source} is no distance matrix; tools.eval_testset -dist_name FILE.npz writes one"
        ) from error
    if queries is None:
        if query_path is None:
            raise UserError(f"{source} does not name the works; give --query (and --ref)")
        queries = _songs(query_path)
        refs = None if ref_path is None else _songs(ref_path)
    if distances.ndim != 2:
        raise UserError(f"{source} holds no matrix, but the shape {distances.shape}")
    return separation(distances, queries, refs)


def plot_histogram(result: Separation, path: str | os.PathLike, *, title: str = "") -> None:
    """Write a PNG: distances of pairs of one work and of different works."""
    figure, axes = new_axes()
    low = min(result.same[0], result.different[0])
    high = max(result.same[-1], result.different[-1])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    tallest = 0.0
    for pairs, color, name in (
        (result.different, _GREY, "different works"),
        (result.same, _BLUE, "one work"),
    ):
        share, _ = np.histogram(pairs, edges)
        share = share / len(pairs)
        tallest = max(tallest, share.max())
        axes.stairs(share, edges, fill=True, color=color, alpha=0.65,
                    label=f"{name} ({len(pairs):,} pairs)")  # fmt: skip
    axes.axvline(result.threshold, color="black", linewidth=1, linestyle="--")
    axes.set(
        ylim=(0, 1.1 * tallest),
        xlabel="distance",
        ylabel="share of the pairs",
        title=f"{title}equal error rate {100 * result.equal_error_rate:.1f} % "
        f"at {result.threshold:.3f}",
    )
    axes.legend(frameon=False)
    save_figure(figure, path)


def _songs(path: str | os.PathLike) -> np.ndarray:
    return np.array([row["song"] for row in read_manifest(path, required=("song",))])
