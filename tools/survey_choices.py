"""Which choices of a rendered corpus a model survives: mAP of its versions by each choice.

    python -m tools.survey_choices models/coverhunter CORPUS/dataset.txt --csv survey.csv

MODEL is a CoverHunter directory, a Re-MOVE file, or one of the words fourier, qmax and
untrained-move. Every version of the corpus is a query, all others its references.
"""

import argparse
import logging
import sys
from pathlib import Path

from src.device import DEVICE_NAMES, select_device
from src.errors import run_front


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.survey_choices",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL")
    add("corpus", type=Path, metavar="CORPUS/dataset.txt")
    add("--only-works", type=Path, metavar="FILE", help="measure only the versions of these works "
        "(one song a line), such as those not trained on; all others stay references")  # fmt: skip
    add("--csv", type=Path, metavar="FILE", help="write all choices there")
    add("--top", type=int, default=20, metavar="N", help="choices to print (default: 20)")
    add("--bins", type=int, default=4, help="groups of numbers (default: 4)")
    add("--fewest", type=int, default=20, metavar="N", help="queries that a value needs to count "
        "in the difference (default: 20)")  # fmt: skip
    add("--seed", type=int, default=0, help="of the intervals (default: 0)")
    add("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N (default: auto)")
    return parser


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    device = select_device(arguments.device)

    from src.retrieval.collection import open_collection
    from src.retrieval.testset_files import read_labels
    from src.training.method_list import open_method
    from src.training.survey import survey_collection, survey_table, write_survey

    only = arguments.only_works and read_labels(arguments.only_works)
    method = open_method(arguments.model, device=device, seed=arguments.seed)
    collection = open_collection(arguments.corpus, device=device, progress=True)
    choices = survey_collection(
        collection,
        method,
        only=only,
        bins=arguments.bins,
        fewest=arguments.fewest,
        seed=arguments.seed,
    )
    print(survey_table(choices[: arguments.top]))
    if arguments.csv:
        write_survey(choices, arguments.csv)


if __name__ == "__main__":
    run_front(main)
