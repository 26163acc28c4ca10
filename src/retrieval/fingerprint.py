"""What tells one trained model from another, so that embeddings of two are never mixed."""

import hashlib
import json

import torch
from torch import nn


def model_fingerprint(model: nn.Module) -> str:
    """SHA-256 of all weights, their names and shapes, and the feature specification.

    Equal on every device; another precision of the weights is another model. What
    ``model.feature_spec`` says (if it is there) counts, because the same weights on other
    features give other embeddings; so does the ``padding`` of a MOVE model.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    spec = getattr(model, "feature_spec", None)
    if spec is not None:
        digest.update(json.dumps(spec.to_dict(), sort_keys=True).encode())
    mean_size = getattr(model, "mean_size", None)
    digest.update(f"mean_size {mean_size}".encode())
    if padding := getattr(model, "padding", 0):
        digest.update(f" padding {padding}".encode())
    return digest.hexdigest()
