"""The pretrained models on the bundled recordings, beside what they must beat."""

import argparse
import logging
import sys

from src.config import REPOSITORY
from src.device import DEVICE_NAMES, select_device
from src.errors import run_front

MODELS = ("model_move.pt", "lsr_models/model_re-move_lsr.pt", "coverhunter")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N")
    parser.add_argument("--seed", type=int, default=0, help="seed of the untrained networks")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO, stream=sys.stdout)
    device = select_device(arguments.device)

    from src.retrieval.collection import demo_collection
    from src.training.comparison import compare, figure_table
    from src.training.method_list import all_methods, open_model
    from src.training.methods import Together

    models = [open_model(REPOSITORY / "models" / name, device=device) for name in MODELS]
    collection = demo_collection(device=device)
    methods = all_methods(models, seed=arguments.seed, device=device)
    methods.append(Together(models[1:]))
    rows = compare(collection, methods, resamples=0)
    print(
        f"\n{len(collection)} recordings of {len(set(collection.labels))} works, every recording "
        f"a query:\n\n{figure_table(rows)}"
    )


if __name__ == "__main__":
    run_front(main)
