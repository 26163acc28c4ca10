"""Which queries are among the references, for tools.eval_testset to leave out.

python -m tools.make_query_in_ref QUERY.txt REF.txt OUT.txt
"""

import argparse
from pathlib import Path

from src.errors import run_front


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.make_query_in_ref",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("query", type=Path, metavar="QUERY.txt", help="manifest of the queries")
    add("ref", type=Path, metavar="REF.txt", help="manifest of the references")
    add("output", type=Path, metavar="OUT.txt", help="written: one line, query_in_ref")
    add("--by", choices=("utt", "file", "content"), default="utt",
        help="what makes two lines the same recording: name (default), path or bytes")  # fmt: skip
    arguments = parser.parse_args()

    from src.data.manifest_overlap import write_query_in_ref

    pairs = write_query_in_ref(arguments.query, arguments.ref, arguments.output, key=arguments.by)
    print(f"{len(pairs)} queries are among the references; written: {arguments.output}")


if __name__ == "__main__":
    run_front(main)
