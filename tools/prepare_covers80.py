"""Data preparation for Covers80: covers80.tgz -> data/covers80/wav_16k.

    python -m tools.prepare_covers80                 # downloads the archive (164 MB)
    python -m tools.prepare_covers80 covers80.tgz    # or the folder it was unpacked to

Recordings that are there already are kept.
"""

import argparse
import logging
import os
from pathlib import Path

from src.errors import UserError, run_front

EXIT_INCOMPLETE = 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.prepare_covers80",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("archive", nargs="?", type=Path, metavar="covers80.tgz",
        help="the archive or the folder it was unpacked to (default: download it)")  # fmt: skip
    add("--out", type=Path, default=Path("data", "covers80"), metavar="FOLDER",
        help="default: data/covers80")  # fmt: skip
    add("--workers", type=int, default=os.cpu_count() or 1, metavar="N",
        help="recordings converted at the same time")  # fmt: skip
    return parser


def main() -> int:
    arguments = build_parser().parse_args()
    if arguments.workers < 1:
        raise UserError("--workers must be 1 or more")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)

    from src.data.covers80 import prepare_covers80

    out = arguments.out
    done = prepare_covers80(arguments.archive, out, workers=arguments.workers, progress=True)
    for path, reason in done.failures.items():
        print(f"left out: {path}: {reason}")
    for path in done.missing:
        if path.as_posix() not in done.failures:
            print(f"missing in the archive: {path}")
    for name in done.unlisted:
        print(f"not in {out / 'dataset.txt'}, so not used: {name}")
    for path, found, listed in done.odd:
        print(f"{path} lasts {found:.1f} s, but {listed:.1f} s are listed: another recording?")
    print(f"{len(done.present)} recordings of {done.works} works are there, {done.made} made now")
    if done.missing:
        print(f"{len(done.missing)} recordings are missing; see above")
        return EXIT_INCOMPLETE
    print(f"next: python -m tools.extract_csi_features {out.as_posix()}/")
    return 0


if __name__ == "__main__":
    run_front(main)
