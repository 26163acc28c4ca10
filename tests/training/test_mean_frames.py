"""Training of networks that average or pad frames, and what starts from them."""

import pytest
import torch

from src.config import experiment_name
from src.errors import UserError
from src.training import remove
from src.training.checkpoint import load_move, read_metadata

CPU = torch.device("cpu")


def trained(world, small, **changes):
    config = small("baseline", mean_frames=4, **changes)
    name = experiment_name("baseline", config)
    return remove.train_experiment("baseline", config, name, main_path=world, device=CPU)


def test_the_name_and_the_description_tell(world, small):
    path = trained(world, small)
    assert "_mf_4" in path.name
    assert read_metadata(path)["mean_frames"] == 4
    assert load_move(path).conv1.weight.shape == (256, 1, 12, 45)


def test_lsr_keeps_the_rate_of_what_it_starts_from(world, small):
    path = trained(world, small)
    (world / "models" / "model_move.pt").unlink()
    for part in (path, path.with_suffix(".json")):
        (world / "models" / f"model_move{part.suffix}").write_bytes(part.read_bytes())
    experiment = remove.make_experiment("lsr", small("lsr"), 3, world, None)
    assert experiment.model.mean_frames == 4
    same = small("lsr", mean_frames=4)
    assert remove.make_experiment("lsr", same, 3, world, None).model.mean_frames == 4
    with pytest.raises(UserError, match=r"averages 4 frames; --mean_frames 5 needs a network"):
        remove.make_experiment("lsr", small("lsr", mean_frames=5), 3, world, None)
    student = remove.make_experiment("kd", small("kd", mean_frames=2), 3, world, None)
    assert student.model.mean_frames == 2


def test_a_start_of_another_rate_is_refused(world, small):
    path = world / "models" / "model_move.pt"
    with pytest.raises(UserError, match="averages 1 frame;"):
        remove.make_experiment("baseline", small("baseline", mean_frames=4), 3, world, None, path)


def test_padding_is_kept_by_what_starts_from_it_unless_another_is_asked_for(world, small):
    config = small("baseline", padding=40)
    name = experiment_name("baseline", config)
    path = remove.train_experiment("baseline", config, name, main_path=world, device=CPU)
    assert read_metadata(path)["padding"] == 40
    assert load_move(path).padding == 40
    (world / "models" / "model_move.pt").unlink()
    for part in (path, path.with_suffix(".json")):
        (world / "models" / f"model_move{part.suffix}").write_bytes(part.read_bytes())
    for asked, found in ((0, 40), (7, 7)):
        experiment = remove.make_experiment("lsr", small("lsr", padding=asked), 3, world, None)
        assert experiment.model.padding == found
    student = remove.make_experiment("kd", small("kd", padding=3), 3, world, None)
    assert (student.model.padding, student._teacher[0].padding) == (3, 40)
