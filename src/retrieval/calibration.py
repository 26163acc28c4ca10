"""How surprising a distance is: p-values from what is known not to match.

A distance of 0.3 means little by itself: some models crowd all recordings together, long
recordings come closer to everything, and among a million references something is always near. A
p-value says how often a recording that is *not* among the references would come as near to its
best reference.

**Leave one work out.** Each reference is taken as a query, and its own work is hidden. Its best
distance to what is left is one draw of "best distance of a query that is not in the references",
at (almost) the right number of references. So that short, long or odd recordings are measured by
their own standard, the distance is expressed in a query's own terms: with m the median and s half
the difference between the 84th and the 16th percentile of the logarithms of its distances to a
cohort (one recording of every work, at most 1000), the score is ``(m - log best) / s``. The
p-value of a query is the share of draws with as high a score, counted as ``(1 + k) / (1 + n)`` (a
conformal p-value, uniform where queries and references are alike). Beyond the highest tenth of
the draws the tail is taken as exponential: near 0 the probability of a smaller distance than d
falls like a power of d (extreme-value theory, Weibull's case), hence exponentially in its
logarithm. The uncertainty of the slope is integrated out, which makes p larger, never smaller.

**Pairs.** Where there are fewer than 10 works or 20 recordings, the logarithms of the distances of
non-matching pairs are taken as normal with unknown mean and variance (Student's t, with as many
degrees of freedom as there are independent works), or the pairs are those that came with the
model, and the best of R references is the smallest of R independent draws: ``1 - (1 - p)^R``.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from src.errors import UserError
from src.files import atomic_path, read_json
from src.retrieval.joint import SMALLEST_SPREAD, JointTable, logarithm
from src.retrieval.references import References
from src.retrieval.windows import WindowTable

CALIBRATION = "calibration.json"
LEAVE_ONE_OUT, PAIRS, SHIPPED, NONE = "leave-one-work-out", "pairs", "shipped pairs", "none"
FEWEST_WORKS = 10
FEWEST_RECORDINGS = 20
FEWEST_PAIR_WORKS = 3
MOST_QUERIES = 2000
MOST_COHORT = 1000
BLOCK_QUERIES = 256
MOST_PAIRS = 20_000
KEPT_PAIRS = 2000
TAIL_SHARE = 0.1


@dataclass(frozen=True)
class NullSample:
    """Scores that occur without a match; high is surprising.

    Attributes:
        scores: ``(n,)``, ascending.
    """

    scores: np.ndarray

    def p_value(self, score: float) -> float:
        """Probability of a score at least this high without a match.

        Counted among the sample, and beyond its highest tenth by an exponential tail, whose
        slope's uncertainty is integrated out (a Pareto of the second kind).
        """
        n = len(self.scores)
        above = n - int(np.searchsorted(self.scores, score, side="left"))
        counted = (1 + above) / (1 + n)
        tail = max(1, round(TAIL_SHARE * n))
        if above >= tail or n <= tail:
            return counted
        threshold = self.scores[n - tail]
        mean_excess = float((self.scores[n - tail :] - threshold).sum()) / tail
        if mean_excess <= 0:
            return counted
        share = (1 + tail) / (1 + n)
        return float(share * (1 + (score - threshold) / (tail * mean_excess)) ** -tail)


@dataclass(frozen=True)
class PairDistribution:
    """Distances between recordings of different works.

    Attributes:
        distances: ``(n,)``, ascending; all of them or evenly spaced quantiles.
        works: how many works they come from.
    """

    distances: np.ndarray
    works: int

    def p_value(self, distance: float) -> float:
        """Probability that two recordings of different works are at most this far apart.

        Student's t in the logarithm, with ``works - 1`` degrees of freedom, for a new draw.
        """
        logs = logarithm(self.distances)
        spread = max(float(logs.std(ddof=1)), SMALLEST_SPREAD)
        widened = spread * np.sqrt(1 + 1 / self.works)
        score = float(logarithm(distance) - logs.mean()) / widened
        return float(stats.t.cdf(score, max(1, self.works - 1)))


@dataclass(frozen=True)
class Calibration:
    """What p-values are computed from.

    Attributes:
        method: ``leave-one-work-out``, ``pairs``, ``shipped pairs`` or ``none``.
        references: number of reference recordings.
        cohort: positions of the reference recordings that a query's own terms come from.
        best: scores of the best reference of queries that are not among the references.
        pair_scores: scores of single pairs that do not match, for comparing two recordings.
        pairs: distances of pairs that do not match.
    """

    method: str
    references: int
    cohort: np.ndarray
    best: NullSample | None = None
    pair_scores: NullSample | None = None
    pairs: PairDistribution | None = None

    @staticmethod
    def score(distance: float, to_cohort: np.ndarray) -> float:
        """A query's distance in its own terms; high is near."""
        median, spread = own_terms(logarithm(to_cohort)[None])
        return float((median[0] - logarithm(distance)) / spread[0])

    def p_of_best(self, distance: float, to_cohort: np.ndarray) -> float | None:
        """p-value of a query's distance to a reference; None where it cannot be known.

        Args:
            distance: to the reference.
            to_cohort: ``(C,)`` its distances to :attr:`cohort`.
        """
        if self.best is not None:
            return self.best.p_value(self.score(distance, to_cohort))
        if self.pairs is not None:
            single = self.pairs.p_value(distance)
            return float(-np.expm1(self.references * np.log1p(-min(single, 1 - 1e-15))))
        return None

    def p_of_pair(
        self, distance: float, a_to_cohort: np.ndarray, b_to_cohort: np.ndarray
    ) -> float | None:
        """p-value of the distance of two recordings, neither of which need be a reference."""
        if self.pair_scores is not None:
            scores = [self.score(distance, own) for own in (a_to_cohort, b_to_cohort)]
            return self.pair_scores.p_value(float(np.mean(scores)))
        return None if self.pairs is None else self.pairs.p_value(distance)


def own_terms(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and half the width of the middle 68 % of each row ``(Q, C)``; NaN is left out."""
    low, median, high = np.nanpercentile(logs, (16, 50, 84), axis=1)
    return median, np.maximum((high - low) / 2, SMALLEST_SPREAD)


def calibrate(
    references: References, *, shipped: PairDistribution | None = None, seed: int = 0
) -> Calibration:
    """Calibration of a set of references by itself.

    Args:
        references: the set.
        shipped: distances that came with the model, for sets too small to speak for themselves.
        seed: of the samples, where the set is large.
    """
    return calibrate_table(references.table, references.codes, shipped=shipped, seed=seed)


def calibrate_table(
    table: WindowTable | JointTable,
    codes: np.ndarray,
    *,
    shipped: PairDistribution | None = None,
    seed: int = 0,
) -> Calibration:
    """Calibration from the windows of all references and the number of the work of each."""
    generator = np.random.default_rng(seed)
    n, works = len(codes), len(np.unique(codes))
    order = generator.permutation(n)
    cohort = np.sort(order[np.unique(codes[order], return_index=True)[1]])
    cohort = np.sort(generator.permutation(cohort)[:MOST_COHORT])
    empty = np.zeros(0, np.int64)
    if works < FEWEST_WORKS or n < FEWEST_RECORDINGS:
        if shipped is not None:
            return Calibration(SHIPPED, n, empty, pairs=shipped)
        if works < FEWEST_PAIR_WORKS:
            return Calibration(NONE, n, empty)
        distances = table.nearest_to(table)
        pairs = distances[codes[:, None] != codes[None, :]]
        return Calibration(PAIRS, n, empty, pairs=PairDistribution(np.sort(pairs), works))
    queries = np.sort(generator.permutation(n)[:MOST_QUERIES])
    medians, spreads, nearest, among = [], [], [], []
    for start in range(0, len(queries), BLOCK_QUERIES):
        block = queries[start : start + BLOCK_QUERIES]
        logs = logarithm(table.nearest_to(table.select(block)))  # (B, R)
        logs[codes[block][:, None] == codes[None, :]] = np.nan
        for values, of_block in zip((medians, spreads), own_terms(logs[:, cohort]), strict=True):
            values.append(of_block)
        nearest.append(np.nanmin(logs, axis=1))
        # Pairs are scored in the terms of both, so both have to be among the queries.
        among.append(logs[:, queries])
    median, spread = np.concatenate(medians), np.concatenate(spreads)
    best = (median - np.concatenate(nearest)) / spread
    between = np.concatenate(among)  # (Q, Q)
    scores = ((median[:, None] - between) / spread[:, None]
              + (median[None, :] - between) / spread[None, :]) / 2  # fmt: skip
    upper = np.triu_indices(len(queries), 1)
    scores = scores[upper]
    scores = scores[~np.isnan(scores)]
    if len(scores) > MOST_PAIRS:
        scores = generator.choice(scores, MOST_PAIRS, replace=False)
    return Calibration(
        LEAVE_ONE_OUT,
        n,
        cohort,
        best=NullSample(np.sort(best)),
        pair_scores=NullSample(np.sort(scores)),
    )


def write_calibration(calibration: Calibration, references: References) -> None:
    """Keep a calibration beside the references it belongs to."""
    save_calibration(calibration, references.folder / CALIBRATION, references.digest)


def read_calibration(references: References) -> Calibration | None:
    """The calibration beside the references; None if there is none that belongs to them."""
    found = load_calibration(references.folder / CALIBRATION, references.digest)
    return None if found is None else found[0]


def save_calibration(
    calibration: Calibration, path: Path, digest: str, *, more: Mapping[str, Any] | None = None
) -> None:
    """Write a calibration.

    Args:
        calibration: what to write.
        path: file to write.
        digest: of what it belongs to.
        more: to be kept with it, for JSON.

    Raises:
        UserError: the file cannot be written.
    """
    content: dict[str, Any] = {
        "references": digest,
        "method": calibration.method,
        "number": calibration.references,
        "cohort": calibration.cohort.tolist(),
    }
    for name in ("best", "pair_scores"):
        sample = getattr(calibration, name)
        content[name] = None if sample is None else _numbers(sample.scores)
    pairs = calibration.pairs
    content["pairs"] = None if pairs is None else _pairs_to_dict(pairs)
    _write_compact({**content, **(more or {})}, path)


def load_calibration(path: Path, digest: str) -> tuple[Calibration, dict[str, Any]] | None:
    """What :func:`save_calibration` wrote, with the whole content of the file.

    None if there is no such file, it belongs to something else, or it is damaged.
    """
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        if content["references"] != digest:
            return None
        samples = {
            name: None if content[name] is None else NullSample(np.asarray(content[name], float))
            for name in ("best", "pair_scores")
        }
        pairs = content["pairs"]
        calibration = Calibration(
            content["method"],
            content["number"],
            np.asarray(content["cohort"], np.int64),
            pairs=None if pairs is None else _pairs_from_dict(pairs),
            **samples,
        )
    except (UserError, KeyError, TypeError, ValueError):
        return None
    return calibration, content


def calibration_of(
    references: References, *, shipped: PairDistribution | None = None
) -> Calibration:
    """The calibration of references: the one beside them, or a new one."""
    kept = read_calibration(references)
    if kept is None or (shipped is not None and kept.method in (PAIRS, NONE)):
        kept = calibrate(references, shipped=shipped)
    return kept


def model_calibration_path(model_path: str | os.PathLike) -> Path:
    """Where the distribution that comes with a model stands."""
    path = Path(model_path)
    if path.is_dir():
        return path / CALIBRATION
    if path.parent.name in ("pt_model", "checkpoints"):
        return path.parent.parent / CALIBRATION
    return path.with_suffix(".calibration.json")


def write_model_calibration(references: References, path: str | os.PathLike) -> PairDistribution:
    """Write the distances of non-matching pairs among references beside a model.

    Args:
        references: of a collection with many works, for example the bundled demo.
        path: see :func:`model_calibration_path`.

    Raises:
        UserError: there are too few works.
    """
    if len(set(references.works)) < FEWEST_WORKS:
        raise UserError(
            f"{references.folder} has fewer than {FEWEST_WORKS} works, too few to calibrate a "
            "model by; use a larger collection"
        )
    distances = references.table.nearest_to(references.table)
    codes = references.codes
    pairs = np.sort(distances[codes[:, None] != codes[None, :]])
    quantiles = np.quantile(pairs, (np.arange(KEPT_PAIRS) + 0.5) / KEPT_PAIRS)
    distribution = PairDistribution(quantiles, len(set(references.works)))
    content = {
        "identity": references.identity,
        "recordings": len(references),
        "pairs": _pairs_to_dict(distribution),
    }
    _write_compact(content, Path(path))
    return distribution


def read_model_calibration(
    model_path: str | os.PathLike, identity: Mapping[str, Any]
) -> PairDistribution | None:
    """The distribution beside a model; None if there is none, or it is of other weights."""
    path = model_calibration_path(model_path)
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        if content["identity"] != identity:
            return None
        return _pairs_from_dict(content["pairs"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a calibration ({error}); remove it") from error


def _write_compact(content: Any, path: Path) -> None:
    """JSON on one line: an indented list of thousands of numbers helps nobody."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content) + "\n", "utf-8")


def _pairs_to_dict(pairs: PairDistribution) -> dict[str, Any]:
    return {"works": pairs.works, "distances": _numbers(pairs.distances)}


def _pairs_from_dict(content: Mapping[str, Any]) -> PairDistribution:
    return PairDistribution(np.asarray(content["distances"], float), int(content["works"]))


def _numbers(values: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
