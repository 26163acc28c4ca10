"""Parts of a corpus: rows of a manifest by the choices made for them, and by number.

A row of a rendered corpus has ``choices`` with everything that was drawn for it, such as
``{"arrangement": {"harmony": "given"}}``; a key with dots, ``arrangement.harmony``, names one.
"""

import difflib
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from src.errors import UserError

Row = Mapping[str, Any]
Conditions = Mapping[str, Any]
CHOICES = "choices"
RANGE = {"min", "max"}
_ABSENT = object()


def choose_rows(
    rows: Sequence[Row],
    *,
    where: Conditions | None = None,
    without: Conditions | None = None,
    works: int | None = None,
    versions: int | None = None,
    seed: int = 0,
) -> list[Row]:
    """The rows that meet conditions, of so many works and versions of each.

    Works that are left with a single version are left out: there is nothing to learn from them.
    Fewer works or versions are always a part of more.

    Args:
        rows: lines of a manifest, with ``utt`` and ``song``.
        where: key -> a value, a list of values, or ``{min: ..., max: ...}``; all must be met.
        without: rows that meet any of these are left out.
        works: largest number of works; None takes all.
        versions: largest number of versions of a work, at least 2.
        seed: of what is drawn.

    Returns:
        In the order of ``rows``.

    Raises:
        UserError: no row has a key, versions is 1, or nothing is left.
    """
    where, without = where or {}, without or {}
    check_keys(rows, [*where, *without])
    if versions is not None and versions < 2:
        raise UserError("versions must be 2 or more: nothing is learnt from a single one")
    kept = [
        row
        for row in rows
        if all(_meets(row, key, wanted) for key, wanted in where.items())
        and not any(_meets(row, key, unwanted) for key, unwanted in without.items())
    ]
    members = {work: of for work, of in by_work(kept).items() if len(of) > 1}
    order = sorted(members)
    random.Random(seed).shuffle(order)
    chosen = {
        str(row["utt"])
        for work in order[:works]
        for row in _shuffled(members[work], seed)[:versions]
    }
    if not chosen:
        raise UserError("no work has two versions that meet the conditions")
    return [row for row in rows if str(row["utt"]) in chosen]


def as_many(rows: Sequence[Row], like: Sequence[Row], *, seed: int = 0) -> list[Row]:
    """Of each work as many versions as ``like`` has of it, whichever they are.

    The control for a choice: what it does beside making the corpus smaller.

    Raises:
        UserError: a work has fewer versions than that.
    """
    members = by_work(rows)
    chosen: set[str] = set()
    for work, wanted in by_work(like).items():
        if len(members[work]) < len(wanted):
            raise UserError(f"{work} has {len(members[work])} versions, not {len(wanted)}")
        chosen.update(str(row["utt"]) for row in _shuffled(members[work], seed)[: len(wanted)])
    return [row for row in rows if str(row["utt"]) in chosen]


def by_work(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of each work (``song``)."""
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[str(row["song"])].append(row)
    return members


def value_of(row: Row, key: str) -> Any:
    """What was chosen for a row, or what the row itself says under this key.

    Raises:
        KeyError: neither.
    """
    for value in (row.get(CHOICES), row):
        for part in key.split("."):
            value = value.get(part, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        if value is not _ABSENT:
            return value
    raise KeyError(key)


def check_keys(rows: Sequence[Row], keys: Sequence[str]) -> None:
    """Refuse a key that no row has: a slip would otherwise be an empty or a whole corpus.

    Raises:
        UserError: the sentence names the nearest one.
    """
    missing = [key for key in keys if not any(_has(row, key) for row in rows)]
    if missing:
        known = sorted({name for row in rows for name in _names(row)})
        near = difflib.get_close_matches(missing[0], known, n=1, cutoff=0)
        hint = f"; the nearest is {near[0]}" if near else ""
        raise UserError(f"no recording has the key {missing[0]}{hint}")


def _has(row: Row, key: str) -> bool:
    try:
        value_of(row, key)
    except KeyError:
        return False
    return True


def _names(row: Row) -> set[str]:
    def below(value: Any, prefix: str) -> set[str]:
        if not isinstance(value, Mapping):
            return {prefix}
        return {name for key, part in value.items() for name in below(part, f"{prefix}.{key}")}

    own = {key for key in row if key != CHOICES}
    choices = row.get(CHOICES) or {}
    return own.union(*(below(part, key) for key, part in choices.items()))


def _meets(row: Row, key: str, wanted: Any) -> bool:
    try:
        value = value_of(row, key)
    except KeyError:
        return False
    if isinstance(wanted, Mapping):
        if not wanted or not wanted.keys() <= RANGE:
            raise UserError(f"{key}: a range is written {{min: 80, max: 120}}")
        if not isinstance(value, int | float):
            return False
        return wanted.get("min", value) <= value <= wanted.get("max", value)
    return value in wanted if isinstance(wanted, list) else value == wanted


def _shuffled(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows of a work in an order that depends on nothing but seed and work."""
    rows = sorted(rows, key=lambda row: str(row["utt"]))
    random.Random(f"{seed} {rows[0]['song']}").shuffle(rows)
    return rows
