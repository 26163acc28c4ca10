"""The shift in time between all versions of each work, found with a trained CoverHunter model.

    python -m tools.alignment_for_frame MODEL_DIR FULL.txt ALIGNMENT.txt

Every line of ALIGNMENT.txt is {"utt_i": ..., "utt_j": ..., "shift_frame_i_to_j": n}: what j plays
at second t, i plays at second t + n (seconds, whatever the name of the key says). Stopped at any
moment, the same command continues.
"""

import argparse
import logging
import sys
from pathlib import Path

from src.device import DEVICE_NAMES
from src.errors import UserError, run_front


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.alignment_for_frame",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model_dir", type=Path, metavar="MODEL_DIR", help="folder with config/hparams.yaml and "
        "pt_model/g_...")  # fmt: skip
    add("full_path", type=Path, metavar="FULL.txt", help="recordings with features and song_id, "
        "made by tools.extract_csi_features")  # fmt: skip
    add("alignment_path", type=Path, metavar="ALIGNMENT.txt", help="file to write")
    add("--hop", type=float, default=15.0, metavar="SECONDS", help="step of the windows of 15 s "
        "and of the shifts (default: 15, as in the original; 5 is more exact)")  # fmt: skip
    add("--original", action="store_true", help="the original's vote of nearest windows, which "
        "never finds a shift of 0")  # fmt: skip
    add("--embed-dir", type=Path, help="where to keep the embeddings (default: a folder in "
        "MODEL_DIR named after the epoch and FULL.txt)")  # fmt: skip
    add("--epoch", type=int, help="checkpoint to load (default: the newest)")
    add("--batch-size", type=int, default=64, help="windows computed together (default: 64)")
    add("--device", help=f"{', '.join(DEVICE_NAMES)} or cuda:N (default: device of hparams.yaml)")
    return parser


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stderr)
    if arguments.batch_size < 1:
        raise UserError("--batch-size must be 1 or more")

    from src.retrieval.alignment_run import align_manifest
    from src.retrieval.testset import default_embed_dir, device_for
    from src.training.checkpoint import load_coverhunter

    model = load_coverhunter(arguments.model_dir, arguments.epoch)
    device = device_for(model, arguments.device)
    folder = default_embed_dir(arguments.model_dir, model.epoch, arguments.full_path)
    folder = folder.with_name(f"{folder.name}_alignment_{arguments.hop:g}s")
    done = align_manifest(
        model.to(device),
        arguments.full_path,
        arguments.alignment_path,
        embed_dir=arguments.embed_dir or folder,
        hop_s=arguments.hop,
        original=arguments.original,
        device=device,
        batch_size=arguments.batch_size,
        progress=True,
    )
    left_out = f"; {len(done.failures)} recordings left out" if done.failures else ""
    print(
        f"{arguments.alignment_path}: {done.lines} shifts between {done.recordings} recordings of "
        f"{done.works} works{left_out}"
    )


if __name__ == "__main__":
    run_front(main)
