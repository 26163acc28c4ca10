"""One embedding per work of a set of references.

python -m tools.compute_centroids REFS OUT.npz
"""

import argparse
from pathlib import Path

from src.errors import run_front


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.compute_centroids",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("references", type=Path, metavar="REFS", help="from tools.make_embeds")
    parser.add_argument("output", type=Path, metavar="OUT.npz", help="a .json is written beside it")
    arguments = parser.parse_args()

    from src.retrieval.reference_centroids import write_centroids
    from src.retrieval.references import References

    references = References.load(arguments.references)
    centroids = write_centroids(references, arguments.output)
    print(
        f"{len(centroids.works)} works from {len(references)} recordings, which lie "
        f"{centroids.spread.mean():.3f} from their centroid on average"
    )


if __name__ == "__main__":
    run_front(main)
