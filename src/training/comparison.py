"""Several ways to compare recordings, evaluated on sets of recordings, in one table."""

import csv
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from tqdm import tqdm

from src.data.crema_features import DEFAULT_CREMA
from src.errors import UserError
from src.files import atomic_path
from src.retrieval.blend import BLEND
from src.retrieval.collection import Collection
from src.retrieval.confidence import bootstrap_intervals, bootstrap_mean
from src.retrieval.metrics import average_precisions, summarise
from src.retrieval.qmax import QmaxPairs
from src.retrieval.ranking import Ranking
from src.retrieval.rerank import PairDistance
from src.training.evaluation import Evaluation, versions_to_find
from src.training.kept import Kept
from src.training.method_list import UNTRAINED_COVERHUNTER, UNTRAINED_MOVE, distinct
from src.training.methods import TOGETHER, Method, Qmax, Together

logger = logging.getLogger(__name__)

FIGURES = ("mAP", "MRR", "MR", "Top1", "Top10")
RESAMPLES = 2000
RERANKED = "+qmax"  # ends the key of a re-ranked row
CSV_COLUMNS = (
    "set", "method", "model", "mAP", "mAP_low", "mAP_high", "MR", "MRR", "Top1", "Top10",
    "numbers", "queries", "works",
)  # fmt: skip
Interval = tuple[float, float] | None


@dataclass(frozen=True)
class Row:
    """One method on one set.

    Attributes:
        name: of the method.
        key: what a person calls it by.
        evaluation: its figures and ranks.
        interval: 95 % of mAP, bootstrap over works; None where there is one work, or none was
            asked for.
        numbers: that describe a recording, on average.
    """

    name: str
    key: str
    evaluation: Evaluation
    interval: Interval
    numbers: float


@dataclass(frozen=True)
class Difference:
    """mAP of one method minus that of another on the same queries, with its 95 % interval."""

    first: str
    second: str
    value: float
    interval: Interval

    def __str__(self) -> str:
        return f"mAP of {self.first} minus {self.second}: {_signed(self.value, self.interval)}"


@dataclass(frozen=True)
class Result:
    """All methods on one set."""

    collection: Collection
    rows: list[Row]
    differences: list[Difference]


def compare_set(
    collection: Collection,
    methods: Sequence[Method],
    *,
    pairs: Iterable[tuple[str, str]] = (),
    resamples: int = RESAMPLES,
    seed: int = 0,
    **options: Any,
) -> Result:
    """Evaluate methods on a set, and the difference of some pairs of rows, named by their keys.

    See :func:`compare` for the rest.
    """
    rows = compare(collection, methods, resamples=resamples, seed=seed, **options)
    by_key = {row.key: row for row in rows}
    differences = [
        difference(by_key[first], by_key[second], collection.labels, resamples=resamples, seed=seed)
        for first, second in pairs
        if first in by_key and second in by_key
    ]
    return Result(collection, rows, differences)


def compare(
    collection: Collection,
    methods: Sequence[Method],
    *,
    rerank: int | None = None,
    blend: float = BLEND,
    crema_version: str = DEFAULT_CREMA,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: bool = True,
) -> list[Row]:
    """Evaluate methods on a set, every recording a query and all others its references.

    A method that cannot be evaluated (no features for it, a recording too short) is left out, and
    a sentence says why.

    Args:
        collection: the set.
        methods: what to evaluate.
        rerank: add a row for each method but Qmax, its first so many references of each query
            ordered anew with Qmax.
        blend: the share of Qmax in that order.
        crema_version: of the cremaPCP that re-ranks methods which read none.
        resamples: of the bootstrap; 0 leaves intervals out.
        seed: of the bootstrap.
        progress: show a progress bar over the methods.

    Raises:
        UserError: no recording of the set has another version, or nothing can be evaluated.
    """
    versions_to_find(collection.labels)  # before the long work

    @cache
    def qmax_pairs(version: str) -> tuple[PairDistance, float]:
        method = Qmax(version)
        described = method.describe_set(collection)
        return cache(QmaxPairs(described)), method.numbers(described)

    row = partial(make_row, labels=collection.labels, resamples=resamples, seed=seed)
    rows: list[Row] = []
    kept = Kept(collection)
    bar = tqdm(methods, desc="methods", disable=not progress, leave=False)
    for number, method in enumerate(bar):
        kept.keep_for(methods[number:])
        name = method.name
        try:
            described = kept.described(method)
            known = {"distances": kept.distances(method)} if method.by_matrix else {}
            ranking = method.rank(described, collection.labels, **known)
            numbers = method.numbers(described)
            rows.append(row(name, method.key, ranking, numbers))
            if rerank and not isinstance(method, Qmax):
                name, key = _reranked(method, rerank)
                version = method.features if isinstance(method.features, str) else crema_version
                pairs, more = qmax_pairs(version)
                ranking = method.rerank(
                    described, collection.labels, rerank, pairs, blend=blend, **known
                )
                rows.append(row(name, key, ranking, numbers + more))
        except UserError as error:
            logger.warning("%s: %s is left out: %s", collection.name, name, error)
    if not rows:
        raise UserError(f"no method can be evaluated on {collection.name}; see the lines above")
    return rows


def make_row(
    name: str,
    key: str,
    ranking: Ranking,
    numbers: float,
    *,
    labels: Sequence[str],
    resamples: int,
    seed: int,
) -> Row:
    """A ranking as a row of a table, with the interval of its mAP unless ``resamples`` is 0."""
    interval = None
    if resamples:
        interval = bootstrap_intervals(
            ranking, labels, generator=np.random.default_rng(seed), resamples=resamples
        )["mAP"]
    return Row(name, key, Evaluation(summarise(ranking), ranking), interval, numbers)


def planned_rows(methods: Sequence[Method], rerank: int | None = None) -> list[tuple[str, str]]:
    """Name and key of every row that :func:`compare` makes."""
    planned = []
    for method in methods:
        planned.append((method.name, method.key))
        if rerank and not isinstance(method, Qmax):
            planned.append(_reranked(method, rerank))
    return planned


def _reranked(method: Method, rerank: int) -> tuple[str, str]:
    return f"{method.name}, first {rerank} with Qmax", f"{method.key}{RERANKED}"


def find_row(wanted: str, planned: Sequence[tuple[str, str]]) -> str:
    """The key of the row that a person means: its name, its key, or a part of one of them.

    If a part fits a row and the same row re-ranked, together with another or of an untrained
    control, the former is meant. Several rows together are found by ``A + B`` as well, with A and
    B named as alone, in any order.

    Raises:
        UserError: there is none, or several.
    """
    wanted = wanted.strip()
    exact = [key for name, key in planned if wanted in (name, key)]
    found = [key for name, key in planned if wanted.lower() in f"{name}\n{key}".lower()]
    plain = [key for key in found if not key.endswith(RERANKED)]
    alone = [key for key in plain if TOGETHER not in key]
    trained = [key for key in alone if key not in (UNTRAINED_MOVE, UNTRAINED_COVERHUNTER)]
    for keys in (exact, found, plain, alone, trained):
        if len(keys) == 1:
            return keys[0]
    if TOGETHER in wanted and not found:
        return _find_together(wanted, planned)
    fits = f"fits {len(found)} rows" if found else "is no row"
    raise UserError(f"{wanted!r} {fits}; the rows are: {'; '.join(name for name, _ in planned)}")


def _find_together(wanted: str, planned: Sequence[tuple[str, str]]) -> str:
    """The key of a row of several, by the names of its parts; see :func:`find_row`."""
    ending = RERANKED if wanted.endswith(RERANKED) else ""
    single = [(name, key) for name, key in planned if TOGETHER not in key]
    named = wanted.removesuffix(RERANKED).split(TOGETHER)
    parts = sorted(find_row(part, single) for part in named)
    for _, key in planned:
        if key.endswith(ending) and sorted(key.removesuffix(ending).split(TOGETHER)) == parts:
            return key
    raise UserError(f"there is no row of {wanted}; ask for it with --together")


def rows_together(methods: Sequence[Method], wanted: Iterable[Sequence[str]]) -> list[Together]:
    """Rows of several methods each, named as :func:`find_row` has it.

    Args:
        methods: that there are.
        wanted: the parts of each row.

    Raises:
        UserError: a part is no row or stands twice, or a row is asked for twice.
    """
    by_key = {method.key: method for method in methods}
    planned = planned_rows(methods)
    found: dict[frozenset[Method], Together] = {}
    for names in wanted:
        row = Together(distinct([by_key[find_row(name, planned)] for name in names]))
        if frozenset(row.parts) in found:
            raise UserError(f"{row.name} is given twice")
        found[frozenset(row.parts)] = row
    return list(found.values())


def difference(
    first: Row, second: Row, works: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """How much better one method is than another, and how sure that is.

    Both are measured on the same draws of works, so that what is hard for both cancels out.

    Args:
        first, second: rows of one set.
        works: of its queries.
        resamples, seed: of the bootstrap.
    """
    gain = average_precisions(first.evaluation.ranking)
    gain = gain - average_precisions(second.evaluation.ranking)  # (Q,)
    interval = bootstrap_mean(
        gain, works, generator=np.random.default_rng(seed), resamples=resamples
    )
    return Difference(first.name, second.name, float(np.nanmean(gain)), interval)


def figure_table(rows: Iterable[Row]) -> str:
    """The five figures as a Markdown table."""
    lines = [
        "| method | " + " | ".join(FIGURES) + " |",
        "| --- |" + " ---: |" * len(FIGURES),
    ]
    for row in rows:
        figures = row.evaluation.figures
        values = [
            f"{figures[key]:.0f}" if "Top" in key else f"{figures[key]:.3f}" for key in FIGURES
        ]
        lines.append(f"| {row.name} | " + " | ".join(values) + " |")
    return "\n".join(lines)


def comparison_table(rows: Iterable[Row]) -> str:
    """mAP with its interval, MR, MRR, Top1 and the size of a description as a Markdown table."""
    lines = [
        "| method | mAP (95 %) | MR | MRR | Top1 | numbers a recording |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        figures = row.evaluation.figures
        lines.append(
            f"| {row.name} | {with_interval(figures['mAP'], row.interval)} | {figures['MR']:.2f} "
            f"| {figures['MRR']:.3f} | {figures['Top1']:.0f} | {row.numbers:,.0f} |"
        )
    return "\n".join(lines)


def result_text(result: Result) -> str:
    """Heading, table and differences of a set."""
    collection = result.collection
    works = len(set(collection.labels))
    lines = [f"{collection.name}: {len(collection)} recordings of {works} works", ""]
    lines.append(comparison_table(result.rows))
    return "\n".join([*lines, *([""] if result.differences else []), *map(str, result.differences)])


def with_interval(value: float, interval: Interval) -> str:
    """``0.354 (0.230 to 0.500)``."""
    return f"{value:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")


def _signed(value: float, interval: Interval) -> str:
    return f"{value:+.3f}" + (f" ({interval[0]:+.3f} to {interval[1]:+.3f})" if interval else "")


def write_comparison(path: str | os.PathLike, results: Iterable[Result]) -> None:
    """Write rows and differences of several sets as CSV, atomically."""
    table = []
    for result in results:
        labels = result.collection.labels
        about = {"set": result.collection.name, "queries": len(labels), "works": len(set(labels))}
        for row in result.rows:
            low, high = row.interval or ("", "")
            table.append(
                about
                | row.evaluation.figures
                | {"method": row.name, "model": row.key, "mAP_low": low, "mAP_high": high}
                | {"numbers": row.numbers}
            )
        for found in result.differences:
            low, high = found.interval or ("", "")
            name = f"{found.first} minus {found.second}"
            values = {"mAP": found.value, "mAP_low": low, "mAP_high": high}
            table.append(about | {"method": name} | values)
    write_csv(path, CSV_COLUMNS, table)


def write_csv(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Write a table as CSV, atomically; what a row does not say stays empty."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )
