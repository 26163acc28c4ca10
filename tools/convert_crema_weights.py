"""Convert the chord networks of crema 0.1.0 and 0.2.0 into safetensors below models/crema.

pip download --no-deps --no-binary :all: crema==0.1.0
pip download --no-deps crema==0.2.0
python -m tools.convert_crema_weights crema-0.1.0.tar.gz crema-0.2.0-py3-none-any.whl
"""

import argparse
import hashlib
from pathlib import Path

from safetensors.torch import save_file

from src.errors import UserError, run_front
from src.files import atomic_path
from src.models.crema_weights import RELEASES, WEIGHTS_FOLDER, convert_archive


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Convert the chord network weights of the crema package into safetensors."
    )
    parser.add_argument(
        "archives",
        nargs="+",
        type=Path,
        metavar="ARCHIVE",
        help="crema-0.1.0.tar.gz and/or crema-0.2.0-py3-none-any.whl, as downloaded from PyPI",
    )
    parser.add_argument(
        "--output-dir", type=Path, default=WEIGHTS_FOLDER, help="default: models/crema"
    )
    arguments = parser.parse_args()
    by_name = {wanted.archive: version for version, wanted in RELEASES.items()}
    for archive in arguments.archives:
        if archive.name not in by_name:
            raise UserError(f"{archive} is none of {', '.join(by_name)}; keep the name from PyPI")
        version = by_name[archive.name]
        tensors = convert_archive(archive, version)
        target = arguments.output_dir / f"crema_{version}.safetensors"
        with atomic_path(target) as temporary:
            save_file(tensors, temporary, metadata={"crema_version": version, "license": "ISC/BSD"})
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        print(f"{target}  sha256 {digest}")


if __name__ == "__main__":
    run_front(main)
