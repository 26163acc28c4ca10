"""cremaPCP of a folder of recordings, as the files that Re-MOVE tests on or is trained from.

    python -m tools.extract_crema_pcp RECORDINGS                # benchmark_crema.pt, ytrue_...
    python -m tools.extract_crema_pcp RECORDINGS --training     # train_chunk_1.pt ..., val_chunk.pt

RECORDINGS is a folder with one sub-folder of recordings for every work, or a dataset.txt; several
are taken together.
"""

import argparse
import logging
import os
from pathlib import Path

from src.device import DEVICE_NAMES, select_device
from src.errors import UserError, run_front


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.extract_crema_pcp",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("sources", type=Path, nargs="+", metavar="RECORDINGS",
        help="folder with a sub-folder per work, or a dataset.txt (keys utt, song, and wav or "
        "features)")  # fmt: skip
    add("--output-dir", type=Path, default=Path("data"), help="default: ./data")
    add("--crema-version", default="0.1.0", choices=("0.1.0", "0.2.0", "0.2.0-notes"),
        help="0.1.0 (default) fits the published features and weights; of ready-made features "
        "(.npz) it says what they are: 0.2.0-notes is note_pcp of tools.render_corpus")  # fmt: skip
    add("--workers", type=int, default=os.cpu_count() or 1,
        help="files decoded at the same time (default: the number of processors)")  # fmt: skip
    add("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N")
    training = parser.add_argument_group("training files in place of the benchmark")
    add = training.add_argument
    add("--training", action="store_true",
        help="write training chunks, val_chunk.pt, ytrue_val.pt and red_label_idx.pt")  # fmt: skip
    add("--train-chunk", default="train_chunk", metavar="NAME",
        help="files are NAME_1.pt, NAME_2.pt, ... (default: train_chunk)")  # fmt: skip
    add("--chunks", type=int, default=17, help="number of training files (default: 17)")
    kept = training.add_mutually_exclusive_group()
    kept.add_argument("--validation-share", type=float, default=0.1,
        help="share of the works kept for validation (default: 0.1)")  # fmt: skip
    kept.add_argument("--validation", type=Path, metavar="RECORDINGS", nargs="+",
        help="kept for validation in place of a share; no work may be on both sides")  # fmt: skip
    add("--seed", type=int, default=0, help="seed of the split (default: 0)")
    add("--centroids", type=Path, metavar="TEACHER.pt",
        help="also write centroids.pt, from a MOVE model of size 16000")  # fmt: skip
    return parser


def check_arguments(arguments: argparse.Namespace) -> None:
    if arguments.workers < 1:
        raise UserError("--workers must be 1 or more")
    if arguments.chunks < 1:
        raise UserError("--chunks must be 1 or more")
    if not 0 < arguments.validation_share < 1:
        raise UserError("--validation-share must lie between 0 and 1")
    if arguments.centroids and not arguments.training:
        raise UserError("--centroids belongs to the training files; add --training")
    if arguments.validation and not arguments.training:
        raise UserError("--validation belongs to the training files; add --training")
    if arguments.centroids and not arguments.centroids.is_file():
        raise UserError(f"{arguments.centroids} does not exist; train it or leave out --centroids")


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    check_arguments(arguments)
    device = select_device(arguments.device)

    from src.data import crema_dataset
    from src.data.crema_features import CACHE_FOLDER, extract_collection
    from src.data.recordings import find_all_recordings

    output = arguments.output_dir
    recordings = find_all_recordings(arguments.sources)
    validation = find_all_recordings(arguments.validation or [], beside=recordings)
    features = extract_collection(
        [*recordings, *validation],
        cache=output / CACHE_FOLDER,
        crema_version=arguments.crema_version,
        device=device,
        workers=arguments.workers,
        progress=True,
    )
    for name, reason in features.failures.items():
        print(f"left out: {name}: {reason}")
    if validation:
        kept = {recording.name for recording in validation}
        training, validating = crema_dataset.split_by_name(features, kept)
        written = crema_dataset.write_split(
            features, training, validating, output, chunk_name=arguments.train_chunk,
            chunks=arguments.chunks, seed=arguments.seed,
        )  # fmt: skip
    elif arguments.training:
        written = crema_dataset.write_training(
            features,
            output,
            chunk_name=arguments.train_chunk,
            chunks=arguments.chunks,
            validation_share=arguments.validation_share,
            seed=arguments.seed,
        )
    else:
        written = crema_dataset.write_benchmark(features, output)
    if arguments.centroids:
        from src.training.centroids import write_centroids

        chunks = written[: arguments.chunks]
        written.append(write_centroids(chunks, arguments.centroids, output, device=device))
    works = len({recording.work for recording in features.recordings})
    print(
        f"{len(features.recordings)} recordings of {works} works, cremaPCP of crema "
        f"{features.crema_version}; {crema_dataset.lonely_works(features)} works have a single "
        f"version; {len(features.failures)} recordings left out"
    )
    print("written: " + ", ".join(str(path) for path in written))


if __name__ == "__main__":
    run_front(main)
