"""Reference embeddings of recordings, for tools.identify and tools.compare.

    python -m tools.make_embeds [MODEL] RECORDINGS REFS

RECORDINGS is a folder with one sub-folder of recordings for every work, or a dataset.txt or
full.txt. The same command again embeds only what is new or has changed.
"""

import argparse
import logging
from pathlib import Path

from src.device import DEVICE_NAMES, select_device
from src.errors import UserError, run_front
from src.training.paths import DEFAULT_MODEL


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.make_embeds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", type=Path, nargs="?", default=DEFAULT_MODEL, metavar="MODEL", help="CoverHunter "
        f"directory, or Re-MOVE model.pt (default: {DEFAULT_MODEL.name})")  # fmt: skip
    add("source", type=Path, metavar="RECORDINGS", help="folder, dataset.txt or full.txt")
    add("output", type=Path, metavar="REFS", help="folder for the references")
    add("--prune", action="store_true",
        help="take out references that are not in RECORDINGS (default: keep them)")  # fmt: skip
    add("--calibrate-model", action="store_true",
        help="also write the distances of different works beside the model, so that tools.compare "
        "can state a confidence without references")  # fmt: skip
    add("--workers", type=int, default=2, help="files read at the same time (default: 2)")
    add("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N")
    cutting = parser.add_argument_group("windows in seconds (default: what fits the model)")
    cutting.add_argument("--window", type=float, metavar="S", help="length of the windows")
    cutting.add_argument("--hop", type=float, metavar="S", help="distance between them")
    return parser


def main() -> None:
    arguments = build_parser().parse_intermixed_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    device = select_device(arguments.device)
    if arguments.workers < 1:
        raise UserError("--workers must be 1 or more")

    from src.retrieval.calibration import model_calibration_path, write_model_calibration
    from src.retrieval.reference_builder import (
        build_references,
        list_recordings,
        open_embedder,
        report_lines,
    )

    embedder = open_embedder(
        arguments.model,
        arguments.output,
        device=device,
        window_s=arguments.window,
        hop_s=arguments.hop,
    )
    recordings = list_recordings(arguments.source, embedder)
    references, report = build_references(
        embedder,
        recordings,
        arguments.output,
        prune=arguments.prune,
        workers=arguments.workers,
        progress=True,
    )
    print("\n".join(report_lines(references, report)))
    if arguments.calibrate_model:
        path = model_calibration_path(arguments.model)
        write_model_calibration(references, path)
        print(f"written: {path}")


if __name__ == "__main__":
    run_front(main)
