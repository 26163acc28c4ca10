"""CoverHunter against the reference numbers of the original, and what it says to bad input."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from src.models.coverhunter import CoverHunter
from tests.parity_weights import read_fixture, rebuild_weights

KEYS = read_fixture("c09_coverhunter_keys.json")
INPUTS = read_fixture("c09_inputs.json")
ARRAYS = read_fixture("c09_coverhunter.npz")
NUMBERS = read_fixture("c09_coverhunter.json")
CLOSE = {"rtol": 0, "atol": 1e-4}
LABELS = torch.tensor(INPUTS["loss"]["labels"])


def hparams(name: str = "main", *, triplet: float = 0.1, center: float = 0.0) -> dict:
    about = KEYS[name]["hparams"]
    return {
        "input_dim": about["input_dim"],
        "embed_dim": about["embed_dim"],
        "mean_size": 3,
        "encoder": {key: about[key] for key in ("output_dims", "num_blocks", "attention_dim")},
        "ce": {"output_dims": about["ce_output_dims"], "weight": 1.0, "gamma": 2},
        "triplet": {"margin": 0.3, "weight": triplet},
        "center": {"weight": center},
    }


def build(name: str = "main", *, gain: float = 1.0, **weights: float) -> CoverHunter:
    """The model of a case, with its rebuilt weights, in eval mode."""
    model = CoverHunter(hparams(name, **weights))
    state = rebuild_weights(KEYS[name]["keys"], KEYS[name]["base"], gain=gain)
    model.load_state_dict(state, strict=True)
    return model.eval()


def cqt(seed: int, n: int, T: int, bins: int = 96) -> torch.Tensor:
    """Input of a case: noise in dB on a slow change."""
    random = np.random.RandomState(seed)
    fast = random.standard_normal((n, T, bins))
    slow = random.standard_normal((n, math.ceil(T / 25), bins))
    values = -40 + 12 * fast + 10 * np.repeat(slow, 25, axis=1)[:, :T]
    return torch.from_numpy(np.clip(values, -80, 0).astype(np.float32))


def case(about: dict) -> torch.Tensor:
    return cqt(about["seed"], about["n"], about["T"])


def without_dropout(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


@pytest.fixture(scope="module")
def model() -> CoverHunter:
    return build()


@pytest.mark.parametrize("name", ["main", "small", "embed_lo"])
def test_names_shapes_and_order_of_the_state_dict(name):
    state = CoverHunter(hparams(name)).state_dict()
    found = [[key, list(value.shape), str(value.dtype)[6:]] for key, value in state.items()]
    assert found == KEYS[name]["keys"]


@torch.no_grad()
@pytest.mark.parametrize("about", INPUTS["main"], ids=lambda about: about["array"])
def test_embeddings_and_class_scores(model, about):
    x = case(about)
    embeddings, scores = model.inference(x)
    np.testing.assert_allclose(embeddings, ARRAYS[about["array"]], **CLOSE)
    np.testing.assert_allclose(scores, ARRAYS[about["array"].replace("embed", "ce")], **CLOSE)


@torch.no_grad()
def test_embeddings_of_sharper_attention():
    model = build(gain=2.0)
    for about in INPUTS["gain2"]:
        np.testing.assert_allclose(model(case(about)), ARRAYS[about["array"]], **CLOSE)


@torch.no_grad()
def test_embeddings_of_the_small_model():
    (about,) = INPUTS["small"]
    np.testing.assert_allclose(build("small")(case(about)), ARRAYS["small_embed"], **CLOSE)


@torch.no_grad()
def test_embeddings_of_another_size_than_the_encoder():
    expected = read_fixture("c09_embed_lo_head.npz")["embed"]
    np.testing.assert_allclose(build("embed_lo")(case(INPUTS["embed_lo"])), expected, **CLOSE)
