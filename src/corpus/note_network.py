"""From note activity to the logits of a chord network's pitch classes: a small convolution.

Convolution over time, circular convolution over pitch class: what is transposed at the input is
transposed at the output.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from src.corpus.note_activity import CHANNELS

_DILATIONS = (1, 4)
_TAPS = 9  # in time: with these dilations the context is 20 frames, 1.9 s, on either side


class PitchMix(nn.Module):
    """Circular convolution over all 12 pitch classes: ``(B, C, 12, T)`` -> ``(B, C', 12, T)``."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        scale = (12 * channels) ** -0.5
        self.weight = nn.Parameter(scale * torch.randn(out_channels, channels, 12))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        steps = torch.arange(12)
        self.register_buffer("interval", (steps[:, None] - steps) % 12, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, _, frames = x.shape
        matrix = self.weight[:, :, self.interval].permute(0, 2, 1, 3)  # (C', 12, C, 12)
        out = matrix.reshape(-1, channels * 12) @ x.reshape(batch, channels * 12, frames)
        return out.view(batch, -1, 12, frames) + self.bias[:, None, None]


class TimeMix(nn.Module):
    """Each channel filtered over time, alike for all pitch classes: ``(B, C, 12, T)``."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.weight = nn.Parameter(torch.randn(channels, 1, 1, _TAPS) * _TAPS**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        padding = (0, self.dilation * (_TAPS // 2))
        return functional.conv2d(
            x, self.weight, padding=padding, dilation=(1, self.dilation), groups=x.shape[1]
        )


class NoteNetwork(nn.Module):
    """Note activity ``(B, T, 12, 6)`` -> logits of pitch classes ``(B, T, 12)``."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.enter = PitchMix(len(CHANNELS), width)
        self.time = nn.ModuleList(TimeMix(width, dilation) for dilation in _DILATIONS)
        self.pitch = nn.ModuleList(PitchMix(width, width) for _ in _DILATIONS)
        self.leave = PitchMix(width, 1)

    def forward(self, activity: Tensor) -> Tensor:
        x = functional.gelu(self.enter(activity.permute(0, 3, 2, 1)))
        for time, pitch in zip(self.time, self.pitch, strict=True):
            x = x + functional.gelu(pitch(time(x)))
        return self.leave(x)[:, 0].transpose(1, 2)
