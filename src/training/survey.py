"""Which choices of a rendered corpus a model survives: mAP of the queries by each choice.

The list of a rendered corpus says of every version how it was made (``choices``, nested). Versions
are grouped by each of these choices, and the mean average precision of the groups is compared.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.errors import UserError
from src.retrieval.collection import Collection
from src.retrieval.confidence import bootstrap_mean
from src.retrieval.metrics import average_precisions
from src.retrieval.testset_result import names_of_work
from src.training.comparison import Interval, with_interval, write_csv
from src.training.methods import Method

IGNORED = ("seed", "work")  # names, not choices
NONE, WITH, WITHOUT = "none", "with", "without"
SHUFFLES = 200
CSV_COLUMNS = (
    "choice", "difference", "by_chance", "value", "queries", "works", "mAP", "mAP_low", "mAP_high",
)  # fmt: skip


@dataclass(frozen=True)
class Value:
    """The queries with one value of a choice.

    Attributes:
        text: the value, or the range of numbers.
        queries: how many.
        works: of how many works.
        mean_ap: their mAP.
        interval: 95 % of it, bootstrap over works; None where there is one work.
        enough: whether there are enough queries for the value to count.
    """

    text: str
    queries: int
    works: int
    mean_ap: float
    interval: Interval
    enough: bool


@dataclass(frozen=True)
class Choice:
    """One choice.

    Attributes:
        name: its path, such as ``arrangement.melody.fidelity``.
        values: numbers in ascending order, words by falling mAP.
        difference: largest mAP minus smallest, of the values with enough queries.
        by_chance: the difference that 95 % of random groups of these sizes stay below.
    """

    name: str
    values: list[Value]
    difference: float
    by_chance: float


def survey(
    average_precision: np.ndarray,
    works: Sequence[str],
    choices: Sequence[Mapping[str, Any]],
    *,
    bins: int = 4,
    fewest: int = 20,
    resamples: int = 1000,
    seed: int = 0,
) -> list[Choice]:
    """Compare the queries by each choice.

    Args:
        average_precision: ``(Q,)`` of each query; NaN leaves it out.
        works: of each query.
        choices: nested, of each query; see :func:`flat_choices`.
        bins: groups of about equal size into which numbers are put.
        fewest: queries that a value needs to count in the difference.
        resamples: of the bootstrap over works.
        seed: of bootstrap and random groups.

    Returns:
        The choice that matters most first. Choices without two values of enough queries are left
        out.

    Raises:
        UserError: no query has an average precision, or a number makes no sense.
    """
    if bins < 2 or fewest < 1:
        raise UserError("bins must be 2 or more and the fewest queries of a value 1 or more")
    measured = ~np.isnan(average_precision)
    if not measured.any():
        raise UserError("no query has another version, so nothing can be measured")
    ap = average_precision[measured]
    kept = np.flatnonzero(measured)
    works = np.asarray(works)[kept]
    columns = flat_choices([choices[i] for i in kept])
    found = []
    for name, values in columns.items():
        groups = grouped(values, bins)
        sizes = np.array([len(members) for _, members in groups])
        if (sizes >= fewest).sum() < 2:
            continue
        means = np.array([ap[members].mean() for _, members in groups])
        rows = [
            Value(
                text,
                len(members),
                len(set(works[members])),
                float(mean),
                bootstrap_mean(
                    ap[members],
                    works[members],
                    generator=np.random.default_rng(seed),
                    resamples=resamples,
                ),
                len(members) >= fewest,
            )
            for (text, members), mean in zip(groups, means, strict=True)
        ]
        if any(isinstance(value, str) for value in values):
            rows.sort(key=lambda row: -row.mean_ap)
        large = means[sizes >= fewest]
        members = [members for _, members in groups if len(members) >= fewest]
        chance = _by_chance(ap, members, np.random.default_rng(seed))
        found.append(Choice(name, rows, float(large.max() - large.min()), chance))
    return sorted(found, key=lambda choice: -choice.difference)


def survey_collection(
    collection: Collection,
    method: Method,
    *,
    only: Iterable[str] | None = None,
    **options: Any,
) -> list[Choice]:
    """The survey of a method on a rendered corpus.

    Args:
        collection: the corpus; its lines have ``choices``.
        method: what is asked.
        only: ``song`` or ``song_id`` of the works whose versions are queries; None takes all. The
            references stay all.
        options: see :func:`survey`.

    Raises:
        UserError: no line has choices, or no query is of these works.
    """
    choices = [row.get("choices") for row in collection.rows]
    if not all(isinstance(choice, Mapping) for choice in choices):
        raise UserError(
            f"{collection.name} does not say how its recordings were made (key choices); survey a "
            "corpus of tools.render_corpus"
        )
    described = method.describe_set(collection)
    ap = average_precisions(method.rank(described, collection.labels))
    if only is not None:
        wanted = set(map(str, only))
        ap[[not names_of_work(row) & wanted for row in collection.rows]] = np.nan
        if np.isnan(ap).all():
            raise UserError("no query belongs to one of the works that were asked for")
    return survey(ap, collection.labels, choices, **options)


def _by_chance(
    ap: np.ndarray, members: Sequence[np.ndarray], generator: np.random.Generator
) -> float:
    """95 % quantile of the largest difference when queries are put into the groups at random."""
    pool = ap[np.concatenate(members)]
    ends = np.cumsum([len(group) for group in members])
    starts = ends - [len(group) for group in members]
    differences = np.empty(SHUFFLES)
    for number in range(SHUFFLES):
        means = np.add.reduceat(generator.permutation(pool), starts) / (ends - starts)
        differences[number] = means.max() - means.min()
    return float(np.quantile(differences, 0.95))


def flat_choices(choices: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Nested choices as columns.

    A choice within blocks has a path such as ``recording.room.size``. A block that only some rows
    have is a choice itself (``with`` or ``without``), and what stands in it is only asked of rows
    that have it. A choice that a row leaves out is ``none``; of a list, its length counts.

    Returns:
        For each path one value a row: text, a number, or None where the row was not asked.
    """
    rows = [dict(_leaves(row)) for row in choices]
    blocks = [set(_blocks(row)) for row in choices]
    columns: dict[str, list[Any]] = {}
    for path in sorted(set().union(*blocks)):
        parent = path.rpartition(".")[0]
        columns[path] = [
            (WITH if path in own else WITHOUT) if not parent or parent in own else None
            for own in blocks
        ]
    for path in sorted(set().union(*rows)):
        parent = path.rpartition(".")[0]
        # A path that is a block in some rows and a plain value in others is asked as a block.
        if path in columns:
            continue
        columns[path] = [
            row.get(path, NONE) if not parent or parent in own else None
            for row, own in zip(rows, blocks, strict=True)
        ]
    return columns


def _leaves(choices: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in choices.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}.")
        elif name in IGNORED:
            continue
        elif isinstance(value, bool) or value is None:
            yield path, {True: "yes", False: "no", None: NONE}[value]
        elif isinstance(value, list | tuple):
            yield path, len(value)
        else:
            yield path, value


def _blocks(choices: Mapping[str, Any], prefix: str = "") -> Iterable[str]:
    for name, value in choices.items():
        if isinstance(value, Mapping):
            yield f"{prefix}{name}"
            yield from _blocks(value, f"{prefix}{name}.")


def grouped(values: Sequence[Any], bins: int) -> list[tuple[str, np.ndarray]]:
    """Put rows with equal values together, and more than ``bins`` different numbers into bins.

    Args:
        values: text, numbers, or None (in no group).
        bins: of about equal size, cut at quantiles.

    Returns:
        Text of each group and the ``(n,)`` positions in it: numbers ascending, then texts.
    """
    number = np.array([not isinstance(v, str) and v is not None for v in values], dtype=bool)
    positions = np.flatnonzero(number)
    numbers = np.array([float(values[i]) for i in positions])
    groups = []
    if len(numbers):
        distinct = np.unique(numbers)
        cuts = distinct[1:]
        if len(distinct) > bins:
            cuts = np.unique(np.quantile(numbers, np.arange(1, bins) / bins))
        place = np.searchsorted(cuts, numbers, side="right")
        for bin_number in np.unique(place):
            inside = place == bin_number
            low, high = numbers[inside].min(), numbers[inside].max()
            text = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            groups.append((text, positions[inside]))
    texts = [value for value in values if isinstance(value, str)]
    for text in sorted(set(texts)):
        groups.append((text, np.flatnonzero([value == text for value in values])))
    return groups


def survey_table(choices: Sequence[Choice]) -> str:
    """A Markdown table, one row a value, those of few queries together in one."""
    lines = [
        "| choice | difference (by chance up to) | value | queries | mAP (95 %) |",
        "| --- | ---: | --- | ---: | ---: |",
    ]
    for choice in choices:
        first = f"{choice.name} | {choice.difference:.3f} ({choice.by_chance:.3f})"
        for value in choice.values:
            if value.enough:
                figure = with_interval(value.mean_ap, value.interval)
                lines.append(f"| {first} | {value.text} | {value.queries} | {figure} |")
                first = " | "
        rare = [value for value in choice.values if not value.enough]
        if rare:
            queries = sum(value.queries for value in rare)
            mean = sum(value.mean_ap * value.queries for value in rare) / queries
            lines.append(f"|  |  | {len(rare)} rarer | {queries} | {mean:.3f} |")
    return "\n".join(lines)


def write_survey(choices: Sequence[Choice], path: str | os.PathLike) -> None:
    """Write all values of all choices as CSV, atomically."""
    rows = []
    for choice in choices:
        for value in choice.values:
            low, high = value.interval or ("", "")
            figures = {"mAP": value.mean_ap, "mAP_low": low, "mAP_high": high}
            about = {"choice": choice.name, "value": value.text, "works": value.works}
            about |= {"difference": choice.difference, "by_chance": choice.by_chance}
            rows.append(about | figures | {"queries": value.queries})
    write_csv(path, CSV_COLUMNS, rows)
