"""What must be equal for two sets of embeddings to be comparable."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def json_digest(value: Any) -> str:
    """SHA-256 of a value that JSON can hold; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


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
