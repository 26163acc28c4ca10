"""CQT features of the recordings in a folder, as CoverHunter is trained and tested on.

    python -m tools.extract_csi_features data/covers80/

The folder holds dataset.txt (one recording a line) and hparams.yaml (tempo copies, noise, CQT,
split). Recordings may be wav, flac, ogg, mp3, m4a, ... The run can be stopped at any moment; the
same command continues where it was.
"""

import argparse
import logging
import os
from pathlib import Path

from src.device import DEVICE_NAMES
from src.errors import UserError, run_front

EXIT_LEFT_OUT = 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.extract_csi_features",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("folder", metavar="FOLDER", help="with dataset.txt and hparams.yaml")
    add("--start_stage", "--start-stage", type=int, default=0, metavar="N",
        help="0 lines, 3 tempo copies, 4 CQT, 5 noise, 8 ids, 13 split (default: 0)")  # fmt: skip
    add("--end_stage", "--end-stage", type=int, default=13, metavar="N", help="default: 13")
    add("--workers", type=int, metavar="N",
        help="recordings worked on at the same time (default: num_workers of hparams.yaml, "
        "or else the number of processors)")  # fmt: skip
    add("--device", help=f"for the CQT: {', '.join(DEVICE_NAMES)} or cuda:N "
        "(default: device of hparams.yaml)")  # fmt: skip
    return parser


def main() -> int:
    arguments = build_parser().parse_args()
    if arguments.workers is not None and arguments.workers < 1:
        raise UserError("--workers must be 1 or more")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("sox").setLevel(logging.ERROR)  # it praises other effects for every file

    from src.config import load_extract_hparams
    from src.data.csi_pipeline import extract_csi
    from src.data.csi_settings import extract_settings

    folder = Path(arguments.folder)
    hparams = load_extract_hparams(folder)
    outcome = extract_csi(
        folder,
        extract_settings(hparams),
        start_stage=arguments.start_stage,
        end_stage=arguments.end_stage,
        workers=arguments.workers or hparams.num_workers or os.cpu_count() or 1,
        device=arguments.device or hparams.device,
        progress=True,
    )
    for note in outcome.notes:
        print(note)
    for name, reason in outcome.failures.items():
        print(f"left out: {name}: {reason}")
    print("written: " + ", ".join(f"{p} ({n} lines)" for p, n in outcome.lines.items()))
    if outcome.failures:
        print(f"{len(outcome.failures)} recordings left out; see above")
        return EXIT_LEFT_OUT
    return 0


if __name__ == "__main__":
    run_front(main)
