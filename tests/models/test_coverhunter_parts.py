"""The fast forms inside CoverHunter beside the plain ones."""

import pytest
import torch

from src.models import subsampling
from src.models.conformer import RelativeAttention, attend, attend_by_hand, sinusoids
from src.models.dropout import Dropout
from src.models.subsampling import Subsampling, subsampled


def plain_subsampling(layers: Subsampling, x: torch.Tensor) -> torch.Tensor:
    return layers.out(layers.conv(x[:, None]).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("frames", [7, 30, 33])
def test_subsampling_a_few_items_at_a_time(monkeypatch, frames):
    """Values and all gradients, with batches that are cut into several and uneven parts."""
    torch.manual_seed(0)
    layers = Subsampling(20, 8)
    x = torch.randn(5, frames, 20)
    item = ((frames - 1) // 2) * 9 * 8 * 4  # bytes between the convolutions
    monkeypatch.setattr(subsampling, "BYTES_AT_ONCE", 2 * item)
    results = []
    for form in (plain_subsampling, Subsampling.forward):
        layers.zero_grad()
        given = x.clone().requires_grad_()
        y = form(layers, given)
        y.square().sum().backward()
        results.append([y.detach(), given.grad, *(p.grad.clone() for p in layers.parameters())])
    assert results[0][0].shape == (5, subsampled(frames), 8)
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_both_forms_of_attention_are_the_written_score():
    torch.manual_seed(1)
    layer = RelativeAttention(16)
    x, table = torch.randn(2, 9, 16), sinusoids(9, 16, like=torch.zeros(1))
    parts = (layer.linear_q(x), layer.linear_k(x), layer.linear_v(x), layer.linear_pos(table)[None])
    q, k, v, p = (part.unflatten(2, (4, 4)) for part in parts)
    by_key = torch.einsum("bihd,bjhd->bhij", q + layer.pos_bias_u, k)
    by_place = torch.einsum("bihd,bjhd->bhij", q + layer.pos_bias_v, p.expand_as(k))
    weights = ((by_key + by_place) / 2).softmax(3)
    expected = torch.einsum("bhij,bjhd->bihd", weights, v)

    of_key = ((layer.pos_bias_v - layer.pos_bias_u) * p).sum(3, keepdim=True)
    for form in (attend, attend_by_hand):
        found = form(q + layer.pos_bias_u, k + p, v, of_key)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer(x, table), layer.linear_out(expected.flatten(2)))


def test_sinusoids():
    table = sinusoids(50, 8, like=torch.zeros(1))
    assert table.shape == (50, 8)
    assert table[0].tolist() == [0, 1] * 4
    position, rate = 37, 10000 ** (-2 / 8)
    expected = torch.tensor([position * rate]).sin().item()
    assert table[position, 2].item() == pytest.approx(expected, abs=1e-5)


class TestDropout:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_share_scale_and_gradient(self, dtype):
        torch.manual_seed(2)
        x = torch.ones(1000, 201, dtype=dtype, requires_grad=True)
        y = Dropout(0.1)(x)
        y.sum().backward()
        kept = y != 0
        assert kept.float().mean().item() == pytest.approx(0.9, abs=0.004)
        assert y[kept].unique().tolist() == [pytest.approx(1 / 0.9, rel=4e-3)]
        assert torch.equal(x.grad, y)
        # Neither rows nor columns are favoured.
        assert kept.float().mean(0).std() < 0.02
        assert kept.float().mean(1).std() < 0.04

    def test_seeded_and_only_in_training(self):
        x, layer = torch.ones(3, 7), Dropout(0.5)
        torch.manual_seed(3)
        first = layer(x)
        torch.manual_seed(3)
        assert torch.equal(layer(x), first)
        assert layer.eval()(x) is x
        assert Dropout(0.0)(x) is x
        assert not Dropout(1.0)(x).any()
