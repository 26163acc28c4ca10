"""Coarse-to-fine training of CoverHunter: train, align, train again on aligned chunks.

Liu et al., "CoverHunter: Cover Song Identification with Refined Attention and Alignments" (arXiv
2306.09025), section 3: a coarse model, trained on chunks from anywhere in the recordings, tells
where the versions of a work sound alike; the fine model is trained on chunks from such places.
"""

import logging
import shutil
from pathlib import Path
from typing import Any

from src.config import Hparams, load_hparams
from src.errors import UserError
from src.files import atomic_path
from src.hparams import HPARAMS_FILE
from src.retrieval.alignment_run import align_manifest
from src.training.checkpoint import load_coverhunter
from src.training.coverhunter import RunOptions, make_plan, train_with
from src.training.coverhunter_state import load_pair
from src.training.distributed import Team, join_team

logger = logging.getLogger(__name__)

COARSE, ALIGNMENT = "coarse", "alignment.txt"
EMBEDDINGS = "embed_alignment"  # below the coarse model directory
HOP_S = 5.0  # windows every 5 s find more shifts than every 15 s (benchmarks.alignment_accuracy)


def train_coarse_to_fine(
    model_dir: Path, options: RunOptions | None = None
) -> dict[str, Any] | None:
    """Train ``model_dir`` in three steps, each skipped when it is complete.

    1. A coarse model in ``<model_dir>/coarse``, by the same hparams.yaml.
    2. ``<model_dir>/alignment.txt``: the recordings of ``train_path``, aligned with that model.
    3. The fine model in ``<model_dir>``, from the coarse weights, ``fine_epochs`` long
       (``max_epochs`` where that is left out).

    Interrupted anywhere, the same call continues.

    Returns:
        Figures of an evaluation of the fine model (``only_eval``), otherwise None.

    Raises:
        UserError: see :func:`src.training.coverhunter.train_coverhunter`; also if hparams.yaml
            already states an alignment or weights to start from, or ``model_dir`` holds a model
            that was trained in another way.
    """
    options = options or RunOptions()
    hp = load_hparams(model_dir)
    with join_team(options.device or hp.device) as team:
        return _three_steps(team, model_dir, hp, options)


def _three_steps(
    team: Team, model_dir: Path, hp: Hparams, options: RunOptions
) -> dict[str, Any] | None:
    for key in ("alignment_path", "start_from"):
        if getattr(hp, key) is not None:
            raise UserError(
                f"{model_dir / HPARAMS_FILE}: {key} is what --coarse_to_fine finds out by itself; "
                f"remove {key} or train without --coarse_to_fine"
            )
    coarse, alignment = model_dir / COARSE, model_dir / ALIGNMENT
    fine = hp.model_copy(
        update={
            "alignment_path": str(alignment),
            "start_from": str(coarse),
            "max_epochs": hp.fine_epochs or hp.max_epochs,
        }
    )
    _require_fine(model_dir, fine)
    if options.only_eval:
        return train_with(team, model_dir, fine, options)
    logger.info("coarse training in %s", coarse)
    if team.leads:
        _copy_configuration(model_dir, coarse)
    train_with(team, coarse, hp, options)
    if team.leads and not alignment.is_file():
        logger.info("aligning the versions in %s", hp.train_path)
        align(coarse, hp, alignment, team)
    team.wait()
    logger.info("fine training in %s", model_dir)
    return train_with(team, model_dir, fine, options)


def _require_fine(model_dir: Path, hp: Hparams) -> None:
    """Refuse to continue what was not begun as the fine part of such a training."""
    found = load_pair(model_dir)
    if found is not None and found[1].get("alignment_path") != hp.alignment_path:
        raise UserError(
            f"{model_dir} holds a model that was trained without {hp.alignment_path}; choose "
            "another model directory for --coarse_to_fine"
        )


def _copy_configuration(model_dir: Path, coarse: Path) -> None:
    """Make the coarse folder a model directory of its own."""
    source, target = model_dir / HPARAMS_FILE, coarse / HPARAMS_FILE
    if not target.is_file() or target.read_bytes() != source.read_bytes():
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)


def align(coarse: Path, hp: Hparams, path: Path, team: Team) -> None:
    """Align the versions of each work in ``train_path`` with the coarse model, into ``path``.

    Raises:
        UserError: no recording could be embedded.
    """
    assert hp.train_path is not None
    model = load_coverhunter(coarse).to(team.device)
    amp = make_plan(hp, team, RunOptions(), {}).amp
    result = align_manifest(
        model,
        hp.train_path,
        path,
        hop_s=HOP_S,
        embed_dir=coarse / EMBEDDINGS,
        device=team.device,
        amp=amp,
        progress=True,
    )
    logger.info("%d recordings of %d works are aligned", result.recordings, result.works)
    for utt, reason in result.failures.items():
        logger.warning("%s is not aligned: %s", utt, reason)
