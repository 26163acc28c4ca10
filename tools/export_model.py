"""Copy trained weights, in half precision, to where they are shipped or shared.

The source is a MOVE or Re-MOVE file (model_<name>.pt) or a CoverHunter model directory, of which
the configuration and the newest checkpoint are copied.
"""

import argparse
from pathlib import Path

from src.errors import run_front
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
    arguments = parser.parse_args()
    export = export_coverhunter if arguments.source.is_dir() else export_move
    size = export(arguments.source, arguments.target, half=not arguments.full)
    print(f"{arguments.target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_front(main)
