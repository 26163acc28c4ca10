"""Speed of MOVE beside the straightforward network: embedding one track, and a training step.

    python -m benchmarks.move_speed
    python -m benchmarks.move_speed --only train --batch 64 --frames 640
    python -m benchmarks.move_speed --threads 1 --clock cpu       # on a busy machine

"Plain" is the network as published, layer by layer: a 12 x 180 convolution over all keys, PReLU,
max pooling, and four more convolutions. Both forms share their weights. Times are the fastest of
the repetitions, which alternate between the forms so that a busy machine slows both alike.
"""

from collections.abc import Callable

import torch

from benchmarks.measuring import (
    CLOCKS,
    Clock,
    embedding_run,
    fastest,
    network_parser,
    show,
    training_run,
)
from src.device import select_device
from src.errors import run_front
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


def embedding(device: torch.device, frames: int, emb_size: int, repeats: int, clock: Clock) -> None:
    """One track, evaluation mode."""
    torch.manual_seed(0)
    model = MOVEModel(emb_size).to(device).eval()
    track = chroma(1, frames, device)
    runs = {
        name: embedding_run(form, model, track, amp=enabled)
        for name, (form, enabled) in FORMS.items()
    }
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
    clock: Clock,
) -> None:
    """Forward and backward pass of one batch, without the optimizer."""
    torch.manual_seed(0)
    model = MOVEModel(emb_size).to(device).train()
    music = chroma(batch, frames, device)
    factor = torch.randn(batch, emb_size, device=device)
    gradients = {}

    def step(name: str, form: Callable, enabled: bool) -> Callable[[], None]:
        def keep() -> None:
            gradients[name] = model.conv1.weight.grad.cpu()

        def loss() -> torch.Tensor:
            return (form(model, music).float() * factor).sum()

        return training_run(model, loss, device=device, amp=enabled, update=keep)

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
    parser = network_parser(__doc__)
    parser.add_argument(
        "--frames", type=int, nargs="+", default=[1800, 640], help="frames of a training item"
    )
    parser.add_argument("--track", type=int, default=FRAMES_4_MINUTES, help="frames of the track")
    parser.add_argument("--emb_size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=2, help="training steps measured")
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
    run_front(main)
