"""Time and memory of an evaluation, beside the straightforward form that holds N x N matrices.

    python -m benchmarks.evaluation_speed [--threads 2] [--small]

Every line of the table runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import time

import numpy as np
import torch

from benchmarks.measuring import in_own_process, peak_bytes
from src.retrieval.metrics import average_precision, summarise
from src.retrieval.ranking import rank_relevant
from src.retrieval.relevance import relevance_from_labels

DIMENSIONS = 256
NOISE = 2 / 15  # Da-TACOS: 13,000 recordings of 1,000 works and 2,000 recordings without a version
VERSIONS = 13
SEED = 0


def collection(n: int) -> tuple[torch.Tensor, np.ndarray]:
    """Embeddings ``(n, 256)`` and labels in the proportions of the Da-TACOS benchmark subset."""
    generator = torch.Generator().manual_seed(SEED)
    in_works = n - round(n * NOISE)
    labels = np.concatenate([np.arange(in_works) // VERSIONS, n + np.arange(n - in_works)])
    centres = torch.randn(n // VERSIONS + 1, DIMENSIONS, generator=generator)
    embeddings = torch.randn(n, DIMENSIONS, generator=generator)
    embeddings[:in_works] += 0.5 * centres[labels[:in_works]]
    return embeddings, labels


def streamed(n: int, queries: int, distance: str) -> dict[str, float]:
    """Our evaluation: nothing larger than a block of queries."""
    embeddings, labels = collection(n)
    start = time.perf_counter()
    if queries == n:
        ranking = rank_relevant(embeddings, None, labels, distance=distance)
    else:
        # A sample of the recordings looks for itself and its versions.
        picked = np.random.default_rng(SEED).choice(n, queries, replace=False)
        ranking = rank_relevant(
            embeddings[picked], embeddings, labels[picked], labels,
            distance=distance, exclude_self=False,
        )  # fmt: skip
    figures = summarise(ranking)
    return {"seconds": time.perf_counter() - start, **figures}


def straightforward(n: int, queries: int, distance: str) -> dict[str, float]:
    """Whole matrices: squared distances, a full sort, the ground truth looked up along it."""
    embeddings, labels = collection(n)
    start = time.perf_counter()
    codes = torch.from_numpy(labels)
    ytrue = (codes[:, None] == codes[None, :]).float().fill_diagonal_(0)
    squares = embeddings.square().sum(1)
    similarity = -(squares[:, None] + squares[None, :] - 2 * embeddings @ embeddings.T)
    similarity = (similarity / DIMENSIONS).fill_diagonal_(-torch.inf)
    found = ytrue.gather(1, similarity.sort(dim=1, descending=True).indices)
    rank = torch.arange(1, n + 1).float()
    precision = found.cumsum(1) / rank * found
    number = found.sum(1)
    ap = (precision.sum(1) / number.clamp(min=1))[number > 0]
    return {"seconds": time.perf_counter() - start, "mAP": float(ap.mean())}


def agreement(n: int, queries: int, distance: str) -> dict[str, float]:
    """Largest difference of the five figures from those of the whole matrix."""
    embeddings, labels = collection(n)
    ours = summarise(rank_relevant(embeddings, None, labels))
    squares = embeddings.square().sum(1)
    similarity = 2 * embeddings @ embeddings.T - squares - squares[:, None]
    relevance = relevance_from_labels(labels)
    ytrue = torch.zeros(n, n)
    ytrue[np.repeat(np.arange(n), relevance.counts), relevance.columns] = 1
    whole = average_precision(similarity.fill_diagonal_(-torch.inf), ytrue)
    return {"difference": max(abs(ours[name] - whole[name]) / whole[name] for name in whole)}


FORMS = {"streamed": streamed, "straightforward": straightforward, "agreement": agreement}


def measured(form: str, n: int, queries: int, distance: str, threads: int) -> dict:
    """Run one form in a fresh process, which adds its peak memory in GB."""
    one = ("--one", form, n, queries, distance, "--threads", threads)
    return in_own_process("benchmarks.evaluation_speed", one)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: 2)")
    parser.add_argument("--small", action="store_true", help="a tenth of every size, as a trial")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.one:
        form, n, queries, distance = arguments.one
        result = FORMS[form](int(n), int(queries), distance)
        print(json.dumps({**result, "peak_gb": peak_bytes() / 1e9}))
        return
    scale = 10 if arguments.small else 1
    full, medium, large = 15_000 // scale, 5_000 // scale, 100_000 // scale
    print(f"{DIMENSIONS}-d embeddings, {arguments.threads} CPU threads, torch {torch.__version__}")
    print(f"{'form':16} {'distance':10} {'queries x references':>21} {'seconds':>8} {'peak GB':>8}")
    seconds = {}
    for form, n, queries, distance in (
        ("streamed", full, full, "euclidean"),
        ("streamed", full, full, "cosine"),
        ("streamed", full, full, "pearson"),
        ("streamed", large, 1000, "euclidean"),
        ("streamed", medium, medium, "euclidean"),
        ("straightforward", medium, medium, "euclidean"),
    ):
        result = measured(form, n, queries, distance, arguments.threads)
        seconds[form] = result["seconds"]
        size = f"{queries:,} x {n:,}"
        print(
            f"{form:16} {distance:10} {size:>21} {result['seconds']:8.2f} {result['peak_gb']:8.2f}"
        )
    ratio = seconds["straightforward"] / seconds["streamed"]
    print(f"at {medium:,} x {medium:,}: {ratio:.1f} times as fast as the straightforward form")
    found = measured("agreement", medium, medium, "euclidean", arguments.threads)
    print(f"largest relative difference of the five figures: {found['difference']:.1e}")


if __name__ == "__main__":
    main()
