"""MOVE's first layer as a circular correlation in pitch.

The kernel of the first layer spans the 12 pitch classes, its input is a chroma stacked twice, and
the maximum over the 12 key positions is kept. So, for every output channel o and frame t,

    y[o, p, t] = sum over c, tau of w[o, c, tau] x[(p + c) mod 12, t + tau],   result = max over p.

A discrete Fourier transform over the 12 pitch classes turns the 12 x 12 products of pitch classes
into 7 products of spectral components (5 of them complex): 6.5 times fewer multiplications. What
is left are matrix products, which run at the full speed of the machine in any precision. In
training only the chosen position is remembered (2 bytes a value), and the gradient of the weights
is formed in the spectral domain as well.

Everything works through the batch in blocks of frames, so the map of 12 positions never exists
as a whole.
"""

import math
from collections.abc import Iterator

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

PITCH_CLASSES = 12
PAIRS = 6
# Temporaries of one block stay below 32 MB in float32: larger ones are mapped and cleared by the
# operating system anew for every block, which costs more than the arithmetic.
BLOCK_FRAMES = 2048


def is_doubled(chroma: torch.Tensor) -> bool:
    """Whether rows 12..22 of ``(B, 1, 23, T)`` repeat rows 0..10."""
    return torch.equal(
        chroma[:, :, PITCH_CLASSES:], chroma[:, :, : chroma.shape[2] - PITCH_CLASSES]
    )


def pitch_basis(like: torch.Tensor) -> torch.Tensor:
    """Orthonormal real Fourier basis over the pitch classes, ``(12, 12)``, one component a row.

    Rows come in pairs: the constant and the alternating one, then cosine and sine of the
    frequencies 1..5.
    """
    pitch = torch.arange(PITCH_CLASSES, dtype=torch.float64)
    rows = [torch.ones_like(pitch), 1 - 2 * (pitch % 2)]
    rows = [row / math.sqrt(PITCH_CLASSES) for row in rows]
    for frequency in range(1, PAIRS):
        angle = 2 * math.pi * frequency / PITCH_CLASSES * pitch
        rows += [angle.cos() / math.sqrt(PAIRS), angle.sin() / math.sqrt(PAIRS)]
    return torch.stack(rows).to(device=like.device, dtype=like.dtype)


def spectral_weights(weight: torch.Tensor) -> torch.Tensor:
    """Kernels as matrices between spectral components, differentiable.

    Args:
        weight: ``(O, 12, K)``.

    Returns:
        ``(6, 2 O, 2 K)``: for every pair of components the matrix that takes the input's pair to
        the output's pair.
    """
    outputs, _, frames = weight.shape
    spectrum = torch.einsum("sc,ock->sok", pitch_basis(weight), weight)
    first, second = spectrum.view(PAIRS, 2, outputs, frames).unbind(1)  # (6, O, K) each
    nothing = torch.zeros_like(first[:1])
    constant, alternating = first[:1], second[:1]
    first, second = first[1:] * math.sqrt(PAIRS), second[1:] * math.sqrt(PAIRS)
    top = torch.cat(
        [
            torch.cat([constant * math.sqrt(PITCH_CLASSES), nothing], dim=2),
            torch.cat([first, second], dim=2),
        ]
    )
    bottom = torch.cat(
        [
            torch.cat([nothing, alternating * math.sqrt(PITCH_CLASSES)], dim=2),
            torch.cat([-second, first], dim=2),
        ]
    )
    return torch.cat([top, bottom], dim=1)


def key_maximum(
    chroma: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    slope: torch.Tensor,
    *,
    dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """Correlate with 12-row kernels at all 12 keys and keep the key with the largest PReLU.

    The activation itself is left to the caller: the result holds, for every channel and frame,
    the value *before* the PReLU at the key where the value *after* it is largest. (A PReLU with
    a negative slope falls and then rises, so that key is the one of the maximum or the minimum.)

    Args:
        chroma: ``(B, 12, T)``, not differentiated.
        weight: ``(O, 12, K)``.
        bias: ``(O,)``.
        slope: the one slope of the PReLU that follows.
        dtype: type of the matrix products and of the result; by default that of ``weight``.

    Returns:
        ``(B, O, 1, T - K + 1)`` in channels-last memory order.
    """
    # The spectrum is formed in full precision; only the long products are in ``dtype``.
    spectrum = torch.einsum("sc,bct->bst", pitch_basis(weight), chroma.to(weight.dtype))
    matrices = spectral_weights(weight)
    dtype = dtype or weight.dtype
    return _KeyMaximum.apply(matrices, bias, spectrum.to(dtype), min(slope.item(), 0.0))


class _KeyMaximum(torch.autograd.Function):
    """``(matrices (6, 2 O, 2 K), bias (O,), spectrum (B, 12, T))`` to ``(B, O, 1, T - K + 1)``."""

    @staticmethod
    def forward(ctx, matrices, bias, spectrum, negative_slope):
        outputs, kernel = matrices.shape[1] // 2, matrices.shape[2] // 2
        batch, _, frames = spectrum.shape
        frames -= kernel - 1
        ctx.kernel, ctx.types = kernel, (matrices.dtype, bias.dtype)
        learn = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]

        low = matrices.to(spectrum.dtype)
        back = pitch_basis(spectrum).t().contiguous()
        result = spectrum.new_empty(batch, frames, outputs)
        chosen = []
        for items, span in _blocks(batch, frames):
            windows = _windows(spectrum, items, span, kernel)
            count = windows.shape[2]
            pairs = torch.bmm(low, windows).view(PITCH_CLASSES, outputs * count)
            keys = torch.mm(back, pairs).view(PITCH_CLASSES, outputs, count)
            value, position = _select(keys, bias, negative_slope, positions=learn)
            if learn:
                chosen.append(position)
            shape = outputs, -1, span.stop - span.start
            result[items, span] = value.view(shape).permute(1, 2, 0)
        if learn:
            ctx.save_for_backward(spectrum, *chosen)
        return result.unsqueeze(1).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        spectrum, *chosen = ctx.saved_tensors
        batch, outputs, _, frames = gradient.shape
        gradient = gradient.squeeze(2)
        matrix_type, bias_type = ctx.types
        for_matrices = for_bias = 0.0
        basis = pitch_basis(spectrum)
        for (items, span), position in zip(_blocks(batch, frames), chosen, strict=True):
            windows = _windows(spectrum, items, span, ctx.kernel)
            count = windows.shape[2]
            part = gradient[items, :, span].transpose(0, 1).to(spectrum.dtype)
            part = part.contiguous().view(outputs, count)
            keys = _scatter(part, position).view(PITCH_CLASSES, outputs * count)
            pairs = torch.mm(basis, keys).view(PAIRS, 2 * outputs, count)
            for_matrices += torch.bmm(pairs, windows.transpose(1, 2)).to(matrix_type)
            for_bias += part.sum(1, dtype=bias_type)
        return for_matrices, for_bias, None, None


def _blocks(batch: int, frames: int) -> Iterator[tuple[slice, slice]]:
    """Cut a batch into (items, frames) of at most ``BLOCK_FRAMES`` frames together."""
    if frames > BLOCK_FRAMES:
        length = math.ceil(frames / math.ceil(frames / BLOCK_FRAMES))
        for item in range(batch):
            for start in range(0, frames, length):
                yield slice(item, item + 1), slice(start, min(start + length, frames))
        return
    size = BLOCK_FRAMES // frames
    for start in range(0, batch, size):
        yield slice(start, min(start + size, batch)), slice(0, frames)


def _windows(spectrum: torch.Tensor, items: slice, span: slice, kernel: int) -> torch.Tensor:
    """Shifted copies of a block: ``(6, 2 K, frames of all items)``."""
    part = spectrum[items, :, span.start : span.stop + kernel - 1]
    shifted = part.unflatten(1, (PAIRS, 2)).unfold(3, kernel, 1)  # (B, 6, 2, t, K)
    shifted = shifted.permute(1, 2, 4, 0, 3)  # (6, 2, K, B, t)
    return shifted.reshape(PAIRS, 2 * kernel, -1)


def _select(
    keys: torch.Tensor, bias: torch.Tensor, negative_slope: float, *, positions: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Value (with bias) and position at the key that a PReLU makes largest.

    Args:
        keys: ``(12, O, N)``.
        bias: ``(O,)``.
        negative_slope: the slope if it is negative, else 0.
        positions: whether positions are needed.

    Returns:
        ``(O, N)`` twice.
    """
    bias = bias.to(keys.dtype)[:, None]
    high, where_high = _maximum(keys, positions)
    high = high + bias
    if negative_slope == 0:
        return high, where_high
    low, where_low = _maximum(-keys, positions)
    low = bias - low
    take_low = torch.where(low < 0, low * negative_slope, low) > torch.where(
        high < 0, high * negative_slope, high
    )
    value = torch.where(take_low, low, high)
    return value, torch.where(take_low, where_low, where_high) if positions else None


def _maximum(keys: torch.Tensor, positions: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Maximum over the first axis of ``(12, O, N)``, and where it is as ``p * O + o``.

    Max pooling is the one operation that does this at the speed of memory on a CPU.
    """
    if not positions:
        return keys.amax(dim=0), None
    image = keys.unsqueeze(0).permute(0, 3, 1, 2)  # (1, N, 12, O), channels last
    value, position = functional.max_pool2d(
        _with_strides(image), (PITCH_CLASSES, 1), return_indices=True
    )
    return value[0, :, 0].t(), position[0, :, 0].t().to(torch.int16)


def _with_strides(image: torch.Tensor) -> torch.Tensor:
    """The same tensor, with the stride of its only item as channels-last memory order has it."""
    return image.as_strided(image.shape, (image.numel(), *image.stride()[1:]))


def _scatter(gradient: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Undo :func:`_maximum`: ``(O, N)`` to ``(12, O, N)``, zero everywhere but at ``position``."""
    outputs, count = gradient.shape
    image, where = (
        _with_strides(value.t()[None, :, None, :]) for value in (gradient, position.long())
    )
    keys = functional.max_unpool2d(image, where, (PITCH_CLASSES, 1))
    return keys[0].permute(1, 2, 0).reshape(PITCH_CLASSES, outputs, count)
