"""Parse the open tune collections once, into the files that rendering reads.

same_works.json says which works are one across the collections; it may be corrected by hand, and
is made again only when it is not there.

python -m tools.make_tunes data/tunes --openewld FOLDER --pop909 FOLDER
"""

import argparse
from pathlib import Path

from src.corpus.families import find_families, read_same_works, write_same_works
from src.corpus.sources import READERS, WITH_MUSIC21, cached_tunes
from src.errors import run_front


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.make_tunes", description=__doc__)
    parser.add_argument("out_dir", type=Path, help="folder for <collection>.json; kept ones stay")
    parser.add_argument("--openewld", type=Path, metavar="FOLDER", help="OpenEWLD, unpacked")
    parser.add_argument("--pop909", type=Path, metavar="FOLDER", help="POP909, unpacked")
    arguments = parser.parse_args()
    folders = {"openewld": arguments.openewld, "pop909": arguments.pop909}
    collections = {}
    for collection in READERS:
        kept = (arguments.out_dir / f"{collection}.json").is_file()
        if kept or collection in WITH_MUSIC21 or folders.get(collection) is not None:
            tunes = cached_tunes(collection, arguments.out_dir, folders.get(collection))
            print(f"{arguments.out_dir / collection}.json: {len(tunes)} works")
            collections[collection] = tunes
    path = arguments.out_dir / "same_works.json"
    if not path.is_file():
        write_same_works(find_families(collections), path)
    families = set(read_same_works(path).values())
    print(f"{path}: {len(families)} works stand in more than one collection")


if __name__ == "__main__":
    run_front(main)
