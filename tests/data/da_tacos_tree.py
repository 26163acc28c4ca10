"""A fabricated benchmark subset with the names and shapes of the real one."""

import json
import zipfile
from pathlib import Path

import h5py
import numpy as np

from tests.parity_weights import FIXTURES

EXPECTED = json.loads((FIXTURES / "c06_benchmark.json").read_text())


def performances() -> list[tuple[str, str]]:
    return [(work, perf) for work, perfs in EXPECTED["metadata"].items() for perf in perfs]


def make_tree(folder: Path) -> Path:
    """Write the metadata and the HDF5 files below ``folder``."""
    metadata = folder / "da-tacos_metadata" / "da-tacos_benchmark_subset_metadata.json"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(json.dumps(EXPECTED["metadata"]))
    stored = np.load(FIXTURES / "c06_benchmark.npz")
    for number, (work, perf) in enumerate(performances()):
        path = h5_path(folder, work, perf)
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            file.create_dataset("crema", data=stored[f"in_{number}"], compression="gzip")
            file.attrs["DEEPDISH_IO_VERSION"] = 12
    return folder


def h5_path(folder: Path, work: str, perf: str) -> Path:
    return folder / "da-tacos_benchmark_subset_crema" / f"{work}_crema" / f"{perf}_crema.h5"


def make_zips(tree: Path) -> dict[str, bytes]:
    """The two zip files of a tree: name -> content."""
    zips = {}
    for name in ("da-tacos_metadata", "da-tacos_benchmark_subset_crema"):
        path = tree / f"{name}.zip"
        with zipfile.ZipFile(path, "w") as file:
            for member in sorted((tree / name).rglob("*")):
                file.write(member, member.relative_to(tree))
        zips[path.name] = path.read_bytes()
        path.unlink()
    return zips
