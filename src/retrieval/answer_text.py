"""Answers as a table for a person, as CSV for a spreadsheet, as JSON for a program."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from src.retrieval.compare import Comparison
from src.retrieval.identify import MATCH, NO_MATCH, Answer
from src.retrieval.spans import Span

FORMATS = ("table", "csv", "json")
CSV_COLUMNS = (
    "query",
    "verdict",
    "rank",
    "work",
    "version",
    "distance",
    "p_value",
    "match",
    "query_start_s",
    "query_end_s",
    "version_start_s",
    "version_end_s",
    "path",
)
NO_P = "unknown"


def answers_text(answers: Sequence[Answer], form: str) -> str:
    """All answers in one text: ``table``, ``csv`` or ``json``."""
    if form == "csv":
        return _csv(answers)
    if form == "json":
        content = [answer_to_dict(answer) for answer in answers]
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return "\n".join(_table(answer) for answer in answers)


def answer_to_dict(answer: Answer) -> dict[str, Any]:
    """An answer as JSON can hold it."""
    return asdict(answer)


def _csv(answers: Sequence[Answer]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for answer in answers:
        for work in answer.works:
            for version in work.versions:
                span = version.spans[0] if version.spans else None
                p_value = "" if version.p_value is None else f"{version.p_value:.3g}"
                writer.writerow(
                    [answer.query, answer.verdict, work.rank, work.work, version.name]
                    + [f"{version.distance:.4f}", p_value, "yes" if work.matches else "no"]
                    + ([""] * 4 if span is None else [f"{value:.1f}" for value in _times(span)])
                    + [version.path]
                )
    return out.getvalue()


def _table(answer: Answer) -> str:
    lines = [f"{answer.query} ({clock(answer.seconds)})"]
    if not answer.works:
        return "\n".join([*lines, f"  {NO_MATCH}", ""])
    if answer.verdict == MATCH:
        first = answer.matches[0]
        lines.append(f"  {first.work} (p = {p_text(first.p_value)})")
    elif answer.verdict == NO_MATCH:
        lines.append(f"  {NO_MATCH}; the nearest, which may well be chance:")
    else:
        lines.append("  confidence unknown: there are too few references; the nearest:")
    header = ("", "rank", "work", "version", "distance", "p", "here", "there")
    rows = [header]
    for work in answer.works:
        for version in work.versions:
            span = version.spans[0] if version.spans else None
            rows.append(
                (
                    "*" if work.matches else "",
                    str(work.rank),
                    _short(work.work),
                    _short(version.name),
                    f"{version.distance:.3f}",
                    p_text(version.p_value),
                    "" if span is None else _clocks(span.query_start, span.query_end),
                    "" if span is None else _clocks(span.reference_start, span.reference_end),
                )
            )
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return "\n".join([*lines, ""])


def comparison_text(comparison: Comparison, form: str) -> str:
    """A comparison as ``table`` (sentences) or ``json``."""
    if form == "json":
        return json.dumps(asdict(comparison), indent=2, ensure_ascii=False) + "\n"
    a, b = comparison.a, comparison.b
    lines = [
        f"{a} ({clock(comparison.seconds[0])})",
        f"{b} ({clock(comparison.seconds[1])})",
        f"distance {comparison.distance:.3f}",
    ]
    if comparison.p_value is None:
        lines.append(
            "confidence unknown: give references with --refs, or calibrate the model "
            "(python -m tools.make_embeds MODEL RECORDINGS REFS --calibrate-model)"
        )
    else:
        verdict = (
            "versions of one work"
            if comparison.verdict == MATCH
            else "nothing says that they are versions of one work"
        )
        lines.append(
            f"{verdict}: two recordings of different works come as near with probability "
            f"{p_text(comparison.p_value)} ({comparison.calibration})"
        )
    for span in comparison.spans:
        lines.append(
            f"most alike: {_clocks(span.query_start, span.query_end)} and "
            f"{_clocks(span.reference_start, span.reference_end)} (distance {span.distance:.3f})"
        )
    return "\n".join(lines) + "\n"


def clock(seconds: float) -> str:
    """Minutes and seconds: 3:07; with hours where there are some: 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def p_text(p_value: float | None) -> str:
    """A p-value for reading."""
    if p_value is None:
        return NO_P
    return "< 0.0001" if p_value < 1e-4 else f"{p_value:.2g}"


def _clocks(start: float, end: float) -> str:
    return f"{clock(start)}-{clock(end)}"


def _times(span: Span) -> tuple[float, float, float, float]:
    return span.query_start, span.query_end, span.reference_start, span.reference_end


def _short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else "..." + text[3 - most :]
