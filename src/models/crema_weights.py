"""Weights of the crema chord network: the two published files turned into safetensors, once.

The crema package (Brian McFee, BSD 2-Clause / ISC) ships its trained chord network as a Keras
HDF5 file. This module reads nothing but the arrays of that file.
"""

import hashlib
import io
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from src.errors import UserError

WEIGHTS_FOLDER = Path(__file__).resolve().parents[2] / "models" / "crema"


@dataclass(frozen=True)
class Release:
    """One published version of the crema package and the shape of its chord network.

    Attributes:
        archive: file name on PyPI.
        archive_sha256: digest of that file.
        member: path of the weights inside the archive.
        weights_sha256: digest of the weights file.
        harmonics: channels of the network's input.
        filters: width of the layer that spans all 216 bins.
        extra_norms: whether batch norms stand after the first convolution, the second, and the
            first recurrent layer.
    """

    archive: str
    archive_sha256: str
    member: str
    weights_sha256: str
    harmonics: int
    filters: int
    extra_norms: bool


RELEASES = {
    "0.1.0": Release(
        archive="crema-0.1.0.tar.gz",
        archive_sha256="37c78a192a413ef3fd82c9587d8a7cad55a00ea62b062a053c384c8e099c3e9d",
        member="crema-0.1.0/crema/models/chord/model.h5",
        weights_sha256="9e8dab33ecf9422d6d79b103501f3ed91cc90a382e5b32e7b2b77f72f645c04f",
        harmonics=1,
        filters=36,
        extra_norms=False,
    ),
    "0.2.0": Release(
        archive="crema-0.2.0-py3-none-any.whl",
        archive_sha256="b2787afd0367463438ca2b9b2944c490308eee1f307e5796078ec540a6281484",
        member="crema/models/chord/model.h5",
        weights_sha256="08b80e5b648e743c89284e9bc0b12b993dad1129157a75e0de70e076b0b8a235",
        harmonics=2,
        filters=72,
        extra_norms=True,
    ),
}


def release(version: str) -> Release:
    """The published release named ``version``.

    Raises:
        UserError: there is no such version.
    """
    if version not in RELEASES:
        raise UserError(f"unknown crema version {version!r}; use {' or '.join(RELEASES)}")
    return RELEASES[version]


def weights_path(version: str) -> Path:
    """Where the converted weights of ``version`` lie."""
    release(version)
    return WEIGHTS_FOLDER / f"crema_{version}.safetensors"


def convert_archive(archive: Path, version: str) -> dict[str, torch.Tensor]:
    """Read a crema archive from PyPI into the state dict of :class:`src.models.crema.CremaModel`.

    Args:
        archive: the sdist of crema 0.1.0 or the wheel of crema 0.2.0.
        version: which of the two it is.

    Raises:
        UserError: the file is missing, or its SHA-256 is not the published one.
    """
    wanted = release(version)
    try:
        content = archive.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {archive}: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != wanted.archive_sha256:
        raise UserError(
            f"{archive} is not the published {wanted.archive} (SHA-256 differs); "
            f"get it with: pip download --no-deps --no-binary :all: crema==0.1.0 (or, for 0.2.0, "
            "pip download --no-deps crema==0.2.0)"
        )
    weights = _read_member(content, wanted.member)
    if hashlib.sha256(weights).hexdigest() != wanted.weights_sha256:
        raise UserError(f"{wanted.member} in {archive} is not the published weights file")
    arrays = _read_hdf5(weights)
    return {key: torch.from_numpy(value) for key, value in _rename(arrays, wanted).items()}


def _read_member(content: bytes, member: str) -> bytes:
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.read(member)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return archive.extractfile(member).read()


def _read_hdf5(content: bytes) -> dict[str, np.ndarray]:
    """All arrays below ``model_weights`` as ``{path: float32 array}``."""
    import h5py  # only the conversion needs it

    arrays: dict[str, np.ndarray] = {}

    def collect(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            arrays[name] = np.asarray(node, dtype=np.float32)

    with h5py.File(io.BytesIO(content), "r") as file:
        file["model_weights"].visititems(collect)
    return arrays


def _rename(arrays: dict[str, np.ndarray], wanted: Release) -> dict[str, np.ndarray]:
    """Keras names and layouts -> torch names and layouts."""
    out: dict[str, np.ndarray] = {}

    def norm(name: str, layer: str) -> None:
        base = f"{layer}/{layer}"
        out[f"{name}.weight"] = arrays[f"{base}/gamma:0"]
        out[f"{name}.bias"] = arrays[f"{base}/beta:0"]
        out[f"{name}.running_mean"] = arrays[f"{base}/moving_mean:0"]
        out[f"{name}.running_var"] = arrays[f"{base}/moving_variance:0"]

    def gru(name: str, number: int) -> None:
        base = f"bidirectional_{number}/bidirectional_{number}"
        for target, source in (
            ("weight_input", "kernel"),
            ("weight_recurrent", "recurrent_kernel"),
            ("bias", "bias"),
        ):
            if wanted.extra_norms:
                names = [f"{base}/{d}_gru_{number}/{source}:0" for d in ("forward", "backward")]
            else:
                names = [f"{base}/{source}:0", f"{base}/{source}_1:0"]
            out[f"{name}.{target}"] = np.stack([arrays[n] for n in names])

    norm("norm_input", "batch_normalization_1")
    out["conv.weight"] = arrays["conv2d_1/conv2d_1/kernel:0"].transpose(3, 2, 0, 1).copy()
    out["conv.bias"] = arrays["conv2d_1/conv2d_1/bias:0"]
    out["dense.weight"] = arrays["conv2d_2/conv2d_2/kernel:0"][0, :, 0].T.copy()
    out["dense.bias"] = arrays["conv2d_2/conv2d_2/bias:0"]
    gru("gru1", 1)
    gru("gru2", 2)
    if wanted.extra_norms:
        norm("norm_conv", "batch_normalization_2")
        norm("norm_dense", "batch_normalization_3")
        norm("norm_gru", "batch_normalization_4")
    for head in ("pitch", "root", "bass"):
        base = f"chord_{head}/chord_{head}"
        out[f"{head}.weight"] = arrays[f"{base}/kernel:0"].T.copy()
        out[f"{head}.bias"] = arrays[f"{base}/bias:0"]
    return out
