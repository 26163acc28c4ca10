"""How many shifts an alignment finds, on versions with known offsets.

    python -m benchmarks.alignment_accuracy MODEL_DIR FULL.txt [--hop 15] [--recordings 100]

From the features of each recording versions are made: the start cut off, another tempo, another
key, noise, and all of it. Counted is the share of pairs whose shift is within one window (15 s) of
the true one. MODEL_DIR may be the word ``fourier``: an untrained description of each window, the
mark to beat.

Where a work has several recordings, a second table asks about those: if 30 s are cut from the
start of a version, its shift to every other version must change by 30 s.
"""

import argparse
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from src.data.cqt_features import load_cqt
from src.data.feature_rows import read_feature_rows
from src.device import DEVICE_NAMES
from src.errors import run_front
from src.models.window_embedder import Feature2Embeddings
from src.retrieval.alignment import WINDOW_S, align_pair, align_work
from src.retrieval.known_offsets import Change, changed, true_shift

KINDS = ("cut", "cut, tempo", "cut, key", "cut, noise", "cut, tempo, key, noise")
SHORTEST_S = 90.0
METHODS = {
    "vote of the original": {"original": True},
    "lines": {"agreement": False},
    "lines, agreed": {"agreement": True},
}


class Fourier(nn.Module):
    """Magnitudes of the two-dimensional spectrum of a window: the same in every key."""

    mean_size = 3
    bands = 12

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, t, f = x.shape
        x = x[:, : t - t % 5, : f - f % self.bands].unflatten(1, (-1, 5)).mean(2)
        x = x.unflatten(2, (-1, self.bands)).amax(2)  # octaves laid upon each other
        x = x - x.mean(dim=(1, 2), keepdim=True)
        return torch.fft.fft2(x).abs().pow(0.5)[:, : x.shape[1] // 2 + 1].flatten(1)


def draw(kind: str, generator: np.random.Generator, seconds: float) -> Change:
    tempo = 1.0
    if "tempo" in kind:
        tempo = float(np.exp(generator.uniform(np.log(0.8), np.log(1.25))))
    return Change(
        cut_s=float(generator.uniform(0, min(60, seconds / 3))),
        tempo=tempo,
        bins=int(generator.choice([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5])) if "key" in kind else 0,
        noise_db=6.0 if "noise" in kind else 0.0,
    )


def known_versions(rows, embedder, hop, generator) -> tuple[dict, dict, int]:
    """Pairs found by (kind, method), pairs by kind, and recordings that were long enough."""
    found: dict[tuple[str, str], int] = {}
    total: dict[str, int] = {}
    used = 0
    for row in tqdm(rows, desc="versions", unit="recording"):
        features = load_cqt(row["feat"])
        seconds = len(features) / embedder.frames_per_second
        if seconds < SHORTEST_S:
            continue
        used += 1
        changes = [Change(), *(draw(kind, generator, seconds) for kind in KINDS)]
        versions = [
            changed(features, c, frames_per_second=embedder.frames_per_second, generator=generator)
            for c in changes
        ]
        embeddings, starts = zip(*embedder.embed_features(versions), strict=True)
        for method, options in METHODS.items():
            shifts = align_work(embeddings, starts, hop_s=hop, **options)
            for i, j in combinations(range(len(changes)), 2):
                kind = KINDS[j - 1] if i == 0 else "two changed versions"
                right = abs(shifts[i, j] - true_shift(changes[i], changes[j], seconds)) <= WINDOW_S
                found[kind, method] = found.get((kind, method), 0) + int(right)
                if method == "lines":
                    total[kind] = total.get(kind, 0) + 1
    return found, total, used


def other_versions(rows, embedder, hop, generator) -> dict[str, tuple[int, int]]:
    """Right and all answers by method, for cuts of recordings of the same work."""
    works: dict[object, list] = {}
    for row in rows:
        works.setdefault(row.get("song_id", row.get("song")), []).append(row)
    counts = dict.fromkeys(("vote of the original", "lines"), (0, 0))
    for members in tqdm([m for m in works.values() if len(m) > 1], desc="works", unit="work"):
        recordings = [load_cqt(row["feat"]) for row in members]
        rate = embedder.frames_per_second
        cuts = [Change(cut_s=float(generator.uniform(15, 45))) for _ in recordings]
        cut = [
            changed(x, c, frames_per_second=rate, generator=generator)
            for x, c in zip(recordings, cuts, strict=True)
            if len(x) / rate >= SHORTEST_S
        ]
        if len(cut) < len(recordings):
            continue
        plain, short = list(embedder.embed_features(recordings)), list(embedder.embed_features(cut))
        for i, j in combinations(range(len(members)), 2):
            for method in counts:
                options = {**METHODS[method], "hop_s": hop}
                options.pop("agreement", None)
                before = align_pair(*plain[i], *plain[j], **options)
                after = align_pair(*plain[i], *short[j], **options)
                right, n = counts[method]
                good = abs(after - before - cuts[j].cut_s) <= WINDOW_S
                counts[method] = right + int(good), n + 1
    return counts


def load_model(name: str, device_name: str | None) -> nn.Module:
    if name == "fourier":
        return Fourier().eval()
    from src.retrieval.testset import device_for
    from src.training.checkpoint import load_coverhunter

    model = load_coverhunter(Path(name))
    return model.to(device_for(model, device_name))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL_DIR", help="a model directory, or fourier")
    parser.add_argument("full", type=Path, metavar="FULL.txt")
    parser.add_argument("--hop", type=float, default=WINDOW_S, help="default: 15")
    parser.add_argument("--recordings", type=int, help="so many of them (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the versions (default: 0)")
    parser.add_argument("--device", help=f"{', '.join(DEVICE_NAMES)} or cuda:N")
    arguments = parser.parse_args()
    rows = read_feature_rows(arguments.full)[: arguments.recordings]
    embedder = Feature2Embeddings(
        load_model(arguments.model, arguments.device), chunk_s=WINDOW_S, hop_s=arguments.hop
    )
    generator = np.random.default_rng(arguments.seed)
    found, total, used = known_versions(rows, embedder, arguments.hop, generator)
    print(f"{arguments.model}: versions of {used} recordings, a window every {arguments.hop:g} s; "
          "share of shifts within 15 s of the true one")  # fmt: skip
    print(f"{'what was changed':26} {'pairs':>6} " + " ".join(f"{m:>20}" for m in METHODS))
    for kind, n in total.items():
        shares = " ".join(f"{found[kind, method] / n:20.3f}" for method in METHODS)
        print(f"{kind:26} {n:6} {shares}")
    everything = sum(total.values())
    shares = " ".join(
        f"{sum(found[kind, method] for kind in total) / max(1, everything):20.3f}"
        for method in METHODS
    )
    print(f"{'all':26} {everything:6} {shares}")
    for method, (right, n) in other_versions(rows, embedder, arguments.hop, generator).items():
        if n:
            print(f"other recordings of the work, {method}: {right / n:.3f} of {n} cuts "
                  "change the shift by as much")  # fmt: skip


if __name__ == "__main__":
    run_front(main)
