"""Copy trained MOVE or Re-MOVE weights, in half precision, to where they are shipped or shared."""

import argparse
from pathlib import Path

from src.errors import run_front
from src.training.checkpoint import export_move


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.export_model", description=__doc__)
    parser.add_argument("source", type=Path, help="weights of a training run, model_<name>.pt")
    parser.add_argument("target", type=Path, help="file to write; a .json is written beside it")
    parser.add_argument("--full", action="store_true", help="keep 32-bit floats")
    arguments = parser.parse_args()
    size = export_move(arguments.source, arguments.target, half=not arguments.full)
    print(f"{arguments.target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_front(main)
