"""MOVE against the reference numbers, and what must hold for any weights."""

import numpy as np
import pytest
import torch

from src.models.move import MOVEModel
from tests.parity_weights import move_chroma, read_fixture, rebuild_weights

VARIANTS = read_fixture("c01_move_keys.json")
INPUTS = read_fixture("c01_inputs.json")
NUMBERS = read_fixture("c01_move.npz")
CASES = {case["name"]: case for case in INPUTS["eval"]}
STAGES = ("prelu1", "key_pool", "prelu2", "prelu3", "prelu4", "prelu5", "lin1")
TRAINED = [
    key.removeprefix("train_grad_first32_")
    for key in NUMBERS
    if key.startswith("train_grad_first32_")
]


def reference_model(variant: str) -> MOVEModel:
    about = VARIANTS[variant]
    model = MOVEModel(about["emb_size"], about["sum_method"], about["final_activation"])
    model.load_state_dict(rebuild_weights(about["keys"], about["base"]), strict=True)
    return model


class TestReferenceNumbers:
    @pytest.mark.parametrize("variant", sorted(VARIANTS))
    def test_state_dict_has_the_published_names_in_their_order(self, variant):
        about = VARIANTS[variant]
        model = MOVEModel(about["emb_size"], about["sum_method"], about["final_activation"])
        found = [
            [key, list(value.shape), str(value.dtype).removeprefix("torch.")]
            for key, value in model.state_dict().items()
        ]
        assert found == about["keys"]

    @pytest.mark.parametrize("case", sorted(CASES))
    @pytest.mark.parametrize("variant", sorted(VARIANTS))
    def test_eval_embeddings(self, variant, case):
        model = reference_model(variant).eval()
        with torch.no_grad():
            found = model(move_chroma(**CASES[case]))
        np.testing.assert_allclose(found.numpy(), NUMBERS[f"{variant}_{case}"], atol=1e-5, rtol=0)
