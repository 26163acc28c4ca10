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


@torch.no_grad()
def test_every_stage_of_the_encoder(model):
    """Shape, mean, deviation, absolute sum, first and last values after each stage."""
    stages = {}

    def keep(name):
        return lambda module, inputs, output: stages.__setitem__(name, output)

    def keep_inputs(module, inputs):
        stages["subsample_scaled"], stages["pos_emb"] = inputs

    encoder = model._encoder
    hooks = [model._global_cmvn.register_forward_hook(keep("cmvn"))]
    hooks += [
        block.register_forward_hook(keep(f"block{i}")) for i, block in enumerate(encoder.encoders)
    ]
    hooks += [encoder.encoders[0].register_forward_pre_hook(keep_inputs)]
    hooks += [encoder.register_forward_hook(keep("encoder_out"))]
    model(case(INPUTS["main"][2]))
    for hook in hooks:
        hook.remove()
    assert len(stages) == 10
    for name, value in stages.items():
        trace = {
            key: ARRAYS[f"main_2_trace_{name}_{key}"]
            for key in ("shape", "stat", "first8", "last8")
        }
        value = value.reshape(tuple(trace["shape"])).double()
        stat = [value.mean(), value.std(), value.abs().sum()]
        np.testing.assert_allclose(stat, trace["stat"], rtol=1e-4, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(value[0, 0, :8], trace["first8"], **CLOSE, err_msg=name)
        np.testing.assert_allclose(value[0, -1, -8:], trace["last8"], **CLOSE, err_msg=name)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("eval_loss_center0.0", {}),
        ("eval_loss_center0.01", {"center": 0.01}),
        ("eval_loss_tripletweight0.01", {"triplet": 0.01}),
        ("eval_loss_tripletweight0.011", {"triplet": 0.011}),
    ],
)
def test_losses_in_eval_mode(name, weights):
    total, parts = build(**weights).compute_loss(case(INPUTS["loss"]), LABELS)
    found = {"total": total.item()} | {key: value.item() for key, value in parts.items()}
    assert found == pytest.approx(NUMBERS[name], rel=1e-4)


class TestTraining:
    @pytest.fixture(scope="class")
    def trained(self):
        """The model after one backward pass without dropout, with its losses."""
        model = without_dropout(build(center=0.01)).train()
        total, parts = model.compute_loss(case(INPUTS["loss"]), LABELS)
        total.backward()
        return model, {"total": total.item()} | {k: v.item() for k, v in parts.items()}

    def test_losses(self, trained):
        assert trained[1] == pytest.approx(NUMBERS["train_nodropout_loss"], rel=1e-4)

    def test_gradient_norms(self, trained):
        expected = NUMBERS["train_nodropout_grad_norm"]
        found = dict(trained[0].named_parameters())
        assert sorted(found) == sorted(expected)
        for name, norm in expected.items():
            if norm is None:
                assert found[name].grad is None, name
            else:
                assert found[name].grad.norm().item() == pytest.approx(norm, rel=1e-3, abs=1e-4), (
                    name
                )

    def test_first_values_of_gradients(self, trained):
        parameters = dict(trained[0].named_parameters())
        names = [key for key in ARRAYS if key.startswith("train_grad_first32_")]
        assert len(names) == 5
        for key in names:
            found = parameters[key.removeprefix("train_grad_first32_")].grad.flatten()[:32]
            largest = np.abs(ARRAYS[key]).max()
            np.testing.assert_allclose(found, ARRAYS[key], rtol=0, atol=1e-3 * largest, err_msg=key)

    def test_batch_norm_statistics(self, trained):
        state = trained[0].state_dict()
        names = [key for key in ARRAYS if key.startswith("train_after_")]
        assert len(names) == 6
        for key in names:
            found = state[key.removeprefix("train_after_")]
            np.testing.assert_allclose(found, ARRAYS[key], rtol=1e-4, atol=1e-4, err_msg=key)

    def test_four_optimiser_steps(self):
        model = without_dropout(build()).train()
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.8, 0.99))
        x = case(INPUTS["loss"])
        for expected, tolerance in zip(
            NUMBERS["adamw_steps"], (1e-3, 1e-3, 3e-3, 1e-2), strict=True
        ):
            total, parts = model.compute_loss(x, LABELS)
            optimiser.zero_grad()
            total.backward()
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            found = {"total": total.item(), "grad_norm_before_clip": norm.item()}
            found |= {key: value.item() for key, value in parts.items()}
            assert found == pytest.approx(expected, rel=tolerance)

    def test_dropout_is_0_1_and_changes_the_training_forward_only(self, model):
        rates = {m.p for m in model.modules() if isinstance(m, nn.Dropout)}
        assert rates == {0.1}
        x = case(INPUTS["small"][0])
        fresh = build("small")
        assert torch.equal(fresh(x), fresh(x))
        fresh.train()
        torch.manual_seed(1)
        first, second = fresh(x), fresh(x)
        torch.manual_seed(1)
        assert torch.equal(fresh(x), first)
        assert not torch.equal(first, second)

    def test_one_chunk_is_no_batch(self):
        with pytest.raises(ValueError, match="at least two chunks"):
            build("small").train().compute_loss(cqt(1, 1, 20), torch.tensor([0]))

    def test_labels_of_another_number(self):
        with pytest.raises(ValueError, match="2 chunks need 2 labels, not 3"):
            build("small").compute_loss(cqt(1, 2, 20), torch.tensor([0, 1, 2]))

    def test_labels_beyond_the_classes(self):
        with pytest.raises(ValueError, match=r"below 50 \(ce.output_dims\), not 0..50"):
            build("small").compute_loss(cqt(1, 2, 20), torch.tensor([0, 50]))


class TestConfiguration:
    def test_newer_name_of_the_focal_block_and_keys_it_does_not_know(self):
        old = hparams("small")
        new = {**old, "foc": old["ce"], "seed": 1234, "train_path": "full.txt", "pool_type": "x"}
        del new["ce"]
        torch.manual_seed(0)
        expected = CoverHunter(old).state_dict()
        torch.manual_seed(0)
        found = CoverHunter(new).state_dict()
        assert all(torch.equal(found[key], value) for key, value in expected.items())

    def test_class_weights_are_a_list(self):
        x, labels = cqt(1, 3, 30), torch.tensor([0, 1, 1])
        plain, weighted = hparams("small", triplet=0.0), hparams("small", triplet=0.0)
        weighted["ce"] = weighted["ce"] | {"alpha": [3.0] + [1.0] * 49}
        state = rebuild_weights(KEYS["small"]["keys"], KEYS["small"]["base"])
        losses = []
        for hp in (plain, weighted):
            model = CoverHunter(hp).eval()
            model.load_state_dict(state)  # the weights of classes are not part of it
            losses.append(model.compute_loss(x, labels)[0].item())
        assert losses[0] != pytest.approx(losses[1], rel=1e-3)

    def test_a_loss_of_weight_0_is_absent(self):
        hp = hparams("small", triplet=0.5)
        hp["ce"]["weight"] = 0.0
        total, parts = CoverHunter(hp).compute_loss(cqt(1, 2, 30), torch.tensor([0, 1]))
        assert set(parts) == {"tri_loss"}
        assert total.item() == pytest.approx(0.5 * parts["tri_loss"].item())

    @pytest.mark.parametrize(
        ("block", "key", "value", "sentence"),
        [
            (None, "input_dim", None, "input_dim is missing"),
            (None, "embed_dim", "128", "embed_dim must be a positive integer, not '128'"),
            (None, "input_dim", 5, "input_dim must be at least 7, not 5"),
            (None, "encoder", None, "no block encoder"),
            (None, "ce", None, r"no block ce \(or foc\)"),
            ("encoder", "output_dims", 30, "encoder.output_dims must be a multiple of 4, not 30"),
            ("encoder", "num_blocks", 0, "encoder.num_blocks must be a positive integer, not 0"),
            ("ce", "alpha", [1.0], "ce.alpha has 1 weights for 50 classes"),
            ("ce", "weight", "1e-1", "ce.weight must be a number of at least 0, not '1e-1'"),
            ("triplet", "margin", None, "triplet.margin must be a number"),
        ],
    )
    def test_what_makes_no_model(self, block, key, value, sentence):
        hp = hparams("small")
        (hp if block is None else hp[block])[key] = value
        with pytest.raises(ValueError, match=sentence):
            CoverHunter(hp)

    def test_attributes(self, model):
        assert (model.embed_dim, model.mean_size) == (128, 3)
        assert model.hparams == hparams()


class TestInput:
    @pytest.mark.parametrize("shape", [(2, 40, 84), (2, 96, 40), (40, 96), (1, 2, 40, 96)])
    def test_other_shapes(self, model, shape):
        with pytest.raises(ValueError, match=r"\(batch, frames, 96\), not \(" + str(shape[0])):
            model(torch.zeros(shape))

    def test_too_short(self, model):
        with pytest.raises(ValueError, match=r"at least 7 frames .* \(1, 6, 96\) has 6"):
            model(torch.zeros(1, 6, 96))

    def test_integers(self, model):
        with pytest.raises(ValueError, match="floating-point"):
            model(torch.zeros(1, 40, 96, dtype=torch.int64))

    @torch.no_grad()
    def test_shortest_and_silent(self, model):
        embedding = model(torch.zeros(1, 7, 96))
        assert embedding.shape == (1, 128)
        assert torch.isfinite(embedding).all()

    @torch.no_grad()
    def test_longer_than_the_original_could_take(self):
        assert torch.isfinite(build("small")(cqt(3, 1, 20_020))).all()

    @torch.no_grad()
    def test_items_of_a_batch_do_not_see_each_other(self, model):
        x = cqt(4, 3, 60)
        alone = torch.cat([model(item[None]) for item in x])
        np.testing.assert_allclose(model(x), alone, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("training", [False, True])
    def test_sixteen_bits_come_close_and_end_in_single_precision(self, training):
        model = without_dropout(build("small")).train(training)
        x, labels = cqt(5, 4, 100), torch.tensor([0, 0, 1, 1])
        gradients, embeddings = [], []
        for enabled in (False, True):
            model.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
                total, _ = model.compute_loss(x, labels)
                embeddings.append(model(x).detach())
            total.backward()
            gradients.append(
                torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
            )
        assert embeddings[1].dtype == torch.float32
        similar = torch.cosine_similarity(*embeddings, dim=1)
        assert similar.min() > 0.999
        assert torch.cosine_similarity(*gradients, dim=0) > 0.98
