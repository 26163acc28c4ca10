"""MOVE against the reference numbers, and what must hold for any weights.

The straightforward network, layer by layer as published, stands here as the yardstick of the
fast form that :class:`MOVEModel` uses.
"""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from src.device import autocast
from src.models import pitch_correlation
from src.models.move import RECEPTIVE_FIELD, MOVEModel, pad_to_receptive_field
from src.models.pitch_correlation import is_doubled, key_maximum, pitch_basis
from src.models.prelu import one_slope_prelu
from src.models.tiled_convolution import tiled_convolution
from tests.parity_weights import move_chroma, normal, read_fixture, rebuild_weights

VARIANTS = read_fixture("c01_move_keys.json")
INPUTS = read_fixture("c01_inputs.json")
NUMBERS = read_fixture("c01_move.npz")
GRADIENT_NORMS = read_fixture("c01_move_train_grad_norms.json")
CASES = {case["name"]: case for case in INPUTS["eval"]}
CPU = torch.device("cpu")


def reference_model(variant: str) -> MOVEModel:
    about = VARIANTS[variant]
    model = MOVEModel(about["emb_size"], about["sum_method"], about["final_activation"])
    model.load_state_dict(rebuild_weights(about["keys"], about["base"]), strict=True)
    return model.eval()


def straight_stages(model: MOVEModel, chroma: torch.Tensor) -> dict[str, torch.Tensor]:
    """The network as published, with every intermediate result."""
    stages = {"prelu1": model.prelu1(model.conv1(chroma))}
    x = stages["key_pool"] = model.key_pool(stages["prelu1"])
    for number in range(2, 6):
        x = getattr(model, f"prelu{number}")(getattr(model, f"conv{number}")(x))
        stages[f"prelu{number}"] = x
    summary = model.summary(x.squeeze(2))
    stages["lin1"] = model.lin1(summary)
    stages["embedding"] = model.head(summary)
    return stages


def straight(model: MOVEModel, chroma: torch.Tensor) -> torch.Tensor:
    return straight_stages(model, chroma)["embedding"]


def fast_stages(model: MOVEModel, chroma: torch.Tensor) -> dict[str, torch.Tensor]:
    """What the fast form computes at the places it has in common with the published network."""
    stages = {}

    def keep(name):
        def hook(module, arguments, output):
            stages[name] = output

        return hook

    hooks = [model.lin1.register_forward_hook(keep("lin1"))]
    activate = model.activate
    model.activate = lambda number, x: stages.setdefault(f"prelu{number}", activate(number, x))
    stages["embedding"] = model(chroma)
    del model.activate
    for hook in hooks:
        hook.remove()
    stages["key_pool"] = stages.pop("prelu1")  # activated after the maximum, not before
    return stages


def gradients(model: MOVEModel, output: torch.Tensor, factor: torch.Tensor) -> dict:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad((output * factor).sum(), parameters, allow_unused=True)
    return dict(zip(names, found, strict=True))


def doubled(pitch_classes: torch.Tensor) -> torch.Tensor:
    """``(B, 12, T)`` to ``(B, 1, 23, T)``."""
    return torch.cat([pitch_classes, pitch_classes], dim=1)[:, None, :23]


FORMS = pytest.mark.parametrize("form", [straight_stages, fast_stages], ids=["straight", "fast"])


class TestReferenceNumbers:
    @pytest.mark.parametrize("variant", sorted(VARIANTS))
    def test_state_dict_has_the_published_names_in_their_order(self, variant):
        about = VARIANTS[variant]
        model = MOVEModel(about["emb_size"], about["sum_method"], about["final_activation"])
        assert described(model) == about["keys"]

    def test_default_model(self):
        model = MOVEModel()
        assert described(model) == read_fixture("c01_move_keys_16000.json")
        assert model.fin_emb_size == 16000

    @pytest.mark.parametrize("case", sorted(CASES))
    @pytest.mark.parametrize("variant", sorted(VARIANTS))
    def test_eval_embeddings(self, variant, case):
        model = reference_model(variant)
        with torch.no_grad():
            found = model(move_chroma(**CASES[case]))
        np.testing.assert_allclose(found.numpy(), NUMBERS[f"{variant}_{case}"], atol=1e-5, rtol=0)

    @FORMS
    def test_inside_of_the_network(self, form):
        with torch.no_grad():
            stages = form(reference_model("A"), move_chroma(**CASES["T400_hold"]))
        names = {"key_pool", "prelu2", "prelu3", "prelu4", "prelu5", "lin1"}
        assert names <= set(stages)
        for name in names | (stages.keys() & {"prelu1"}):
            value, expected = stages[name], f"A_T400_hold_trace_{name}_"
            assert list(value.shape) == list(NUMBERS[expected + "shape"])
            # Channels last is a matter of memory: the first values are those of channel 0.
            first = value.contiguous().flatten()[:8]
            np.testing.assert_allclose(first, NUMBERS[expected + "first8"], atol=1e-5, rtol=1e-5)
            double = value.double()
            statistics = [double.mean(), double.std(), double.abs().sum()]
            np.testing.assert_allclose(statistics, NUMBERS[expected + "stat"], rtol=1e-5)

    @FORMS
    def test_training_step(self, form):
        model = reference_model("A").train()
        output = form(model, move_chroma(**INPUTS["train"]))["embedding"]
        np.testing.assert_allclose(output.detach(), NUMBERS["train_out"], atol=1e-3, rtol=0)
        statistics = model.lin_bn
        for name in ("running_mean", "running_var"):
            found = getattr(statistics, name)
            np.testing.assert_allclose(found, NUMBERS[f"train_{name}"], atol=1e-3, rtol=0)
        assert statistics.num_batches_tracked == NUMBERS["train_num_batches_tracked"]

    @FORMS
    def test_gradients(self, form):
        model = reference_model("A").train()
        output = form(model, move_chroma(**INPUTS["train"]))["embedding"]
        factor = torch.from_numpy(normal(INPUTS["train"]["R_seed"], output.shape)).float()
        assert (output * factor).sum().item() == pytest.approx(NUMBERS["train_loss"], abs=0.05)
        found = gradients(model, output, factor)
        assert set(found) == set(GRADIENT_NORMS)
        for name, gradient in found.items():
            norm = GRADIENT_NORMS[name]
            assert gradient.norm().item() == pytest.approx(norm, rel=1e-2), name
            if f"train_grad_first32_{name}" not in NUMBERS:
                continue
            expected = NUMBERS[f"train_grad_first32_{name}"]
            np.testing.assert_allclose(
                gradient.contiguous().flatten()[:32],
                expected,
                atol=2e-2 * np.abs(expected).max(),
                rtol=0,
                err_msg=name,
            )


def described(model: MOVEModel) -> list:
    return [
        [key, list(value.shape), str(value.dtype).removeprefix("torch.")]
        for key, value in model.state_dict().items()
    ]


@pytest.fixture(scope="module")
def model():
    return reference_model("A")


class TestInvariants:
    @pytest.mark.parametrize("variant", sorted(VARIANTS))
    def test_transposed_music_has_the_same_embedding(self, variant):
        model = reference_model(variant)
        pitch_classes = torch.rand(12, 330, generator=torch.Generator().manual_seed(1))
        keys = torch.stack([pitch_classes.roll(semitones, dims=0) for semitones in range(12)])
        with torch.no_grad():
            found = model(doubled(keys))
        torch.testing.assert_close(found, found[:1].expand_as(found), atol=1e-5, rtol=0)

    def test_other_music_has_another_embedding(self, model):
        generator = torch.Generator().manual_seed(2)
        with torch.no_grad():
            first, second = model(doubled(torch.rand(2, 12, 330, generator=generator)))
        assert (first - second).abs().max() > 1e-2

    def test_order_of_the_batch_does_not_matter(self, model):
        chroma = doubled(torch.rand(5, 12, 350, generator=torch.Generator().manual_seed(3)))
        order = torch.tensor([3, 0, 4, 1, 2])
        with torch.no_grad():
            torch.testing.assert_close(
                model(chroma)[order], model(chroma[order]), atol=1e-5, rtol=0
            )

    def test_same_input_same_embedding(self, model):
        chroma = doubled(torch.rand(2, 12, 400, generator=torch.Generator().manual_seed(4)))
        with torch.no_grad():
            assert torch.equal(model(chroma), model(chroma))

    @pytest.mark.parametrize("frames", [1, 179, 319])
    def test_short_tracks_are_padded_with_silence_at_the_end(self, model, frames):
        chroma = doubled(torch.rand(1, 12, frames, generator=torch.Generator().manual_seed(5)))
        padded = torch.zeros(1, 1, 23, RECEPTIVE_FIELD)
        padded[..., :frames] = chroma
        with torch.no_grad():
            torch.testing.assert_close(model(chroma), straight(model, padded), atol=1e-5, rtol=0)

    def test_long_enough_tracks_are_not_padded(self):
        chroma = torch.rand(1, 1, 23, RECEPTIVE_FIELD)
        assert pad_to_receptive_field(chroma) is chroma

    def test_silence_has_a_finite_embedding(self, model):
        with torch.no_grad():
            assert torch.isfinite(model(torch.zeros(1, 1, 23, 400))).all()

    @pytest.mark.parametrize("shape", [(1, 12, 400), (1, 1, 12, 400), (2, 23, 400), (1, 1, 23, 0)])
    def test_another_shape_is_named(self, model, shape):
        with pytest.raises(ValueError, match=r"\(batch, 1, 23, frames\), not \("):
            model(torch.zeros(shape))

    def test_unknown_activation_is_named(self):
        with pytest.raises(ValueError, match="final_activation"):
            MOVEModel(8, 4, 7)


class TestParts:
    def test_forward_is_head_of_features(self, model):
        chroma = doubled(torch.rand(2, 12, 330, generator=torch.Generator().manual_seed(6)))
        with torch.no_grad():
            features = model.features(chroma)
            assert features.shape == (2, 256)
            assert torch.equal(model.head(features), model(chroma))

    def test_a_new_head_leaves_the_features_alone(self):
        torch.manual_seed(7)
        model = MOVEModel(32).eval()
        chroma = doubled(torch.rand(2, 12, 330))
        with torch.no_grad():
            before = model.features(chroma)
            model.replace_head(8)
            assert torch.equal(model.features(chroma), before)
            assert model(chroma).shape == (2, 8)
        assert model.fin_emb_size == 8
        assert described(model) == described(MOVEModel(8))
        assert model.lin1.bias is None
        assert all(parameter.requires_grad for parameter in model.lin1.parameters())

    def test_initial_weights(self):
        torch.manual_seed(8)
        model = MOVEModel(16)
        for number in range(1, 6):
            weight = getattr(model, f"conv{number}").weight
            expected = (2 / (1 + 0.01**2) / weight[0].numel()) ** 0.5
            assert weight.std().item() == pytest.approx(expected, rel=0.01)
            assert getattr(model, f"prelu{number}").weight.item() == pytest.approx(0.01)
        assert model.autopool_p.item() == 0.0


class TestFirstLayer:
    """The circular correlation against the convolution it stands for."""

    @staticmethod
    def straight(pitch_classes, weight, bias, slope):
        x = functional.prelu(functional.conv2d(doubled(pitch_classes), weight, bias), slope)
        return functional.max_pool2d(x, (12, 1))

    @staticmethod
    def fast(pitch_classes, weight, bias, slope):
        return one_slope_prelu(key_maximum(pitch_classes, weight[:, 0], bias, slope), slope)

    @staticmethod
    def draw(seed, batch, outputs, kernel, frames, slope, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)
        shapes = (batch, 12, frames), (outputs, 1, 12, kernel), (outputs,)
        x, weight, bias = (torch.randn(s, generator=generator, dtype=dtype) for s in shapes)
        slope = torch.tensor([slope], dtype=dtype)
        return x, weight.requires_grad_(), bias.requires_grad_(), slope.requires_grad_()

    @settings(deadline=None, max_examples=60, derandomize=True)
    @given(
        seed=st.integers(0, 10**6),
        batch=st.integers(1, 5),
        outputs=st.integers(1, 9),
        kernel=st.integers(1, 7),
        extra=st.integers(0, 40),
        slope=st.sampled_from([0.01, 0.25, 1.0, 1.5, -0.2, -1.0, -2.0]),
        block=st.integers(1, 50),
    )
    def test_values_and_gradients(self, seed, batch, outputs, kernel, extra, slope, block):
        arguments = self.draw(seed, batch, outputs, kernel, kernel + extra, slope)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pitch_correlation, "BLOCK_FRAMES", block)
            found = self.fast(*arguments)
            factor = torch.randn(
                found.shape, generator=torch.Generator().manual_seed(seed), dtype=found.dtype
            )
            found_gradients = torch.autograd.grad((found * factor).sum(), arguments[1:])
            with torch.no_grad():
                without_gradients = self.fast(*arguments)
        expected = self.straight(*arguments)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(without_gradients, expected.detach())
        expected_gradients = torch.autograd.grad((expected * factor).sum(), arguments[1:])
        for one, other in zip(found_gradients, expected_gradients, strict=True):
            torch.testing.assert_close(one, other)

    def test_only_one_key_receives_the_gradient_of_a_tie(self):
        x, weight, bias, slope = self.draw(1, 1, 3, 2, 5, 0.01)
        x = torch.ones_like(x)  # all keys are equal
        gradient = torch.autograd.grad(self.fast(x, weight, bias, slope).sum(), weight)[0]
        expected = torch.autograd.grad(self.straight(x, weight, bias, slope).sum(), weight)[0]
        torch.testing.assert_close(gradient, expected)

    def test_both_ways_to_the_maximum_agree(self):
        keys = torch.randn(12, 7, 33, generator=torch.Generator().manual_seed(4))
        value, position = pitch_correlation._pool(keys)
        other_value, other_position = pitch_correlation._reduce(keys)
        assert torch.equal(value, other_value)
        gradient = torch.randn(7, 33, generator=torch.Generator().manual_seed(5))
        found = pitch_correlation._undo_pool(gradient, position)
        assert torch.equal(found, pitch_correlation._undo_reduce(gradient, other_position))
        assert torch.equal((found * keys).sum(0), gradient * value)

    def test_basis_is_orthonormal(self):
        basis = pitch_basis(torch.zeros(1, dtype=torch.float64))
        torch.testing.assert_close(basis @ basis.t(), torch.eye(12, dtype=torch.float64))

    def test_frozen_weights_get_no_gradient(self):
        x, weight, bias, slope = self.draw(2, 2, 3, 2, 9, 0.01)
        weight.requires_grad_(False)
        self.fast(x, weight, bias, slope).sum().backward()
        assert weight.grad is None
        assert bias.grad is not None

    def test_slope_gradient(self):
        generator = torch.Generator().manual_seed(3)
        x = torch.randn(3, 4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
        for value in (0.3, -0.7):
            slope = torch.tensor([value], dtype=torch.float64, requires_grad=True)
            assert torch.autograd.gradcheck(one_slope_prelu, (x, slope))


class TestTiledConvolution:
    @settings(deadline=None, max_examples=40, derandomize=True)
    @given(
        seed=st.integers(0, 10**6),
        batch=st.integers(1, 3),
        channels=st.integers(1, 4),
        outputs=st.integers(1, 4),
        dilation=st.sampled_from([1, 2, 13, 20]),
        extra=st.integers(1, 90),
    )
    def test_same_as_the_convolution(self, seed, batch, channels, outputs, dilation, extra):
        generator = torch.Generator().manual_seed(seed)
        shapes = (batch, channels, 1, 4 * dilation + extra), (outputs, channels, 1, 5), (outputs,)
        arguments = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
        expected = functional.conv2d(*arguments, dilation=(1, dilation))
        torch.testing.assert_close(tiled_convolution(*arguments, dilation), expected)

    def test_rounding_stays_small(self):
        generator = torch.Generator().manual_seed(6)
        x = torch.randn(1, 256, 1, 300, generator=generator)
        weight = torch.randn(64, 256, 1, 5, generator=generator) / 1280**0.5
        bias = torch.zeros(64)
        exact = functional.conv2d(x.double(), weight.double())
        error = tiled_convolution(x, weight, bias, 1) - exact
        assert error.abs().max() < 2e-5
        assert error.square().mean().sqrt() < 3e-6


class TestChoiceOfTheForm:
    def test_rows_that_are_no_doubled_chroma_take_the_convolution(self, model):
        chroma = move_chroma(**CASES["T400_iid"]).roll(
            3, dims=2
        )  # of 23 rows: not doubled any more
        assert not is_doubled(chroma)
        with torch.no_grad():
            torch.testing.assert_close(model(chroma), straight(model, chroma), atol=1e-5, rtol=0)

    def test_gradient_of_the_input(self, model):
        chroma = doubled(torch.rand(1, 12, 330)).requires_grad_()
        model(chroma).sum().backward()
        assert chroma.grad.abs().sum() > 0

    def test_a_doubled_chroma_does_not_take_the_convolution(self, model, monkeypatch):
        monkeypatch.setattr(model.conv1, "forward", None)
        with torch.no_grad():
            assert model(doubled(torch.rand(1, 12, 330))).shape == (1, 64)


class TestLowPrecision:
    """bfloat16 products are close, and what must be exact stays in float32."""

    def test_embeddings(self, model):
        chroma = move_chroma(**CASES["T517_hold"])
        with torch.no_grad():
            exact = model(chroma)
            with autocast(CPU, enabled=True):
                low = model(chroma)
        assert low.dtype == torch.float32
        error = (low - exact).norm() / exact.norm()
        assert 0 < error < 0.02

    def test_gradients(self):
        model = reference_model("A").train()
        chroma = move_chroma(**INPUTS["train"])
        factor = torch.from_numpy(normal(INPUTS["train"]["R_seed"], (6, 64))).float()
        exact = gradients(model, straight(model, chroma), factor)
        with autocast(CPU, enabled=True):
            output = model(chroma)
        low = gradients(model, output, factor)
        for name, expected in exact.items():
            assert low[name].dtype == torch.float32
            if expected.numel() > 1:
                likeness = functional.cosine_similarity(
                    low[name].flatten(), expected.flatten(), dim=0
                )
                assert likeness > 0.98, name

    def test_statistics_of_the_batch_norm(self):
        chroma = move_chroma(**INPUTS["train"])
        exact, low = (reference_model("A").train() for _ in range(2))
        exact(chroma)
        with autocast(CPU, enabled=True):
            low(chroma)
        assert low.lin_bn.running_var.dtype == torch.float32
        torch.testing.assert_close(
            low.lin_bn.running_var, exact.lin_bn.running_var, rtol=0.02, atol=0.01
        )


class TestTraining:
    def test_a_few_steps_fit_a_small_batch(self):
        torch.manual_seed(11)
        model = MOVEModel(8)
        twin = copy.deepcopy(model)
        chroma = doubled(torch.rand(4, 12, 330))
        goal = torch.randn(4, 8)
        losses = {}
        for name, network, form in (("fast", model, MOVEModel.forward), ("plain", twin, straight)):
            optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
            losses[name] = []
            for _ in range(3):
                optimizer.zero_grad()
                loss = functional.mse_loss(form(network, chroma), goal)
                loss.backward()
                optimizer.step()
                losses[name].append(loss.item())
        assert losses["fast"][-1] < losses["fast"][0]
        np.testing.assert_allclose(losses["fast"], losses["plain"], rtol=1e-2)
