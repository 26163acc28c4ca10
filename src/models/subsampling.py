"""The first layers of CoverHunter: two strided convolutions and a linear layer.

They are most of the work of the whole network, and most of its memory. On a CPU they run a few
items at a time, so that what lies between the two convolutions stays in the cache; the backward
pass computes it again.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

KERNEL, STRIDE = 3, 2
SHORTEST = 7  # frames or bins that leave one output
# Bytes between the two convolutions that are worked on together. For large buffers the C library
# fetches fresh pages from the system every time, which costs more than the arithmetic.
BYTES_AT_ONCE = 12_000_000


def subsampled(length: int) -> int:
    """What remains of ``length`` frames or bins after both convolutions."""
    return halved(halved(length))


def halved(length: int) -> int:
    """What remains after one convolution."""
    return (length - 1) // 2


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
        if x.is_cpu and not torch.compiler.is_compiling():
            x = self.by_items(x)  # (B, T', F', d)
        else:
            x = self.conv(x[:, None]).permute(0, 2, 3, 1)
        layer = self.out[0]
        # The weights are for channels before bins; it is cheaper to rearrange them than the batch.
        weight = layer.weight.unflatten(1, (x.shape[3], -1)).transpose(1, 2).flatten(1)
        return functional.linear(x.flatten(2), weight, layer.bias)

    def by_items(self, x: Tensor) -> Tensor:
        """Both convolutions on a CPU: ``(B, T, F)`` to ``(B, T', F', d)``."""
        first, second = self.conv[0], self.conv[2]
        low = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if low else x.dtype
        # The bias of the first layer is the weight of a tenth value, always 1, of each patch.
        weight1 = torch.cat([first.weight.flatten(1), first.bias[:, None]], dim=1)
        weight2 = second.weight.contiguous(memory_format=torch.channels_last)
        inputs = (value.to(dtype) for value in (x, weight1, weight2, second.bias))
        with torch.autocast("cpu", enabled=False):
            return _TwoConvolutions.apply(*inputs)


class _TwoConvolutions(torch.autograd.Function):
    """Two strided 3 x 3 convolutions with ReLU, channels last.

    The backward pass of a convolution is asked for without the gradient of the bias: with it,
    oneDNN takes three times as long as for the rest together.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight1: Tensor, weight2: Tensor, bias2: Tensor) -> Tensor:
        size = len(weight1)
        y = x.new_empty(len(x), subsampled(x.shape[1]), subsampled(x.shape[2]), size)
        together = _items_at_once(x, size)
        for items, out in zip(x.split(together), y.split(together), strict=True):
            between = functional.relu_(_patches(items) @ weight1.T)
            torch.clamp_min(_second(between, weight2, bias2), 0, out=out)
        ctx.save_for_backward(x, weight1, weight2, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, weight1, weight2, y = ctx.saved_tensors
        size, full = len(weight1), torch.promote_types(x.dtype, torch.float)
        of_x = x.new_zeros(x.shape, dtype=full)
        of_weight1, of_weight2 = (torch.zeros_like(w, dtype=full) for w in (weight1, weight2))
        of_bias2 = x.new_zeros(size, dtype=full)
        together = _items_at_once(x, size)
        parts = (tensor.split(together) for tensor in (x, y, gradient, of_x))
        for items, out, g, of_items in zip(*parts, strict=True):
            patches = _patches(items)
            between = functional.relu_(patches @ weight1.T)
            g = torch.ops.aten.threshold_backward(g, out, 0)
            of_between, of_weight, _ = torch.ops.aten.convolution_backward(
                g.permute(0, 3, 1, 2),
                between.permute(0, 3, 1, 2),
                weight2,
                None,  # no bias
                [STRIDE, STRIDE],
                [0, 0],  # padding
                [1, 1],  # dilation
                False,  # not transposed
                [0, 0],  # output padding
                1,  # groups
                [True, True, False],
            )
            of_weight2 += of_weight
            of_bias2 += _column_sums(g.reshape(-1, size))
            of_between = of_between.permute(0, 2, 3, 1)  # (b, T1, F1, d)
            of_between = torch.ops.aten.threshold_backward(of_between, between, 0)
            rows = of_between.reshape(-1, size)
            of_weight1 += rows.T @ patches.flatten(0, 2)
            if ctx.needs_input_grad[0]:
                _add_patches(of_items, (of_between @ weight1[:, :-1]).unflatten(3, (KERNEL, -1)))
        dtype = x.dtype
        return of_x.to(dtype), of_weight1.to(dtype), of_weight2.to(dtype), of_bias2.to(dtype)


def _items_at_once(x: Tensor, size: int) -> int:
    frames, bins = (halved(length) for length in x.shape[1:])
    return max(1, BYTES_AT_ONCE // (frames * bins * size * x.element_size()))


def _patches(x: Tensor) -> Tensor:
    """``(b, T, F)`` to the 3 x 3 surroundings of every output and a 1: ``(b, T1, F1, 10)``."""
    windows = x.unfold(1, KERNEL, STRIDE).unfold(2, KERNEL, STRIDE)  # (b, T1, F1, 3, 3)
    patches = x.new_ones(*windows.shape[:3], KERNEL * KERNEL + 1)
    patches[..., :-1].unflatten(3, (KERNEL, KERNEL)).copy_(windows)
    return patches


def _add_patches(x: Tensor, patches: Tensor) -> None:
    """Add ``(b, T1, F1, 3, 3)`` to where ``_patches`` took them from in ``x``."""
    frames, bins = patches.shape[1:3]
    for i in range(KERNEL):
        for j in range(KERNEL):
            x[:, i : i + 2 * frames : 2, j : j + 2 * bins : 2][:, :frames, :bins] += patches[
                ..., i, j
            ]


def _second(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The second convolution, from and to channels last in shape and memory."""
    return functional.conv2d(x.permute(0, 3, 1, 2), weight, bias, STRIDE).permute(0, 2, 3, 1)


def _column_sums(rows: Tensor) -> Tensor:
    """Sum over the rows, in the higher precision in which matrix products add."""
    return (rows.new_ones(1, len(rows)) @ rows)[0]
