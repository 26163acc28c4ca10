"""Which works are these recordings? Queries against references made by tools.make_embeds.

    python -m tools.identify REFS QUERY... [--top 5] [--format table|csv|json]

A query is a recording of any length, a folder of recordings, or a manifest.
"""

import argparse
import logging
import sys
from pathlib import Path

from src.device import DEVICE_NAMES, select_device
from src.errors import UserError, run_front
from src.retrieval.blend import BLEND, check_rerank

FORMATS = ("table", "csv", "json")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.identify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("references", type=Path, metavar="REFS", help="folder written by tools.make_embeds")
    add("queries", type=Path, nargs="+", metavar="QUERY", help="recordings, folders, manifests")
    add("--model", type=Path, help="default: the model that made the references")
    add("--together", type=Path, metavar="REFS2", help="references of the same recordings made "
        "with another model, whose distances count as much")  # fmt: skip
    add("--together-model", type=Path, metavar="PATH", help="default: the model that made REFS2")
    add("--top", type=int, default=5, help="works to name for each query (default: 5)")
    add("--threshold", type=float, default=0.05, metavar="P",
        help="largest p-value of a match (default: 0.05)")  # fmt: skip
    add("--rerank", type=int, default=0, metavar="K", help="compare the query with the K nearest "
        "recordings in full, by Qmax, and order them anew; needs sound (or cremaPCP)")  # fmt: skip
    add("--rerank-blend", type=float, default=BLEND, metavar="W", help="share of Qmax in the new "
        f"order, from 0 (the embedding alone) to 1 (Qmax alone); default: {BLEND}")  # fmt: skip
    add("--format", choices=FORMATS, default="table", help="default: table")
    add("--out", type=Path, metavar="FILE", help="write there in place of the screen")
    add("--device", default="auto", help=f"{', '.join(DEVICE_NAMES)} or cuda:N")
    return parser


def main() -> None:
    arguments = build_parser().parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    device = select_device(arguments.device)
    if arguments.top < 1:
        raise UserError("--top must be 1 or more")
    check_rerank(arguments.rerank or 1, arguments.rerank_blend)
    if not 0 < arguments.threshold <= 1:
        raise UserError("--threshold must lie above 0 and at most at 1")
    if arguments.together_model and not arguments.together:
        raise UserError("--together-model is the model of REFS2; name these with --together")

    from tqdm import tqdm

    from src.files import atomic_path
    from src.retrieval.answer_text import answers_text
    from src.retrieval.identify import Answer, Identifier, each_answer
    from src.retrieval.qmax_references import QmaxReferences
    from src.retrieval.query_files import list_queries
    from src.retrieval.recording_windows import Recording2Windows
    from src.retrieval.references import References
    from src.retrieval.second_model import SecondModel

    references = References.load(arguments.references)
    embedder = Recording2Windows(
        references.model(arguments.model), device=device, settings=references.settings
    )
    second = None
    if arguments.together:
        others = References.load(arguments.together)
        model = others.model(arguments.together_model, option="--together-model")
        also = Recording2Windows(model, device=device, settings=others.settings)
        second = SecondModel.beside(references, others, also)
    queries = list_queries(arguments.queries, embedder)
    identifier = Identifier(
        references,
        embedder,
        rerank=arguments.rerank,
        blend=arguments.rerank_blend,
        pair_distances=QmaxReferences(references, device=device) if arguments.rerank else None,
        second=second,
    )
    answers, failures = [], []
    results = each_answer(queries, identifier, top=arguments.top, threshold=arguments.threshold)
    bar = tqdm(results, total=len(queries), unit="query", disable=len(queries) < 2)
    for result in bar:
        (answers if isinstance(result, Answer) else failures).append(result)
    for _, reason in failures:
        print(f"left out: {reason}", file=sys.stderr)
    if not answers:
        raise UserError("none of the queries can be used")
    text = answers_text(answers, arguments.format)
    if arguments.out:
        with atomic_path(arguments.out) as temporary:
            temporary.write_text(text, "utf-8")
        print(f"written: {arguments.out}", file=sys.stderr)
    else:
        sys.stdout.write(text)
    if failures:
        print(f"{len(failures)} of {len(queries)} queries left out", file=sys.stderr)


if __name__ == "__main__":
    run_front(main)
