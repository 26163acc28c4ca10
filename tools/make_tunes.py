"""Parse the open tune collections once, into the files that rendering reads.

python -m tools.make_tunes data/tunes --openewld FOLDER --pop909 FOLDER
"""

import argparse
from pathlib import Path

from src.corpus.sources import READERS, WITH_MUSIC21, cached_tunes
from src.errors import run_front


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.make_tunes", description=__doc__)
    parser.add_argument("out_dir", type=Path, help="folder for <collection>.json; kept ones stay")
    parser.add_argument("--openewld", type=Path, metavar="FOLDER", help="OpenEWLD, unpacked")
    parser.add_argument("--pop909", type=Path, metavar="FOLDER", help="POP909, unpacked")
    arguments = parser.parse_args()
    folders = {"openewld": arguments.openewld, "pop909": arguments.pop909}
    for collection in READERS:
        if collection in WITH_MUSIC21 or folders.get(collection) is not None:
            tunes = cached_tunes(collection, arguments.out_dir, folders.get(collection))
            print(f"{arguments.out_dir / collection}.json: {len(tunes)} works")


if __name__ == "__main__":
    run_front(main)
