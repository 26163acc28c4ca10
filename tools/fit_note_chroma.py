"""Fit the chroma that is made from notes (feature note_pcp) to the cremaPCP of a rendered corpus.

python -m tools.fit_note_chroma CORPUS --out models/crema/note_chroma.safetensors
"""

import argparse
from pathlib import Path

from tqdm import tqdm

from src.corpus.note_chroma import WEIGHTS, save_weights
from src.corpus.note_chroma_fit import fit_corpus
from src.errors import UserError, run_front


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.fit_note_chroma", description=__doc__.splitlines()[0]
    )
    add = parser.add_argument
    add("corpus", type=Path, help="made by tools.render_corpus with crema_pcp-0.2.0")
    add("--out", type=Path, default=WEIGHTS, help="default: the weights of the repository")
    add("--works", type=int, default=300, help="works to fit, one version each (default: 300)")
    add("--held-out", type=int, default=60, help="other works that judge (default: 60)")
    add("--steps", type=int, default=500, help="of 8 crops of 24 s (default: 500)")
    add("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    if min(options.works, options.held_out, options.steps) < 1:
        raise UserError("--works, --held-out and --steps must be 1 or more")
    with tqdm(total=options.steps, unit="step") as bar:
        fit = fit_corpus(
            options.corpus,
            works=options.works,
            held_out=options.held_out,
            steps=options.steps,
            seed=options.seed,
            report=lambda step, loss: bar.update(),
        )
    choices = ("works", "held_out", "steps", "seed")
    save_weights(
        options.out,
        fit.network,
        fit.residual,
        metadata={name: str(getattr(options, name)) for name in choices},
    )
    print(f"{options.held_out} works not seen; the entropy of cremaPCP itself is {fit.floor:.3f}")
    print(f"{'':<8}{'cross entropy':>14}{'correlation':>14}")
    for name in ("raw", "mean", "drawn"):
        figures = getattr(fit, name)
        print(f"{name:<8}{figures.entropy:>14.3f}{figures.correlation:>14.3f}")
    print(f"written: {options.out}")


if __name__ == "__main__":
    run_front(main)
