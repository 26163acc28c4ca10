"""Conformer encoder of CoverHunter: from normalised CQT frames to one vector every four frames.

Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition" (Interspeech
2020). Everything between the subsampling and the output lies in memory as ``(B, T', d)``: what is
a 1 x 1 convolution by name is a matrix product, and no axes change places.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from src.models.dropout import Dropout
from src.models.subsampling import Subsampling

HEADS = 4
DROPOUT = 0.1
KERNEL_FRAMES = 15
WIDENED = 8  # dimensions added to a head: fused attention wants multiples of eight
LONGEST_WAVE = 10_000.0


def sinusoids(positions: int, size: int, like: Tensor) -> Tensor:
    """Table ``(positions, size)`` in single precision: sine in even, cosine in odd columns.

    Vaswani et al., "Attention is all you need" (2017). It is computed anew for every input, which
    costs next to nothing and sets no limit to the length.
    """
    with torch.autocast(like.device.type, enabled=False):
        place = {"device": like.device, "dtype": torch.float}
        time = torch.arange(positions, **place)
        rates = torch.exp(torch.arange(0, size, 2, **place) * (-math.log(LONGEST_WAVE) / size))
        angles = time[:, None] * rates  # (positions, size / 2)
        return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


class RelativeAttention(nn.Module):
    """Self-attention whose scores also see where the key stands, over four heads.

    ``score[i, j] = ((q_i + u) k_j + (q_i + v) p_j) / sqrt(d / 4)`` with p the projected
    sinusoids: the form of Dai et al., "Transformer-XL" (2019), without its shift, so p depends on
    the absolute position of the key. That makes the score one product of queries and keys and a
    term of the key alone, which any fused attention computes.

    Args:
        size: channels d, a multiple of 4.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pos_bias_u = nn.Parameter(torch.empty(HEADS, size // HEADS))
        self.pos_bias_v = nn.Parameter(torch.empty(HEADS, size // HEADS))
        self.linear_q = nn.Linear(size, size)
        self.linear_k = nn.Linear(size, size)
        self.linear_v = nn.Linear(size, size)
        self.linear_out = nn.Linear(size, size)
        self.linear_pos = nn.Linear(size, size, bias=False)
        nn.init.xavier_uniform_(self.pos_bias_u)
        nn.init.xavier_uniform_(self.pos_bias_v)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """``(B, T, d)`` and the sinusoids ``(T, d)`` to ``(B, T, d)``."""
        q, k, v = (self.heads(layer(x)) for layer in (self.linear_q, self.linear_k, self.linear_v))
        p = self.heads(self.linear_pos(table)[None])  # (1, T, 4, d / 4)
        # (q + u) k + (q + v) p = (q + u) (k + p) + (v - u) p, and the last term belongs to a key.
        of_key = ((self.pos_bias_v - self.pos_bias_u).to(p) * p).sum(3, keepdim=True)
        q, k = q + self.pos_bias_u.to(q), k + p
        by_hand = x.is_cpu and torch.is_grad_enabled() and not torch.compiler.is_compiling()
        mixed = (attend_by_hand if by_hand else attend)(q, k, v, of_key)
        return self.linear_out(mixed.flatten(2))

    @staticmethod
    def heads(x: Tensor) -> Tensor:
        """``(B, T, d)`` as ``(B, T, 4, d / 4)``."""
        return x.unflatten(2, (HEADS, -1))


def attend(q: Tensor, k: Tensor, v: Tensor, of_key: Tensor) -> Tensor:
    """Attention with scores ``(q_i k_j + of_key_j) / sqrt(D)``, fused.

    The term of the key is the product of one more dimension, in which all queries are 1. That
    suits every implementation, those included that take no mask.

    Args:
        q: ``(B, T, H, D)``.
        k: ``(B, T, H, D)``.
        v: ``(B, T, H, D)``.
        of_key: ``(1 or B, T, H, 1)``.

    Returns:
        ``(B, T, H, D)``.
    """
    size = q.shape[3]
    ones = functional.pad(q.new_ones(1), (0, WIDENED - 1))
    q = torch.cat([q, ones.expand(*q.shape[:3], -1)], dim=3)
    of_key = functional.pad(of_key, (0, WIDENED - 1)).to(k.dtype)
    k = torch.cat([k, of_key.expand(*k.shape[:3], -1)], dim=3)
    q, k, v = (x.transpose(1, 2) for x in (q, k, functional.pad(v, (0, WIDENED))))
    mixed = functional.scaled_dot_product_attention(q, k, v, scale=size**-0.5)
    return mixed[..., :size].transpose(1, 2)


def attend_by_hand(q: Tensor, k: Tensor, v: Tensor, of_key: Tensor) -> Tensor:
    """The same as :func:`attend`, with all scores in memory.

    On a CPU the gradient of the fused form takes four times as long in 16 bits.
    """
    scale = q.shape[3] ** -0.5
    scores = torch.matmul((q * scale).transpose(1, 2), k.permute(0, 2, 3, 1))  # (B, H, T, T)
    scores = scores + (of_key * scale).to(scores.dtype).permute(0, 2, 3, 1)
    return torch.matmul(scores.softmax(3), v.transpose(1, 2)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with SiLU and dropout between: d -> hidden -> d."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(size, hidden)
        self.w_2 = nn.Linear(hidden, size)
        self.dropout = Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, d)`` to ``(B, T, d)``."""
        return self.w_2(self.dropout(functional.silu(self.w_1(x))))


class ConvolutionModule(nn.Module):
    """Gated linear unit, depthwise convolution over 15 frames, batch norm, SiLU, linear layer."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.pointwise_conv1 = nn.Conv1d(size, 2 * size, 1)
        self.depthwise_conv = nn.Conv1d(
            size, size, KERNEL_FRAMES, padding=KERNEL_FRAMES // 2, groups=size
        )
        self.norm = nn.BatchNorm1d(size)
        self.pointwise_conv2 = nn.Conv1d(size, size, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, d)`` to ``(B, T, d)``."""
        x = functional.glu(pointwise(self.pointwise_conv1, x), dim=2)
        x = depthwise(self.depthwise_conv, x)
        x = functional.silu(norm_frames(self.norm, x))
        return pointwise(self.pointwise_conv2, x)


def pointwise(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """A 1 x 1 convolution of ``(B, T, C)`` along its last axis."""
    return functional.linear(x, layer.weight.squeeze(2), layer.bias)


def depthwise(layer: nn.Conv1d, x: Tensor) -> Tensor:
    """A depthwise convolution of ``(B, T, C)`` over time.

    As a convolution of images of one row whose channels come last: nothing is moved in memory.
    """
    image = x[:, None].permute(0, 3, 1, 2)  # (B, C, 1, T)
    image = functional.conv2d(
        image, layer.weight[:, :, None], layer.bias, padding=(0, *layer.padding), groups=x.shape[2]
    )
    return image.permute(0, 2, 3, 1)[:, 0]


def norm_frames(norm: nn.BatchNorm1d, x: Tensor) -> Tensor:
    """Batch norm of ``(B, T, C)`` over all frames of the batch, in full precision."""
    with torch.autocast(x.device.type, enabled=False):
        return norm(x.flatten(0, 1).to(norm.weight.dtype)).unflatten(0, x.shape[:2])


class ConformerBlock(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward, each added to its input.

    Args:
        size: channels d.
        hidden: width of the feed-forward layers (the ``attention_dim`` of the configuration).
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.self_attn = RelativeAttention(size)
        self.feed_forward = FeedForward(size, hidden)
        self.feed_forward_macaron = FeedForward(size, hidden)
        self.conv_module = ConvolutionModule(size)
        self.norm_ff = nn.LayerNorm(size)
        self.norm_mha = nn.LayerNorm(size)
        self.norm_ff_macaron = nn.LayerNorm(size)
        self.norm_conv = nn.LayerNorm(size)
        self.norm_final = nn.LayerNorm(size)
        self.dropout = Dropout(DROPOUT)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        """``(B, T, d)`` and the sinusoids ``(T, d)`` to ``(B, T, d)``."""
        x = x + 0.5 * self.dropout(self.feed_forward_macaron(self.norm_ff_macaron(x)))
        x = x + self.dropout(self.self_attn(self.norm_mha(x), table))
        x = x + self.dropout(self.conv_module(self.norm_conv(x)))
        x = x + 0.5 * self.dropout(self.feed_forward(self.norm_ff(x)))
        return self.norm_final(x)


class ConformerEncoder(nn.Module):
    """Subsampling by four, sinusoids, and a stack of conformer blocks.

    Args:
        bins: features of a frame.
        size: channels d, a multiple of 4.
        blocks: number of conformer blocks.
        hidden: width of the feed-forward layers.
    """

    def __init__(self, bins: int, size: int, blocks: int, hidden: int) -> None:
        super().__init__()
        self.embed = Subsampling(bins, size)
        self.after_norm = nn.LayerNorm(size)
        self.encoders = nn.ModuleList(ConformerBlock(size, hidden) for _ in range(blocks))
        self.dropout = Dropout(DROPOUT)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, bins)`` to ``(B, T', d)``, ``T' = ((T - 1) // 2 - 1) // 2``."""
        x = self.embed(x)
        size = x.shape[2]
        x = self.dropout(x * math.sqrt(size))
        # The table loses entries by dropout as well, the same ones in all blocks.
        table = self.dropout(sinusoids(x.shape[1], size, like=x))
        for block in self.encoders:
            x = block(x, table)
        return self.after_norm(x)
