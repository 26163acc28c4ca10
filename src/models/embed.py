"""Whole tracks -> embeddings, one at a time and at full length."""

from collections.abc import Iterable

import torch
from torch import nn
from tqdm import tqdm

from src.device import autocast


@torch.inference_mode()
def embed_tracks(
    model: nn.Module,
    tracks: Iterable[torch.Tensor],
    *,
    device: torch.device,
    amp: bool = False,
    progress: bool = False,
) -> torch.Tensor:
    """Embed tracks of any length; none is cropped, padded to another or augmented.

    Args:
        model: network from ``(1, 1, 23, T)`` to ``(1, E)``; it is put into eval mode for the
            call and left in the mode it was in.
        tracks: doubled chroma, each ``(1, 23, T)``.
        device: where the model is and the embeddings are computed.
        amp: mixed precision.
        progress: show a progress bar.

    Returns:
        ``(N, E)`` float32 on the CPU, in the order of the tracks.
    """
    was_training = model.training
    model.eval()
    embeddings = []
    try:
        for track in tqdm(tracks, desc="embeddings", unit="track", disable=not progress):
            chroma = track.to(device, torch.float32)[None]  # (1, 1, 23, T)
            with autocast(device, enabled=amp):
                embedding = model(chroma)
            embeddings.append(embedding[0].float().cpu())
    finally:
        model.train(was_training)
    return torch.stack(embeddings)
