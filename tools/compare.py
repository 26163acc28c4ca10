"""Are two recordings versions of one work, with what confidence, and where do they agree?

python -m tools.compare [MODEL] A B [--refs REFS]
"""

import argparse
import logging
import sys
from pathlib import Path

from src.device import DEVICE_NAMES, select_device
from src.errors import UserError, run_front
from src.training.paths import DEFAULT_MODEL


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", type=Path, nargs="?", metavar="MODEL", help="CoverHunter directory, or Re-MOVE "
        f"model.pt (default: the one that made REFS, or else {DEFAULT_MODEL.name})")  # fmt: skip
    add("a", type=Path, metavar="A", help="a recording")
    add("b", type=Path, metavar="B", help="another recording")
    add("--refs", type=Path, help="references that show how near different works come "
        "(default: what tools.make_embeds --calibrate-model wrote beside the model)")  # fmt: skip
    add("--threshold", type=float, default=0.05, metavar="P",
        help="largest p-value of versions of one work (default: 0.05)")  # fmt: skip
    add("--format", choices=("table", "json"), default="table", help="default: table")
    add("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N")
    return parser


def main() -> None:
    arguments = build_parser().parse_intermixed_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    device = select_device(arguments.device)
    if not 0 < arguments.threshold <= 1:
        raise UserError("--threshold must lie above 0 and at most at 1")

    from src.retrieval.answer_text import comparison_text
    from src.retrieval.compare import compare
    from src.retrieval.recording_windows import Recording2Windows
    from src.retrieval.references import References

    references = References.load(arguments.refs) if arguments.refs else None
    model = arguments.model or (references.model() if references else DEFAULT_MODEL)
    embedder = Recording2Windows(
        model, device=device, settings=references.settings if references else None
    )
    comparison = compare(
        arguments.a,
        arguments.b,
        embedder,
        references=references,
        threshold=arguments.threshold,
    )
    sys.stdout.write(comparison_text(comparison, arguments.format))


if __name__ == "__main__":
    run_front(main)
