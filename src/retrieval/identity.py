"""What must be equal for two sets of embeddings to be comparable, and digests of files."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_READ_BYTES = 1 << 20


def json_digest(value: Any) -> str:
    """SHA-256 of a value that JSON can hold; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs between two identities, in words, the most telling first."""
    words = {
        "model": "another kind of model",
        "features": "other features",
        "weights": "other weights",
        "distance": "another distance",
        "windows": "other windows",
    }
    return [text for key, text in words.items() if expected.get(key) != found.get(key)]
