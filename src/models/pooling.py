"""Attentive statistics pooling: frames of any number to one vector."""

import torch
from torch import Tensor, nn

SMALLEST_VARIANCE = 1e-12


class _Named(nn.Module):
    """Holds one layer under the name it bears in published weights."""

    def __init__(self, name: str, layer: nn.Module) -> None:
        super().__init__()
        self.add_module(name, layer)


class AttentiveStatisticsPooling(nn.Module):
    """Weighted mean and standard deviation over time, the weights found by attention.

    Okabe, Koshinaka and Shinoda, "Attentive statistics pooling for deep speaker embedding"
    (Interspeech 2018), with the global mean and standard deviation as context of the attention
    (Desplanques et al., "ECAPA-TDNN", 2020). Computed in full precision.

    Args:
        size: channels e.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._linear = _Named("linear_layer", nn.Linear(3 * size, size))
        self._conv = _Named("conv", nn.Conv1d(size, size, 1))
        self._final_layer = nn.Linear(2 * size, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, T, e)`` to ``(B, e)``."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.to(self._final_layer.weight.dtype)
            weights = self.attention(x).softmax(dim=1)  # (B, T, e)
            mean = (weights * x).sum(1)
            variance = (weights * (x - mean[:, None]).square()).sum(1)
            return self._final_layer(torch.cat([mean, deviation(variance)], dim=1))

    def attention(self, x: Tensor) -> Tensor:
        """Scores ``(B, T, e)`` from every frame beside the mean and deviation of all frames."""
        mean = x.mean(1)
        variance = (x - mean[:, None]).square().mean(1)
        linear, conv = self._linear.linear_layer, self._conv.conv
        of_frame, of_context = linear.weight.split([x.shape[2], 2 * x.shape[2]], dim=1)
        # The context is the same for all frames of an item: its product is computed once.
        context = torch.cat([mean, deviation(variance)], dim=1) @ of_context.T + linear.bias
        hidden = torch.tanh(x @ of_frame.T + context[:, None])
        return hidden @ conv.weight.squeeze(2).T + conv.bias


def deviation(variance: Tensor) -> Tensor:
    """Standard deviation; frames that are all alike have a tiny one, and no gradient."""
    return variance.clamp(min=SMALLEST_VARIANCE).sqrt()
