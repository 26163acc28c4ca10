"""Chunks: recorded items, starts, and choices that depend on nothing but seed and position."""

import pickle
import random
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.chunk_dataset import (
    ChunkDataset,
    FeatureStore,
    Pick,
    collate_chunks,
    derived_rng,
    feature_length,
    random_start,
)
from src.data.cqt_features import encode_cqt
from src.data.spec_augment import SpecAugment
from src.errors import UserError
from tests.parity_weights import BASE_SEED, normal, read_fixture

RECORDED = read_fixture("c17_dataset.json")
CHUNK = {"chunk_frame": 12, "mean_size": 3}


@pytest.fixture
def rows(tmp_path):
    """The recorded recordings: one shorter than a chunk, one with a start near its end."""
    lines = []
    for number, case in enumerate(RECORDED["defined"]):
        path = tmp_path / f"u{number}.cqt.npy"
        np.save(path, -40 + 12 * normal(BASE_SEED + 1850 + number, (case["feat_len"], 96)))
        row = {"utt": case["utt"], "feat": str(path), "feat_len": case["feat_len"]}
        lines.append(row | {"song_id": case["label"], "start": case["start"]})
    return lines


@pytest.mark.parametrize("cache", [False, True])
def test_recorded_items(rows, cache):
    dataset = ChunkDataset(rows, **CHUNK, mode="defined", cache=cache)
    arrays = read_fixture("c17_dataset.npz")
    for _ in range(1 + cache):
        for number, case in enumerate(RECORDED["defined"]):
            utt, chunk, label = dataset[number]
            assert (utt, label) == (case["utt"], case["label"])
            assert list(chunk.shape) == case["shape"]
            assert str(chunk.dtype) == case["dtype"]
            np.testing.assert_allclose(chunk, arrays[f"defined_{number}"], atol=1e-5)


def test_without_a_start_the_beginning_is_cut(rows):
    rows = [{k: v for k, v in row.items() if k != "start"} for row in rows]
    dataset = ChunkDataset(rows, **CHUNK, mode="defined")
    whole = np.load(rows[2]["feat"])
    np.testing.assert_allclose(dataset[2][1], whole[:36].reshape(12, 3, 96).mean(1), atol=1e-5)


def test_recorded_starts():
    case = RECORDED["random_mode_start"]
    last, rng = case["feat_len"] - case["chunk_len"], random.Random(0)
    assert last == case["largest_legal_start"]
    found = [random_start(last, rng, original=True) for _ in range(20)]
    assert found == case["first20_with_random_seed_0"]
    found += [random_start(last, rng, original=True) for _ in range(2000)]
    assert (min(found), max(found), len(set(found))) == (
        case["min"],
        case["max"],
        case["n_distinct"],
    )


def test_every_legal_start_occurs_alike():
    rng = random.Random(0)
    counts = Counter(random_start(25, rng) for _ in range(2600))
    assert sorted(counts) == list(range(26))
    assert min(counts.values()) > 60
    assert {random_start(last, rng) for last in (0, -1, -50)} == {0}


def starts_of(dataset, number, epochs):
    """Where an item begins, told by its first value in a ramp."""
    found = []
    for epoch in range(epochs):
        dataset.set_epoch(epoch)
        found.append(-int(dataset[number][1][0, 0]))
    return found


@pytest.fixture
def ramps(tmp_path):
    """Recordings whose value at frame t is -t."""
    lines = []
    for number, frames in enumerate((45, 36, 20)):
        path = tmp_path / f"r{number}.npy"
        np.save(path, np.repeat(-np.arange(frames, dtype=np.float32)[:, None], 5, axis=1))
        lines.append({"utt": f"r{number}", "feat": str(path), "song_id": number})
    return lines


def test_chunks_begin_at_any_legal_frame(ramps):
    dataset = ChunkDataset(ramps, chunk_frame=36, mean_size=1)
    found = starts_of(dataset, 0, 200)
    assert sorted(set(found)) == list(range(10))
    assert set(starts_of(dataset, 1, 20)) == {0}
    original = ChunkDataset(ramps, chunk_frame=36, mean_size=1, original=True)
    assert sorted(set(starts_of(original, 0, 200))) == list(range(9))


def test_the_end_is_padded_and_averaged_with_the_padding(ramps):
    chunk = ChunkDataset(ramps, **CHUNK)[2][1]
    expected = np.concatenate([-np.arange(20.0), np.full(16, -100.0)]).reshape(12, 3).mean(1)
    np.testing.assert_allclose(chunk[:, 3], expected, atol=1e-5)


def test_choices_depend_on_seed_epoch_and_position(rows):
    dataset = ChunkDataset(
        rows, **CHUNK, augment=SpecAugment({"roll_pitch": {}, "random_erase": {}}), seed=4
    )
    pick = Pick(2, epoch=3, position=17)
    item = dataset[pick][1]
    again = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - as a worker process gets it
    again.set_epoch(8)
    random.seed(0)
    assert torch.equal(again[pick][1], item)
    others = [pick._replace(epoch=4), pick._replace(position=18)]
    assert all(not torch.equal(dataset[other][1], item) for other in others)
    other = ChunkDataset(rows, **CHUNK, augment=dataset.augment, seed=5)
    assert not torch.equal(other[pick][1], item)


def test_a_number_stands_for_the_position_of_the_same_number(rows):
    dataset = ChunkDataset(rows, **CHUNK, seed=4)
    dataset.set_epoch(6)
    assert torch.equal(dataset[2][1], dataset[Pick(2, 6, 2)][1])
    assert torch.equal(dataset[-1][1], dataset[2][1])
    with pytest.raises(IndexError):
        dataset[3]


def test_a_start_that_was_decided_elsewhere(ramps):
    dataset = ChunkDataset(ramps, chunk_frame=10, mean_size=1)
    assert -dataset[Pick(0, 0, 0, start=31)][1][0, 0] == 31


def test_bytes_are_half_decibels(rows, tmp_path):
    coarse = []
    for row in rows:
        path = tmp_path / f"{row['utt']}.u8.npy"
        loud = np.minimum(np.load(row["feat"]), 0)  # a CQT has nothing above 0 dB
        np.save(row["feat"], loud)
        np.save(path, encode_cqt(loud))
        coarse.append(row | {"feat": str(path)})
    fine = ChunkDataset(rows, **CHUNK, mode="defined")
    half = ChunkDataset(coarse, **CHUNK, mode="defined", cache=True)
    for number in range(3):
        found = half[number][1]
        np.testing.assert_allclose(found, fine[number][1], atol=0.2501)
        assert found.dtype == torch.float32
    assert half.store.kept == sum(row["feat_len"] for row in rows) * 96  # bytes stay bytes


def test_the_store_keeps_up_to_its_limit(rows):
    size = rows[1]["feat_len"] * 96 * 8
    store = FeatureStore(cache=True, limit=size)
    kept = store[rows[1]["feat"]]
    assert store[rows[1]["feat"]] is kept
    assert not isinstance(kept, np.memmap)
    assert isinstance(store[rows[2]["feat"]], np.memmap)
    assert store.kept == size
    assert pickle.loads(pickle.dumps(store)).kept == 0  # noqa: S301 - as a worker gets it
    none = FeatureStore()
    assert isinstance(none[rows[1]["feat"]], np.memmap)
    assert none.kept == 0


def test_collated_items(rows):
    dataset = ChunkDataset(rows, **CHUNK)
    utts, chunks, labels = collate_chunks([dataset[n] for n in range(3)])
    assert utts == ["u0", "u1", "u2"]
    assert chunks.shape == (3, 12, 96)
    assert labels.dtype == torch.int64
    assert labels.tolist() == [0, 1, 2]


def test_lengths_are_read_where_the_line_does_not_tell(ramps):
    assert feature_length(ramps[0]) == 45
    assert feature_length(ramps[0] | {"feat_len": 9}) == 9


def test_features_that_cannot_be_used_are_named(rows, tmp_path):
    with pytest.raises(UserError, match=r"u1\.cqt\.npy has 96 bins, but the model takes 84"):
        ChunkDataset(rows, **CHUNK, bins=84)[1]
    broken = np.load(rows[0]["feat"])
    broken[3, 3] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    rows[0]["feat"] = str(tmp_path / "nan.npy")
    rows[1]["feat"] = str(tmp_path / "gone.npy")
    dataset = ChunkDataset(rows, **CHUNK, bins=96)
    with pytest.raises(UserError, match=r"nan\.npy holds values that are no numbers"):
        dataset[0]
    with pytest.raises(UserError, match=r"gone\.npy does not exist"):
        dataset[1]
    assert dataset[2][1].shape == (12, 96)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"song_id": None}, "recording u: the key song_id must be a whole number, not None"),
        ({"song_id": "3"}, "song_id must be a whole number, not '3'"),
        ({"song_id": -1}, "song_id cannot be negative"),
        ({"feat": 3}, "feat must be text"),
        ({"start": -2}, "start must be a number of frames"),
        ({"feat_len": 1.5}, "feat_len must be a number of frames"),
    ],
)
def test_lines_that_cannot_be_used_are_named(change, message):
    row = {"utt": "u", "feat": "f.npy", "song_id": 0} | change
    with pytest.raises(UserError, match=message):
        ChunkDataset([row], **CHUNK)


def test_other_wrong_arguments(rows):
    with pytest.raises(UserError, match="random or defined, not 'all'"):
        ChunkDataset(rows, **CHUNK, mode="all")
    with pytest.raises(UserError, match="recording without utt"):
        ChunkDataset([{}], **CHUNK)
    with pytest.raises(ValueError, match="0 frames"):
        ChunkDataset(rows, chunk_frame=0, mean_size=3)


@given(st.lists(st.tuples(*[st.integers(0, 2**40)] * 3), min_size=2, max_size=5, unique=True))
@settings(max_examples=50, deadline=None)
def test_generators_differ_by_key(keys):
    assert len({derived_rng(*key).random() for key in keys}) == len(keys)
    assert derived_rng(*keys[0]).random() == derived_rng(*keys[0]).random()
