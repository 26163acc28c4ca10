"""Training batches: recorded facts of the original, resuming, workers, wrong data."""

import pickle
import random
from collections import Counter

import pytest
import torch

from src.data.augment import ChromaAugmenter
from src.data.chroma import roll_pitch_classes
from src.data.dataset_file import make_label_index, save_dataset_file
from src.data.move_batches import (
    CliqueDataset,
    InstanceDataset,
    Recordings,
    chunk_order,
    collate,
    make_loader,
    split_chunks,
)
from src.data.strong_augment import StrongAugmenter
from src.errors import UserError
from tests.parity_weights import read_fixture

RECORDED = read_fixture("c08_trainer.json")
PATCH = 45


def write(path, sizes, frames=60):
    """A dataset file with cliques of these sizes; recording n holds 100 (n + 1) + frame."""
    labels = [f"W_{work}" for work, size in enumerate(sizes) for _ in range(size)]
    data = [
        (100.0 * (n + 1) + torch.arange(float(frames))).expand(1, 23, frames).clone()
        for n in range(len(labels))
    ]
    save_dataset_file(path, data=data, labels=labels, crema_version="0.1.0")
    return make_label_index(labels)


def recordings(tmp_path, sizes, frames=60):
    index = write(tmp_path / "chunk.pt", sizes, frames)
    return Recordings([tmp_path / "chunk.pt"], index)


def identities(patches):
    """Which recording each patch was cut from."""
    return [int(value) // 100 - 1 for value in patches[:, 0, 0, 0]]


def test_visits_of_a_clique_by_its_size(tmp_path):
    expected = {int(k): v for k, v in RECORDED["clique_list_multiplicity_by_size"].items()}
    dataset = CliqueDataset(recordings(tmp_path, list(expected)), patch_len=PATCH)
    found = Counter(len(clique) for clique in dataset.cliques)
    assert {size: found[size] for size in expected} == expected
    assert len(dataset) == sum(expected.values())


@pytest.mark.parametrize("size", [2, 3, 4, 9])
def test_patterns_of_the_four_recordings(tmp_path, size):
    shared = recordings(tmp_path, [size])
    patterns, orders = Counter(), set()
    for epoch in range(300):
        dataset = CliqueDataset(shared, patch_len=PATCH, key=(0, epoch, 0))
        patches, _ = dataset[0]
        found = identities(patches)
        names = {recording: "abcd"[n] for n, recording in enumerate(dict.fromkeys(found))}
        patterns["".join(names[recording] for recording in found)] += 1
        orders.add(tuple(found))
    expected = RECORDED["clique_item_patterns"][str(size)]
    assert patterns.keys() == expected.keys()
    for pattern, count in expected.items():
        assert patterns[pattern] == pytest.approx(count, abs=50)
    assert {recording for drawn in orders for recording in drawn} == set(range(size))
    assert len(orders) == 1 if size == 2 else len(orders) > 10


def test_shapes_and_labels(tmp_path):
    shared = recordings(tmp_path, [4, 4, 1])
    cliques = CliqueDataset(shared, patch_len=PATCH)
    patches, labels = cliques[1]
    assert list(patches.shape) == RECORDED["clique_item_shapes"]["items"]
    assert str(labels.dtype) == RECORDED["clique_item_shapes"]["label_dtype"]
    assert labels.tolist() == [1, 1, 1, 1]
    patches, labels = collate([cliques[0], cliques[1]])
    assert list(patches.shape) == RECORDED["clique_collated"]["items"]
    assert labels.tolist() == [0] * 4 + [1] * 4
    instances = InstanceDataset(shared, patch_len=PATCH)
    assert len(instances) == 9
    patches, labels = collate([instances[0], instances[8]])
    assert list(patches.shape) == RECORDED["instance_collated"]["items"]
    assert labels.tolist() == [0, 2]


def test_crops_start_anywhere_and_only_where_legal(tmp_path):
    shared = recordings(tmp_path, [1], frames=PATCH + 3)
    starts = Counter()
    for epoch in range(400):
        patch = InstanceDataset(shared, patch_len=PATCH, key=(1, epoch))[0][0][0, 0, 0]
        assert torch.equal(patch - patch[0], torch.arange(float(PATCH)))
        starts[int(patch[0]) - 100] += 1
    assert sorted(starts) == [0, 1, 2, 3]
    assert min(starts.values()) > 60


@pytest.mark.parametrize("frames", [1, 40, PATCH])
def test_short_recordings_are_followed_by_silence(tmp_path, frames):
    padding = RECORDED["padding"]
    patch = InstanceDataset(recordings(tmp_path, [1], frames), patch_len=PATCH)[0][0][0, 0]
    assert patch.shape == (23, PATCH)
    assert (patch[:, 0] == padding["first_frames_value"]).all()
    assert (patch[:, :frames] > 0).all()
    assert (patch[:, frames:] == padding["last_frames_value"]).all()


def loader(files, index, **changes):
    options = {
        "loss": 0,
        "batch_size": 8,
        "patch_len": PATCH,
        "augment": True,
        "seed": 1,
        "epoch": 2,
        "mini_epoch": 3,
    }
    return make_loader(files, label_index=index, **(options | changes))


@pytest.fixture
def files(tmp_path):
    """Two files that share works."""
    index = write(tmp_path / "a.pt", [2, 5, 3, 7, 1])
    index |= write(tmp_path / "b.pt", [4, 2, 2, 1, 1])
    return [tmp_path / "a.pt", tmp_path / "b.pt"], index


def same(left, right):
    pairs = zip(left, right, strict=True)
    return all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in pairs)


@pytest.mark.parametrize("loss", [0, 1, 2, 3, 4])
def test_batches_of_a_mini_epoch(files, loss):
    cliques_are_drawn = loss in (0, 3, 4)
    recorded = RECORDED["dataset_class_by_loss"] | {"4": "CliqueDataset"}  # 4 is an addition
    kind = "CliqueDataset" if cliques_are_drawn else "InstanceDataset"
    assert recorded[str(loss)].endswith(kind)
    # Cliques of 6, 7, 5, 8 and 2 recordings: 8 visits. 28 recordings in all.
    batches = list(loader(*files, loss=loss, batch_size=12))
    assert len(batches) == len(loader(*files, loss=loss, batch_size=12)) == 2
    for chroma, labels in batches:
        assert chroma.shape == (12, 1, 23, PATCH)
        assert chroma.dtype == torch.float32
        assert labels.shape == (12,)
        assert labels.dtype == torch.int64
        if cliques_are_drawn:
            cliques = labels.reshape(3, 4)
            assert (cliques == cliques[:, :1]).all()


def test_every_recording_appears_once_for_the_instance_losses(files):
    batches = list(loader(*files, loss=1, batch_size=28, augment=False))
    assert Counter(batches[0][1].tolist()) == {0: 6, 1: 7, 2: 5, 3: 8, 4: 2}
    found = identities(batches[0][0])
    assert sorted(found) == sorted([*range(18), *range(10)])
    assert found != [*range(18), *range(10)]


@pytest.mark.parametrize(("loss", "augment"), [(0, 1), (1, 1), (4, 2)])
def test_batches_depend_on_the_four_numbers_alone(files, loss, augment):
    torch_state, python_state = torch.get_rng_state(), random.getstate()
    first = list(loader(*files, loss=loss, augment=augment))
    assert same(first, loader(*files, loss=loss, augment=augment))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert python_state == random.getstate()
    for change in ({"seed": 2}, {"epoch": 3}, {"mini_epoch": 2}):
        assert not same(first, loader(*files, loss=loss, augment=augment, **change))


@pytest.mark.parametrize("augment", [1, 2])
def test_workers_change_nothing(files, augment):
    alone = list(loader(*files, loss=1, batch_size=4, augment=augment))
    assert same(alone, loader(*files, loss=1, batch_size=4, augment=augment, num_workers=2))


def test_the_number_of_the_option_chooses_the_augmentation(files):
    paths, index = files
    kinds = [type(loader(paths, index, augment=number).dataset.augmenter) for number in range(3)]
    assert kinds == [type(None), ChromaAugmenter, StrongAugmenter]


def test_data_sets_travel_to_other_processes_without_their_features(files):
    paths, index = files
    dataset = InstanceDataset(
        Recordings(paths, index), patch_len=PATCH, augmenter=ChromaAugmenter(), key=(1, 2)
    )
    sent = pickle.dumps(dataset)
    assert len(sent) < 2000
    arrived = pickle.loads(sent)  # noqa: S301 - what a worker process does
    assert same([dataset[n] for n in range(28)], [arrived[n] for n in range(28)])


def test_half_precision_files_give_single_precision_batches(tmp_path):
    data = [torch.rand(1, 23, 50).half() for _ in range(4)]
    path = tmp_path / "half.pt"
    save_dataset_file(path, data=data, labels=["a"] * 4, crema_version=None)
    (chroma, _), *_ = loader([path], {"a": 0}, loss=1, batch_size=4)
    assert chroma.dtype == torch.float32
    (chroma, _), *_ = loader([path], {"a": 0}, loss=1, batch_size=4, patch_len=50, augment=False)
    assert sorted(chroma.sum((1, 2, 3)).tolist()) == pytest.approx(
        sorted(item.float().sum().item() for item in data)
    )


def test_augmented_patches_are_transposed_cuts_of_the_recording(tmp_path):
    pcp = torch.rand(1, 12, 60, generator=torch.Generator().manual_seed(0)) + 0.1
    chroma = torch.cat((pcp, pcp[:, :11]), dim=1)
    path = tmp_path / "one.pt"
    save_dataset_file(path, data=[chroma], labels=["a"], crema_version=None)
    shifted = {n: roll_pitch_classes(chroma, n) for n in range(1, 12)}
    for epoch in range(40):
        (patch, _), *_ = loader([path], {"a": 0}, loss=1, batch_size=1, epoch=epoch)
        used = {frame for frame in patch[0, 0].T if frame.any()}
        matching = [
            n
            for n, whole in shifted.items()
            if all((frame == whole[0].T).all(1).any() for frame in used)
        ]
        assert len(matching) == 1
    original = loader(
        [path], {"a": 0}, loss=1, batch_size=1, augment=ChromaAugmenter(original=True)
    )
    patch = next(iter(original))[0][0, 0]
    assert not torch.equal(patch[:11], patch[12:])


@pytest.mark.parametrize("loss", [0, 1])
def test_too_few_items_give_no_batch(files, loss):
    assert list(loader(*files, loss=loss, batch_size=36)) == []
    assert list(loader([], {}, loss=loss)) == []


def test_wrong_requests_end_in_a_sentence(files, tmp_path):
    paths, index = files
    known = {name: n for name, n in index.items() if name != "W_4"}
    with pytest.raises(UserError, match=r"b\.pt: label 'W_4' has no class number"):
        loader(paths[1:], known)
    with pytest.raises(UserError, match="one clique is four recordings"):
        loader(paths, index, batch_size=3)
    with pytest.raises(UserError, match="does not exist"):
        loader([tmp_path / "c.pt"], index)


def test_chunk_order_as_recorded():
    example = RECORDED["create_chunks_example"]
    shuffler = random.Random(example["python_random_seed"])
    assert split_chunks(17, shuffler) == example["chunks"]


@pytest.mark.parametrize("chunks", [1, 3, 4, 6, 8, 17, 18])
def test_every_chunk_is_read_once_an_epoch(chunks):
    groups = chunk_order(chunks, seed=0, epoch=5)
    assert sorted(number for group in groups for number in group) == list(range(1, chunks + 1))
    assert len(groups) == 4
    assert {len(group) for group in groups[:3]} == {chunks // 4}
    assert groups == chunk_order(chunks, seed=0, epoch=5)
    rest = range(chunks // 4 * 4 + 1, chunks + 1)
    assert groups[3][chunks // 4 :] == list(rest)
    if chunks == 17:
        assert groups != chunk_order(chunks, seed=0, epoch=6) != chunk_order(17, seed=1, epoch=6)
