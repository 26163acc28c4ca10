"""The list of a folder of recordings, for the tools that read a dataset.txt.

    python -m tools.make_dataset RECORDINGS DATA_DIR

RECORDINGS has one sub-folder for every work, with its versions in it. Writes DATA_DIR/dataset.txt;
the recordings stay where they are.
"""

import argparse
import logging
from pathlib import Path

from src.data.manifest import write_manifest
from src.data.recordings import MANIFEST, dataset_rows, walk_folder
from src.errors import UserError, run_front


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.make_dataset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, metavar="RECORDINGS", help="folder of folders")
    parser.add_argument("output", type=Path, metavar="DATA_DIR", help="where to write the list")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if not arguments.source.is_dir():
        raise UserError(f"{arguments.source} is no folder; give the folder with the recordings")
    rows = dataset_rows(walk_folder(arguments.source))
    path = arguments.output / MANIFEST
    write_manifest(rows, path)
    print(f"{path}: {len(rows)} recordings of {len({row['song'] for row in rows})} works")


if __name__ == "__main__":
    run_front(main)
