"""The chord network of the crema package in PyTorch; its ``chord_pitch`` output is cremaPCP.

McFee and Bello, "Structured training for large-vocabulary chord recognition", ISMIR 2017.
Inference only: the published weights are used as they are.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from src.errors import UserError
from src.models.crema_weights import release, weights_path

BINS = 216
UNITS = 128
NORM_EPS = 1e-3  # Keras' default, which the weights were trained with
# Frames computed at once, summed over the batch: bounds the memory of a recording of many hours.
CHUNK_FRAMES = 8192

Version = Literal["0.1.0", "0.2.0"]


class BidirectionalGRU(nn.Module):
    """Two GRUs of Keras' first kind, one running forward and one backward.

    Unlike ``torch.nn.GRU`` the gates use ``clip(0.2 x + 0.5, 0, 1)`` and the reset gate acts before
    the recurrent matrix product. The columns of the weights are update, reset, candidate.
    Dimension 0 of every weight is the direction.
    """

    def __init__(self, inputs: int, units: int = UNITS) -> None:
        super().__init__()
        self.units = units
        self.weight_input = nn.Parameter(torch.zeros(2, inputs, 3 * units))
        self.weight_recurrent = nn.Parameter(torch.zeros(2, units, 3 * units))
        self.bias = nn.Parameter(torch.zeros(2, 3 * units))

    def forward(self, x: torch.Tensor, inside: torch.Tensor | None = None) -> torch.Tensor:
        """Run both directions over a batch.

        Args:
            x: ``(T, B, inputs)``, time first.
            inside: ``(T, B, 1)`` bool, False in the padding at the end of the shorter sequences;
                None if all have the same length.

        Returns:
            ``(T, B, 2 units)``: forward, then backward. Undefined in the padding.
        """
        frames, batch, _ = x.shape
        gates = 2 * self.units
        # The gate's slope and offset go into the weights: a gate is then a mere clamp.
        scale = torch.ones_like(self.bias)
        scale[:, :gates] = 0.2
        offset = torch.zeros_like(self.bias)
        offset[:, :gates] = 0.5
        bias = self.bias * scale + offset
        weight_input = self.weight_input * scale[:, None]
        recurrent = self.weight_recurrent * scale[:, None]
        recurrent_gates = recurrent[:, :, :gates].contiguous()
        recurrent_candidate = recurrent[:, :, gates:].contiguous()

        out = x.new_empty(frames, batch, 2 * self.units)
        state = x.new_zeros(2, batch, self.units)
        step = max(1, CHUNK_FRAMES // batch)
        for start in range(0, frames, step):
            stop = min(frames, start + step)
            # The forward half reads frames start..stop, the backward half the same span counted
            # from the end; the padding comes first there and must leave the state at zero.
            span = slice(start, stop)
            mirrored = slice(frames - stop, frames - start)
            projected = x.new_empty(stop - start, 2, batch, 3 * self.units)
            projected[:, 0] = _project(x, inside, span, weight_input[0], bias[0])
            projected[:, 1] = _project(x, inside, mirrored, weight_input[1], bias[1]).flip(0)
            history = x.new_empty(stop - start, 2, batch, self.units)
            state = _recur(projected, recurrent_gates, recurrent_candidate, state, history)
            out[span, :, : self.units] = history[:, 0]
            out[mirrored, :, self.units :] = history[:, 1].flip(0)
        return out


def _project(
    x: torch.Tensor,
    inside: torch.Tensor | None,
    span: slice,
    weight: torch.Tensor,
    bias: torch.Tensor,
) -> torch.Tensor:
    """Input side of the three blocks; in the padding the update gate and the candidate are zero.

    With both zero the new state is ``0 * state + 1 * tanh(reset * state @ U)``, so a state of zero
    stays zero and no step needs to know about lengths.
    """
    frames = x[span]
    flat = torch.addmm(bias, frames.reshape(-1, frames.shape[-1]), weight)
    projected = flat.view(*frames.shape[:2], -1)
    if inside is None:
        return projected
    units = projected.shape[-1] // 3
    outside = ~inside[span]
    projected[..., :units].masked_fill_(outside, -1e6)
    projected[..., 2 * units :].masked_fill_(outside, 0.0)
    return projected


def _recur(
    projected: torch.Tensor,
    recurrent_gates: torch.Tensor,
    recurrent_candidate: torch.Tensor,
    state: torch.Tensor,
    history: torch.Tensor,
) -> torch.Tensor:
    """The recurrence proper; fills ``history`` (steps, 2, B, units) and returns the last state."""
    units = state.shape[-1]
    gates_in = projected[..., : 2 * units].contiguous().unbind(0)
    candidates_in = projected[..., 2 * units :].contiguous().unbind(0)
    with _single_thread():
        for gate_in, candidate_in, target in zip(
            gates_in, candidates_in, history.unbind(0), strict=True
        ):
            gates = torch.baddbmm(gate_in, state, recurrent_gates).clamp_(0.0, 1.0)
            update, reset = gates.chunk(2, dim=-1)
            candidate = torch.baddbmm(candidate_in, reset * state, recurrent_candidate).tanh_()
            state = torch.lerp(candidate, state, update, out=target)
    return state


@contextmanager
def _single_thread() -> Iterator[None]:
    """Keep tiny operations on one core.

    Waiting for a second thread thousands of times gains nothing on an idle machine and, where
    other programs compete for the cores, costs a hundred times the work.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """``conv2d`` to a single channel: (B, C, T + 4, 216 + 4) -> (B, T, 216).

    For one output channel a sum of shifted inputs is faster than the library's convolution, and
    it is float32 on every device, where cuDNN would round to TF32.
    """
    rows, columns = x.shape[2] - weight.shape[2] + 1, x.shape[3] - weight.shape[3] + 1
    out = bias.expand(x.shape[0], rows, columns).clone()
    for channel, kernel in enumerate(weight[0].tolist()):
        for i, taps in enumerate(kernel):
            for j, tap in enumerate(taps):
                out.add_(x[:, channel, i : i + rows, j : j + columns], alpha=tap)
    return out


class CremaModel(nn.Module):
    """crema's chord network with its trained weights, in evaluation mode.

    Args:
        version: ``0.1.0`` (one harmonic; very probably the one behind the published Da-TACOS
            features) or ``0.2.0`` (two harmonics).

    Raises:
        UserError: unknown version, or its weights file is missing or damaged.
    """

    def __init__(self, version: Version = "0.1.0") -> None:
        super().__init__()
        wanted = release(version)
        self.version = version
        self.harmonics = wanted.harmonics
        self.norm_input = nn.BatchNorm2d(wanted.harmonics, eps=NORM_EPS)
        self.conv = nn.Conv2d(wanted.harmonics, 1, 5)
        self.dense = nn.Linear(BINS, wanted.filters)
        self.gru1 = BidirectionalGRU(wanted.filters)
        self.gru2 = BidirectionalGRU(2 * UNITS)
        self.norm_conv = self.norm_dense = self.norm_gru = nn.Identity()
        if wanted.extra_norms:
            self.norm_conv = nn.BatchNorm2d(1, eps=NORM_EPS)
            self.norm_dense = nn.BatchNorm1d(wanted.filters, eps=NORM_EPS)
            self.norm_gru = nn.BatchNorm1d(2 * UNITS, eps=NORM_EPS)
        self.pitch = nn.Linear(2 * UNITS, 12)
        self.root = nn.Linear(2 * UNITS, 13)
        self.bass = nn.Linear(2 * UNITS, 13)
        self._load()

    def _load(self) -> None:
        path = weights_path(self.version)
        try:
            state = load_file(path)
        except FileNotFoundError as error:
            raise UserError(
                f"{path} is missing; restore it with git or make it with "
                "python -m tools.convert_crema_weights"
            ) from error
        except Exception as error:  # safetensors raises its own untyped errors for damage
            raise UserError(f"{path} is damaged; restore it with git ({error})") from error
        # Counts of batches are not in the file, since nothing here trains.
        expected = {key: value for key, value in self.state_dict().items() if value.ndim}
        shapes = [{key: value.shape for key, value in part.items()} for part in (state, expected)]
        if shapes[0] != shapes[1]:
            raise UserError(
                f"{path} does not hold the weights of crema {self.version}; restore it with git"
            )
        self.load_state_dict(state, strict=False)
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> "CremaModel":
        """Stay in evaluation mode: the network is used as published."""
        return super().train(False)

    @torch.no_grad()
    def forward(
        self, features: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Chord estimates of a batch of recordings.

        Args:
            features: ``(B, T, 216, 1 or 2)`` harmonic CQT in dB from :mod:`src.audio.hcqt`; the
                channels are the harmonics 1 and 2, and version 0.1.0 reads only the first.
            lengths: ``(B,)`` frames of every recording if they differ; the rest is padding.

        Returns:
            ``chord_pitch`` (B, T, 12) in 0..1, C first; ``chord_root`` and ``chord_bass``
            (B, T, 13), probabilities of C..B and none. Zero in the padding.

        Raises:
            ValueError: the shape is another one.
        """
        if features.ndim != 4 or features.shape[2] != BINS or features.shape[1] < 1:
            raise ValueError(
                f"expected features of shape (B, T, {BINS}, harmonics) with T > 0, "
                f"got {tuple(features.shape)}"
            )
        if features.shape[3] < self.harmonics:
            raise ValueError(
                f"crema {self.version} needs {self.harmonics} harmonics, got {features.shape[3]}"
            )
        frames = features.shape[1]
        inside = None
        if lengths is not None and int(lengths.min()) < frames:
            clock = torch.arange(frames, device=features.device)
            inside = (clock[:, None] < lengths.to(features.device)[None, :])[..., None]  # (T, B, 1)
        x = self._frame_features(features, inside)  # (T, B, filters)
        x = self.gru1(x, inside)  # (T, B, 256)
        x = self.norm_gru(x.view(-1, x.shape[-1])).view_as(x)
        x = self.gru2(x, inside)
        outputs = {
            "chord_pitch": torch.sigmoid(self.pitch(x)),
            "chord_root": torch.softmax(self.root(x), dim=-1),
            "chord_bass": torch.softmax(self.bass(x), dim=-1),
        }
        if inside is not None:
            outputs = {key: value.where(inside, 0.0) for key, value in outputs.items()}
        return {key: value.transpose(0, 1).contiguous() for key, value in outputs.items()}

    def _frame_features(self, features: torch.Tensor, inside: torch.Tensor | None) -> torch.Tensor:
        """The convolutional part, chunk by chunk: (B, T, 216, C) -> (T, B, filters)."""
        batch, frames = features.shape[:2]
        out = features.new_empty(frames, batch, self.dense.out_features)
        step = max(1, CHUNK_FRAMES // batch)
        for start in range(0, frames, step):
            stop = min(frames, start + step)
            first, last = max(0, start - 2), min(frames, stop + 2)
            x = features[:, first:last, :, : self.harmonics].permute(0, 3, 1, 2)  # (B, C, t, 216)
            x = self.norm_input(x)
            if inside is not None:
                x = x * inside[first:last].permute(1, 2, 0)[..., None]
            # Zeros outside the recording, after the norm, as in the original.
            x = F.pad(x, (2, 2, first - start + 2, stop + 2 - last))
            x = F.relu(_convolve(x, self.conv.weight, self.conv.bias))
            x = self.norm_conv(x[:, None])[:, 0]  # (B, t, 216)
            x = F.relu(self.dense(x))
            x = self.norm_dense(x.reshape(-1, x.shape[-1])).view_as(x)
            out[start:stop] = x.transpose(0, 1)
        return out
