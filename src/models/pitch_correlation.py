"""MOVE's first layer as a circular correlation in pitch.

The kernel of the first layer spans the 12 pitch classes, its input is a chroma stacked twice, and
the maximum over the 12 key positions is kept. So, for every output channel o and frame t,

    y[o, p, t] = sum over c, tau of w[o, c, tau] x[(p + c) mod 12, t + tau],   result = max over p.

A discrete Fourier transform over the 12 pitch classes turns the 12 x 12 products of pitch classes
into products of 7 spectral components, of which 5 are complex: 22 real products, or 17 with the
three-product form of complex multiplication, which is the least possible (Winograd, "On computing
the discrete Fourier transform", 1978). What is left are matrix products, which run at the full
speed of the machine in any precision. In training only the chosen position is remembered (2 bytes
a value), and the gradient of the weights is formed in the spectral domain as well.

Everything works through the batch in blocks of frames, so the map of 12 positions never exists
as a whole.
"""

import math
from collections.abc import Iterator

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

PITCH_CLASSES = 12
# Temporaries of one block stay below 32 MB in float32: larger ones are mapped and cleared by the
# operating system anew for every block, which costs more than the arithmetic.
BLOCK_FRAMES = 1850


def is_doubled(chroma: torch.Tensor) -> bool:
    """Whether rows 12..22 of ``(B, 1, 23, T)`` repeat rows 0..10."""
    return torch.equal(
        chroma[:, :, PITCH_CLASSES:], chroma[:, :, : chroma.shape[2] - PITCH_CLASSES]
    )


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
    dtype = dtype or weight.dtype
    # Three products save arithmetic, four need less memory traffic and lose fewer bits: 16-bit
    # products are limited by the latter.
    products = three_products if dtype.itemsize >= 4 else four_products
    # Both spectra are formed in full precision; only the long products are in ``dtype``.
    with torch.autocast(weight.device.type, enabled=False):
        take_apart, matrices, put_together = products(weight)
        spectrum = torch.einsum("sc,bct->bst", take_apart, chroma.to(weight.dtype)).to(dtype)
    # Inside a Function gradients are off in any case, so what is learnt is asked for here.
    learn = torch.is_grad_enabled() and (weight.requires_grad or bias.requires_grad)
    return _KeyMaximum.apply(
        matrices, bias, spectrum, put_together.to(dtype), min(slope.item(), 0.0), learn
    )


def pitch_basis(like: torch.Tensor) -> torch.Tensor:
    """Orthonormal real Fourier basis over the pitch classes, ``(12, 12)``, one component a row.

    Rows come in pairs: the constant and the alternating one, then cosine and sine of the
    frequencies 1..5.
    """
    pitch = torch.arange(PITCH_CLASSES, dtype=torch.float64)
    rows = [torch.ones_like(pitch), 1 - 2 * (pitch % 2)]
    rows = [row / math.sqrt(12) for row in rows]
    for frequency in range(1, 6):
        angle = 2 * math.pi * frequency / PITCH_CLASSES * pitch
        rows += [angle.cos() / math.sqrt(6), angle.sin() / math.sqrt(6)]
    return torch.stack(rows).to(device=like.device, dtype=like.dtype)


def three_products(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The correlation with 17 real products.

    With components a, b of the input and u, v of the kernel (cosine and sine of one frequency),
    those of the output are, up to sqrt(6), ``a u + b v = (a + b) u + b (v - u)`` and
    ``b u - a v = (a + b) u - a (u + v)``.

    Args:
        weight: ``(O, 12, K)``.

    Returns:
        ``(17, 12)`` from the pitch classes of the input to factors; ``(17, O, K)`` the other
        factors, differentiable; ``(12, 17)`` from the products to the keys.
    """
    basis = pitch_basis(weight)
    ends, cosine, sine = basis[:2], basis[2::2], basis[3::2]
    take_apart = torch.cat([ends, cosine + sine, sine, cosine])
    factors = torch.cat([ends * math.sqrt(2), cosine, sine - cosine, cosine + sine])
    put_together = torch.cat([ends, cosine + sine, cosine, -sine]).t()
    matrices = torch.einsum("gc,ock->gok", factors * math.sqrt(6), weight)
    return take_apart, matrices, put_together.contiguous()


def four_products(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The correlation as 6 products of 2 x 2 blocks, one block for every pair of components.

    Args:
        weight: ``(O, 12, K)``.

    Returns:
        ``(12, 12)`` from the pitch classes of the input to its components; ``(6, 2 O, 2 K)`` from
        the components of the input to those of the output, differentiable; ``(12, 12)`` from the
        latter to the keys.
    """
    basis = pitch_basis(weight)
    first, second = torch.einsum("sc,ock->sok", basis * math.sqrt(6), weight).split([2, 10])
    nothing = torch.zeros_like(first[:1])
    constant, alternating = first[:1] * math.sqrt(2), first[1:] * math.sqrt(2)
    cosine, sine = second[::2], second[1::2]
    top = torch.cat([torch.cat([constant, nothing], dim=2), torch.cat([cosine, sine], dim=2)])
    bottom = torch.cat(
        [torch.cat([nothing, alternating], dim=2), torch.cat([-sine, cosine], dim=2)]
    )
    return basis, torch.cat([top, bottom], dim=1), basis.t().contiguous()


class _KeyMaximum(torch.autograd.Function):
    """Products, keys and their maximum, block by block.

    Inputs: matrices ``(G, R, S K / G)``, bias ``(O,)``, spectrum ``(B, S, T)``, put_together
    ``(12, P)`` with ``P = G R / O``, slope if negative, else 0, whether a backward pass will
    follow. Output ``(B, O, 1, T - K + 1)``.
    """

    @staticmethod
    def forward(ctx, matrices, bias, spectrum, put_together, negative_slope, learn):
        outputs, products = bias.shape[0], put_together.shape[1]
        batch, components, frames = spectrum.shape
        groups = matrices.shape[0]
        kernel = matrices.shape[2] * groups // components
        frames -= kernel - 1
        ctx.sizes, ctx.types = (groups, kernel), (matrices.dtype, bias.dtype)

        low = matrices.to(spectrum.dtype)
        result = spectrum.new_empty(batch, frames, outputs)
        chosen = []
        for items, span in _blocks(batch, frames):
            windows = _windows(spectrum, items, span, *ctx.sizes)
            count = windows.shape[2]
            parts = torch.bmm(low, windows).view(products, outputs * count)
            keys = torch.mm(put_together, parts).view(PITCH_CLASSES, outputs, count)
            value, position = _select(keys, bias, negative_slope, positions=learn)
            if learn:
                chosen.append(position)
            shape = outputs, -1, span.stop - span.start
            result[items, span] = value.view(shape).permute(1, 2, 0)
        if learn:
            ctx.save_for_backward(spectrum, put_together, *chosen)
        return result.unsqueeze(1).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        spectrum, put_together, *chosen = ctx.saved_tensors
        batch, outputs, _, frames = gradient.shape
        gradient = gradient.squeeze(2)
        matrix_type, bias_type = ctx.types
        take_back = put_together.t().contiguous()
        for_matrices = for_bias = 0.0
        for (items, span), position in zip(_blocks(batch, frames), chosen, strict=True):
            part = gradient[items, :, span].transpose(0, 1).to(spectrum.dtype)
            part = part.contiguous().view(outputs, -1)
            for_bias += part.sum(1, dtype=bias_type)
            if ctx.needs_input_grad[0]:
                windows = _windows(spectrum, items, span, *ctx.sizes)
                groups, _, count = windows.shape
                keys = _scatter(part, position).view(PITCH_CLASSES, outputs * count)
                parts = torch.mm(take_back, keys).view(groups, -1, count)
                for_matrices += torch.bmm(parts, windows.transpose(1, 2)).to(matrix_type)
        if not ctx.needs_input_grad[0]:
            for_matrices = None
        return for_matrices, for_bias, None, None, None, None


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


def _windows(
    spectrum: torch.Tensor, items: slice, span: slice, groups: int, kernel: int
) -> torch.Tensor:
    """Shifted copies of a block of ``(B, S, T)``: ``(G, S K / G, frames of all items)``."""
    part = spectrum[items, :, span.start : span.stop + kernel - 1]
    shifted = part.unflatten(1, (groups, -1)).unfold(3, kernel, 1)  # (B, G, S / G, t, K)
    shifted = shifted.permute(1, 2, 4, 0, 3)  # (G, S / G, K, B, t)
    return shifted.contiguous().flatten(3).flatten(1, 2)


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
    take_low = functional.leaky_relu(low, negative_slope) > functional.leaky_relu(
        high, negative_slope
    )
    value = torch.where(take_low, low, high)
    return value, torch.where(take_low, where_low, where_high) if positions else None


def _maximum(keys: torch.Tensor, positions: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Maximum over the first axis of ``(12, O, N)``, and where it is (see the two forms below)."""
    if not positions:
        return keys.amax(dim=0), None
    return _pool(keys) if keys.is_cpu else _reduce(keys)


def _scatter(gradient: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """Undo :func:`_maximum`: ``(O, N)`` to ``(12, O, N)``, zero everywhere but at ``position``."""
    return _undo_pool(gradient, position) if gradient.is_cpu else _undo_reduce(gradient, position)


def _reduce(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Maximum and its key as a byte."""
    value, key = keys.max(dim=0)
    return value, key.to(torch.uint8)


def _undo_reduce(gradient: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    keys = gradient.new_zeros(PITCH_CLASSES, *gradient.shape)
    return keys.scatter_(0, key.long()[None], gradient[None])


def _pool(keys: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The same by max pooling, on a CPU ten times faster; positions are ``key * O + channel``."""
    image = _with_strides(keys.unsqueeze(0).permute(0, 3, 1, 2))  # (1, N, 12, O), channels last
    value, position = functional.max_pool2d(image, (PITCH_CLASSES, 1), return_indices=True)
    return value[0, :, 0].t(), position[0, :, 0].t().to(torch.int16)  # O = 256 is far from 2730


def _undo_pool(gradient: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    image, where = (
        _with_strides(value.t()[None, :, None, :]) for value in (gradient, position.long())
    )
    keys = functional.max_unpool2d(image, where, (PITCH_CLASSES, 1))  # (1, N, 12, O)
    return keys[0].permute(1, 2, 0).contiguous()


def _with_strides(image: torch.Tensor) -> torch.Tensor:
    """The same tensor, with the stride of its only item as channels-last memory order has it."""
    return image.as_strided(image.shape, (image.numel(), *image.stride()[1:]))
