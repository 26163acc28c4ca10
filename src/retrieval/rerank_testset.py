"""A test set's nearest references re-ranked with Qmax, from the cremaPCP its lists name."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.data.crema_features import read_first
from src.data.recordings import locate
from src.errors import UserError
from src.retrieval.blend import BLEND
from src.retrieval.qmax import QmaxFeature, QmaxPairs, prepare
from src.retrieval.rerank import rerank
from src.retrieval.testset_result import Evaluated, evaluated


def read_qmax_features(
    rows: Sequence[Mapping[str, Any]], manifest: str | os.PathLike
) -> list[QmaxFeature]:
    """cremaPCP of recordings, ready for Qmax.

    Args:
        rows: lines whose key ``features`` names an ``.npz`` with cremaPCP (of either version of
            crema).
        manifest: the list they stand in.

    Raises:
        UserError: a line has no such key, or its features are missing, damaged or too short.
    """
    features = []
    for row in rows:
        if not row.get("features"):
            raise UserError(
                f"{manifest} names no cremaPCP (key 'features') for {row['utt']}, by which Qmax "
                "would compare it; add the key or leave out --rerank"
            )
        path = locate(str(row["features"]), Path(manifest).parent)
        features.append(prepare(read_first(path), name=str(path)))
    return features


def reranked(
    result: Evaluated,
    k: int,
    *,
    blend: float = BLEND,
    query_path: str | os.PathLike,
    ref_path: str | os.PathLike,
    workers: int | None = None,
    progress: bool = False,
) -> Evaluated:
    """Order the first K references of each query anew, with Qmax, and measure again.

    Args:
        result: an evaluation by embeddings.
        k: references of each query to compare.
        blend: the share of Qmax in their order, see :func:`src.retrieval.rerank.blend_order`.
        query_path, ref_path: the lists of recordings it was made from.
        workers: threads; None uses all cores.
        progress: show a progress bar.

    Returns:
        The same with the new order; its ``distances`` are places in that order, from 0 (and -1
        where a pair is excluded), since distances of embeddings and of Qmax have no common scale.

    Raises:
        UserError: see :func:`read_qmax_features`.
    """
    same = result.queries == result.references
    queries = read_qmax_features(result.queries, query_path)
    references = None if same else read_qmax_features(result.references, ref_path)
    places = rerank(
        result.distances,
        k,
        QmaxPairs(queries, references),
        blend=blend,
        excluded=result.excluded,
        workers=workers or os.cpu_count() or 1,
        progress=progress,
    )
    return evaluated(
        result.queries,
        result.references,
        result.query_embeddings,
        result.reference_embeddings,
        result.query_labels,
        result.reference_labels,
        places.astype(result.distances.dtype),
        result.excluded,
        result.failures,
    )
