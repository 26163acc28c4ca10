"""Fits :mod:`src.corpus.note_chroma` to the cremaPCP of rendered versions.

The notes of a rendered version are played again from its row: works, seed and version are known,
and the choices must come out as they were, else another arranger made it and it is passed over.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import logit
from torch.nn import functional

from src.corpus.dice import generator
from src.corpus.maker import MakerSettings, play_job
from src.corpus.note_activity import Played, note_activity
from src.corpus.note_chroma import CREMA_VERSION, SCORES, Residual, sigmoid
from src.corpus.note_network import NoteNetwork
from src.corpus.plan import Job
from src.corpus.tune import Tune, load_tunes
from src.data.crema_features import read_features
from src.data.manifest import read_manifest
from src.data.recordings import locate
from src.errors import UserError
from src.files import read_json

CROP = 256  # frames, 24 s
BATCH = 8
LEARNING_RATE = 0.015
_LIMIT = 1e-3  # logits of cremaPCP are taken between this and its complement
_KNOTS = 9
_LONGEST_LAG = 60  # frames of which the memory of the residual is fitted


@dataclass(frozen=True, slots=True)
class Pair:
    """Note activity ``(T, 12, 6)`` and cremaPCP ``(T, 12)`` of one rendered version."""

    song: str
    activity: np.ndarray
    pcp: np.ndarray


@dataclass(frozen=True, slots=True)
class Agreement:
    """Modelled against real chroma: binary cross entropy in nats, correlation within frames."""

    entropy: float
    correlation: float


@dataclass(frozen=True, slots=True)
class Fit:
    """What was fitted, and how well it agrees with cremaPCP of works that it has not seen.

    ``raw`` is the activity itself, ``mean`` the network, ``drawn`` the network with its noise.
    """

    network: NoteNetwork
    residual: Residual
    raw: Agreement
    mean: Agreement
    drawn: Agreement
    floor: float  # entropy of cremaPCP itself: no model has less


def fit_corpus(
    folder: Path,
    *,
    works: int,
    held_out: int,
    steps: int,
    seed: int,
    report: Callable[[int, float], None] | None = None,
) -> Fit:
    """Fit on one version each of ``works`` works of a rendered corpus; ``held_out`` others judge.

    Raises:
        UserError: the corpus or its tunes are missing, or too few versions are of this arranger.
    """
    config = read_json(folder / "corpus.json")["config"]
    settings = MakerSettings(
        config["seed"], tuple(config["duration"]), config["sample_rate"], {}, config["recordings"]
    )
    tunes = [tune for path in config["tunes"] for tune in load_tunes(path)]
    found = read_pairs(folder, tunes, settings, seed=seed)
    pairs = list(islice(found, works + held_out))
    if len(pairs) < works + held_out:
        raise UserError(
            f"only {len(pairs)} versions of {folder} are as this program arranges them, "
            f"{works + held_out} are asked for; render the corpus again or ask for fewer"
        )
    judges, pairs = pairs[:held_out], pairs[held_out:]
    network = fit_network(pairs, steps=steps, seed=seed, report=report)
    residual = fit_residual(expected_logits(network, pairs), pairs)
    logits = expected_logits(network, judges)
    rng = generator(seed, "judges")
    return Fit(
        network,
        residual,
        agreement([raw_chroma(pair.activity) for pair in judges], judges),
        agreement([sigmoid(x) for x in logits], judges),
        agreement([sigmoid(residual.draw(x, rng)) for x in logits], judges),
        agreement([pair.pcp for pair in judges], judges).entropy,
    )


def read_pairs(
    folder: Path, tunes: Sequence[Tune], settings: MakerSettings, *, seed: int
) -> Iterator[Pair]:
    """Pairs of a corpus, one version a work, works in random order.

    Raises:
        UserError: the manifest is missing.
    """
    by_work = {tune.work: tune for tune in tunes}
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in read_manifest(folder / "dataset.txt", required=("utt", "song", "features")):
        rows[row["song"]].append(row)
    rng = generator(seed, "pairs")
    for song in rng.permutation(sorted(rows)):
        members = rows[song]
        row = members[int(rng.integers(len(members)))]
        arrangement = row["choices"]["arrangement"]
        tune = by_work.get(arrangement.get("work"))
        if tune is None:
            continue
        job = Job(row["utt"], tune, arrangement["version"], arrangement["setting"])
        for candidate in (Job(row["utt"], tune, arrangement["version"]), job):
            performance = play_job(settings, candidate)
            if json.loads(json.dumps(performance.choices)) == arrangement:
                break
        else:
            continue
        played = Played(performance, row["choices"]["recording"], row["dur_s"])
        pcp = read_features(locate(row["features"], folder), CREMA_VERSION)
        activity = note_activity(played)
        frames = min(len(pcp), len(activity))
        yield Pair(song, activity[:frames], pcp[:frames])


def fit_network(
    pairs: Sequence[Pair],
    *,
    steps: int,
    seed: int,
    width: int = 8,
    report: Callable[[int, float], None] | None = None,
) -> NoteNetwork:
    """Least binary cross entropy of random crops, by AdamW with one cycle of the rate.

    Args:
        report: called with step and loss after every step.
    """
    torch.manual_seed(seed)
    rng = generator(seed, "crops")
    usable = [pair for pair in pairs if len(pair.pcp) >= CROP]
    if not usable:
        raise UserError(f"no version has {CROP} frames; give a corpus of longer versions")
    network = NoteNetwork(width)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    for step in range(steps):
        crops = [_crop(usable[int(i)], rng) for i in rng.integers(0, len(usable), BATCH)]
        activity, pcp = (torch.from_numpy(np.stack(part)) for part in zip(*crops, strict=True))
        loss = functional.binary_cross_entropy_with_logits(network(activity), pcp)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if report is not None:
            report(step + 1, float(loss))
    return network.eval()


def _crop(pair: Pair, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    start = int(rng.integers(0, len(pair.pcp) - CROP + 1))
    return pair.activity[start : start + CROP], pair.pcp[start : start + CROP]


def expected_logits(network: NoteNetwork, pairs: Sequence[Pair]) -> list[np.ndarray]:
    """Logits ``(T, 12)`` of every pair."""
    with torch.inference_mode():
        return [network(torch.from_numpy(pair.activity)[None])[0].numpy() for pair in pairs]


def fit_residual(logits: Sequence[np.ndarray], pairs: Sequence[Pair]) -> Residual:
    """Distribution of cremaPCP given the logits, and how its scores hang together."""
    given = np.concatenate(logits).ravel()
    real = [logit(np.clip(pair.pcp, _LIMIT, 1 - _LIMIT)) for pair in pairs]
    found = np.concatenate(real).ravel()
    edges = np.quantile(given, np.linspace(0, 1, _KNOTS + 1))
    levels = 0.5 * (1 + torch.erf(torch.from_numpy(SCORES) / 2**0.5).numpy())
    knots, quantiles = [], []
    for low, high in pairwise(edges):
        inside = (given >= low) & (given <= high)
        knots.append(given[inside].mean())
        quantiles.append(np.quantile(found[inside], levels))
    residual = Residual(
        np.array(knots), np.array(quantiles), np.array([0.5, 0.5, 0.0]), np.zeros(2), np.eye(12)[0]
    )
    scores = [_scores(residual, x, y) for x, y in zip(logits, real, strict=True)]
    shares, memory = _fit_memory(_autocorrelation(scores))
    pitch = np.mean(
        [[np.mean(z * np.roll(z, k, axis=1)) for k in range(12)] for z in scores], axis=0
    )
    return Residual(residual.knots, residual.quantiles, shares, memory, pitch / pitch[0])


def _scores(residual: Residual, logits: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Normal scores ``(T, 12)`` of what was found: the inverse of :meth:`Residual.at`."""
    rows = residual.rows(logits)
    width = np.maximum(np.diff(rows, axis=-1), 1e-6)
    place = np.clip((real[..., None] - rows[..., :-1]) / width, 0, 1).sum(-1)
    return SCORES[0] + place * (SCORES[1] - SCORES[0])


def _autocorrelation(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Over time, of lags 0 to _LONGEST_LAG, 1 at lag 0; the mean of a version is not removed."""
    lags = range(_LONGEST_LAG + 1)
    sums = np.array([[np.sum(z[k:] * z[: len(z) - k]) for k in lags] for z in scores]).sum(0)
    counts = np.array([[z[k:].size for k in lags] for z in scores]).sum(0)
    values = sums / counts
    return values / values[0]


def _fit_memory(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two decays and a constant that together come nearest to the autocorrelation."""
    lags = np.arange(len(correlation))
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for quick in np.linspace(0.0, 0.9, 19):
        for slow in 1 - np.geomspace(0.008, 0.1, 12):
            parts = np.stack([quick**lags, slow**lags, np.ones(len(lags))])
            # The three shares are positive and add up to 1: two differences are fitted.
            basis = (parts[:2] - parts[2]).T
            shares = np.linalg.lstsq(basis, correlation - parts[2], rcond=None)[0]
            shares = np.append(shares, 1 - shares.sum())
            shares = np.clip(shares, 0, None)
            shares /= shares.sum()
            error = float(np.square(shares @ parts - correlation).sum())
            if best is None or error < best[0]:
                best = error, shares, np.array([quick, slow])
    assert best is not None
    return best[1], best[2]


def agreement(chromas: Sequence[np.ndarray], pairs: Sequence[Pair]) -> Agreement:
    """How near chromas ``(T, 12)`` in 0..1 come to cremaPCP; means over frames, then versions."""
    entropies, correlations = [], []
    for chroma, pair in zip(chromas, pairs, strict=True):
        p = np.clip(chroma, 1e-4, 1 - 1e-4)
        entropies.append(-np.mean(pair.pcp * np.log(p) + (1 - pair.pcp) * np.log(1 - p)))
        correlations.append(frame_correlation(chroma, pair.pcp))
    return Agreement(float(np.mean(entropies)), float(np.mean(correlations)))


def frame_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation over the 12 pitch classes, mean over frames."""
    a = a - a.mean(1, keepdims=True)
    b = b - b.mean(1, keepdims=True)
    norm = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return float(np.mean((a * b).sum(1) / np.maximum(norm, 1e-6)))


def raw_chroma(activity: np.ndarray) -> np.ndarray:
    """What needs no fitting: the loudest player of each pitch class, ``(T, 12)`` in 0..1."""
    return activity[:, :, :3].max(-1)
