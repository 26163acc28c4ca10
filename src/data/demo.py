"""The bundled demo: recordings in ``data/demo`` and their features, made when first needed."""

import hashlib
import logging
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from src.audio.cqt import Audio2CQT, CQTSpec
from src.audio.crema import File2CremaPCP
from src.audio.decode import load_audio
from src.config import REPOSITORY
from src.data.chroma import double_chroma
from src.data.cqt_features import decode_cqt, encode_cqt
from src.data.dataset_file import DatasetFile, load_dataset_file, save_dataset_file
from src.data.manifest import read_manifest
from src.errors import UserError
from src.files import atomic_path

logger = logging.getLogger(__name__)

DEMO = REPOSITORY / "data" / "demo"


def demo_dataset(crema_version: str, *, device: torch.device) -> DatasetFile:
    """cremaPCP of the bundled recordings, labelled by work.

    The features are kept beside the recordings where that folder can be written to, under a name
    that changes with the recordings.

    Args:
        crema_version: ``0.1.0`` or ``0.2.0``.
        device: where to compute them.

    Raises:
        UserError: the demo is not there, or one of its recordings cannot be decoded.
    """
    rows, paths, fingerprint = _recordings()
    cache = DEMO / f"crema_{crema_version}_{fingerprint}.pt"
    if cache.is_file():
        return load_dataset_file(cache)
    logger.info("extracting cremaPCP of %d recordings", len(rows))
    features = File2CremaPCP(crema_version, device).batch(paths)
    dataset = DatasetFile(
        data=[double_chroma(pcp) for pcp in features],
        labels=[row["song"] for row in rows],
        crema_version=crema_version,
    )
    try:
        save_dataset_file(cache, **vars(dataset))
    except UserError as error:
        logger.info("the features are not kept: %s", error)
    return dataset


def demo_cqt(spec: CQTSpec, *, device: torch.device) -> tuple[list[np.ndarray], list[str]]:
    """CQT of the bundled recordings, in half decibels, and their works; kept like cremaPCP.

    Args:
        spec: which CQT.
        device: where to compute it.

    Returns:
        ``(frames, bins)`` float32 dB for each recording, and the work of each.

    Raises:
        UserError: see :func:`demo_dataset`.
    """
    rows, paths, fingerprint = _recordings()
    labels = [row["song"] for row in rows]
    digest = hashlib.sha256(repr(spec).encode()).hexdigest()[:8]
    cache = DEMO / f"cqt_{digest}_{fingerprint}.npz"
    if cache.is_file():
        with np.load(cache, allow_pickle=False) as arrays:
            return [decode_cqt(arrays[row["utt"]]) for row in rows], labels
    extract = Audio2CQT(spec, device)
    stored = {
        row["utt"]: encode_cqt(extract(*load_audio(path)))
        for row, path in zip(rows, tqdm(paths, desc="CQT", unit="recording"), strict=True)
    }
    try:
        with atomic_path(cache) as temporary:
            np.savez_compressed(temporary, **stored)
    except UserError as error:
        logger.info("the features are not kept: %s", error)
    return [decode_cqt(stored[row["utt"]]) for row in rows], labels


def _recordings() -> tuple[list[dict], list[Path], str]:
    """Lines of the manifest, paths of the recordings, and a digest of both."""
    manifest = DEMO / "dataset.txt"
    rows = read_manifest(manifest)
    paths = [REPOSITORY / row["wav"] for row in rows]
    return rows, paths, _fingerprint(manifest, paths)


def _fingerprint(manifest: Path, paths: list[Path]) -> str:
    """Digest of the list of recordings and of their sizes."""
    digest = hashlib.sha256(manifest.read_bytes())
    for path in paths:
        size = path.stat().st_size if path.is_file() else -1
        digest.update(f"{path.name} {size}\n".encode())
    return digest.hexdigest()[:12]
