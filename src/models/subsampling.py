"""The first layers of CoverHunter: two strided convolutions and a linear layer."""

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL, STRIDE = 3, 2
SHORTEST = 7  # frames or bins that leave one output


def subsampled(length: int) -> int:
    """What remains of ``length`` frames or bins after both convolutions."""
    return ((length - 1) // 2 - 1) // 2


class Subsampling(nn.Module):
    """Every fourth frame: two 3 x 3 convolutions of stride 2 with ReLU, then a linear layer.

    Args:
        bins: features F of a frame, at least 7.
        size: channels d of the convolutions and of the output.
    """

    def __init__(self, bins: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, size, KERNEL, STRIDE),
            nn.ReLU(),
            nn.Conv2d(size, size, KERNEL, STRIDE),
            nn.ReLU(),
        )
        self.out = nn.Sequential(nn.Linear(size * subsampled(bins), size))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, F)`` to ``(B, T', d)``."""
        x = x[:, None].contiguous(memory_format=torch.channels_last)
        x = self.conv(x)  # (B, d, T', F'), in memory (B, T', F', d)
        layer = self.out[0]
        # The weights are for channels before bins; it is cheaper to rearrange them than the batch.
        weight = layer.weight.unflatten(1, (x.shape[1], -1)).transpose(1, 2).flatten(1)
        return functional.linear(x.permute(0, 2, 3, 1).flatten(2), weight, layer.bias)
