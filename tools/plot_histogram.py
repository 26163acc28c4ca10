"""Distances of versions of one work and of different works, as a picture.

python -m tools.plot_histogram REFS OUT.png
python -m tools.plot_histogram DISTANCES.npz OUT.png     # of tools.eval_testset -dist_name
"""

import argparse
from pathlib import Path

from src.errors import run_front


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.plot_histogram",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="references, or a distance matrix")
    add("output", type=Path, metavar="OUT.png")
    add("--query", type=Path, metavar="QUERY.txt", help="works of the rows of a bare .npy matrix")
    add("--ref", type=Path, metavar="REF.txt", help="works of its columns, if others")
    add("--title", default="", help="put before the figures in the title")
    arguments = parser.parse_args()

    from src.retrieval.histogram import plot_histogram, separation_of

    result = separation_of(arguments.source, query_path=arguments.query, ref_path=arguments.ref)
    title = f"{arguments.title}: " if arguments.title else ""
    plot_histogram(result, arguments.output, title=title)
    print(
        f"pairs of one work: {len(result.same)}, mean distance {result.same.mean():.3f}\n"
        f"pairs of different works: {len(result.different)}, mean distance "
        f"{result.different.mean():.3f}\n"
        f"equal error rate: {100 * result.equal_error_rate:.1f} % at distance "
        f"{result.threshold:.3f}; d' = {result.d_prime:.2f}\n"
        f"written: {arguments.output}"
    )


if __name__ == "__main__":
    run_front(main)
