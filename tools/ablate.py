"""Which change matters? A base and its variants, trained and evaluated alike.

    python -m tools.ablate PLAN.yaml OUT_DIR
    python -m tools.ablate PLAN.yaml OUT_DIR --only 'half the works' --table

Every run that ends adds a line to OUT_DIR/runs.jsonl; the same command continues where it was
stopped, and prints the table of what is there.
"""

import argparse
import logging
from pathlib import Path

from src.device import DEVICE_NAMES, select_device
from src.errors import run_front


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.ablate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("plan", type=Path, metavar="PLAN.yaml")
    add("output", type=Path, metavar="OUT_DIR")
    add("--only", nargs="+", default=[], metavar="VARIANT", help="base, or names of variants")
    add("--table", action="store_true", help="train nothing, print the table of what is there")
    add("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N")
    return parser


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    device = select_device(arguments.device)

    from src.training.ablation import Ablation
    from src.training.ablation_plan import load_plan

    ablation = Ablation(load_plan(arguments.plan), arguments.output, device=device)
    if not arguments.table:
        ablation.work(only=arguments.only)
    print(ablation.table())


if __name__ == "__main__":
    run_front(main)
