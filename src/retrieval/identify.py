"""What a recording is: the works and versions among the references that come nearest to it."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from src.errors import UserError
from src.retrieval.blend import BLEND, blend_order, check_rerank
from src.retrieval.calibration import calibration_of, read_model_calibration
from src.retrieval.joint import JointTable
from src.retrieval.recording_windows import Recording2Windows, RecordingWindows
from src.retrieval.references import References
from src.retrieval.search import WindowIndex
from src.retrieval.second_model import SecondModel, joint_references
from src.retrieval.spans import Span, matching_spans
from src.retrieval.windows import Windows, WindowTable

PairDistances = Callable[[str, Sequence[int]], np.ndarray]

MATCH, NO_MATCH, UNKNOWN = "match", "nothing here matches", "unknown"
THRESHOLD = 0.05
TOP = 5
FIRST_WINDOWS = 100  # nearest windows asked for at first, per window of the query


@dataclass(frozen=True)
class VersionMatch:
    """A reference recording beside a query.

    Attributes:
        name: of the recording.
        path: of its file.
        distance: smallest over the windows of both.
        p_value: how often the best reference of a recording that is not among the references
            would be as near; None if it cannot be known.
        spans: where both agree, best first.
    """

    name: str
    path: str
    distance: float
    p_value: float | None
    spans: list[Span]


@dataclass(frozen=True)
class WorkMatch:
    """A work beside a query.

    Attributes:
        rank: 1 is the nearest (or, re-ranked, the first in that order).
        work: its name.
        distance: of its nearest version.
        p_value: of its nearest version.
        matches: whether the p-value is at most the threshold.
        versions: its versions, nearest (or, re-ranked, most alike) first.
    """

    rank: int
    work: str
    distance: float
    p_value: float | None
    matches: bool
    versions: list[VersionMatch]


@dataclass(frozen=True)
class Answer:
    """What was found out about a query.

    Attributes:
        query: the file.
        seconds: its length.
        verdict: ``match``, ``nothing here matches``, or ``unknown`` where there are too few
            references for a p-value.
        works: nearest works, in order of distance or as re-ranked, whether they match or not.
        calibration: how p-values were obtained.
        recall: of the search index; 1.0 means that nothing can have been missed.
    """

    query: str
    seconds: float
    verdict: str
    works: list[WorkMatch] = field(default_factory=list)
    calibration: str = ""
    recall: float | None = 1.0

    @property
    def matches(self) -> list[WorkMatch]:
        """Works whose p-value is small enough."""
        return [work for work in self.works if work.matches]


class Identifier:
    """References made ready for queries.

    Args:
        references: the set.
        embedder: the model that made it.
        rerank: order the first so many recordings anew, with ``pair_distances``; 0 leaves it.
        blend: the share of ``pair_distances`` in that order.
        pair_distances: from a query and positions of references to distances, such as
            :class:`src.retrieval.qmax_references.QmaxReferences`.
        second: another model, whose distances count as much (:mod:`src.retrieval.joint`). Every
            reference is then compared, without an index; spans are those of the first model.

    Raises:
        UserError: the model is another than that of the references, or the index is damaged.
    """

    def __init__(
        self,
        references: References,
        embedder: Recording2Windows,
        *,
        rerank: int = 0,
        blend: float = BLEND,
        pair_distances: PairDistances | None = None,
        second: SecondModel | None = None,
    ) -> None:
        references.require_model(embedder)
        check_rerank(rerank or 1, blend)
        self.rerank = rerank if pair_distances else 0
        self.blend = blend
        self.pair_distances = pair_distances
        self.references = references
        self.embedder = embedder
        self.second = second
        self.table: WindowTable | JointTable = references.table
        self.index: WindowIndex | None = None
        if second is not None:
            self.table, self.calibration = joint_references(references, second)
        else:
            self.index = _index_of(references)
            shipped = read_model_calibration(embedder.model_path, embedder.identity)
            self.calibration = calibration_of(references, shipped=shipped)
        self.cohort = self.table.select(self.calibration.cohort)

    def __call__(
        self, query: str | os.PathLike, *, top: int = TOP, threshold: float = THRESHOLD
    ) -> Answer:
        """Answer for one recording.

        Args:
            query: a recording (or a file of features for the model).
            top: works to name.
            threshold: largest p-value of a match.

        Raises:
            AudioError: the recording cannot be used.
            UserError: recordings that re-ranking needs cannot be used.
        """
        return self.answer(str(query), self.embedder(query), top=top, threshold=threshold)

    def answer(
        self, name: str, windows: RecordingWindows, *, top: int = TOP, threshold: float = THRESHOLD
    ) -> Answer:
        """Answer for a recording that is embedded already; re-ranking and the second model read
        ``name``, its file."""
        if top < 1 or not 0 < threshold <= 1:
            raise UserError("top must be 1 or more, and threshold above 0 and at most 1")
        query: WindowTable | JointTable
        query = WindowTable.build([windows.wide.embeddings], self.references.distance)
        if self.second is not None:
            query = self.table.like([query, self.second.query(name)])
        positions, distances = self._nearest(query, max(top, self.rerank))
        if self.rerank and self.pair_distances and len(positions):
            first = self.pair_distances(name, positions[: self.rerank].tolist())[None]
            order = np.arange(len(positions))
            near = distances[None, : self.rerank]
            order[: self.rerank] = blend_order(near, first, blend=self.blend)[0]
            positions, distances = positions[order], distances[order]
        to_cohort = self.cohort.nearest_to(query)[0]
        works: dict[str, list[tuple[int, float]]] = {}
        for position, distance in zip(positions, distances, strict=True):
            versions = works.setdefault(self.references.works[position], [])
            versions.append((int(position), float(distance)))
        chosen = list(works.items())[:top]
        shown = [position for _, versions in chosen for position, _ in versions]
        narrow = self.references.windows_of(shown, "narrow")
        wide = self.references.windows_of(
            [position for position in shown if narrow[position] is None], "wide"
        )
        ranked = []
        for rank, (work, versions) in enumerate(chosen, start=1):
            matches = []
            for position, distance in versions:
                row = self.references.rows[position]
                p_value = self.calibration.p_of_best(distance, to_cohort)
                spans = spans_between(
                    windows, narrow[position], wide.get(position), self.references.distance
                )
                matches.append(VersionMatch(row.name, row.path, distance, p_value, spans))
            best = min(matches, key=lambda match: match.distance)
            matched = best.p_value is not None and best.p_value <= threshold
            ranked.append(WorkMatch(rank, work, best.distance, best.p_value, matched, matches))
        if ranked and ranked[0].p_value is None:
            verdict = UNKNOWN
        else:
            verdict = MATCH if any(work.matches for work in ranked) else NO_MATCH
        return Answer(
            query=name,
            seconds=windows.seconds,
            verdict=verdict,
            works=ranked,
            calibration=self.calibration.method,
            recall=1.0 if self.index is None else self.index.recall,
        )

    def _nearest(self, query: WindowTable | JointTable, top: int) -> tuple[np.ndarray, np.ndarray]:
        """Reference recordings and their distances, ascending, with all of the ``top`` best works.

        Without an index every recording is compared. An index finds windows; recordings are then
        compared by all their windows. As long as a window of the query might have a nearer one
        beyond the last that was asked for, more are asked for.
        """
        k = min(len(self.table.rows), max(FIRST_WINDOWS, 4 * top)) if self.index else 0
        while True:
            horizon, met = np.inf, np.arange(len(self.table))
            if self.index is not None:
                found, rows = self.index.search(query.rows, k)
                horizon = float(found[:, -1].min())  # everything nearer has been seen
                met = np.unique(self.table.recording_of(rows[rows >= 0]))
            candidates, distances = self._in_order(met, query)
            _, firsts = np.unique(self.references.codes[candidates], return_index=True)
            firsts.sort()
            enough = len(firsts) >= top and distances[firsts[top - 1]] <= horizon
            if enough or len(met) == len(self.table) or k >= len(self.table.rows):
                break
            k = min(len(self.table.rows), 4 * k)
        # Versions of the best works that were not met on the way belong in the answer as well.
        chosen = self.references.codes[candidates[firsts[:top]]]
        return self._in_order(np.flatnonzero(np.isin(self.references.codes, chosen)), query)

    def _in_order(
        self, recordings: np.ndarray, query: WindowTable | JointTable
    ) -> tuple[np.ndarray, np.ndarray]:
        """Recordings, the nearest first, and their distances."""
        distances = self.table.select(recordings).nearest_to(query)[0]
        order = np.argsort(distances, kind="stable")
        return recordings[order], distances[order]


def _index_of(references: References) -> WindowIndex:
    """The search index on disk, or an exact one in memory.

    Raises:
        UserError: the index does not belong to the references, or is damaged.
    """
    rows = references.table.rows
    if not references.index:
        return WindowIndex.build(rows, references.distance, kind="exact")
    index = WindowIndex.load(references.folder, references.index, references.distance)
    if len(index) != len(rows):
        raise UserError(
            f"the index in {references.folder} does not belong to these references; run "
            "tools.make_embeds again"
        )
    return index


def spans_between(
    query: RecordingWindows, narrow: Windows | None, wide: Windows | None, distance: str
) -> list[Span]:
    """Where a query and a reference agree, by narrow windows if both have them."""
    if query.narrow is not None and narrow is not None:
        return matching_spans(query.narrow, narrow, distance=distance)
    return [] if wide is None else matching_spans(query.wide, wide, distance=distance)


def identify(
    queries: Iterable[str | os.PathLike],
    references: References,
    embedder: Recording2Windows,
    *,
    top: int = TOP,
    threshold: float = THRESHOLD,
) -> list[Answer]:
    """Answers for several recordings, in their order; see :class:`Identifier`.

    Raises:
        AudioError: a recording cannot be used.
        UserError: the model does not fit the references.
    """
    identifier = Identifier(references, embedder)
    return [identifier(query, top=top, threshold=threshold) for query in queries]


def each_answer(
    queries: Sequence[Path], identifier: Identifier, *, top: int, threshold: float
) -> Iterator[Answer | tuple[Path, str]]:
    """Answers one by one; a recording that cannot be used gives its path and the reason."""
    for query in queries:
        try:
            yield identifier(query, top=top, threshold=threshold)
        except UserError as error:
            yield query, str(error)
