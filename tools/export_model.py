"""Copy trained weights, in half precision, to where they are shipped or shared.

The source is a MOVE or Re-MOVE file (model_<name>.pt) or a CoverHunter model directory, of which
the configuration and the newest checkpoint are copied.
"""

import argparse
from pathlib import Path

from src.errors import UserError, run_front
from src.training.checkpoint import export_coverhunter, export_move


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.export_model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="model_<name>.pt or a CoverHunter directory")
    parser.add_argument(
        "target", type=Path, help="file (a .json is written beside it) or directory to write"
    )
    parser.add_argument("--full", action="store_true", help="keep 32-bit floats")
    parser.add_argument(
        "--average",
        type=int,
        default=1,
        metavar="N",
        help="CoverHunter: the mean of the newest N checkpoints' weights (default: the newest)",
    )
    parser.add_argument(
        "--crema-for-sound",
        choices=("0.1.0", "0.2.0"),
        help="MOVE: the version of crema by which recordings are described for it from now on, "
        "where another than that of its training was found to be better",
    )
    parser.add_argument(
        "--padding",
        type=int,
        metavar="FRAMES",
        help="MOVE: silent frames that it puts before and after a recording from now on",
    )
    arguments = parser.parse_args()
    if arguments.padding is not None and arguments.padding < 0:
        raise UserError("--padding must be 0 or more frames")
    half = not arguments.full
    if arguments.source.is_dir():
        if arguments.crema_for_sound or arguments.padding is not None:
            raise UserError(
                "--crema-for-sound and --padding are for MOVE files; CoverHunter reads a CQT"
            )
        size = export_coverhunter(
            arguments.source, arguments.target, half=half, average=arguments.average
        )
    elif arguments.average == 1:
        size = export_move(
            arguments.source,
            arguments.target,
            half=half,
            crema_for_sound=arguments.crema_for_sound,
            padding=arguments.padding,
        )
    else:
        raise UserError("--average is for CoverHunter directories; leave it out for a MOVE file")
    print(f"{arguments.target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_front(main)
