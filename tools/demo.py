"""The pretrained models on the bundled recordings, beside what they must beat."""

import argparse
import logging
import sys

from src.config import REPOSITORY
from src.device import DEVICE_NAMES, select_device
from src.errors import run_front


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N")
    parser.add_argument("--seed", type=int, default=0, help="seed of the untrained network")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    device = select_device(arguments.device)

    from src.data.demo import demo_cqt, demo_dataset
    from src.training import comparison
    from src.training.checkpoint import load_coverhunter

    dataset = demo_dataset("0.1.0", device=device)
    move = REPOSITORY / "models" / "model_move.pt"
    lsr = REPOSITORY / "models" / "lsr_models" / "model_re-move_lsr.pt"
    coverhunter = load_coverhunter(REPOSITORY / "models" / "coverhunter")
    features, works = demo_cqt(coverhunter.feature_spec, device=device)
    rows = [
        ("2D Fourier magnitude (unsupervised)", lambda: comparison.evaluate_fourier(dataset)),
        ("Qmax (unsupervised, pair by pair)", lambda: comparison.evaluate_qmax(dataset)),
        (
            "MOVE, 16000, untrained (control)",
            lambda: comparison.evaluate_untrained(dataset, seed=arguments.seed, device=device),
        ),
        (
            "MOVE, 16000",
            lambda: comparison.evaluate_weights(move, dataset, distance="euclidean", device=device),
        ),
        (
            "Re-MOVE lsr, 256",
            lambda: comparison.evaluate_weights(lsr, dataset, distance="cosine", device=device),
        ),
        (
            "CoverHunter, 128, untrained (control)",
            lambda: comparison.evaluate_coverhunter(
                comparison.untrained_like(coverhunter, seed=arguments.seed),
                features,
                works,
                device=device,
            ),
        ),
        (
            "CoverHunter, 128",
            lambda: comparison.evaluate_coverhunter(coverhunter, features, works, device=device),
        ),
    ]
    table = comparison.figure_table(rows)
    print(
        f"\n{len(dataset)} recordings of {len(set(works))} works, every recording a query:\n\n"
        f"{table}"
    )


if __name__ == "__main__":
    run_front(main)
