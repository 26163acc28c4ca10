"""Dataset files and their companions: round trips, and one sentence for every wrong file."""

import pickle

import numpy as np
import pytest
import torch

from src.data.dataset_file import (
    load_centroids,
    load_dataset_file,
    load_label_index,
    load_ytrue,
    make_label_index,
    number_of_classes,
    save_dataset_file,
    ytrue_from_labels,
)
from src.errors import UserError


def items(*lengths, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 23, length, generator=generator).to(dtype) for length in lengths]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_round_trip(tmp_path, dtype):
    data = items(5, 9, 1, dtype=dtype)
    path = tmp_path / "folder" / "chunk_1.pt"
    save_dataset_file(path, data=data, labels=["a", "b", "a"], crema_version="0.1.0")
    found = load_dataset_file(path)
    assert len(found) == 3
    assert found.labels == ["a", "b", "a"]
    assert found.crema_version == "0.1.0"
    for left, right in zip(found.data, data, strict=True):
        assert left.dtype == dtype
        assert torch.equal(left, right)


def test_files_of_the_original_have_two_keys(tmp_path):
    path = tmp_path / "val.pt"
    torch.save({"data": items(4, 4), "labels": [7, "W_1"]}, path)
    found = load_dataset_file(path)
    assert found.labels == ["7", "W_1"]
    assert found.crema_version is None
    torch.save({"data": items(4), "labels": ["x"]}, path, _use_new_zipfile_serialization=False)
    assert load_dataset_file(path).labels == ["x"]


def test_a_patch_does_not_drag_its_whole_recording_into_the_file(tmp_path):
    whole = torch.rand(1, 23, 20_000)
    path = tmp_path / "chunk.pt"
    save_dataset_file(path, data=[whole[..., :10]], labels=["a"], crema_version=None)
    assert path.stat().st_size < 10_000
    assert torch.equal(load_dataset_file(path).data[0], whole[..., :10])


GOOD = {"data": items(4, 4), "labels": ["a", "b"]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"data": items(4)}, "must hold the keys data and labels, but holds: data"),
        ({}, "holds: nothing"),
        (items(4), "holds: a list"),
        (GOOD | {"labels": ["a"]}, "2 features but 1 labels"),
        (GOOD | {"data": torch.zeros(2, 1, 23, 4)}, "must be lists"),
        ({"data": [], "labels": []}, "holds no recording"),
        (GOOD | {"labels": ["a", 1.5]}, "label of item 1 must be text"),
        (GOOD | {"labels": ["a", True]}, "label of item 1 must be text"),
        (GOOD | {"data": [*items(4), torch.zeros(23, 4)]}, r"item 1 \(label 'b'\) is a float32"),
        (GOOD | {"data": [torch.zeros(1, 12, 4), *items(4)]}, r"item 0 .*shape \(1, 12, 4\)"),
        (GOOD | {"data": [*items(4), torch.zeros(1, 23, 0)]}, "item 1 .*no frames"),
        (GOOD | {"data": [*items(4), torch.zeros(1, 23, 4).int()]}, "item 1 .*type int32"),
        (GOOD | {"data": [*items(4), "text"]}, "item 1 .*is a str"),
        (GOOD | {"data": [*items(4), items(4)[0] / 0]}, "item 1 .*not finite"),
        (GOOD | {"crema_version": 1}, "crema_version must be text"),
    ],
)
def test_wrong_files_are_named_with_the_item(tmp_path, content, sentence):
    path = tmp_path / "chunk_3.pt"
    torch.save(content, path)
    with pytest.raises(UserError, match=rf"chunk_3\.pt.*{sentence}") as caught:
        load_dataset_file(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_single_bad_value_is_found_unless_unchecked(tmp_path, bad, dtype):
    data = items(50, 50, dtype=dtype)
    data[1][0, 22, 49] = bad
    path = tmp_path / "chunk.pt"
    torch.save({"data": data, "labels": ["a", "b"]}, path)
    with pytest.raises(UserError, match=r"item 1 .*not finite"):
        load_dataset_file(path)
    assert len(load_dataset_file(path, check_values=False)) == 2


def test_large_finite_values_are_accepted(tmp_path):
    data = [torch.full((1, 23, 100), 3e38)]  # their sum overflows
    torch.save({"data": data, "labels": ["a"]}, tmp_path / "chunk.pt")
    assert len(load_dataset_file(tmp_path / "chunk.pt")) == 1


def test_nothing_wrong_is_written(tmp_path):
    path = tmp_path / "chunk.pt"
    with pytest.raises(UserError, match="not finite"):
        save_dataset_file(path, data=[items(4)[0] / 0], labels=["a"], crema_version=None)
    assert list(tmp_path.iterdir()) == []


class Malicious:
    def __reduce__(self):
        return (open, ("ran.txt", "w"))


def test_malicious_truncated_and_foreign_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    torch.save({"data": [Malicious()], "labels": ["a"]}, path)
    for load in (load_dataset_file, load_label_index, load_centroids, load_ytrue):
        with pytest.raises(UserError, match=r"evil\.pt is not a plain tensor file"):
            load(path)
    path.write_bytes(pickle.dumps(Malicious(), protocol=2))
    with pytest.raises(UserError, match=r"evil\.pt"):
        load_dataset_file(path)
    assert not (tmp_path / "ran.txt").exists()
    torch.save(GOOD, path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"evil\.pt"):
        load_dataset_file(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"evil\.pt"):
        load_dataset_file(path)
    with pytest.raises(UserError, match="does not exist"):
        load_dataset_file(tmp_path / "missing.pt")


def test_label_index(tmp_path):
    index = make_label_index(["b", "a", "b", "c"])
    assert index == {"a": 0, "b": 1, "c": 2}
    assert number_of_classes(index) == 3
    path = tmp_path / "red_label_idx.pt"
    torch.save({"W_2": 14498, 5: torch.tensor(3)}, path)
    found = load_label_index(path)
    assert found == {"W_2": 14498, "5": 3}
    assert number_of_classes(found) == 14499


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "must hold a mapping"),
        (["a"], "must hold a mapping"),
        ({"a": -1}, "class number of label 'a'"),
        ({"a": 0.5}, "class number of label 'a'"),
        ({"a": "0"}, "class number of label 'a'"),
        ({"a": 0, "b": 0}, "label 'b' or its class number 0 occurs twice"),
        ({"1": 0, 1: 4}, "label '1' or its class number 4 occurs twice"),
        ({1.5: 0}, "label must be text"),
    ],
)
def test_wrong_label_index(tmp_path, content, sentence):
    torch.save(content, tmp_path / "red_label_idx.pt")
    with pytest.raises(UserError, match=rf"red_label_idx\.pt.*{sentence}"):
        load_label_index(tmp_path / "red_label_idx.pt")


def test_centroids(tmp_path):
    path = tmp_path / "centroids.pt"
    centroids = {0: torch.rand(1, 16000), 3: torch.rand(1, 16000).half()}
    torch.save(centroids, path)
    found = load_centroids(path)
    assert found.keys() == centroids.keys()
    assert torch.equal(found[3], centroids[3])
    for wrong, sentence in [
        (torch.zeros(2, 16000), "must hold a mapping"),
        ({"a": torch.zeros(1, 16000)}, "key 'a' is not a class number"),
        ({2: torch.zeros(16000)}, r"class 2 must be a tensor \(1, 16000\)"),
        ({2: torch.full((1, 16000), float("nan"))}, "class 2 has values"),
    ]:
        torch.save(wrong, path)
        with pytest.raises(UserError, match=rf"centroids\.pt.*{sentence}"):
            load_centroids(path)


def test_ytrue_of_labels_by_plain_loops():
    labels = np.random.RandomState(0).randint(0, 9, 40).tolist()
    found = ytrue_from_labels([f"W_{label}" for label in labels])
    for i in range(40):
        for j in range(40):
            assert found[i, j] == float(labels[i] == labels[j] and i != j)
    assert ytrue_from_labels([]).numel() == 0


def test_ytrue_file(tmp_path):
    path = tmp_path / "ytrue_val.pt"
    ytrue = ytrue_from_labels(["a"] * 3 + ["b"] * 1500)  # more than one block of rows
    torch.save(ytrue, path)
    assert torch.equal(load_ytrue(path), ytrue)
    late, own = ytrue.clone(), ytrue.clone()
    late[1400, 2] = 0.5
    own[7, 7] = 1
    for wrong, sentence in [
        ([1], r"square tensor \(N, N\), not a list"),
        (torch.zeros(2, 3), r"not a float32 tensor of shape \(2, 3\)"),
        (late, "zeros and ones"),
        (own, "diagonal must be 0"),
    ]:
        torch.save(wrong, path)
        with pytest.raises(UserError, match=rf"ytrue_val\.pt.*{sentence}"):
            load_ytrue(path)
