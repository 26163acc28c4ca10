"""Which works and recordings do two manifests share?

python -m tools.compare_datasets A.txt B.txt [--content] [--out FILE.json]
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from src.errors import run_front

SHOWN = 10


def show(what: str, items: list) -> None:
    print(f"{len(items)} {what}")
    for item in items[:SHOWN]:
        print("    " + (item if isinstance(item, str) else "  =  ".join(item)))
    if len(items) > SHOWN:
        print(f"    and {len(items) - SHOWN} more (--out writes all)")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.compare_datasets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("a", type=Path, metavar="A.txt", help="dataset.txt, full.txt, train.txt, ...")
    add("b", type=Path, metavar="B.txt", help="another one")
    add("--content", action="store_true", help="also compare the files, byte by byte")
    add("--out", type=Path, metavar="FILE.json", help="write everything that is shared there")
    arguments = parser.parse_args()

    from src.data.manifest_overlap import compare_manifests
    from src.files import write_json

    overlap = compare_manifests(arguments.a, arguments.b, by_content=arguments.content)
    for path, size, works in zip((arguments.a, arguments.b), overlap.sizes, overlap.works,
                                 strict=True):  # fmt: skip
        print(f"{path}: {size} recordings of {works} works")
    show("works in both", overlap.songs)
    show("recordings (utt) in both", overlap.utts)
    show("recordings in both at different tempi", overlap.copies)
    show("recordings in both that are said to be of different works", overlap.conflicts)
    if overlap.contents is not None:
        show("pairs of files with the same content", overlap.contents)
    if arguments.out:
        write_json(asdict(overlap), arguments.out)
        print(f"written: {arguments.out}")


if __name__ == "__main__":
    run_front(main)
