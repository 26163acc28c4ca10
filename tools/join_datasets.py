"""Several lists of recordings as one, to train on or to search in.

    python -m tools.join_datasets OUT.txt LIST.txt LIST.txt ... [--exclude LIST.txt ...]

Works are joined by their name (song) and numbered anew; features stay where they are, and OUT.txt
names them by absolute paths.
"""

import argparse
from pathlib import Path

from src.errors import UserError, run_front


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.join_datasets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("output", type=Path, metavar="OUT.txt", help="list to write")
    add("lists", type=Path, nargs="+", metavar="LIST.txt", help="dataset.txt, train.txt, ...")
    add("--exclude", type=Path, nargs="+", default=[], metavar="LIST.txt",
        help="lists whose works are left out, such as a test set's")  # fmt: skip
    add("--same-works", type=Path, metavar="FILE.json", help="works that are one under several "
        "names, as tools.make_tunes writes them: joined, and left out, together")  # fmt: skip
    return parser


def main() -> None:
    arguments = build_parser().parse_args()

    from src.corpus.families import read_same_works
    from src.data.joined import join_datasets
    from src.data.manifest import write_manifest

    if arguments.output.exists():  # the first list, if OUT.txt was forgotten
        raise UserError(f"{arguments.output} exists already; name another file, or remove it")
    same_works = None if arguments.same_works is None else read_same_works(arguments.same_works)
    joined = join_datasets(arguments.lists, exclude=arguments.exclude, same_works=same_works)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(joined.rows, arguments.output)
    # Told also when it is none: then the lists to exclude may have other names for their works.
    left_out = f", {joined.excluded} left out by their works" if arguments.exclude else ""
    print(f"{arguments.output}: {len(joined.rows)} recordings of {joined.works} works{left_out}")


if __name__ == "__main__":
    run_front(main)
