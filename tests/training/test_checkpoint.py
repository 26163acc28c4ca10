"""MOVE files: what is written comes back, and what is not a model is refused in one sentence."""

import json
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn

from src.data.crema_features import version_for_sound
from src.errors import UserError
from src.models.move import MOVEModel
from src.training.checkpoint import (
    export_move,
    load_move,
    metadata_path,
    read_metadata,
    save_move,
)
from tests.parity_weights import read_fixture, rebuild_weights

ABOUT = read_fixture("c01_move_keys.json")["A"]


@pytest.fixture(scope="module")
def weights():
    return rebuild_weights(ABOUT["keys"], ABOUT["base"])


@pytest.fixture
def altered(weights, tmp_path):
    """Write the reference weights after a change and return the path."""

    def write(change):
        state = OrderedDict(weights)
        change(state)
        path = tmp_path / "model_altered.pt"
        torch.save(state, path)
        return path

    return write


def assert_same(model: nn.Module, weights: dict[str, torch.Tensor]) -> None:
    found = model.state_dict()
    assert list(found) == list(weights)
    for name, value in weights.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value), name


class TestLoading:
    def test_the_original_format_is_a_plain_state_dict(self, altered, weights):
        model = load_move(altered(lambda state: None))
        assert_same(model, weights)
        assert not model.training
        assert model.fin_emb_size == ABOUT["emb_size"]
        assert all(parameter.requires_grad for parameter in model.parameters())

    def test_random_numbers_are_not_consumed(self, altered):
        path = altered(lambda state: None)
        before = torch.get_rng_state()
        load_move(path)
        assert torch.equal(torch.get_rng_state(), before)

    def test_names_of_a_parallel_model(self, altered, weights):
        def prefix(state):
            for name in list(state):
                state[f"module.{name}"] = state.pop(name)

        assert_same(load_move(altered(prefix)), weights)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_other_float_types_become_float32(self, altered, weights, dtype):
        def cast(state):
            for name, value in state.items():
                state[name] = value.to(dtype) if value.is_floating_point() else value

        model = load_move(altered(cast))
        expected = weights["conv2.weight"].to(dtype).float()
        assert torch.equal(model.conv2.weight, expected)

    def test_embedding_size_asked_for(self, altered):
        path = altered(lambda state: None)
        assert load_move(path, emb_size=64).fin_emb_size == 64
        with pytest.raises(UserError, match=r"size 64, but size 256 was asked for"):
            load_move(path, emb_size=256)


class TestSaving:
    @pytest.mark.parametrize(
        ("sum_method", "final_activation"), [(4, 3), (0, 0), (1, 1), (2, 2), (3, 0)]
    )
    def test_round_trip_keeps_weights_and_structure(self, tmp_path, sum_method, final_activation):
        torch.manual_seed(3)
        model = MOVEModel(8, sum_method, final_activation)
        path = tmp_path / "models" / "model_x.pt"
        save_move(model, path, metadata={"crema_version": "0.1.0"})
        again = load_move(path, emb_size=8)
        assert_same(again, model.state_dict())
        assert (again.sum_method, again.final_activation) == (sum_method, final_activation)
        assert read_metadata(path)["crema_version"] == "0.1.0"
        assert sorted(p.name for p in path.parent.iterdir()) == ["model_x.json", "model_x.pt"]

    def test_half_precision_is_half_the_file_and_still_a_plain_state_dict(self, tmp_path):
        torch.manual_seed(4)
        model = MOVEModel(8)
        model.lin_bn.running_var.fill_(1e-9)  # would be 0 in half precision
        save_move(model, tmp_path / "full.pt")
        save_move(model, tmp_path / "half.pt", half=True)
        size = {name: (tmp_path / f"{name}.pt").stat().st_size for name in ("full", "half")}
        assert size["half"] < 0.51 * size["full"]
        state = torch.load(tmp_path / "half.pt", weights_only=True)
        MOVEModel(8).load_state_dict(state, strict=True)
        again = load_move(tmp_path / "half.pt")
        assert again.conv1.weight.dtype == torch.float32
        assert torch.equal(again.conv1.weight, model.conv1.weight.half().float())
        assert torch.equal(again.lin_bn.running_var, model.lin_bn.running_var)

    def test_weights_beyond_half_precision_are_refused_and_nothing_is_written(self, tmp_path):
        model = MOVEModel(8)
        with torch.no_grad():
            model.conv3.bias[0] = 1e6
        with pytest.raises(UserError, match=r"conv3\.bias"):
            save_move(model, tmp_path / "model.pt", half=True)
        assert list(tmp_path.iterdir()) == []


class Malicious:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code of a model file was run')",))


class TestRefusals:
    """Every refusal is a UserError whose sentence names the file and the fault."""

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (lambda s: s.pop("conv3.bias"), r"conv3\.bias is missing"),
            (lambda s: s.pop("lin1.weight"), r"lin1\.weight is missing"),
            (lambda s: s.update({"lin1.bias": torch.zeros(64)}), r"lin1\.bias is not expected"),
            (lambda s: [s.pop(k) for k in list(s)[:6]], r"and 3 more are missing"),
            (
                lambda s: s.update({"conv2.weight": torch.zeros(256, 256, 1, 3)}),
                r"conv2\.weight has shape \(256, 256, 1, 3\) instead of \(256, 256, 1, 5\)",
            ),
            (
                lambda s: s.update({"lin1.weight": torch.zeros(256)}),
                r"lin1\.weight is not a matrix",
            ),
            (
                lambda s: s.update({"conv1.bias": torch.zeros(256, dtype=torch.int32)}),
                r"conv1\.bias is of type int32 instead of float32",
            ),
            (
                lambda s: s.update({"conv1.bias": torch.zeros(256, dtype=torch.complex64)}),
                r"conv1\.bias is of type complex64",
            ),
            (
                lambda s: s.update({"lin_bn.num_batches_tracked": torch.tensor(1.5)}),
                r"num_batches_tracked is of type float32 instead of int64",
            ),
            (
                lambda s: s.update({"conv4.bias": torch.full((256,), torch.nan)}),
                r"not finite \(in conv4\.bias\)",
            ),
            (lambda s: s.update({"prelu1.weight": 0.01}), r"prelu1\.weight is a float"),
            (lambda s: s.update({"generator": {}}), r"CoverHunter checkpoint"),
        ],
    )
    def test_wrong_content(self, altered, change, sentence):
        path = altered(change)
        with pytest.raises(UserError, match=sentence) as caught:
            load_move(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("content", [torch.zeros(3), [torch.zeros(3)], {3: torch.zeros(3)}, {}])
    def test_not_a_state_dict(self, tmp_path, content):
        torch.save(content, tmp_path / "model.pt")
        with pytest.raises(UserError, match="not a MOVE model"):
            load_move(tmp_path / "model.pt")

    def test_missing_file(self, tmp_path):
        with pytest.raises(UserError, match=r"model_gone\.pt does not exist"):
            load_move(tmp_path / "model_gone.pt")

    def test_a_pickle_with_code_is_not_run(self, tmp_path):
        for name, save in (("new.pt", torch.save), ("old.pt", _raw_pickle)):
            save({"conv1.weight": Malicious()}, tmp_path / name)
            with pytest.raises(UserError, match=name):
                load_move(tmp_path / name)

    @pytest.mark.parametrize("part", [0, 1, 100, 0.3, 0.9, 0.999])
    def test_truncated_file(self, altered, part):
        path = altered(lambda state: None)
        whole = path.read_bytes()
        path.write_bytes(whole[: part if isinstance(part, int) else int(part * len(whole))])
        with pytest.raises(UserError, match=r"model_altered\.pt"):
            load_move(path)

    @pytest.mark.parametrize(
        "text", ["[]", "{", '{"sum_method": "four"}', '{"final_activation": 9}']
    )
    def test_spoilt_description(self, altered, text):
        path = altered(lambda state: None)
        metadata_path(path).write_text(text)
        with pytest.raises(UserError, match=r"model_altered\.json"):
            load_move(path)

    def test_description_of_another_structure(self, altered):
        path = altered(lambda state: None)
        metadata_path(path).write_text(json.dumps({"sum_method": 0, "final_activation": 3}))
        with pytest.raises(UserError, match=r"conv5\.weight has shape"):
            load_move(path)


def _raw_pickle(value, path):
    path.write_bytes(pickle.dumps(value, protocol=2))


def test_export_halves_the_file_and_keeps_the_description(tmp_path):
    torch.manual_seed(0)
    model = MOVEModel(emb_size=64)
    source, target = tmp_path / "model_a.pt", tmp_path / "shipped" / "model_b.pt"
    save_move(model, source, metadata={"crema_version": "0.1.0", "seed": 3})
    size = export_move(source, target)
    assert size == target.stat().st_size < 0.55 * source.stat().st_size
    metadata = read_metadata(target)
    assert metadata == {**read_metadata(source), "precision": "float16"}
    chroma = torch.rand(2, 1, 23, 330)
    with torch.no_grad():
        whole, halved = model.eval()(chroma), load_move(target)(chroma)
    assert torch.allclose(whole, halved, atol=2e-2)
    assert export_move(source, target, half=False) > size


def test_an_exported_model_may_name_the_crema_for_sound(tmp_path):
    save_move(MOVEModel(8), tmp_path / "a.pt", metadata={"crema_version": "0.2.0-notes"})
    export_move(tmp_path / "a.pt", tmp_path / "b.pt", crema_for_sound="0.1.0")
    export_move(tmp_path / "b.pt", tmp_path / "c.pt")
    assert version_for_sound(read_metadata(tmp_path / "a.pt")) == "0.2.0"
    assert version_for_sound(read_metadata(tmp_path / "b.pt")) == "0.1.0"
    assert read_metadata(tmp_path / "c.pt") == read_metadata(tmp_path / "b.pt")
    assert read_metadata(tmp_path / "c.pt")["crema_version"] == "0.2.0-notes"


@pytest.mark.parametrize("key", ["crema_version", "crema_for_sound"])
@pytest.mark.parametrize("value", ['"9.9"', "5", "[]"])
def test_an_unknown_crema_in_a_description_is_refused(tmp_path, key, value):
    (tmp_path / "a.json").write_text(f'{{"{key}": {value}}}')
    with pytest.raises(UserError, match=rf"a\.json: {key} must be one of 0\.1\.0, 0\.2\.0"):
        read_metadata(tmp_path / "a.pt")


def test_a_stop_leaves_no_weights_without_their_description(tmp_path, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("src.training.checkpoint.save_tensors", stopped)
    with pytest.raises(KeyboardInterrupt):
        save_move(MOVEModel(8, padding=3), tmp_path / "a.pt")
    assert read_metadata(tmp_path / "a.pt")["padding"] == 3
    assert not (tmp_path / "a.pt").exists()
