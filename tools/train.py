"""Train a CoverHunter model; the same command continues an interrupted training.

    python -m tools.train egs/covers80/
    python -m tools.train egs/covers80/ --runid 'first try'
    torchrun --nproc_per_node=2 -m tools.train egs/covers80/

Reads MODEL_DIR/config/hparams.yaml. Writes checkpoints into MODEL_DIR/pt_model after each epoch,
embeddings of the test sets into MODEL_DIR/embed_<epoch>_<name>, and curves for TensorBoard with
one line of figures an epoch (epochs.jsonl) into MODEL_DIR/logs/<runid>.
"""

import argparse
import json
import logging
from pathlib import Path

from src.device import DEVICE_NAMES
from src.errors import run_front


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model_dir", type=Path, metavar="MODEL_DIR", help="folder with config/hparams.yaml")
    add("--runid", default="run", help="name of the run in TensorBoard (default: run)")
    add("--first_eval", action="store_true",
        help="evaluate in place of training the first epoch")  # fmt: skip
    add("--only_eval", action="store_true",
        help="evaluate the newest checkpoint, print the figures and end")  # fmt: skip
    add("--debug", action="store_true", help="a few batches an epoch, every step in words")
    add("--coarse_to_fine", action="store_true",
        help="train in MODEL_DIR/coarse, align the versions of each work with that model "
        "(MODEL_DIR/alignment.txt), then train on aligned chunks in MODEL_DIR")  # fmt: skip
    add("--device", help=f"{', '.join(DEVICE_NAMES)} or cuda:N; default: that of hparams.yaml")
    return parser


def main() -> None:
    arguments = build_parser().parse_args()
    level = logging.DEBUG if arguments.debug else logging.INFO
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    logging.getLogger("src").setLevel(level)

    from src.training.coarse_to_fine import train_coarse_to_fine
    from src.training.coverhunter import RunOptions, train_coverhunter

    options = RunOptions(
        runid=arguments.runid,
        first_eval=arguments.first_eval,
        only_eval=arguments.only_eval,
        debug=arguments.debug,
        device=arguments.device,
    )
    train = train_coarse_to_fine if arguments.coarse_to_fine else train_coverhunter
    figures = train(arguments.model_dir, options)
    if figures is not None:
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    run_front(main)
