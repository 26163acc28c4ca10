"""MOVE that averages frames before its first layer: the same spans of time, fewer products."""

import pytest
import torch
from torch.nn import functional

from src.data.chroma import double_chroma
from src.models.move import DILATIONS, MEAN_FRAMES, MOVEModel
from src.training.checkpoint import load_move, save_move


def network(mean_frames: int, emb_size: int = 8) -> MOVEModel:
    torch.manual_seed(mean_frames)
    return MOVEModel(emb_size, mean_frames=mean_frames).eval()


def chroma(frames: int, seed: int = 0) -> torch.Tensor:
    values = torch.rand(frames, 12, generator=torch.Generator().manual_seed(seed))
    return double_chroma(values.numpy())[None]  # (1, 1, 23, T)


def at_full_rate(model: MOVEModel, x: torch.Tensor) -> torch.Tensor:
    """The same embedding, with every tap drawn out over the frames that the network averages."""
    step = model.mean_frames
    whole = x[..., : x.shape[-1] // step * step]
    weight = model.conv1.weight.repeat_interleave(step, dim=3) / step
    x = functional.conv2d(whole, weight, model.conv1.bias)
    x = model.key_pool(model.prelu1(x))
    for number in range(2, 6):
        layer = getattr(model, f"conv{number}")
        dilation = (1, layer.dilation[1] * step)
        x = functional.conv2d(x, layer.weight, layer.bias, dilation=dilation)
        x = getattr(model, f"prelu{number}")(x)
    return model.head(model.summary(x[..., ::step].squeeze(2)))


@pytest.mark.parametrize("mean_frames", MEAN_FRAMES)
def test_looks_at_the_same_spans_of_time(mean_frames):
    model = network(mean_frames)
    x = chroma(model.receptive_field + 3 * mean_frames + mean_frames // 2)
    with torch.no_grad():
        torch.testing.assert_close(model(x), at_full_rate(model, x), atol=2e-5, rtol=1e-5)
    assert model.conv1.kernel_size[1] * mean_frames == 180
    assert model.dilation(3) * mean_frames == DILATIONS[3]


def test_one_frame_is_the_published_network():
    model = network(1)
    assert model.receptive_field == 320
    assert [model.dilation(number) for number in range(2, 6)] == [1, 20, 1, 13]


@pytest.mark.parametrize("mean_frames", MEAN_FRAMES)
def test_short_recordings_are_followed_by_silence(mean_frames):
    model = network(mean_frames)
    short = chroma(model.receptive_field - 7)
    with torch.no_grad():
        padded = functional.pad(short, (0, 7))
        torch.testing.assert_close(model(short), model(padded))
        longer = model.features(functional.pad(short, (0, 7 + 40)))
    assert longer.shape == (1, 256)


@pytest.mark.parametrize("mean_frames", [0, 3, 8, -4])
def test_other_numbers_are_refused(mean_frames):
    with pytest.raises(ValueError, match="mean_frames must be one of"):
        MOVEModel(8, mean_frames=mean_frames)


def test_key_invariance_and_gradient():
    model = network(4)
    x = chroma(600)
    moved = double_chroma(x[0, 0, :12].roll(5, dims=0).T.numpy())[None]
    with torch.no_grad():
        torch.testing.assert_close(model(x), model(moved), atol=2e-5, rtol=1e-5)
    model.train()
    model(torch.cat([x, chroma(600, 1), chroma(600, 2)])).square().mul(
        torch.rand(8)
    ).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert model.conv1.weight.grad.abs().max() > 0


def test_the_file_says_how_many_frames(tmp_path):
    model = network(5)
    save_move(model, tmp_path / "model.pt")
    again = load_move(tmp_path / "model.pt")
    assert again.mean_frames == 5
    x = chroma(500)
    with torch.no_grad():
        torch.testing.assert_close(again(x), model(x))
