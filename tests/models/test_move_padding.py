"""MOVE with silence around a recording, so that its first and last moments count as the others."""

import pytest
import torch
from torch.nn import functional

from src.data.chroma import double_chroma
from src.models.move import MOVEModel
from src.retrieval.fingerprint import model_fingerprint
from src.training.checkpoint import export_move, load_move, read_metadata, save_move


def network(padding: int, mean_frames: int = 5) -> MOVEModel:
    torch.manual_seed(0)
    return MOVEModel(8, mean_frames=mean_frames, padding=padding).eval()


def chroma(frames: int) -> torch.Tensor:
    values = torch.rand(frames, 12, generator=torch.Generator().manual_seed(frames))
    return double_chroma(values.numpy())[None]  # (1, 1, 23, T)


@pytest.mark.parametrize("frames", [400, 200, 10])
@torch.no_grad()
def test_silence_stands_on_both_sides(frames):
    x = chroma(frames)
    silent = functional.pad(x, (180, 180))
    torch.testing.assert_close(network(180)(x), network(0)(silent))
    assert not torch.allclose(network(180)(x), network(0)(x))


@torch.no_grad()
def test_half_the_receptive_field_lets_every_moment_stand_in_the_middle_of_one():
    model = network(180)
    assert model.receptive_field == 2 * model.padding
    x = chroma(400)
    seen = []
    model.summary = lambda activations: seen.append(activations.shape[2]) or activations.mean(2)
    model.features(x)
    assert seen == [(400 + 2 * 180 - 360) // 5 + 1]  # a position for every averaged frame


def test_no_padding_is_the_published_network():
    assert MOVEModel(8).padding == 0
    with pytest.raises(ValueError, match="padding must be 0 or more"):
        MOVEModel(8, padding=-1)


def test_the_description_carries_it(tmp_path):
    save_move(network(180), tmp_path / "a.pt")
    assert load_move(tmp_path / "a.pt").padding == 180
    export_move(tmp_path / "a.pt", tmp_path / "b.pt")
    assert load_move(tmp_path / "b.pt").padding == 180
    export_move(tmp_path / "a.pt", tmp_path / "c.pt", padding=0)
    assert read_metadata(tmp_path / "c.pt")["padding"] == load_move(tmp_path / "c.pt").padding == 0
    save_move(network(0, mean_frames=1), tmp_path / "d.pt")
    (tmp_path / "d.json").unlink()  # as the published files are
    assert load_move(tmp_path / "d.pt").padding == 0


def test_embeddings_of_another_padding_are_of_another_model():
    prints = {model_fingerprint(network(padding)) for padding in (0, 90, 180)}
    assert len(prints) == 3
