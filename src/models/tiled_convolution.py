"""Convolution with 5 taps in time by minimal filtering, for inference on a CPU.

Winograd's F(4, 5) ("Arithmetic complexity of computations", 1980; as a network layer: Lavin and
Gray, "Fast algorithms for convolutional neural networks", CVPR 2016): 8 products for 4 outputs in
place of 20. Input, kernel and products are values of polynomials at 8 points, the last of them at
infinity. The result differs from the direct sum by a few units of the last place.
"""

import torch
from torch.nn import functional

TAPS = 5
TILE = 4
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)
PRODUCTS = len(POINTS) + 1


def tiled_convolution(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, dilation: int
) -> torch.Tensor:
    """The same as ``conv2d(x, weight, bias, dilation=(1, dilation))``, without gradients.

    Args:
        x: ``(B, C, 1, T)`` in 32 bits or more, best in channels-last memory order.
        weight: ``(O, C, 1, 5)``.
        bias: ``(O,)``.
        dilation: distance of the taps in frames.

    Returns:
        ``(B, O, 1, T - 4 dilation)`` in channels-last memory order.
    """
    outputs, channels = weight.shape[:2]
    batch, frames = x.shape[0], x.shape[3] - (TAPS - 1) * dilation
    tiles = -(-frames // (TILE * dilation))
    to_outputs, to_kernel, to_input = (matrix.to(x) for matrix in transforms())

    # Rows of ``dilation`` frames: the taps of a frame are its neighbours in a column.
    rows = TILE * tiles + TAPS - 1
    x = x.squeeze(2).transpose(1, 2)  # (B, T, C)
    x = functional.pad(x, (0, 0, 0, rows * dilation - x.shape[1]))
    x = x.reshape(batch, rows, dilation * channels)
    shifted = torch.stack([x[:, s : s + TILE * tiles : TILE] for s in range(PRODUCTS)])
    values = (to_input @ shifted.flatten(1)).view(PRODUCTS, -1, channels)
    kernel = to_kernel @ weight.flatten(0, 2).t()  # (8, O C)
    products = torch.bmm(values, kernel.view(PRODUCTS, outputs, channels).transpose(1, 2))
    result = (to_outputs @ products.flatten(1)).view(TILE, batch, tiles, dilation * outputs)
    result = result.permute(1, 2, 0, 3).reshape(batch, -1, outputs)[:, :frames]
    return (result + bias)[:, None].permute(0, 3, 1, 2)


def transforms() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``A (4, 8)``, ``G (8, 5)``, ``B (8, 8)`` of ``outputs = A ((G kernel) * (B inputs))``."""
    inverse = torch.linalg.inv(_values_of_powers(PRODUCTS))
    return _values_of_powers(TILE).t(), _values_of_powers(TAPS), inverse.t()


def _values_of_powers(count: int) -> torch.Tensor:
    """Values of 1, x, x**2, ... at the points; at infinity only the highest power counts."""
    points = torch.tensor(POINTS, dtype=torch.float64)[:, None]
    infinity = torch.zeros(1, count, dtype=torch.float64)
    infinity[0, -1] = 1
    return torch.cat([points ** torch.arange(count), infinity])
