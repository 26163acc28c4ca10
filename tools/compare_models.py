"""Trained models beside baselines and untrained controls, on sets of recordings, in one table.

    python -m tools.compare_models data/demo/dataset.txt
    python -m tools.compare_models SET SET --rerank 20 --difference lsr fourier --csv table.csv

SET is a manifest (dataset.txt, full.txt) whose lines name sound (wav) or features (feat, features
or file), or the folder of a dataset.txt. Every recording is a query, all others its references.
"""

import argparse
import logging
import sys
from pathlib import Path

from src.config import REPOSITORY
from src.device import DEVICE_NAMES, select_device
from src.errors import UserError, run_front
from src.retrieval.blend import BLEND, check_rerank


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.compare_models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("sets", type=Path, nargs="+", metavar="SET")
    add("--models", type=Path, nargs="+", metavar="PATH", help="CoverHunter directories and "
        "Re-MOVE files (default: all in models/)")  # fmt: skip
    add("--skip-qmax", action="store_true", help="leave out Qmax, which compares every pair of "
        "recordings frame by frame")  # fmt: skip
    add("--skip-untrained", action="store_true", help="leave out the untrained controls")
    add("--rerank", type=int, metavar="K", help="one more row for each embedding: its K nearest "
        "references of each query compared in full, by Qmax, and ordered anew")  # fmt: skip
    add("--rerank-blend", type=float, default=BLEND, metavar="W", help="share of Qmax in the new "
        f"order, from 0 (the embedding alone) to 1 (Qmax alone); default: {BLEND}")  # fmt: skip
    add("--together", nargs=2, action="append", default=[], metavar=("A", "B"),
        help="one more row: the distances of two rows as one, their logarithms added in units of "
        "their spread (may be repeated)")  # fmt: skip
    add("--difference", nargs=2, action="append", default=[], metavar=("A", "B"),
        help="mAP of row A minus row B with its interval; a row by its name, the path of its "
        "model, or a part of one; a row of two by 'A + B' (may be repeated)")  # fmt: skip
    add("--csv", type=Path, metavar="FILE", help="write the figures there as well")
    add("--resamples", type=int, default=2000, metavar="N", help="of the works, for the 95 %% "
        "intervals (default: 2000)")  # fmt: skip
    add("--seed", type=int, default=0, help="of intervals and untrained networks (default: 0)")
    add("--crema", choices=("0.1.0", "0.2.0"), default="0.1.0", help="version of cremaPCP for "
        "what was not trained (default: 0.1.0); a model reads its own")  # fmt: skip
    add("--as-eval-testset", action="store_true", help="cut CoverHunter's windows as "
        "tools.eval_testset does (default: overlapping by half, up to the end)")  # fmt: skip
    add("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N (default: auto)")
    return parser


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    if arguments.rerank is not None:
        check_rerank(arguments.rerank, arguments.rerank_blend)
    if arguments.resamples < 1:
        raise UserError("--resamples must be 1 or more")
    device = select_device(arguments.device)

    from src.retrieval.collection import open_collection
    from src.training import comparison, method_list

    options = {"device": device, "as_testset": arguments.as_eval_testset}
    chosen = method_list.all_methods(
        method_list.open_models(arguments.models, REPOSITORY / "models", **options),
        qmax=not arguments.skip_qmax,
        untrained=not arguments.skip_untrained,
        seed=arguments.seed,
        crema_version=arguments.crema,
        progress=True,
        **options,
    )
    chosen += comparison.rows_together(chosen, arguments.together)
    planned = comparison.planned_rows(chosen, arguments.rerank)
    pairs = [
        tuple(comparison.find_row(wanted, planned) for wanted in pair)
        for pair in arguments.difference
    ]
    sets = [open_collection(path, device=device, progress=True) for path in arguments.sets]
    results = []
    for collection in sets:
        result = comparison.compare_set(
            collection,
            chosen,
            pairs=pairs,
            rerank=arguments.rerank,
            blend=arguments.rerank_blend,
            crema_version=arguments.crema,
            resamples=arguments.resamples,
            seed=arguments.seed,
        )
        print(f"{comparison.result_text(result)}\n", flush=True)
        results.append(result)
    if arguments.csv:
        comparison.write_comparison(arguments.csv, results)


if __name__ == "__main__":
    run_front(main)
