"""Speed of MOVE beside the straightforward network: embedding one track, and a training step.

    python -m benchmarks.move_speed
    python -m benchmarks.move_speed --only train --batch 64 --frames 640
    python -m benchmarks.move_speed --threads 1 --clock cpu       # on a busy machine

"Plain" is the network as published, layer by layer: a 12 x 180 convolution over all keys, PReLU,
max pooling, and four more convolutions. Both forms share their weights. Times are the fastest of
the repetitions, which alternate between the forms so that a busy machine slows both alike.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from src.device import autocast, select_device
from src.models.move import MOVEModel
from src.models.pitch_correlation import PITCH_CLASSES

FRAMES_4_MINUTES = 2584  # 4 minutes at 4096 samples a frame and 44.1 kHz
HELD_FRAMES = 8  # chords last longer than a frame


def plain(model: MOVEModel, chroma: torch.Tensor) -> torch.Tensor:
    """The network as published."""
    x = model.key_pool(model.prelu1(model.conv1(chroma)))
    for number in range(2, 6):
        x = getattr(model, f"prelu{number}")(getattr(model, f"conv{number}")(x))
    return model.head(model.summary(x.squeeze(2)))


FORMS = {
    "plain": (plain, False),
    "plain, 16 bits": (plain, True),
    "fast": (MOVEModel.forward, False),
    "fast, 16 bits": (MOVEModel.forward, True),
}


def chroma(batch: int, frames: int, device: torch.device) -> torch.Tensor:
    """Seeded doubled chroma ``(batch, 1, 23, frames)``."""
    held = torch.rand(batch, PITCH_CLASSES, frames // HELD_FRAMES + 1)
    pitch_classes = held.repeat_interleave(HELD_FRAMES, dim=2)[..., :frames]
    return torch.cat([pitch_classes, pitch_classes], dim=1)[:, None, :23].contiguous().to(device)


CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def fastest(
    runs: dict[str, Callable[[], object]], repeats: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of every run, best first; the first, unmeasured round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if turn:
                seconds[name].append(clock() - start)
    return {name: sorted(values) for name, values in seconds.items()}


def show(title: str, seconds: dict[str, list[float]], notes: dict[str, str]) -> None:
    """Print one table; the first row is the yardstick."""
    yardstick = next(iter(seconds.values()))[0]
    print(f"\n{title}")
    print(f"{'form':<16}{'best':>11}{'median':>11}{'ratio':>9}   note")
    for name, values in seconds.items():
        best, median = (f"{1000 * s:.1f} ms" for s in (values[0], statistics.median(values)))
        ratio = f"{yardstick / values[0]:.2f}x"
        print(f"{name:<16}{best:>11}{median:>11}{ratio:>9}   {notes.get(name, '')}")


def embedding(
    device: torch.device, frames: int, emb_size: int, repeats: int, clock: Callable[[], float]
) -> None:
    """One track, evaluation mode."""
    torch.manual_seed(0)
    model = MOVEModel(emb_size).to(device).eval()
    track = chroma(1, frames, device)

    def run(form: Callable, enabled: bool) -> Callable[[], torch.Tensor]:
        def embed() -> torch.Tensor:
            with torch.no_grad(), autocast(device, enabled=enabled):
                return form(model, track).cpu()

        return embed

    runs = {name: run(form, enabled) for name, (form, enabled) in FORMS.items()}
    seconds = fastest(runs, repeats, clock)
    expected = runs["plain"]()
    scale = expected.abs().max()
    notes = {
        name: f"largest relative difference {(run() - expected).abs().max() / scale:.1e}"
        for name, run in runs.items()
    }
    show(f"Embedding of one track of {frames} frames, size {emb_size}", seconds, notes)


def training(
    device: torch.device,
    batch: int,
    frames: int,
    emb_size: int,
    repeats: int,
    clock: Callable[[], float],
) -> None:
    """Forward and backward pass of one batch, without the optimizer."""
    torch.manual_seed(0)
    model = MOVEModel(emb_size).to(device).train()
    music = chroma(batch, frames, device)
    factor = torch.randn(batch, emb_size, device=device)
    gradients = {}

    def step(name: str, form: Callable, enabled: bool) -> Callable[[], None]:
        def run() -> None:
            model.zero_grad()
            with autocast(device, enabled=enabled):
                output = form(model, music)
            (output * factor).sum().backward()
            gradients[name] = model.conv1.weight.grad.cpu()

        return run

    runs = {name: step(name, form, enabled) for name, (form, enabled) in FORMS.items()}
    seconds = fastest(runs, repeats, clock)
    expected = gradients["plain"]
    notes = {
        name: f"first layer's gradient differs by {((g - expected).norm() / expected.norm()):.1e}"
        for name, g in gradients.items()
    }
    show(f"Training step, batch {batch} x {frames} frames, size {emb_size}", seconds, notes)


def main() -> None:
    """Parse the command line and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["embed", "train"], help="default: both")
    parser.add_argument("--batch", type=int, default=64, help="items of a training batch")
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[1800, 640], help="frames of a training item"
    )
    parser.add_argument("--track", type=int, default=FRAMES_4_MINUTES, help="frames of the track")
    parser.add_argument("--emb_size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=2, help="training steps measured")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--threads", type=int, help="default: all cores")
    parser.add_argument(
        "--clock", choices=sorted(CLOCKS), default="wall", help="cpu: processor time of all threads"
    )
    arguments = parser.parse_args()
    device, clock = select_device(arguments.device), CLOCKS[arguments.clock]
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {device}, {threads} thread(s), {arguments.clock} time")
    size, repeats = arguments.emb_size, arguments.repeats
    if arguments.only != "train":
        embedding(device, arguments.track, size, max(10, repeats), clock)
    if arguments.only != "embed":
        for frames in arguments.frames:
            training(device, arguments.batch, frames, size, repeats, clock)


if __name__ == "__main__":
    main()
