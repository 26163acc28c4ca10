"""The supervised contrastive loss against its formula, item by item."""

import math

import pytest
import torch

from src.losses import SupConLoss
from src.models.coverhunter import CoverHunter

LABELS = torch.tensor([4, 7, 4, 4, 9, 7])  # 9 has no second item


def plain(embeddings, labels, temperature):
    units = [e / e.norm() for e in embeddings]
    terms = []
    for i in range(len(units)):
        others = [j for j in range(len(units)) if j != i]
        positives = [j for j in others if labels[j] == labels[i]]
        if not positives:
            continue
        total = sum(math.exp(float(units[i] @ units[j]) / temperature) for j in others)
        logs = [float(units[i] @ units[j]) / temperature - math.log(total) for j in positives]
        terms.append(-sum(logs) / len(logs))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_equals_the_formula(temperature):
    embeddings = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    loss = SupConLoss(temperature)(embeddings, LABELS)
    assert float(loss) == pytest.approx(plain(embeddings, LABELS, temperature), rel=1e-5)


def test_length_of_embeddings_does_not_matter_and_gradients_are_finite():
    embeddings = torch.randn(6, 5, generator=torch.Generator().manual_seed(2))
    scaled = (embeddings * torch.arange(1, 7)[:, None]).requires_grad_()
    loss = SupConLoss()(scaled, LABELS[:, None].float())
    assert float(loss.detach()) == pytest.approx(float(SupConLoss()(embeddings, LABELS)), rel=1e-5)
    loss.backward()
    assert torch.isfinite(scaled.grad).all()


def test_without_any_positive_it_is_zero_and_can_be_derived():
    embeddings = torch.randn(3, 5, requires_grad=True)
    loss = SupConLoss()(embeddings, torch.arange(3))
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(embeddings.grad).all()


def test_no_temperature_below_zero():
    with pytest.raises(ValueError, match="positive"):
        SupConLoss(0)


def test_coverhunter_adds_it_only_when_asked():
    hp = {
        "input_dim": 16,
        "embed_dim": 8,
        "encoder": {"output_dims": 8, "num_blocks": 1, "attention_dim": 8},
        "ce": {"output_dims": 10, "weight": 0.0},
        "contrastive": {"weight": 2.0, "temperature": 0.2},
    }
    torch.manual_seed(0)
    model = CoverHunter(hp).eval()
    x = torch.randn(6, 40, 16)
    total, parts = model.compute_loss(x, LABELS)
    assert parts.keys() == {"con_loss"}
    expected = SupConLoss(0.2)(model(x), LABELS)
    torch.testing.assert_close(parts["con_loss"], expected)
    torch.testing.assert_close(total, 2 * expected)
    hp["contrastive"]["weight"] = 0
    with pytest.raises(ValueError, match="all losses are 0"):
        CoverHunter(hp).compute_loss(x, LABELS)
