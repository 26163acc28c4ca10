"""Training and evaluation of Re-MOVE experiments: one front for lsr, kd, pruning and baseline."""

import argparse
import logging
import sys
from pathlib import Path

from src.config import (
    ADDITIONS,
    EXPERIMENT_TYPES,
    FRAMES_TO_AVERAGE,
    REPOSITORY,
    RUN_TYPES,
    experiment_name,
    remove_config,
)
from src.device import DEVICE_NAMES, select_device
from src.errors import run_front
from src.retrieval.blend import BLEND, check_rerank

# Options that do not change what is computed and so are no part of an experiment's name.
RUN_OPTIONS = (
    "run_type",
    "main_path",
    "exp_type",
    "device",
    "seed",
    "amp",
    "start_from",
    "report",
    "metrics",
    "rerank",
    "rerank_blend",
)


def number(text: str) -> int | float:
    """An integer where the text is one: ``-ma 2`` and ``-ma 2.0`` name the same experiment."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def seed_number(text: str) -> int:
    """A seed is a whole number from 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative; a seed is a whole number from 0")
    return value


def count(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def build_parser() -> argparse.ArgumentParser:
    """The options of the original, in its order, then the additions of this project."""
    parser = argparse.ArgumentParser(
        prog="main.py", description="Training and evaluation code for Re-MOVE experiments."
    )
    add = parser.add_argument
    add(
        "-rt",
        "--run_type",
        choices=RUN_TYPES,
        default="train",
        help="Whether to run the training or the evaluation script.",
    )
    add(
        "-mp",
        "--main_path",
        type=Path,
        default=REPOSITORY,
        help="Path to the working directory.",
    )
    add("--exp_type", choices=EXPERIMENT_TYPES, default="lsr", help="Type of experiment to run.")
    add("-pri", "--pruning_iterations", type=int, help="Number of iterations for pruning.")
    add(
        "-tf",
        "--train_file",
        help="Path for training file. If more than one file are used, write only the common part.",
    )
    add("-ch", "--chunks", type=int, help="Number of chunks for training set.")
    add("-vf", "--val_file", help="Path for validation data.")
    add("-noe", "--num_of_epochs", type=int, help="Number of epochs for training.")
    add("-emb", "--emb_size", type=int, help="Size of the final embeddings.")
    add("-bs", "--batch_size", type=int, help="Batch size for training iterations.")
    add(
        "-l",
        "--loss",
        type=int,
        choices=range(5),
        help="Which loss to use for training. 0 for Triplet, 1 for ProxyNCA, 2 for "
        "NormalizedSoftmax, 3 for Group loss, and 4 (an addition) for supervised contrastive "
        "loss.",
    )
    add(
        "-kdl",
        "--kd_loss",
        choices=("distance", "cluster"),
        help="Which loss to use for Knowledge Distillation training.",
    )
    add(
        "-ms",
        "--mining_strategy",
        type=int,
        choices=range(4),
        help="Mining strategy for Triplet loss. 0 for random, 1 for semi-hard, 2 for hard, 3 for "
        "semi-hard with using all positives.",
    )
    add("-ma", "--margin", type=number, help="Margin for Triplet loss.")
    add(
        "-o",
        "--optimizer",
        type=int,
        choices=range(2),
        help="Optimizer for training. 0 for SGD, 1 for Ranger.",
    )
    add("-lr", "--learning_rate", type=number, help="Base learning rate for the optimizer.")
    add(
        "-flr",
        "--finetune_learning_rate",
        type=number,
        help="Learning rate for finetuning the feature extractor for LSR training.",
    )
    add("-mo", "--momentum", type=number, help="Value for momentum parameter for SGD.")
    add(
        "-lrs",
        "--lr_schedule",
        type=int,
        nargs="+",
        help="Epochs for reducing the learning rate. Multiple arguments are appended in a list.",
    )
    add("-lrg", "--lr_gamma", type=number, help="Step size for learning rate scheduler.")
    add(
        "-pl",
        "--patch_len",
        type=int,
        help="Number of frames for each input in time dimension (only for training).",
    )
    add(
        "-da",
        "--data_aug",
        type=int,
        choices=range(3),
        help="Whether to use data augmentation while training. 2 (an addition) for a stronger one.",
    )
    add("-nw", "--num_workers", type=int, help="Num of workers for the data loader.")
    add(
        "-ofb",
        "--overfit_batch",
        type=int,
        help="Whether to overfit a single batch. It may help with revealing problems with "
        "training.",
    )
    more = parser.add_argument_group("additions of this project")
    more.add_argument(
        "--device",
        default="auto",
        metavar="{" + ",".join(DEVICE_NAMES) + "}",
        help="Where to compute; cuda:N is accepted too (default: auto).",
    )
    more.add_argument(
        "--seed",
        type=seed_number,
        default=0,
        help="Seed of initial weights, batches, augmentation and mining (default: 0).",
    )
    more.add_argument(
        "--amp", action="store_true", help="Mixed precision: bfloat16 or float16 matrix products."
    )
    more.add_argument(
        "--temperature",
        type=number,
        help="Temperature of the supervised contrastive loss, by which cosines are divided "
        f"(default: {ADDITIONS['temperature']}).",
    )
    more.add_argument(
        "--mean_frames",
        type=int,
        choices=FRAMES_TO_AVERAGE,
        help="Frames of cremaPCP that the network averages before its first layer; kernels keep "
        f"their length in time (default {ADDITIONS['mean_frames']}, as the original).",
    )
    more.add_argument(
        "--padding",
        type=int,
        metavar="FRAMES",
        help="Silent frames that the network puts before and after a recording (default "
        f"{ADDITIONS['padding']}, as the original).",
    )
    more.add_argument(
        "--start_from",
        type=Path,
        metavar="MODEL.pt",
        help="Baseline training: start from these weights (without the last layer, where its size "
        "differs) in place of random ones.",
    )
    more.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="Test: write average precision per query (CSV), bootstrap intervals and plots there.",
    )
    more.add_argument(
        "--metrics",
        choices=("default", "original"),
        default="default",
        help="Test: 'original' counts queries without another version as the original did.",
    )
    more.add_argument(
        "--rerank",
        type=count,
        metavar="K",
        help="Test: compare the K nearest recordings of every query in full, by Qmax, and order "
        "them anew.",
    )
    more.add_argument(
        "--rerank-blend",
        type=float,
        default=BLEND,
        metavar="W",
        help="Test: share of Qmax in the new order, from 0 (the embedding alone) to 1 (Qmax "
        f"alone); default: {BLEND}.",
    )
    return parser


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    options = {k: v for k, v in vars(arguments).items() if k not in RUN_OPTIONS}
    config = remove_config(arguments.exp_type, options)
    name = experiment_name(arguments.exp_type, config)
    check_rerank(arguments.rerank or 1, arguments.rerank_blend)
    device = select_device(arguments.device)

    # Imported late: --help and a mistyped option answer at once.
    if arguments.run_type == "train":
        from src.training.remove import train_experiment

        train_experiment(
            arguments.exp_type,
            config,
            name,
            main_path=arguments.main_path,
            device=device,
            seed=arguments.seed,
            amp=arguments.amp,
            start_from=arguments.start_from,
        )
    else:
        from src.training.evaluation import evaluate_experiment

        result = evaluate_experiment(
            arguments.exp_type,
            config,
            name,
            main_path=arguments.main_path,
            device=device,
            amp=arguments.amp,
            original=arguments.metrics == "original",
            rerank=arguments.rerank,
            blend=arguments.rerank_blend,
            report=arguments.report,
        )
        print(result)


if __name__ == "__main__":
    run_front(main)
