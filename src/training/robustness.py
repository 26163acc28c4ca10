"""mAP against the strength of a change that happens to the queries only."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from src.audio.decode import load_audio
from src.data.in_parallel import in_parallel
from src.data.sound_features import Sound2Features, decoded
from src.errors import UserError
from src.retrieval.collection import Collection
from src.retrieval.plots import new_panels, save_figure
from src.training.comparison import Interval, Row, difference, make_row, write_csv
from src.training.evaluation import versions_to_find
from src.training.methods import Method
from src.training.sound_changes import KINDS, Change

RECORDINGS_AT_ONCE = 8  # whose sound is held
CSV_COLUMNS = (
    "set", "change", "unit", "strength", "method", "model", "mAP", "mAP_low", "mAP_high", "gain",
    "gain_low", "gain_high", "MR", "Top1",
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One method under one change.

    Attributes:
        row: the method with its figures.
        change: what happened to the queries; None: nothing.
        gain: mAP minus that of the unchanged queries; None where nothing was changed.
        gain_interval: 95 % of it, bootstrap over works.
    """

    row: Row
    change: Change | None
    gain: float | None = None
    gain_interval: Interval = None


def robustness(
    collection: Collection,
    methods: Sequence[Method],
    changes: Sequence[Change],
    *,
    device: torch.device,
    resamples: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> list[Point]:
    """Change every recording, and look for its versions among the unchanged ones.

    Features are made from the sound under every change and kept nowhere; a recording is never
    its own reference, in whatever form.

    Args:
        collection: recordings with sound.
        methods: what to measure.
        changes: one after the other, each on its own.
        device: where to make features.
        resamples, seed: of the bootstrap; the seed is also that of noise and clips.
        progress: show a progress bar.

    Returns:
        For every method the point of the unchanged queries, then one for each change.

    Raises:
        UserError: a recording has no sound or cannot be decoded, one that is changed is too short
            for a method, or no recording has another version.
    """
    versions_to_find(collection.labels)  # before the long work
    paths = collection.sounds()
    conditions: list[Change | None] = [None, *changes]
    described: dict[tuple[str, Change | None], list] = {
        (method.key, change): [] for method in methods for change in conditions
    }
    extract = Sound2Features([method.features for method in methods], device=device)
    total = len(paths) * len(conditions)
    with tqdm(total=total, desc="queries", unit="recording", disable=not progress) as bar:
        for start in range(0, len(paths), RECORDINGS_AT_ONCE):
            block = range(start, min(start + RECORDINGS_AT_ONCE, len(paths)))
            sounds, reasons = in_parallel(
                [paths[i] for i in block], load_audio, workers=os.cpu_count() or 1
            )
            if reasons:
                raise UserError(next(iter(reasons.values())))
            names = [collection.names[i] for i in block]
            for change in conditions:

                def changed(i: int, start=start, sounds=sounds, change=change):
                    sound = sounds[i - start]
                    return sound if change is None else change(sound, seed=(seed, i))

                found = extract(block, changed, names=names)
                for method in methods:
                    tracks = [decoded(method.features, t) for t in found[method.features]]
                    described[method.key, change] += method.describe(tracks, names)
                bar.update(len(block))
    points = []
    for method in methods:
        unchanged = described[method.key, None]
        rows: dict[Change | None, Row] = {}
        for change in conditions:
            queries = described[method.key, change]
            ranking = method.rank(queries, collection.labels, unchanged if change else None)
            rows[change] = row = make_row(
                method.name,
                method.key,
                ranking,
                method.numbers(queries),
                labels=collection.labels,
                resamples=resamples,
                seed=seed,
            )
            if change is None:
                points.append(Point(row, None))
                continue
            gain = difference(row, rows[None], collection.labels, resamples=resamples, seed=seed)
            points.append(Point(row, change, gain.value, gain.interval))
    return points


def robustness_text(points: Sequence[Point]) -> str:
    """One Markdown table for each kind of change: methods by strengths, mAP."""
    tables = []
    for kind, columns in _by_kind(points).items():
        about = KINDS[kind]
        heads = [_text(change, kind) for change in columns]
        lines = [
            f"| {kind} ({about.unit}) | " + " | ".join(heads) + " |",
            "| --- |" + " ---: |" * len(heads),
        ]
        for name, values in _curves(points, columns).items():
            cells = [f"{point.row.evaluation.figures['mAP']:.3f}" for point in values]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _by_kind(points: Sequence[Point]) -> dict[str, list[Change | None]]:
    """The conditions of each kind in the order of a curve, the unchanged ones in their place."""
    kinds: dict[str, list[Change | None]] = {}
    for change in dict.fromkeys(point.change for point in points):
        if change is not None:
            kinds.setdefault(change.kind, []).append(change)
    for kind, changes in kinds.items():
        place = KINDS[kind].place
        changes.append(None)
        changes.sort(key=lambda change: place if change is None else change.strength)
    return kinds


def _curves(points: Sequence[Point], columns: Sequence[Change | None]) -> dict[str, list[Point]]:
    """For each method its points under these conditions."""
    found = {(point.row.name, point.change): point for point in points}
    names = dict.fromkeys(point.row.name for point in points)
    return {name: [found[name, change] for change in columns] for name in names}


def _text(change: Change | None, kind: str) -> str:
    return KINDS[kind].unchanged if change is None else change.text


def write_robustness(points: Sequence[Point], path: str | os.PathLike, *, name: str) -> None:
    """Write every point as CSV, atomically.

    Args:
        points: from :func:`robustness`.
        path: file to write.
        name: of the set.
    """
    rows = []
    for point in points:
        figures = point.row.evaluation.figures
        low, high = point.row.interval or ("", "")
        gain_low, gain_high = point.gain_interval or ("", "")
        rows.append({
            "set": name,
            "change": point.change.kind if point.change else "none",
            "unit": KINDS[point.change.kind].unit if point.change else "",
            "strength": point.change.strength if point.change else "",
            "method": point.row.name, "model": point.row.key,
            "mAP": figures["mAP"], "mAP_low": low, "mAP_high": high,
            "gain": "" if point.gain is None else point.gain,
            "gain_low": gain_low, "gain_high": gain_high,
            "MR": figures["MR"], "Top1": figures["Top1"],
        })  # fmt: skip
    write_csv(path, CSV_COLUMNS, rows)


def plot_robustness(points: Sequence[Point], path: str | os.PathLike) -> None:
    """Write a PNG: a panel for each kind of change, a curve with its 95 % band for each method.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    kinds = _by_kind(points)
    figure, panels = new_panels(len(kinds))
    for axes, (kind, columns) in zip(panels, kinds.items(), strict=True):
        places = np.arange(len(columns))
        for name, values in _curves(points, columns).items():
            curve = [point.row.evaluation.figures["mAP"] for point in values]
            (line,) = axes.plot(places, curve, marker="o", markersize=4, label=name)
            bands = [point.row.interval or (value, value) for point, value in zip(
                values, curve, strict=True)]  # fmt: skip
            low, high = np.array(bands).T
            axes.fill_between(places, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
        axes.axvline(columns.index(None), color="#b8b8b8", linewidth=1, linestyle="--")
        axes.set_xticks(places, [_text(change, kind) for change in columns])
        axes.set(xlabel=f"{kind} ({KINDS[kind].unit})", ylabel="mAP", ylim=(0, 1.02))
        axes.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    save_figure(figure, path)
