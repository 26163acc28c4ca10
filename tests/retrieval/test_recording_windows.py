"""Recordings of sound -> embeddings of windows, with both kinds of model."""

import numpy as np
import pytest
import soundfile
import torch
import yaml

from src.audio.cqt import CQTSpec
from src.audio.decode import AudioError
from src.data.cqt_features import save_cqt, write_spec
from src.data.crema_features import write_features
from src.errors import UserError
from src.models.coverhunter import CoverHunter
from src.models.move import MOVEModel
from src.retrieval.recording_windows import Recording2Windows, WindowSettings
from src.retrieval.reference_builder import list_recordings
from src.retrieval.window_networks import level_db
from src.training.checkpoint import load_move, save_move
from src.training.generator_files import generator_path, save_generator

RATE = 16000
HPARAMS = {
    "input_dim": 96,
    "embed_dim": 8,
    "encoder": {"output_dims": 8, "attention_dim": 8, "num_blocks": 1},
    "ce": {"output_dims": 4, "weight": 1.0, "gamma": 2},
    "chunk_frame": [50, 40],
    "mean_size": 3,
}  # windows of 6 s


def save_sound(path, seconds: float, *, rate: int = RATE, level: float = 0.3):
    t = np.arange(round(seconds * rate)) / rate
    notes = 220 * 2 ** (np.floor(t * 2)[None] % 7 / 12 + np.array([0, 4, 7])[:, None] / 12)
    soundfile.write(path, level * np.sin(2 * np.pi * notes * t).mean(0), rate)
    return path


@pytest.fixture(scope="module")
def coverhunter(tmp_path_factory):
    """A CoverHunter directory with random weights."""
    folder = tmp_path_factory.mktemp("coverhunter")
    (folder / "config").mkdir()
    (folder / "config" / "hparams.yaml").write_text(yaml.safe_dump(HPARAMS))
    with torch.random.fork_rng():
        for epoch in (3, 4):
            torch.manual_seed(epoch)
            save_generator(CoverHunter(HPARAMS), generator_path(folder, epoch))
    return folder


@pytest.fixture(scope="module")
def move(tmp_path_factory):
    """A Re-MOVE file with random weights."""
    path = tmp_path_factory.mktemp("move") / "model_x.pt"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MOVEModel(16)
    save_move(model, path, metadata={"crema_version": "0.1.0", "options": {"loss": 2}})
    return path


def test_sound_through_coverhunter(coverhunter, tmp_path):
    embedder = Recording2Windows(coverhunter, device="cpu")
    windows = embedder(save_sound(tmp_path / "a.wav", 14.0, rate=22050))
    assert windows.seconds == pytest.approx(14, abs=0.05)
    np.testing.assert_allclose(windows.wide.starts_s, [0, 3, 6, 8], atol=0.05)
    np.testing.assert_allclose(windows.wide.ends_s, [6, 9, 12, 14], atol=0.05)
    assert windows.wide.embeddings.shape == (4, 8)
    assert windows.narrow is None  # 15 s are no narrower than the windows
    # Features taken from disk give the same.
    features, _ = embedder.network.load(tmp_path / "a.wav")
    save_cqt(features, tmp_path / "a.npy")
    again = embedder(tmp_path / "a.npy")
    np.testing.assert_array_equal(again.wide.embeddings, windows.wide.embeddings)


def test_a_checkpoint_can_be_named(coverhunter):
    newest = Recording2Windows(coverhunter, device="cpu").identity["weights"]
    named = {
        epoch: Recording2Windows(generator_path(coverhunter, epoch), device="cpu")
        for epoch in (3, 4)
    }
    assert named[4].identity["weights"] == newest != named[3].identity["weights"]


def test_recordings_that_cannot_be_used(coverhunter, tmp_path):
    embedder = Recording2Windows(coverhunter, device="cpu")
    soundfile.write(tmp_path / "silent.wav", np.zeros(5 * RATE), RATE)
    (tmp_path / "text.wav").write_text("no sound")
    save_sound(tmp_path / "short.wav", 0.5)
    for name, words in (("silent", "silent"), ("text", "not a recording"), ("short", "too short"),
                        ("gone", "does not exist")):  # fmt: skip
        with pytest.raises(AudioError, match=words):
            embedder(tmp_path / f"{name}.wav")
    write_spec(tmp_path, CQTSpec(min_freq=55.0))
    save_cqt(np.zeros((500, 96), np.float32), tmp_path / "other.npy")
    with pytest.raises(UserError, match="extract the features again"):
        embedder(tmp_path / "other.npy")


def test_silence_at_the_end_has_no_window(coverhunter, tmp_path):
    sound, _ = soundfile.read(save_sound(tmp_path / "a.wav", 12))
    soundfile.write(tmp_path / "b.wav", np.concatenate([sound, np.zeros(20 * RATE)]), RATE)
    windows = Recording2Windows(coverhunter, device="cpu")(tmp_path / "b.wav")
    assert windows.seconds == pytest.approx(32, abs=0.05)
    assert windows.wide.starts_s.max() <= 12 - 0.25 * 6 + 0.1


def test_short_recordings_are_padded_as_in_training(coverhunter, tmp_path):
    embedder = Recording2Windows(coverhunter, device="cpu")
    features, _ = embedder.network.load(save_sound(tmp_path / "a.wav", 3))
    windows = embedder(tmp_path / "a.wav")
    padded = np.pad(features, ((0, 150 - len(features)), (0, 0)), constant_values=-100)
    averaged = torch.from_numpy(padded.reshape(50, 3, 96).mean(1))
    with torch.no_grad():
        expected = embedder.network.model(averaged[None]).numpy()
    np.testing.assert_allclose(windows.wide.embeddings, expected, atol=1e-4)
    assert windows.wide.ends_s[0] == pytest.approx(3, abs=0.05)


def test_features_through_move(move, tmp_path):
    embedder = Recording2Windows(move, device="cpu")
    assert embedder.distance == "cosine"
    pcp = np.random.default_rng(0).random((900, 12)).astype(np.float32)
    write_features(tmp_path / "a.npz", pcp, "0.1.0")
    windows = embedder(tmp_path / "a.npz")
    assert windows.wide.embeddings.shape == (1, 16)  # the whole recording
    assert len(windows.narrow) == 4
    assert windows.narrow.ends_s[-1] == pytest.approx(windows.seconds)
    settings = WindowSettings(window_s=40, hop_s=20, whole_s=40, narrow_s=0, narrow_hop_s=1)
    cut = Recording2Windows(move, device="cpu", settings=settings)(tmp_path / "a.npz")
    assert len(cut.wide) == 4


def test_features_of_the_version_a_model_was_trained_with_will_do(move, tmp_path):
    described = tmp_path / "model_y.pt"
    metadata = {"crema_version": "0.2.0-notes", "crema_for_sound": "0.1.0"}
    save_move(load_move(move), described, metadata=metadata)
    pcp = np.random.default_rng(0).random((400, 12)).astype(np.float32)
    for name, version in (("a", "0.1.0"), ("b", "0.2.0"), ("c", "0.2.0-notes")):
        write_features(tmp_path / f"{name}.npz", pcp, version)
    of = Recording2Windows(described, device="cpu")
    embeddings = [of(tmp_path / f"{name}.npz").wide.embeddings for name in "abc"]
    assert np.array_equal(embeddings[0], embeddings[1])
    assert np.array_equal(embeddings[0], embeddings[2])
    with pytest.raises(UserError, match=r"b\.npz holds no cremaPCP of crema 0\.1\.0"):
        Recording2Windows(move, device="cpu")(tmp_path / "b.npz")


def test_sound_through_move(move, tmp_path):
    windows = Recording2Windows(move, device="cpu")(save_sound(tmp_path / "a.wav", 4))
    assert windows.wide.embeddings.shape == (1, 16)
    assert windows.seconds == pytest.approx(4, abs=0.1)


def test_level_of_frames(tmp_path):
    sound, _ = soundfile.read(save_sound(tmp_path / "a.wav", 6))
    sound[2 * RATE : 4 * RATE] *= 0.001
    soundfile.write(tmp_path / "b.wav", sound, RATE, subtype="FLOAT")
    level = level_db(tmp_path / "b.wav")
    assert len(level) == pytest.approx(6 * 44100 / 4096, abs=1)
    assert np.median(level[24:40]) - np.median(level[:20]) == pytest.approx(-60, abs=3)


def test_manifests_prefer_features_the_model_reads(coverhunter, move, tmp_path):
    sound = save_sound(tmp_path / "a.wav", 2)
    save_cqt(np.zeros((50, 96), np.float32), tmp_path / "a.npy")
    write_features(tmp_path / "a.npz", np.ones((50, 12), np.float32), "0.1.0")
    line = '{"utt": "a", "song": "s", "wav": "a.wav", "feat": "a.npy", "features": "a.npz"}\n'
    (tmp_path / "full.txt").write_text(line)
    for model, expected in ((coverhunter, "a.npy"), (move, "a.npz")):
        embedder = Recording2Windows(model, device="cpu")
        (recording,) = list_recordings(tmp_path / "full.txt", embedder)
        assert recording.path == tmp_path / expected
    (tmp_path / "a.npz").unlink()
    (recording,) = list_recordings(tmp_path / "full.txt", embedder)
    assert recording.path == sound


def test_no_model_there(tmp_path):
    with pytest.raises(UserError, match="give a CoverHunter directory"):
        Recording2Windows(tmp_path / "nothing", device="cpu")
