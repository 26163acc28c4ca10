"""The bundled demo: recordings in ``data/demo`` and their cremaPCP, made when first needed."""

import hashlib
import logging
from pathlib import Path

import torch

from src.audio.crema import File2CremaPCP
from src.config import REPOSITORY
from src.data.chroma import double_chroma
from src.data.dataset_file import DatasetFile, load_dataset_file, save_dataset_file
from src.data.manifest import read_manifest
from src.errors import UserError

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
    manifest = DEMO / "dataset.txt"
    rows = read_manifest(manifest)
    paths = [REPOSITORY / row["wav"] for row in rows]
    cache = DEMO / f"crema_{crema_version}_{_fingerprint(manifest, paths)}.pt"
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


def _fingerprint(manifest: Path, paths: list[Path]) -> str:
    """Digest of the list of recordings and of their sizes."""
    digest = hashlib.sha256(manifest.read_bytes())
    for path in paths:
        size = path.stat().st_size if path.is_file() else -1
        digest.update(f"{path.name} {size}\n".encode())
    return digest.hexdigest()[:12]
