"""Fit a model to recordings of one's own, without training: for a few dozen works.

    python -m tools.make_embeds RECORDINGS REFS
    python -m tools.adapt REFS MODEL
    python -m tools.make_embeds MODEL RECORDINGS OTHER_REFS

REFS are references with several versions of their works. Says what the fit does for works that it
has not seen, and writes the model: a .pt file for Re-MOVE, a directory for CoverHunter.
"""

import argparse
import logging
from pathlib import Path

from src.errors import run_front


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.adapt",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("references", type=Path, metavar="REFS", help="folder written by tools.make_embeds")
    add("output", type=Path, metavar="MODEL", help="model to write")
    add("--model", type=Path, help="default: the model that made the references")
    add("--shrinkage", type=float, metavar="SHARE", help="share of the fit that is the same in all "
        "directions, above 0 and at most 1: 0.95 (the default) for some dozens of works, 0.5 for "
        "some hundreds")  # fmt: skip
    return parser


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)

    from src.retrieval.references import References
    from src.training.adapt import SHRINKAGE
    from src.training.adapt_run import adapt_model

    references = References.load(arguments.references)
    shrinkage = SHRINKAGE if arguments.shrinkage is None else arguments.shrinkage
    adapted = adapt_model(references, arguments.output, model=arguments.model, shrinkage=shrinkage)
    print("\n".join(adapted.lines()))


if __name__ == "__main__":
    run_front(main)
