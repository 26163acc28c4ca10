"""MOVE: from doubled chroma to one embedding a track.

Yesiler, Serrà and Gómez, "Accurate and scalable version identification using musically-motivated
embeddings" (ICASSP 2020); the same network with a smaller last layer is Re-MOVE ("Less is more:
Faster and better music version identification with embedding distillation", ISMIR 2020).
"""

import torch
from torch import nn
from torch.nn import functional

from src.models.pitch_correlation import PITCH_CLASSES, is_doubled, key_maximum
from src.models.prelu import one_slope_prelu
from src.models.tiled_convolution import tiled_convolution

CHROMA_ROWS = 23  # the 12 pitch classes twice, without the last row
RECEPTIVE_FIELD = 320  # frames; shortest input of the published network
SUMMARY_SIZE = 256
CHANNELS = 256
FIRST_KERNEL_FRAMES = 180
KERNEL_FRAMES = 5  # of layers 2 to 5
DILATIONS = {2: 1, 3: 20, 4: 1, 5: 13}  # frames between the taps of a layer
MEAN_FRAMES = (1, 2, 4, 5, 10, 20)  # of which the first kernel and layer 3 are multiples
PRELU_SLOPE = 0.01

ACTIVATION_NONE, ACTIVATION_SIGMOID, ACTIVATION_TANH, ACTIVATION_BATCH_NORM = range(4)
SUMMARY_MAX, SUMMARY_MEAN, SUMMARY_AUTOPOOL, SUMMARY_ATTENTION, SUMMARY_ATTENTION_POOL = range(5)


def pad_to_receptive_field(chroma: torch.Tensor, frames: int = RECEPTIVE_FIELD) -> torch.Tensor:
    """Append silent frames to tracks shorter than MOVE's receptive field.

    Args:
        chroma: ``(..., T)``.
        frames: the receptive field.

    Returns:
        ``(..., max(T, frames))``; the input itself when it is long enough.
    """
    missing = frames - chroma.shape[-1]
    return functional.pad(chroma, (0, missing)) if missing > 0 else chroma


class MOVEModel(nn.Module):
    """Doubled chroma ``(B, 1, 23, T)`` to embeddings ``(B, emb_size)``.

    The convolutions of the first layer see all 12 transpositions of the chroma and the maximum
    over them is kept, which makes the embedding independent of the key. Inputs shorter than the
    receptive field (320 frames) are padded with zeros at the end.

    A network with ``mean_frames`` above 1 is not the published one: it averages so many frames of
    its input and looks at the same spans of time with fewer taps, for a fraction of the work. Nor
    is one with ``padding``: without it the first and last moments of a recording are seen at the
    edge of few receptive fields only, which costs short recordings most of what they hold.

    ``forward`` is ``head(features(x))``: ``features`` is everything up to the summary over time,
    ``head`` the last linear layer and the final activation.

    Args:
        emb_size: size of the embedding.
        sum_method: summary over time: 0 maximum, 1 mean, 2 softmax pooling with one trained
            sharpness (autopool), 3 attention (first half of the channels weighted by the second),
            4 and anything else: second half weighted by the first, with a trained sharpness.
        final_activation: 0 none, 1 sigmoid, 2 tanh, 3 batch normalisation without scale and shift.
        mean_frames: frames of the input that are averaged before the first layer, one of 1, 2, 4,
            5, 10, 20; frames that are left over at the end are dropped.
        padding: silent frames put before and after the chroma, 0 or more.

    Attributes:
        fin_emb_size: current size of the embedding (pruning writes the active size here).
        receptive_field: shortest input in frames.

    Raises:
        ValueError: ``final_activation`` is not 0..3, ``emb_size`` is not positive,
            ``mean_frames`` is none of its values, or ``padding`` is negative.
    """

    def __init__(
        self,
        emb_size: int = 16000,
        sum_method: int = 4,
        final_activation: int = 3,
        mean_frames: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        if padding < 0:
            raise ValueError(f"padding must be 0 or more frames, not {padding!r}")
        if mean_frames not in MEAN_FRAMES:
            raise ValueError(f"mean_frames must be one of {MEAN_FRAMES}, not {mean_frames!r}")
        if final_activation not in range(4):
            raise ValueError(f"final_activation must be 0, 1, 2 or 3, not {final_activation!r}")
        self.sum_method = sum_method
        self.final_activation = final_activation
        self.mean_frames = mean_frames
        self.padding = padding
        last = CHANNELS if sum_method in (0, 1, 2) else 2 * SUMMARY_SIZE

        self.autopool_p = nn.Parameter(torch.tensor(0.0))
        for number in range(1, 6):
            setattr(self, f"prelu{number}", nn.PReLU(init=PRELU_SLOPE))
        first = FIRST_KERNEL_FRAMES // mean_frames
        self.conv1 = nn.Conv2d(1, CHANNELS, (PITCH_CLASSES, first))
        for number, frames in DILATIONS.items():
            outputs = last if number == 5 else CHANNELS
            dilation = (1, max(round(frames / mean_frames), 1))
            layer = nn.Conv2d(CHANNELS, outputs, (1, KERNEL_FRAMES), dilation=dilation)
            setattr(self, f"conv{number}", layer)
        spans = [(KERNEL_FRAMES - 1) * self.dilation(number) for number in DILATIONS]
        self.receptive_field = (first + sum(spans)) * mean_frames
        self.key_pool = nn.MaxPool2d((PITCH_CLASSES, 1))
        for number in range(1, 6):
            nn.init.kaiming_normal_(getattr(self, f"conv{number}").weight, a=PRELU_SLOPE)
        self.replace_head(emb_size)

    def dilation(self, number: int) -> int:
        """Frames (averaged ones) between the taps of layer 2..5."""
        return getattr(self, f"conv{number}").dilation[1]

    def replace_head(self, emb_size: int) -> None:
        """Put a new, untrained last layer (and batch norm) of ``emb_size`` in place."""
        if emb_size < 1:
            raise ValueError(f"emb_size must be at least 1, not {emb_size!r}")
        normalised = self.final_activation == ACTIVATION_BATCH_NORM
        place = {"device": self.conv1.weight.device, "dtype": self.conv1.weight.dtype}
        if normalised:
            self.lin_bn = nn.BatchNorm1d(emb_size, affine=False, **place)
        self.lin1 = nn.Linear(SUMMARY_SIZE, emb_size, bias=not normalised, **place)
        self.fin_emb_size = emb_size

    def forward(self, chroma: torch.Tensor) -> torch.Tensor:
        """Embed a batch of doubled chroma.

        Args:
            chroma: ``(B, 1, 23, T)`` floats.

        Returns:
            ``(B, emb_size)``.

        Raises:
            ValueError: another shape.
        """
        return self.head(self.features(chroma))

    def features(self, chroma: torch.Tensor) -> torch.Tensor:
        """Everything before the last layer: ``(B, 1, 23, T)`` to ``(B, 256)``."""
        if chroma.ndim != 4 or chroma.shape[1:3] != (1, CHROMA_ROWS) or chroma.shape[3] == 0:
            raise ValueError(
                f"MOVE takes doubled chroma of shape (batch, 1, {CHROMA_ROWS}, frames), "
                f"not {tuple(chroma.shape)}"
            )
        if self.padding:
            chroma = functional.pad(chroma, (self.padding, self.padding))
        chroma = pad_to_receptive_field(chroma, self.receptive_field)
        if self.mean_frames > 1:
            chroma = functional.avg_pool2d(chroma, (1, self.mean_frames))  # (B, 1, 23, T / mean)
        x = self.key_invariant(chroma)  # (B, 256, 1, T - 179)
        for number in range(2, 6):
            x = self.activate(number, self.convolve(number, x))
        return self.summary(x.squeeze(2))  # x: (B, C5, 1, T - 319)

    def key_invariant(self, chroma: torch.Tensor) -> torch.Tensor:
        """First layer, maximum over the 12 keys: ``(B, 1, 23, T)`` to ``(B, 256, 1, T - 179)``.

        A chroma that really is doubled takes the fast form (see ``pitch_correlation``); 23 other
        rows, or an input whose gradient is asked for, take the convolution as it is written.
        """
        if (chroma.requires_grad and torch.is_grad_enabled()) or not is_doubled(chroma):
            return self.key_pool(self.activate(1, self.conv1(chroma)))
        x = key_maximum(
            chroma[:, 0, :PITCH_CLASSES],
            self.conv1.weight[:, 0],
            self.conv1.bias,
            self.prelu1.weight,
            dtype=_product_type(chroma),
        )
        return self.activate(1, x)

    def convolve(self, number: int, x: torch.Tensor) -> torch.Tensor:
        """Convolution in time of a layer (2..5): ``(B, C, 1, T)`` to ``(B, C', 1, T')``.

        Inference in full precision on a CPU takes the form with fewer products.
        """
        layer = getattr(self, f"conv{number}")
        low = _product_type(x) is not None or x.dtype.itemsize < 4
        if torch.is_grad_enabled() or low or not x.is_cpu:
            return layer(x)
        return tiled_convolution(x, layer.weight, layer.bias, self.dilation(number))

    def activate(self, number: int, x: torch.Tensor) -> torch.Tensor:
        """PReLU of a layer (1..5), in the precision of its input."""
        return one_slope_prelu(x, getattr(self, f"prelu{number}").weight)

    def summary(self, x: torch.Tensor) -> torch.Tensor:
        """Summarise over time, in full precision: ``(B, C5, T)`` to ``(B, 256)``."""
        full = self.autopool_p.dtype
        x = x.transpose(1, 2)  # (B, T, C5), as it lies in memory
        if self.sum_method == SUMMARY_MAX:
            return x.amax(dim=1).to(full)
        if self.sum_method == SUMMARY_MEAN:
            return x.mean(dim=1, dtype=full)
        if self.sum_method == SUMMARY_AUTOPOOL:
            values = x.to(full)
            logits = self.autopool_p * values
        else:
            first, second = (half.to(full) for half in x.split(SUMMARY_SIZE, dim=2))
            if self.sum_method == SUMMARY_ATTENTION:
                values, logits = first, second
            else:
                values, logits = second, self.autopool_p * first
        return (values * logits.softmax(dim=1)).sum(dim=1)

    def head(self, features: torch.Tensor) -> torch.Tensor:
        """Last layer and final activation, in full precision: ``(B, 256)`` to ``(B, emb_size)``."""
        with torch.autocast(features.device.type, enabled=False):
            x = self.lin1(features.to(self.lin1.weight.dtype))
            if self.final_activation == ACTIVATION_BATCH_NORM:
                return self.lin_bn(x)
        if self.final_activation == ACTIVATION_SIGMOID:
            return x.sigmoid()
        if self.final_activation == ACTIVATION_TANH:
            return x.tanh()
        return x


def _product_type(like: torch.Tensor) -> torch.dtype | None:
    """The type autocast asks matrix products on this device to have; None outside autocast."""
    device = like.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
