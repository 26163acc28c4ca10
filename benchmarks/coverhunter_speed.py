"""Speed of CoverHunter beside the straightforward network: a training step, and embedding.

    python -m benchmarks.coverhunter_speed
    python -m benchmarks.coverhunter_speed --only train --batch 32 --frames 375
    python -m benchmarks.coverhunter_speed --threads 1 --clock cpu       # on a busy machine

"Plain" is the network as published, layer by layer: convolutions with channels before time and
frequency, batch norm and gates on transposed frames, attention written out with both products of
the score, dropout of torch. Both forms share their weights. Times are the fastest of the
repetitions, which alternate between the forms so that a busy machine slows both alike.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.measuring import (
    CLOCKS,
    embedding_run,
    fastest,
    network_parser,
    show,
    training_run,
)
from src.device import select_device
from src.errors import run_front
from src.models.conformer import (
    DROPOUT,
    HEADS,
    ConformerBlock,
    ConvolutionModule,
    RelativeAttention,
    sinusoids,
)
from src.models.coverhunter import CoverHunter


def hparams(width: int, blocks: int, classes: int) -> dict:
    """Configuration with an encoder of ``width`` channels."""
    return {
        "input_dim": 96,
        "embed_dim": 128,
        "mean_size": 3,
        "encoder": {"output_dims": width, "num_blocks": blocks, "attention_dim": 256},
        "ce": {"output_dims": classes, "weight": 1.0, "gamma": 2},
        "triplet": {"margin": 0.3, "weight": 0.1},
        "center": {"weight": 0.0},
    }


def attention(layer: RelativeAttention, x: Tensor, table: Tensor) -> Tensor:
    """``((q + u) k + (q + v) p) / sqrt(d)``, softmax, values."""
    parts = (layer.linear_q(x), layer.linear_k(x), layer.linear_v(x), layer.linear_pos(table)[None])
    q, k, v, p = (part.unflatten(2, (HEADS, -1)) for part in parts)
    by_key = (q + layer.pos_bias_u).transpose(1, 2) @ k.permute(0, 2, 3, 1)
    by_place = (q + layer.pos_bias_v).transpose(1, 2) @ p.permute(0, 2, 3, 1)
    weights = ((by_key + by_place) / math.sqrt(q.shape[3])).softmax(3)
    return layer.linear_out((weights @ v.transpose(1, 2)).transpose(1, 2).flatten(2))


def convolution(module: ConvolutionModule, x: Tensor) -> Tensor:
    """Convolutions and batch norm with channels before time."""
    x = functional.glu(module.pointwise_conv1(x.transpose(1, 2)), dim=1)
    x = functional.silu(module.norm(module.depthwise_conv(x)))
    return module.pointwise_conv2(x).transpose(1, 2)


def drop(module: nn.Module, x: Tensor) -> Tensor:
    """Dropout of torch."""
    return functional.dropout(x, DROPOUT, module.training)


def block(module: ConformerBlock, x: Tensor, table: Tensor) -> Tensor:
    """One conformer block."""

    def feed_forward(layers: nn.Module, x: Tensor) -> Tensor:
        return layers.w_2(drop(module, functional.silu(layers.w_1(x))))

    x = x + 0.5 * drop(module, feed_forward(module.feed_forward_macaron, module.norm_ff_macaron(x)))
    x = x + drop(module, attention(module.self_attn, module.norm_mha(x), table))
    x = x + drop(module, convolution(module.conv_module, module.norm_conv(x)))
    x = x + 0.5 * drop(module, feed_forward(module.feed_forward, module.norm_ff(x)))
    return module.norm_final(x)


def plain(model: CoverHunter, x: Tensor) -> Tensor:
    """The embedding, layer by layer."""
    encoder = model._encoder
    x = model._global_cmvn(x.transpose(1, 2)).transpose(1, 2)
    x = encoder.embed.conv(x[:, None])  # (B, d, T', F')
    x = encoder.embed.out(x.transpose(1, 2).flatten(2))
    table = drop(model, sinusoids(x.shape[1], x.shape[2], like=x))
    x = drop(model, x * math.sqrt(x.shape[2]))
    for module in encoder.encoders:
        x = block(module, x, table)
    x = encoder.after_norm(x)
    return model._pool_layer(model._embed_lo(x) if hasattr(model, "_embed_lo") else x)


FORMS = {"plain": plain, "fast": CoverHunter.forward}


def cqt(batch: int, frames: int, device: torch.device) -> Tensor:
    """Seeded noise in dB, ``(batch, frames, 96)``."""
    return (-40 + 12 * torch.randn(batch, frames, 96)).clamp(-80, 0).to(device)


def main() -> None:
    """Parse the command line and print the tables."""
    parser = network_parser(__doc__)
    parser.add_argument("--frames", type=int, default=450, help="frames of a chunk, averaged")
    parser.add_argument("--width", type=int, default=128, help="channels of the encoder")
    parser.add_argument("--blocks", type=int, default=6, help="conformer blocks")
    parser.add_argument("--full", action="store_true", help="single precision, not 16 bits")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    device, clock = select_device(arguments.device), CLOCKS[arguments.clock]
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    precision = "single precision" if arguments.full else "16 bits"
    print(
        f"torch {torch.__version__}, {device}, {torch.get_num_threads()} thread(s), "
        f"{arguments.clock} time, {precision}"
    )
    torch.manual_seed(0)
    model = CoverHunter(hparams(arguments.width, arguments.blocks, 1000)).to(device)
    x = cqt(arguments.batch, arguments.frames, device)
    factor = torch.randn(arguments.batch, model.embed_dim, device=device)
    size = f"{arguments.batch} x {arguments.frames} frames, {arguments.width} channels"

    amp = not arguments.full

    def step(form: Callable[[CoverHunter, Tensor], Tensor]) -> Callable[[], None]:
        def loss() -> Tensor:
            return (form(model, x) * factor).sum()

        return training_run(model, loss, device=device, amp=amp)

    model.eval()
    if arguments.only != "train":
        runs = {name: embedding_run(form, model, x, amp=amp) for name, form in FORMS.items()}
        seconds = fastest(runs, arguments.repeats, clock)
        similar = torch.cosine_similarity(runs["plain"](), runs["fast"](), dim=1).min()
        show(f"Embedding, {size}", seconds, {"fast": f"cosine to plain at least {similar:.5f}"})
    if arguments.only != "embed":
        model.train()
        runs = {name: step(form) for name, form in FORMS.items()}
        seconds = fastest(runs, arguments.repeats, clock)
        show(f"Forward and backward pass, {size}", seconds, {})


if __name__ == "__main__":
    run_front(main)
