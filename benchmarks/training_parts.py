"""Time of what surrounds the network in a training step: batches, losses, Ranger.

    python -m benchmarks.training_parts [--threads 1]

Beside each part stands its straightforward form: whole recordings in memory augmented and cropped,
proxies normalised before the product, torch's RAdam with a Lookahead around it.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from src import losses
from src.data.augment import ChromaAugmenter
from src.data.dataset_file import make_label_index, save_dataset_file
from src.data.move_batches import make_loader
from src.training.ranger import Ranger

RECORDINGS, FRAMES, PATCH, BATCH = 600, 2600, 1800, 64
EMB_SIZE, CLASSES = 16000, 2000
SEED = 0


def milliseconds(run: Callable[[], object], repeats: int) -> float:
    """Mean time of ``run`` after one call to warm up."""
    run()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    return 1000 * (time.perf_counter() - start) / repeats


def batches() -> tuple[float, float]:
    """One augmented batch: frames planned first, and whole recordings augmented and cropped."""
    labels = [f"W_{n // 6}" for n in range(RECORDINGS)]
    data = [torch.rand(1, 23, FRAMES) for _ in labels]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chunk_1.pt"
        save_dataset_file(path, data=data, labels=labels, crema_version=None)
        loader = make_loader(
            [path], label_index=make_label_index(labels), loss=0, batch_size=BATCH,
            patch_len=PATCH, augment=True, seed=SEED, epoch=0, mini_epoch=0,
        )  # fmt: skip
        planned = milliseconds(lambda: list(loader), 2) / len(loader)
    decisions, draws = torch.Generator().manual_seed(SEED), np.random.default_rng(SEED)
    augmenter = ChromaAugmenter()

    def whole() -> torch.Tensor:
        patches = []
        for chroma in data[:BATCH]:
            augmented = augmenter(chroma, decisions=decisions, frame_draws=draws)
            patch = augmented[..., :PATCH]
            patches.append(functional.pad(patch, (0, PATCH - patch.shape[-1])))
        return torch.stack(patches)

    return planned, milliseconds(whole, 10)


def normalized_softmax() -> tuple[float, float]:
    """Forward and backward pass at 16,000 dimensions and 2,000 classes."""
    embeddings = torch.randn(BATCH, EMB_SIZE, requires_grad=True)
    proxies = torch.randn(CLASSES, EMB_SIZE, requires_grad=True)
    labels = torch.arange(BATCH)

    def ours() -> None:
        losses.normalized_softmax_loss(embeddings, labels, proxies).backward()

    def plain() -> None:
        cosines = functional.normalize(embeddings) @ functional.normalize(proxies).T
        functional.cross_entropy(cosines / 0.05, labels).backward()

    return milliseconds(ours, 3), milliseconds(plain, 3)


def ranger() -> tuple[float, float]:
    """A step on the last layer of MOVE-16k, 16,000 x 256."""
    weight = torch.nn.Parameter(torch.randn(EMB_SIZE, 256))
    weight.grad = torch.randn_like(weight)
    ours = Ranger([weight], lr=1e-3)
    radam = torch.optim.RAdam(
        [weight], betas=(0.95, 0.999), eps=1e-5, decoupled_weight_decay=True, lr=1e-3
    )
    slow = weight.detach().clone()
    steps = 0

    def plain() -> None:
        nonlocal steps
        steps += 1
        radam.step()
        if steps % 6 == 0:
            slow.lerp_(weight.detach(), 0.5)
            weight.data.copy_(slow)

    return milliseconds(ours.step, 24), milliseconds(plain, 24)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(SEED)
    print(f"{'part':44} {'ours':>10} {'plain':>10}")
    for name, measure in [
        (f"batch of {BATCH} x {PATCH} frames, augmented", batches),
        (f"normalized softmax, {CLASSES} x {EMB_SIZE} proxies", normalized_softmax),
        (f"Ranger step, {EMB_SIZE} x 256 weights", ranger),
    ]:
        ours, plain = measure()
        print(f"{name:44} {ours:7.1f} ms {plain:7.1f} ms")


if __name__ == "__main__":
    main()
