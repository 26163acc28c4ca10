"""How far a model survives what happens to recordings: mAP against the strength of a change.

    python -m tools.robustness models/coverhunter data/demo
    python -m tools.robustness qmax data/demo --models fourier --changes pitch noise=20,0

MODEL is a CoverHunter directory, a Re-MOVE file, or one of the words fourier, qmax and
untrained-move; SET a manifest (or its folder) whose lines name sound. The queries are changed,
the references are not. Changes and their units:

    pitch    semitones           tempo    1.25 is faster
    noise    dB below the music  length   seconds of a clip
    lowpass  Hz                  mp3      sample rate of a small mp3 in Hz
"""

import argparse
import logging
import sys
from pathlib import Path

from src.device import DEVICE_NAMES, select_device
from src.errors import UserError, run_front


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.robustness",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL")
    add("set", type=Path, metavar="SET")
    add("--models", nargs="+", default=[], metavar="MODEL", help="further models")
    add("--changes", nargs="+", metavar="CHANGE", help="kinds of change, also with strengths: "
        "pitch=-3,3 (default: all kinds)")  # fmt: skip
    add("--csv", type=Path, metavar="FILE", help="write figures and intervals there")
    add("--plot", type=Path, metavar="FILE.png", help="draw the curves there")
    add("--resamples", type=int, default=1000, metavar="N", help="of the works, for the 95 %% "
        "intervals (default: 1000)")  # fmt: skip
    add("--seed", type=int, default=0, help="of noise, clips and intervals (default: 0)")
    add("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N (default: auto)")
    return parser


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    if arguments.resamples < 1:
        raise UserError("--resamples must be 1 or more")
    device = select_device(arguments.device)

    from src.retrieval.collection import open_collection
    from src.training import robustness
    from src.training.method_list import distinct, open_method
    from src.training.sound_changes import KINDS, parse_changes

    changes = parse_changes(arguments.changes or list(KINDS))
    models = [
        open_method(name, device=device, seed=arguments.seed)
        for name in (arguments.model, *arguments.models)
    ]
    collection = open_collection(arguments.set, device=device)
    points = robustness.robustness(
        collection,
        distinct(models),
        changes,
        device=device,
        resamples=arguments.resamples,
        seed=arguments.seed,
        progress=True,
    )
    print(robustness.robustness_text(points))
    if arguments.csv:
        robustness.write_robustness(points, arguments.csv, name=collection.name)
    if arguments.plot:
        robustness.plot_robustness(points, arguments.plot)


if __name__ == "__main__":
    run_front(main)
