"""A CoverHunter model on a test set: windows, distances between recordings, figures.

Query and reference recordings are embedded window by window; the distance of two recordings is
the smallest cosine distance of their windows (:mod:`src.retrieval.chunk_distance`). The figures
are CoverHunter's four and Re-MOVE's five (:mod:`src.retrieval.metrics`).

What the original does by accident is not repeated: a pair is excluded because a mask says so, not
because rounding makes the distance of two equal recordings negative; embeddings of an earlier run
are not used again unless weights, features and windows are the same; a recording with damaged
features is left out and named. Its definitions are kept: the end of a recording that does not fill
a window is dropped (unless ``keep_tail``), average precision is divided by the relevant
references found, and a query without any counts 0, also in ``rank1``, which improves that one.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from src.data.feature_rows import read_feature_rows
from src.data.manifest import write_manifest
from src.device import select_device
from src.errors import UserError
from src.models.window_embedder import FRAMES_PER_SECOND, Feature2Embeddings
from src.retrieval.chunk_distance import chunk_distances
from src.retrieval.embedding_folder import embed_rows
from src.retrieval.testset_files import labels_of, read_query_in_ref
from src.retrieval.testset_result import Evaluated, evaluated

logger = logging.getLogger(__name__)

EXCLUDED = -1.0  # in a distance matrix on disk, as in the original
QUERY_FILE, REF_FILE, EMBED_FOLDER = "query.txt", "ref.txt", "query_embed"
Row = Mapping[str, Any]


def evaluate_testset(
    model: nn.Module,
    query_path: str | os.PathLike,
    ref_path: str | os.PathLike,
    *,
    query_in_ref_path: str | os.PathLike | None = None,
    embed_dir: str | os.PathLike,
    **options: Any,
) -> dict[str, float]:
    """Figures of a model on a test set; see :func:`compare_testset` for the arguments.

    Returns:
        ``mean_ap, top10, rank1, hit_rate``; then ``mAP, MRR, MR, Top1, Top10`` where any query
        has a version.
    """
    result = compare_testset(
        model,
        query_path,
        ref_path,
        query_in_ref_path=query_in_ref_path,
        embed_dir=embed_dir,
        **options,
    )
    return result.figures


def compare_testset(
    model: nn.Module,
    query_path: str | os.PathLike,
    ref_path: str | os.PathLike,
    *,
    query_in_ref_path: str | os.PathLike | None = None,
    embed_dir: str | os.PathLike,
    chunk_s: float | None = None,
    hop_s: float | None = None,
    keep_tail: bool = False,
    device: torch.device | None = None,
    batch_size: int = 64,
    amp: bool = False,
    reuse: bool = False,
    progress: bool = False,
) -> Evaluated:
    """Embed query and reference recordings and rank the references of every query.

    Writes ``query.txt`` and ``ref.txt`` (one line a window), and below ``query_embed/`` the
    embeddings of both, into ``embed_dir``.

    Args:
        model: CoverHunter model, on its device; its mode is left as it was.
        query_path, ref_path: manifests with features (or a ``dataset.txt`` beside a ``full.txt``).
            If they are the same file, each query is left out of its own references.
        query_in_ref_path: pairs (query index, reference index) that are the same recording and
            are left out; ignored if the two files are the same.
        embed_dir: folder to write.
        chunk_s: window in seconds; None takes ``chunk_frame[0] * mean_size`` of the model.
        hop_s: distance of windows; None makes it ``chunk_s``.
        keep_tail: include the end of a recording that does not fill a window.
        device: where to compute; None takes that of the model.
        batch_size: windows computed together.
        amp: mixed precision.
        reuse: use embeddings of an earlier run where nothing has changed.
        progress: show a progress bar.

    Raises:
        UserError: a file is missing or wrong, features do not fit the model, or nothing could be
            embedded.
    """
    embed_dir = Path(embed_dir)
    embedder = Feature2Embeddings(
        model,
        chunk_s=default_chunk_s(model) if chunk_s is None else chunk_s,
        hop_s=hop_s,
        keep_tail=keep_tail,
        device=device,
        batch_size=batch_size,
        amp=amp,
    )
    same = Path(query_path).resolve() == Path(ref_path).resolve()
    queries = read_feature_rows(query_path)
    references = queries if same else read_feature_rows(ref_path)
    query_labels, reference_labels = labels_of(queries, references, query_path, ref_path)
    excluded = np.zeros((len(queries), len(references)), dtype=bool)
    if same:
        np.fill_diagonal(excluded, True)
        if query_in_ref_path is not None:
            logger.warning("%s is ignored: queries and references are one file", query_in_ref_path)
    elif query_in_ref_path is not None:
        pairs = read_query_in_ref(query_in_ref_path, excluded.shape)
        excluded[pairs[:, 0], pairs[:, 1]] = True
    else:
        _warn_of_shared(queries, references)

    rows = queries if same else [*queries, *references]
    found = embed_rows(embedder, rows, embed_dir / EMBED_FOLDER, reuse=reuse, progress=progress)
    kept = [i for i, embeddings in enumerate(found.embeddings) if embeddings is not None]
    kept_queries = [i for i in kept if i < len(queries)]
    offset = 0 if same else len(queries)
    kept_references = [i - offset for i in kept if i >= offset]
    if not kept_queries or not kept_references:
        what, path = ("query", query_path) if not kept_queries else ("reference", ref_path)
        reason = next(iter(found.failures.values()))
        raise UserError(f"no {what} recording of {path} could be embedded; the first: {reason}")
    _write_windows(found.windows, kept_queries, embed_dir / QUERY_FILE)
    _write_windows(found.windows, [i + offset for i in kept_references], embed_dir / REF_FILE)

    query_embeddings = [found.embeddings[i] for i in kept_queries]
    reference_embeddings = [found.embeddings[i + offset] for i in kept_references]
    distances = chunk_distances(
        query_embeddings, None if same else reference_embeddings, device=embedder.device
    )
    excluded = excluded[np.ix_(kept_queries, kept_references)]
    distances[excluded] = EXCLUDED
    return evaluated(
        [queries[i] for i in kept_queries],
        [references[i] for i in kept_references],
        query_embeddings,
        reference_embeddings,
        [query_labels[i] for i in kept_queries],
        [reference_labels[i] for i in kept_references],
        distances,
        excluded,
        found.failures,
    )


def device_for(model: nn.Module, name: str | None = None) -> torch.device:
    """The device a person asked for, else that of the model's configuration if it is here.

    A model trained elsewhere (``device: mps``) is used on what this machine has.

    Raises:
        UserError: the device that was asked for does not exist here.
    """
    if name is not None:
        return select_device(name)
    stated = str(getattr(model, "hparams", {}).get("device") or "auto")
    try:
        return select_device(stated)
    except UserError:
        device = select_device()
        logger.info("the configuration says device %s; here it is %s", stated, device)
        return device


def default_chunk_s(model: nn.Module) -> float:
    """Length in seconds of the longest chunks that a model was trained on.

    Raises:
        UserError: its configuration says nothing about chunks.
    """
    hparams = getattr(model, "hparams", {})
    chunk = hparams.get("chunk_frame")
    frames = chunk[0] if isinstance(chunk, Sequence) and chunk else chunk
    if not isinstance(frames, int) or frames < 1:
        raise UserError(
            "the configuration of the model has no chunk_frame, so the length of the windows is "
            "unknown; add chunk_frame to its hparams.yaml"
        )
    spec = getattr(model, "feature_spec", None)
    rate = spec.frames_per_second if spec else FRAMES_PER_SECOND
    seconds = frames * getattr(model, "mean_size", 1) / rate
    stated = hparams.get("chunk_s")
    if isinstance(stated, int | float) and abs(stated - seconds) > 1 / rate:
        raise UserError(
            f"chunk_s of the model's hparams.yaml is {stated} s, but its first chunk_frame makes "
            f"{seconds:g} s; leave chunk_s out or correct it"
        )
    return seconds


def default_embed_dir(model_dir: str | os.PathLike, epoch: int, query_path: object) -> Path:
    """Where the embeddings of an evaluation lie unless something else is asked for."""
    query = Path(str(query_path)).resolve()
    return Path(model_dir) / f"embed_{epoch}_{query.parent.name}_{query.stem}"


def _warn_of_shared(queries: Sequence[Row], references: Sequence[Row]) -> None:
    shared = {row["feat"] for row in queries} & {row["feat"] for row in references}
    if shared:
        logger.warning(
            "%d recordings are query and reference and find themselves; name them in a "
            "query_in_ref file",
            len(shared),
        )


def _write_windows(windows: list[list[dict[str, Any]]], rows: list[int], path: Path) -> None:
    write_manifest([window for row in rows for window in windows[row]], path)
