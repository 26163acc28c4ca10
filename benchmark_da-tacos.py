"""Front of :mod:`src.data.da_tacos`: download and prepare the Da-TACOS benchmark subset."""

import argparse
import os
from collections.abc import Sequence

from src.errors import run_front


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="benchmark_da-tacos.py",
        description="Downloading and preprocessing cremaPCP features of the Da-TACOS benchmark "
        "subset",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--outputdir", default="./data", help="Directory to store the dataset")
    parser.add_argument("--unpack", action="store_true", help="Unpack the zip files")
    parser.add_argument("--remove", action="store_true", help="Remove zip files after unpacking")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = build_parser().parse_args(argv)
    from src.data import da_tacos  # after the flags: --help needs no torch

    da_tacos.prepare_benchmark(
        arguments.outputdir,
        unpack=arguments.unpack,
        remove=arguments.remove,
        mirror=os.environ.get(da_tacos.MIRROR_VARIABLE),
        report=lambda line: print(line, flush=True),
    )


if __name__ == "__main__":
    run_front(main)
