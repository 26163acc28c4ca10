"""CoverHunter directories: ours and the original's load, anything else is named in a sentence."""

import copy

import pytest
import torch
import yaml

from src.audio.cqt import CQTSpec
from src.errors import UserError
from src.models.coverhunter import CoverHunter
from src.training.checkpoint import export_coverhunter, load_coverhunter, save_generator
from src.training.generator_files import generator_path, list_generators, read_generator
from tests.parity_weights import read_fixture, rebuild_weights

ABOUT = read_fixture("c09_coverhunter_keys.json")["small"]
HPARAMS = {
    "input_dim": 96,
    "embed_dim": 64,
    "mean_size": 3,
    "chunk_frame": [1125, 900, 675],
    "encoder": {"output_dims": 64, "num_blocks": 2, "attention_dim": 96},
    "ce": {"output_dims": 50, "weight": 1.0, "gamma": 2},
    "triplet": {"margin": 0.3, "weight": 0.1},
    "center": {"weight": 0},
    "cqt": {"hop_size": 0.04},
    "data_type": "cqt",
    "a_key_of_another_version": {"x": [1, 2]},
}
CONFIG = "config/hparams.yaml"


@pytest.fixture(scope="module")
def weights():
    return rebuild_weights(ABOUT["keys"], ABOUT["base"])


@pytest.fixture
def directory(tmp_path, weights):
    """A model directory as the original writes it, with epochs 0 and 12."""
    write_hparams(tmp_path)
    (tmp_path / "pt_model").mkdir()
    for epoch in (0, 12):
        state = copy.deepcopy(weights)
        state["_ce_layer.weight"].fill_(epoch)
        torch.save({"generator": state}, tmp_path / "pt_model" / f"g_{epoch:08d}")
        torch.save({"steps": 1, "epoch": epoch}, tmp_path / "pt_model" / f"do_{epoch:08d}")
    return tmp_path


def write_hparams(directory, **changes):
    (directory / "config").mkdir(exist_ok=True)
    (directory / CONFIG).write_text(yaml.safe_dump(HPARAMS | changes), "utf-8")


def alter(directory, change):
    """Write epoch 12 anew after ``change`` of its tensors."""
    path = directory / "pt_model" / "g_00000012"
    state = torch.load(path, weights_only=True)["generator"]
    change(state)
    torch.save({"generator": state}, path)


class TestLoading:
    def test_newest_checkpoint_of_the_original(self, directory, weights):
        model = load_coverhunter(directory)
        found = model.state_dict()
        assert list(found) == list(weights)
        for name, value in weights.items():
            if name != "_ce_layer.weight":
                assert torch.equal(found[name], value), name
        assert model._ce_layer.weight.unique().tolist() == [12]
        assert not model.training
        assert (model.epoch, model.embed_dim, model.mean_size) == (12, 64, 3)
        assert model.feature_spec == CQTSpec()
        assert model.hparams["a_key_of_another_version"] == {"x": [1, 2]}

    def test_epoch_0_is_an_epoch(self, directory):
        model = load_coverhunter(directory, epoch=0)
        assert (model.epoch, model._ce_layer.weight.unique().tolist()) == (0, [0])

    def test_newer_folder_name(self, directory):
        (directory / "pt_model").rename(directory / "checkpoints")
        assert load_coverhunter(directory).epoch == 12

    def test_only_whole_names_are_checkpoints(self, directory):
        for name in ("g_99999999.tmp", "g_9", "g_x0000001", ".g_00000099"):
            (directory / "pt_model" / name).write_bytes(b"")
        assert list(list_generators(directory)) == [0, 12]

    def test_random_numbers_are_not_consumed(self, directory):
        before = torch.get_rng_state()
        load_coverhunter(directory)
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
    def test_names_of_a_wrapped_model(self, directory, prefix):
        def wrap(state):
            for name in list(state):
                state[prefix + name] = state.pop(name)

        alter(directory, wrap)
        assert load_coverhunter(directory).epoch == 12

    def test_the_number_of_classes_is_the_checkpoints(self, directory, caplog):
        write_hparams(directory, ce={"output_dims": 7, "alpha": [1.0] * 7})
        model = load_coverhunter(directory)
        assert model._ce_layer.out_features == 50
        assert model.hparams["ce"] == {"output_dims": 50}
        assert "50 classes, its configuration says 7" in caplog.text

    def test_features_in_the_words_of_the_newer_line(self, directory):
        section = {"fmin": 27.5, "n_bins": 96, "bins_per_octave": 14, "hop_size": 0.04}
        write_hparams(directory, cqt=section)
        expected = CQTSpec(min_freq=27.5, n_bins=96, octave_resolution=14)
        assert load_coverhunter(directory).feature_spec == expected

    def test_damaged_newest_file_is_passed_over_saying_so(self, directory, caplog):
        path = directory / "pt_model" / "g_00000012"
        path.write_bytes(path.read_bytes()[:1000])
        assert load_coverhunter(directory).epoch == 0
        assert "g_00000012" in caplog.text
        assert "g_00000000 is used instead" in caplog.text
        with pytest.raises(UserError, match="g_00000012 cannot be read"):
            load_coverhunter(directory, epoch=12)


class TestRefusal:
    def refused(self, directory, *sentence, **options):
        with pytest.raises(UserError) as caught:
            load_coverhunter(directory, **options)
        for part in sentence:
            assert part in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_missing_directory(self, tmp_path):
        self.refused(tmp_path / "no", "no does not exist")

    def test_missing_configuration(self, directory):
        (directory / CONFIG).unlink()
        self.refused(directory, "hparams.yaml is missing")

    @pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", ""])
    def test_configuration_that_is_none(self, directory, text):
        (directory / CONFIG).write_text(text)
        self.refused(directory, "hparams.yaml")

    def test_configuration_that_makes_no_model(self, directory):
        write_hparams(directory, embed_dim="many")
        self.refused(directory, "hparams.yaml", "embed_dim must be a positive integer")

    def test_no_checkpoint(self, directory):
        for path in (directory / "pt_model").glob("g_*"):
            path.unlink()
        self.refused(directory, "holds no checkpoint", "pt_model/g_")

    def test_unknown_epoch(self, directory):
        self.refused(directory, "no checkpoint of epoch 3", "0, 12", epoch=3)

    def test_every_file_damaged(self, directory):
        for path in (directory / "pt_model").glob("g_*"):
            path.write_bytes(b"no tensors")
        self.refused(directory, "g_00000012")

    def test_another_architecture(self, directory):
        encoder = {"output_dims": 64, "num_blocks": 2, "attention_dim": 100}
        write_hparams(directory, encoder=encoder)
        self.refused(directory, "does not fit", "w_1.weight", "(96, 64)", "(100, 64)")

    def test_another_number_of_blocks(self, directory):
        encoder = {"output_dims": 64, "num_blocks": 1, "attention_dim": 96}
        write_hparams(directory, encoder=encoder)
        self.refused(directory, "does not fit", "_encoder.encoders.1", "not expected")

    def test_missing_tensor(self, directory):
        alter(directory, lambda state: state.pop("_pool_layer._conv.conv.bias"))
        self.refused(directory, "_pool_layer._conv.conv.bias is missing")

    def test_number_that_is_not_finite(self, directory):
        alter(directory, lambda state: state["_bottleneck.weight"].fill_(float("nan")))
        self.refused(directory, "g_00000012", "not finite", "_bottleneck.weight")

    @pytest.mark.parametrize(
        ("content", "sentence"),
        [
            ({"lin1.weight": torch.zeros(3, 256)}, "it is a Re-MOVE or MOVE model"),
            ({"optim_g": {}}, "holds no generator"),
            ([1], "holds no generator"),
            ({"generator": {"a": 1}}, "a is a int, not a tensor"),
        ],
    )
    def test_file_of_another_kind(self, directory, content, sentence):
        torch.save(content, directory / "pt_model" / "g_00000012")
        self.refused(directory, "is not a CoverHunter checkpoint", sentence, epoch=12)

    def test_features_of_another_number_of_bins(self, directory):
        write_hparams(directory, cqt={"n_bins": 84, "min_freq": 32.0})
        self.refused(directory, "input_dim 96", "84 bins")

    def test_features_that_cannot_be(self, directory):
        write_hparams(directory, cqt={"min_freq": 9000.0})
        self.refused(directory, "hparams.yaml", "9000")


class TestSaving:
    @pytest.fixture
    def model(self, weights):
        model = CoverHunter(HPARAMS)
        model.load_state_dict(weights)
        return model

    def test_round_trip(self, directory, model, weights):
        model.feature_spec = CQTSpec(min_freq=27.5, n_bins=96)
        save_generator(model, generator_path(directory, 13))
        again = load_coverhunter(directory)
        assert again.epoch == 13
        assert again.feature_spec == model.feature_spec
        assert all(torch.equal(again.state_dict()[name], value) for name, value in weights.items())
        content = read_generator(generator_path(directory, 13))
        assert content.hparams == HPARAMS
        assert sorted(p.name for p in (directory / "pt_model").glob("*13*")) == ["g_00000013"]

    def test_half_precision_keeps_the_statistics(self, directory, model):
        model._bottleneck.running_var.fill_(1e-9)  # would be 0 in half precision
        save_generator(model, generator_path(directory, 1))
        save_generator(model, generator_path(directory, 2), half=True)
        sizes = [generator_path(directory, epoch).stat().st_size for epoch in (1, 2)]
        assert sizes[1] < 0.7 * sizes[0]
        again = load_coverhunter(directory, epoch=2)
        weight = "_encoder.embed.out.0.weight"
        assert torch.equal(again.state_dict()[weight], model.state_dict()[weight].half().float())
        assert torch.equal(again._bottleneck.running_var, model._bottleneck.running_var)

    def test_export_is_a_model_directory_of_half_the_size(self, directory, tmp_path):
        target = tmp_path / "shipped"
        size = export_coverhunter(directory, target)
        files = sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file())
        assert files == ["config/hparams.yaml", "pt_model/g_00000012"]
        assert load_coverhunter(target).hparams == load_coverhunter(directory).hparams
        assert size < 0.7 * (directory / "pt_model" / "g_00000012").stat().st_size
        assert load_coverhunter(target).epoch == 12
        export_coverhunter(directory, target)  # again: the same file anew
        assert load_coverhunter(target).epoch == 12
        # Beside a newer checkpoint it would never be read.
        newer = target / "pt_model" / "g_00000013"
        newer.write_bytes((target / "pt_model" / "g_00000012").read_bytes())
        with pytest.raises(UserError, match="checkpoint of epoch 13, which would be read in place"):
            export_coverhunter(directory, target)

    def test_export_leaves_out_what_is_only_true_here(self, directory, tmp_path):
        config = directory / CONFIG
        local = {
            "train_path": "/home/somebody/train.txt",
            "start_from": "/home/somebody/model",
            "device": "cuda:1",
            "covers80": {"query_path": "/home/somebody/a.txt", "ref_path": "b.txt"},
            "teacher": {"path": "/home/somebody/model.pt", "weight": 1.0},
        }
        config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | local))
        export_coverhunter(directory, tmp_path / "shipped")
        for path in (tmp_path / "shipped").rglob("*"):
            assert path.is_dir() or b"somebody" not in path.read_bytes()
        assert not local.keys() & load_coverhunter(tmp_path / "shipped").hparams.keys()

    def test_export_of_the_mean_of_checkpoints(self, directory, tmp_path):
        model = load_coverhunter(directory)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 1
        save_generator(model, generator_path(directory, 13))
        target = tmp_path / "mean"
        export_coverhunter(directory, target, half=False, average=2)
        first, mean = load_coverhunter(directory, 12), load_coverhunter(target)
        assert mean.epoch == 13
        for name, parameter in mean.named_parameters():
            torch.testing.assert_close(parameter, first.get_parameter(name) + 0.5)
        with pytest.raises(UserError, match="checkpoints, of 9"):
            export_coverhunter(directory, tmp_path / "none", average=9)

    def test_export_of_what_is_no_model_writes_nothing(self, directory, tmp_path):
        (directory / CONFIG).unlink()
        with pytest.raises(UserError):
            export_coverhunter(directory, tmp_path / "shipped")
        assert not (tmp_path / "shipped").exists()
