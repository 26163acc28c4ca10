"""A model fitted to a small collection in closed form: only its last layer changes.

A few dozen works are too few to train a network on, but enough to say where the middle of a
collection lies and in which directions versions of one work differ. The embedding is moved to that
middle and scaled down along those directions: within-class covariance normalisation,

    A. Hatch, S. Kajarekar and A. Stolcke. Within-class covariance normalization for SVM-based
    speaker recognition. Interspeech 2006

with a covariance that is mostly shrunk towards the same in all directions. Both steps are linear,
so they are written into the last layer; the file stays an ordinary model. CoverHunter's last layer
has no place for a middle, so there it stays where it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from src.errors import UserError
from src.models.coverhunter import CoverHunter
from src.models.move import MOVEModel
from src.retrieval.confidence import bootstrap_mean
from src.retrieval.metrics import average_precisions, rank_distances
from src.retrieval.windows import WindowTable

# Chosen on rendered works: of 0.2 to 0.97 the best with 16 works and with 37.
SHRINKAGE = 0.95
LARGEST = 4096  # numbers of an embedding; the work grows with their cube
FOLDS = 5


@dataclass(frozen=True)
class LinearMap:
    """``(x - mean) @ matrix``.

    Attributes:
        mean: ``(E,)`` float64.
        matrix: ``(E, E)`` float64, symmetric.
    """

    mean: np.ndarray
    matrix: np.ndarray

    def __call__(self, embeddings: np.ndarray) -> np.ndarray:
        return (embeddings - self.mean) @ self.matrix


@dataclass(frozen=True)
class Gain:
    """What a fit does for works it has not seen, by cross-validation.

    Attributes:
        before: mAP without it.
        after: mAP of works that were left out of the fit.
        interval: 95 % of the difference, bootstrap over works.
    """

    before: float
    after: float
    interval: tuple[float, float] | None


def fit_map(
    embeddings: np.ndarray,
    works: Sequence[str],
    *,
    shrinkage: float = SHRINKAGE,
    centre: bool = True,
) -> LinearMap:
    """The map that makes versions of one work alike.

    Args:
        embeddings: ``(N, E)``.
        works: ``(N,)`` the work of each.
        shrinkage: share of the covariance that is the same in all directions, 0 to 1.
        centre: move the middle to 0 as well.

    Raises:
        UserError: no work has two versions, a shrinkage out of range, or too large embeddings.
    """
    if not 0 < shrinkage <= 1:
        raise UserError(f"shrinkage lies above 0 and at most at 1, not at {shrinkage}")
    if embeddings.shape[1] > LARGEST:
        raise UserError(
            f"embeddings of {embeddings.shape[1]} numbers are too large to fit; take a model with "
            f"{LARGEST} or fewer"
        )
    x = np.asarray(embeddings, dtype=np.float64)
    labels = np.asarray(works)
    residuals = [x[labels == work] - x[labels == work].mean(axis=0) for work in np.unique(labels)]
    freedom = len(x) - len(residuals)
    if freedom < 1:
        raise UserError("no work has two versions, so nothing says how versions differ")
    stacked = np.concatenate(residuals)
    within = stacked.T @ stacked / freedom
    size = len(within)
    scale = np.trace(within) / size
    if scale <= 0:
        raise UserError(
            "all versions of each work have the same embedding; there is nothing to fit"
        )
    shrunk = (1 - shrinkage) * within / scale + shrinkage * np.eye(size)
    values, vectors = np.linalg.eigh(shrunk)
    mean = x.mean(axis=0) if centre else np.zeros(size)
    return LinearMap(mean, (vectors / np.sqrt(values)) @ vectors.T)


def fit_windows(
    windows: Sequence[np.ndarray], works: Sequence[str], *, shrinkage: float, centre: bool
) -> LinearMap:
    """:func:`fit_map` of recordings with several windows, each of which counts as a version."""
    repeated = np.repeat(np.asarray(works), [len(x) for x in windows])
    return fit_map(np.concatenate(windows), repeated, shrinkage=shrinkage, centre=centre)


@torch.no_grad()
def apply_map(model: MOVEModel | CoverHunter, fitted: LinearMap) -> None:
    """Write a map of the embeddings into the last layer of a model.

    Raises:
        UserError: the model has no batch norm after its last layer.
        ValueError: a CoverHunter, and a map that moves the middle.
    """
    if isinstance(model, CoverHunter):
        if fitted.mean.any():
            raise ValueError("the last layer of CoverHunter cannot move the middle")
        last = model._pool_layer._final_layer.weight
        last.copy_(torch.from_numpy(fitted.matrix @ last.double().cpu().numpy()))
        return
    norm = getattr(model, "lin_bn", None)
    if not isinstance(norm, nn.BatchNorm1d) or norm.affine:
        raise UserError("the model has no plain batch norm after its last layer, so it stays as is")
    spread = (norm.running_var.double().cpu() + norm.eps).sqrt().numpy()
    weight = model.lin1.weight.double().cpu().numpy()  # (E, 256)
    middle = norm.running_mean.double().cpu().numpy() / spread + fitted.mean
    model.lin1.weight.copy_(torch.from_numpy(fitted.matrix @ (weight / spread[:, None])))
    norm.running_mean.copy_(torch.from_numpy(middle @ fitted.matrix))
    norm.running_var.fill_(1 - norm.eps)


def measure_gain(
    windows: Sequence[np.ndarray],
    works: Sequence[str],
    *,
    distance: str,
    shrinkage: float = SHRINKAGE,
    centre: bool = True,
    folds: int = FOLDS,
    seed: int = 0,
) -> Gain:
    """mAP of works that a fit has not seen, all other recordings their references.

    Args:
        windows: ``(W, E)`` embeddings of each recording.
        works: the work of each.
        shrinkage, centre: see :func:`fit_map`.
        distance: by which the model's embeddings are compared.
        folds: groups of works, each left out in turn.
        seed: of the groups and of the interval.

    Raises:
        UserError: fewer than 4 works have several versions; see also :func:`fit_map`.
    """
    labels = np.asarray(works)
    names, counts = np.unique(labels, return_counts=True)
    several = names[counts > 1]
    if len(several) < 4:
        raise UserError(
            f"{len(several)} works have several versions; fitting needs at least 4, and is worth "
            "it from about 15"
        )
    generator = np.random.default_rng(seed)
    folds = min(folds, len(several))
    parts = np.array_split(generator.permutation(several), folds)

    itself = np.eye(len(labels), dtype=bool)

    def precisions(x: Sequence[np.ndarray]) -> np.ndarray:
        table = WindowTable.build(x, distance)
        return average_precisions(
            rank_distances(table.nearest_to(table), list(labels), list(labels), excluded=itself)
        )

    before = precisions(windows)
    after = np.full(len(labels), np.nan)
    for part in parts:
        out = np.isin(labels, part)
        rest = [windows[position] for position in np.flatnonzero(~out)]
        fitted = fit_windows(rest, labels[~out], shrinkage=shrinkage, centre=centre)
        after[out] = precisions([fitted(x) for x in windows])[out]
    return Gain(
        float(np.nanmean(before)),
        float(np.nanmean(after)),
        bootstrap_mean(after - before, labels, generator=generator),
    )
