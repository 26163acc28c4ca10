"""A trained CoverHunter model on a test set: distances between recordings and the figures.

    python -m tools.eval_testset [MODEL_DIR] QUERY.txt REF.txt [QUERY_IN_REF]

QUERY.txt and REF.txt are manifests with features (full.txt), or a dataset.txt with the full.txt
that tools.extract_csi_features made beside it. If both are the same file, every recording is a
query and all others are its references. MODEL_DIR may be left out where QUERY_IN_REF is.
"""

import argparse
import logging
import sys
from pathlib import Path

from src.device import DEVICE_NAMES
from src.errors import UserError, run_front
from src.retrieval.blend import BLEND, check_rerank
from src.training.paths import DEFAULT_COVERHUNTER


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.eval_testset",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model_dir", type=Path, nargs="?", default=DEFAULT_COVERHUNTER, metavar="MODEL_DIR",
        help="folder with config/hparams.yaml and pt_model/g_... (default: the one of this "
        "project)")  # fmt: skip
    add("query_path", type=Path, metavar="QUERY.txt")
    add("ref_path", type=Path, metavar="REF.txt")
    add("query_in_ref_path", type=Path, nargs="?", metavar="QUERY_IN_REF",
        help='one line {"query_in_ref": [[query index, reference index], ...]}: pairs that are the '
        "same recording and are left out (tools.make_query_in_ref writes it)")  # fmt: skip
    add("-plot_name", "--plot_name", type=Path, metavar="FILE.png",
        help="draw the recordings by t-SNE, one point each, coloured by work")  # fmt: skip
    add("-marks", "--marks", metavar="KEY", help="with -plot_name: a key of the manifest (such as "
        "version or genre) whose values get symbols of their own in the picture")  # fmt: skip
    add("-dist_name", "--dist_name", type=Path, metavar="FILE", help="save the distance matrix "
        "(-1: excluded) as .npy, or with names and works as .npz")  # fmt: skip
    add("-test_only_labels", "--test_only_labels", type=Path, metavar="FILE",
        help="measure and draw only the queries of these works (one song or song_id a line, or a "
        "JSON list); the references stay all")  # fmt: skip
    add("--rerank", type=int, metavar="K", help="compare the K nearest references of each query "
        "in full, by Qmax, and order them anew; the lists must name cremaPCP (key features: an "
        ".npz)")  # fmt: skip
    add("--rerank-blend", type=float, default=BLEND, metavar="W", help="share of Qmax in the new "
        f"order, from 0 (the embedding alone) to 1 (Qmax alone); default: {BLEND}")  # fmt: skip
    add("--bootstrap", type=int, default=0, metavar="N", help="add 95 %% intervals of the figures "
        "from N resamples of the works")  # fmt: skip
    add("--seed", type=int, default=0, help="of the intervals and the picture (default: 0)")
    add("--reuse-embeddings", action="store_true", help="use the embeddings of an earlier run "
        "where weights, features and windows have not changed")  # fmt: skip
    add("--keep-tail", action="store_true", help="also use the end of a recording that does not "
        "fill a window (the original drops it)")  # fmt: skip
    add("--embed-dir", type=Path, help="where to write the embeddings (default: a folder "
        "in MODEL_DIR named after the epoch and QUERY.txt)")  # fmt: skip
    add("--epoch", type=int, help="checkpoint to load (default: the newest)")
    add("--batch-size", type=int, default=64, help="windows computed together (default: 64)")
    add("--device", help=f"{', '.join(DEVICE_NAMES)} or cuda:N (default: device of hparams.yaml)")
    return parser


def main() -> None:
    arguments = build_parser().parse_intermixed_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    if arguments.bootstrap < 0 or arguments.batch_size < 1:
        raise UserError("--bootstrap must be 0 or more and --batch-size 1 or more")
    if arguments.rerank is not None:
        check_rerank(arguments.rerank, arguments.rerank_blend)
    if arguments.marks and not arguments.plot_name:
        raise UserError("-marks belongs to a picture; add -plot_name FILE.png")

    from src.retrieval import testset, testset_files, testset_result
    from src.retrieval.testset import device_for
    from src.training.checkpoint import load_coverhunter

    labels = arguments.test_only_labels and testset_files.read_labels(arguments.test_only_labels)
    model = load_coverhunter(arguments.model_dir, arguments.epoch)
    device = device_for(model, arguments.device)
    model.to(device)
    result = testset.compare_testset(
        model,
        arguments.query_path,
        arguments.ref_path,
        query_in_ref_path=arguments.query_in_ref_path,
        embed_dir=arguments.embed_dir
        or testset.default_embed_dir(arguments.model_dir, model.epoch, arguments.query_path),
        keep_tail=arguments.keep_tail,
        device=device,
        batch_size=arguments.batch_size,
        reuse=arguments.reuse_embeddings,
        progress=True,
    )
    if labels:
        result = result.restricted(labels)
    if arguments.rerank:
        from src.retrieval.rerank_testset import reranked

        result = reranked(
            result,
            arguments.rerank,
            blend=arguments.rerank_blend,
            query_path=arguments.query_path,
            ref_path=arguments.ref_path,
            progress=True,
        )
    if arguments.dist_name:
        testset_result.save_distances(result, arguments.dist_name)
    if arguments.plot_name:
        from src.retrieval.scatter import plot_testset

        plot_testset(result, arguments.plot_name, marks=arguments.marks, seed=arguments.seed)
    resamples = arguments.bootstrap
    intervals = result.intervals(resamples, seed=arguments.seed) if resamples else None
    print("\n".join(testset_result.format_result(result, intervals)))


if __name__ == "__main__":
    run_front(main)
