"""Are two recordings versions of one work, how sure is that, and where do they agree?"""

import os
from dataclasses import dataclass
from pathlib import Path

from src.retrieval.calibration import NONE, SHIPPED, calibration_of, read_model_calibration
from src.retrieval.identify import MATCH, NO_MATCH, THRESHOLD, UNKNOWN, spans_between
from src.retrieval.recording_windows import Recording2Windows
from src.retrieval.references import References
from src.retrieval.spans import Span
from src.retrieval.windows import WindowTable


@dataclass(frozen=True)
class Comparison:
    """Two recordings side by side.

    Attributes:
        a: the first file.
        b: the second file.
        seconds: length of each.
        distance: smallest over the windows of both.
        p_value: how often two recordings of different works are as near; None if unknown.
        verdict: ``match``, ``nothing here matches`` or ``unknown``.
        calibration: where the p-value comes from: ``leave-one-work-out`` or ``pairs`` of the
            references, ``shipped pairs`` (beside the model), ``none``.
        spans: where they agree (the query is ``a``), best first.
    """

    a: str
    b: str
    seconds: tuple[float, float]
    distance: float
    p_value: float | None
    verdict: str
    calibration: str
    spans: list[Span]


def compare(
    a: str | os.PathLike,
    b: str | os.PathLike,
    embedder: Recording2Windows,
    *,
    references: References | None = None,
    threshold: float = THRESHOLD,
) -> Comparison:
    """Compare two recordings.

    Args:
        a: a recording.
        b: another one.
        embedder: the model.
        references: recordings that show how near different works come; None takes what is beside
            the model, if there is something.
        threshold: largest p-value of a match.

    Raises:
        AudioError: a recording cannot be used.
        UserError: the references are those of another model.
    """
    if references is not None:
        references.require_model(embedder)
    first, second = embedder(Path(a)), embedder(Path(b))
    tables = [WindowTable.build([x.wide.embeddings], embedder.distance) for x in (first, second)]
    distance = float(tables[0].nearest_to(tables[1])[0, 0])
    shipped = read_model_calibration(embedder.model_path, embedder.identity)
    p_value, method = None, NONE
    if references is not None:
        calibration = calibration_of(references, shipped=shipped)
        cohort = references.table.select(calibration.cohort)
        to_cohort = [cohort.nearest_to(table)[0] for table in tables]
        p_value, method = calibration.p_of_pair(distance, *to_cohort), calibration.method
    elif shipped is not None:
        p_value, method = shipped.p_value(distance), SHIPPED
    verdict = UNKNOWN if p_value is None else MATCH if p_value <= threshold else NO_MATCH
    spans = spans_between(first, second.narrow, second.wide, embedder.distance)
    return Comparison(
        a=str(a),
        b=str(b),
        seconds=(first.seconds, second.seconds),
        distance=distance,
        p_value=p_value,
        verdict=verdict,
        calibration=method,
        spans=spans,
    )
