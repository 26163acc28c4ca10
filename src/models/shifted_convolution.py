"""Depthwise convolution over time for data that lies in memory frame by frame."""

from torch import Tensor
from torch.nn import functional


def depthwise_over_time(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve every channel with its own kernel; zeros before the start and after the end.

    Args:
        x: ``(B, T, C)``.
        weight: ``(C, 1, K)``, K odd.
        bias: ``(C,)``.

    Returns:
        ``(B, T, C)``.
    """
    channels, _, kernel = weight.shape
    y = functional.conv1d(x.transpose(1, 2), weight, bias, padding=kernel // 2, groups=channels)
    return y.transpose(1, 2)
