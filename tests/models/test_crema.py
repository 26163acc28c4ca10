"""The chord network: reference outputs, padding, and the recurrence against plain steps."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from src.errors import UserError
from src.models import crema, crema_weights
from src.models.crema import BidirectionalGRU, CremaModel
from src.models.crema_weights import RELEASES, convert_archive, weights_path
from tests.audio.golden import SIGNALS, reference

VERSIONS = tuple(RELEASES)
FEATURES = reference("0.2.0")
HEADS = ("pitch", "root", "bass")


@pytest.fixture(scope="module", params=VERSIONS)
def model(request) -> CremaModel:
    return CremaModel(request.param)


@pytest.mark.parametrize("name", SIGNALS)
def test_outputs_of_the_real_network(model, name):
    expected = reference(model.version)
    outputs = model(torch.from_numpy(FEATURES[f"{name}_feat"])[None])
    for head in HEADS:
        got = outputs[f"chord_{head}"][0].numpy()
        np.testing.assert_allclose(got, expected[f"{name}_{head}"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("chunk", [40, 8192])
def test_padded_batch_equals_single_recordings(model, chunk, monkeypatch):
    monkeypatch.setattr(crema, "CHUNK_FRAMES", chunk)
    recordings = [torch.from_numpy(FEATURES[f"{name}_feat"])[:50] for name in SIGNALS]
    recordings[1] = recordings[1][:31]
    lengths = torch.tensor([len(item) for item in recordings])
    padded = torch.full((3, int(lengths.max()) + 7, 216, 2), -23.0)  # padding may hold anything
    for row, item in zip(padded, recordings, strict=True):
        row[: len(item)] = item
    outputs = model(padded, lengths)
    for row, item in enumerate(recordings):
        alone = model(item[None])
        for key, value in outputs.items():
            torch.testing.assert_close(value[row, : len(item)], alone[key][0], atol=1e-5, rtol=0)
            assert not value[row, len(item) :].any()


def test_outputs_are_probabilities(model):
    generator = torch.Generator().manual_seed(0)
    features = -80 * torch.rand(2, 5, 216, 2, generator=generator)
    outputs = model(features)
    assert outputs["chord_pitch"].shape == (2, 5, 12)
    assert ((outputs["chord_pitch"] >= 0) & (outputs["chord_pitch"] <= 1)).all()
    for head in ("root", "bass"):
        assert outputs[f"chord_{head}"].shape == (2, 5, 13)
        torch.testing.assert_close(outputs[f"chord_{head}"].sum(-1), torch.ones(2, 5))


def test_one_frame_is_enough(model):
    assert model(torch.zeros(1, 1, 216, 2))["chord_pitch"].isfinite().all()


def test_old_network_reads_the_first_harmonic_only():
    model = CremaModel("0.1.0")
    features = torch.from_numpy(FEATURES["chirp_feat"])[None]
    torch.testing.assert_close(
        model(features)["chord_pitch"], model(features[..., :1])["chord_pitch"], atol=0, rtol=0
    )


def test_stays_in_evaluation_mode_without_gradients(model):
    model.train()
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("shape", [(1, 4, 215, 2), (4, 216, 2), (1, 0, 216, 2), (1, 4, 216, 0)])
def test_other_shapes_are_refused(model, shape):
    with pytest.raises(ValueError, match=r"expected|harmonics"):
        model(torch.zeros(shape))


def test_new_network_needs_both_harmonics():
    with pytest.raises(ValueError, match="2 harmonics"):
        CremaModel("0.2.0")(torch.zeros(1, 4, 216, 1))


def test_unknown_version():
    with pytest.raises(UserError, match=r"0\.3\.0.*0\.1\.0 or 0\.2\.0"):
        CremaModel("0.3.0")


def test_missing_weights_are_named(monkeypatch, tmp_path):
    monkeypatch.setattr(crema_weights, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"crema_0\.1\.0\.safetensors is missing"):
        CremaModel("0.1.0")


@pytest.mark.parametrize("damage", ["cut", "other version"])
def test_damaged_weights_are_refused(monkeypatch, tmp_path, damage):
    content = weights_path("0.1.0" if damage == "cut" else "0.2.0").read_bytes()
    target = tmp_path / "crema_0.1.0.safetensors"
    target.write_bytes(content[:-100] if damage == "cut" else content)
    monkeypatch.setattr(crema_weights, "WEIGHTS_FOLDER", tmp_path)
    with pytest.raises(UserError, match=r"is damaged|not hold the weights"):
        CremaModel("0.1.0")


def plain_gru(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray):
    """One direction as the formulas have it: (T, inputs) -> (T, units)."""
    units = recurrent.shape[0]
    state = np.zeros(units)
    out = []
    for frame in x:
        inputs = frame @ kernel + bias
        z, r = (
            np.clip(0.2 * (inputs[block] + state @ recurrent[:, block]) + 0.5, 0, 1)
            for block in (slice(0, units), slice(units, 2 * units))
        )
        candidate = np.tanh(inputs[2 * units :] + (r * state) @ recurrent[:, 2 * units :])
        state = z * state + (1 - z) * candidate
        out.append(state)
    return np.array(out)


@pytest.mark.parametrize("chunk", [5, 8192])
def test_recurrence_equals_plain_steps(chunk, monkeypatch):
    monkeypatch.setattr(crema, "CHUNK_FRAMES", chunk)
    rng = np.random.default_rng(0)
    gru = BidirectionalGRU(3, units=4).double()
    for parameter in gru.parameters():
        parameter.data = torch.from_numpy(2 * rng.standard_normal(parameter.shape))
    kernel, recurrent, bias = (p.detach().numpy() for p in gru.parameters())
    lengths = (9, 4)
    x = rng.standard_normal((9, 2, 3))
    inside = torch.tensor([[[t < length] for length in lengths] for t in range(9)])
    with torch.no_grad():
        got = gru(torch.from_numpy(x), inside).numpy()
    for row, length in enumerate(lengths):
        sequence = x[:length, row]
        forward = plain_gru(sequence, kernel[0], recurrent[0], bias[0])
        backward = plain_gru(sequence[::-1], kernel[1], recurrent[1], bias[1])[::-1]
        np.testing.assert_allclose(got[:length, row, :4], forward, atol=1e-12)
        np.testing.assert_allclose(got[:length, row, 4:], backward, atol=1e-12)


def keras_file(version: str, state: dict[str, torch.Tensor]) -> bytes:
    """The arrays of ``state`` in the layout of the published HDF5 files."""
    wanted = RELEASES[version]
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:

        def put(path: str, key: str, change=lambda array: array):
            file[f"model_weights/{path}:0"] = change(state[key].numpy())

        norms = {"norm_input": 1}
        if wanted.extra_norms:
            norms |= {"norm_conv": 2, "norm_dense": 3, "norm_gru": 4}
        for name, number in norms.items():
            base = "/".join([f"batch_normalization_{number}"] * 2)
            put(f"{base}/gamma", f"{name}.weight")
            put(f"{base}/beta", f"{name}.bias")
            put(f"{base}/moving_mean", f"{name}.running_mean")
            put(f"{base}/moving_variance", f"{name}.running_var")
        put("conv2d_1/conv2d_1/kernel", "conv.weight", lambda a: a.transpose(2, 3, 1, 0))
        put("conv2d_1/conv2d_1/bias", "conv.bias")
        put("conv2d_2/conv2d_2/kernel", "dense.weight", lambda a: a.T[None, :, None])
        put("conv2d_2/conv2d_2/bias", "dense.bias")
        kinds = {"weight_input": "kernel", "weight_recurrent": "recurrent_kernel", "bias": "bias"}
        for number in (1, 2):
            base = "/".join([f"bidirectional_{number}"] * 2)
            for ours, theirs in kinds.items():
                for direction, name in enumerate(("forward", "backward")):
                    old = f"{base}/{theirs}{'_1' * direction}"
                    new = f"{base}/{name}_gru_{number}/{theirs}"
                    path = new if wanted.extra_norms else old
                    put(path, f"gru{number}.{ours}", lambda a, d=direction: a[d])
        for head in HEADS:
            put(f"chord_{head}/chord_{head}/kernel", f"{head}.weight", lambda a: a.T)
            put(f"chord_{head}/chord_{head}/bias", f"{head}.bias")
    return buffer.getvalue()


def make_archive(path: Path, member: str, content: bytes) -> None:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("version", VERSIONS)
def test_conversion_restores_the_committed_weights(version, tmp_path, monkeypatch):
    state = load_file(weights_path(version))
    weights = keras_file(version, state)
    archive = tmp_path / "crema.tar.gz"
    make_archive(archive, RELEASES[version].member, weights)
    published = replace(
        RELEASES[version],
        archive_sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
    monkeypatch.setitem(RELEASES, version, published)
    converted = convert_archive(archive, version)
    assert converted.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(converted[key], value), key


def test_conversion_refuses_another_archive(tmp_path):
    archive = tmp_path / RELEASES["0.1.0"].archive
    make_archive(archive, RELEASES["0.1.0"].member, b"something else")
    with pytest.raises(UserError, match="not the published"):
        convert_archive(archive, "0.1.0")
    with pytest.raises(UserError, match="cannot read"):
        convert_archive(tmp_path / "absent", "0.1.0")
