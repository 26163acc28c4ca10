"""Fit a Re-MOVE model to recordings of one's own, without training: for a few dozen works.

    python -m tools.adapt RECORDINGS OUT.pt

RECORDINGS is a folder with one sub-folder of versions for every work, or a dataset.txt. Says what
the fit does for works that it has not seen; then writes a model for tools.make_embeds --
python -m tools.make_embeds OUT.pt RECORDINGS REFS -- which knows how your recordings differ.
"""

import argparse
import logging
import os
from pathlib import Path

from src.device import DEVICE_NAMES, select_device
from src.errors import UserError, run_front
from src.training.paths import DEFAULT_MODEL


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.adapt",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", type=Path, metavar="RECORDINGS", help="folder, or dataset.txt")
    add("output", type=Path, metavar="OUT.pt", help="model to write, a .json beside it")
    add("--model", type=Path, default=DEFAULT_MODEL, metavar="MODEL.pt",
        help=f"Re-MOVE model to fit (default: {DEFAULT_MODEL.name})")  # fmt: skip
    add("--workers", type=int, default=os.cpu_count() or 1, help="files read at the same time")
    add("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N")
    return parser


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    device = select_device(arguments.device)
    if arguments.workers < 1:
        raise UserError("--workers must be 1 or more")
    if arguments.output.suffix != ".pt":
        raise UserError(f"{arguments.output} must end with .pt; it is a model")

    from src.data.recordings import find_recordings
    from src.training.adapt_run import adapt_model

    adapted = adapt_model(
        arguments.model,
        find_recordings(arguments.source),
        arguments.output,
        device=device,
        workers=arguments.workers,
        progress=True,
    )
    for name, reason in adapted.failures.items():
        print(f"left out: {name}: {reason}")
    print("\n".join(adapted.lines()))


if __name__ == "__main__":
    run_front(main)
