"""Parse the open tune collections once, into the files that rendering reads; invent more works.

same_works.json says which works are one across the collections; it may be corrected by hand, and
is made again only when it is not there.

python -m tools.make_tunes data/tunes --openewld FOLDER --pop909 FOLDER
python -m tools.make_tunes invented data/tunes --count 5000 --from data/tunes/openewld.json ...
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from src.corpus.families import find_families, read_same_works, write_same_works
from src.corpus.invent import COLLECTION, invent_tunes
from src.corpus.sources import READERS, WITH_MUSIC21, cached_tunes
from src.corpus.tune import load_tunes, save_tunes
from src.corpus.works import read_work_list
from src.errors import run_front


def main(arguments: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == [COLLECTION]:
        _invent(arguments[1:])
    else:
        _parse(arguments)


def _parse(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.make_tunes", description=__doc__)
    parser.add_argument("out_dir", type=Path, help="folder for <collection>.json; kept ones stay")
    parser.add_argument("--openewld", type=Path, metavar="FOLDER", help="OpenEWLD, unpacked")
    parser.add_argument("--pop909", type=Path, metavar="FOLDER", help="POP909, unpacked")
    options = parser.parse_args(arguments)
    folders = {"openewld": options.openewld, "pop909": options.pop909}
    collections = {}
    for collection in READERS:
        kept = (options.out_dir / f"{collection}.json").is_file()
        if kept or collection in WITH_MUSIC21 or folders.get(collection) is not None:
            tunes = cached_tunes(collection, options.out_dir, folders.get(collection))
            print(f"{options.out_dir / collection}.json: {len(tunes)} works")
            collections[collection] = tunes
    path = options.out_dir / "same_works.json"
    if not path.is_file():
        write_same_works(find_families(collections), path)
    families = set(read_same_works(path).values())
    print(f"{path}: {len(families)} works stand in more than one collection")


def _invent(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m tools.make_tunes {COLLECTION}",
        description="Invent works from the statistics of given ones: for training, "
        "never for evaluation. More works of a seed begin with the fewer.",
    )
    parser.add_argument("out_dir", type=Path, help=f"folder for {COLLECTION}.json")
    parser.add_argument("--count", type=int, default=5000, help="works (default 5000)")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other works")
    parser.add_argument(
        "--from",
        dest="sources",
        type=Path,
        nargs="+",
        required=True,
        metavar="TUNES",
        help="files of tunes to learn from, such as data/tunes/openewld.json",
    )
    parser.add_argument(
        "--exclude", type=Path, metavar="LIST", help="works to learn nothing from, one a line"
    )
    options = parser.parse_args(arguments)
    tunes = [tune for path in options.sources for tune in load_tunes(path)]
    excluded = read_work_list(options.exclude) if options.exclude else []
    invented = invent_tunes(tunes, seed=options.seed, count=options.count, exclude=excluded)
    path = options.out_dir / f"{COLLECTION}.json"
    save_tunes(tqdm(invented, total=options.count, unit="work"), path)
    print(f"{path}: {options.count} works")


if __name__ == "__main__":
    run_front(main)
