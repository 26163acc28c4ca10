"""Splits by work, and features that are read from disk."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.crema_dataset import group_works, split_works
from src.data.crema_features import (
    FEATURE_KEYS,
    fits,
    read_features,
    read_first,
    version_for_sound,
    versions_for,
    write_features,
)
from src.errors import UserError

WORKS = st.lists(st.sampled_from("abcdefghij"), min_size=12, max_size=60)


def works_with_several(works):
    return {work for work, count in Counter(works).items() if count > 1}


@settings(deadline=None, max_examples=50)
@given(WORKS, st.floats(0.01, 0.99), st.integers(0, 9))
def test_a_work_is_on_one_side_only(works, share, seed):
    several = works_with_several(works)
    if len(several) < 2:
        return
    training, validation = split_works(works, validation_share=share, seed=seed)
    assert sorted(training + validation) == list(range(len(works)))
    held_out = {works[i] for i in validation}
    assert held_out.isdisjoint(works[i] for i in training)
    assert held_out < several
    assert len(held_out) == min(max(1, round(share * len(several))), len(several) - 1)
    assert (training, validation) == split_works(works, validation_share=share, seed=seed)


def test_another_seed_is_another_split():
    works = [str(i // 2) for i in range(60)]
    splits = {tuple(split_works(works, validation_share=0.3, seed=s)[1]) for s in range(5)}
    assert len(splits) == 5


def test_a_split_needs_two_works_with_versions():
    with pytest.raises(UserError, match="at least 2 works with 2 versions"):
        split_works(["a", "a", "b", "c"], validation_share=0.1, seed=0)


@settings(deadline=None, max_examples=50)
@given(WORKS, st.integers(1, 5), st.integers(0, 9))
def test_a_work_is_in_one_group_only(works, groups, seed):
    if len(set(works)) < groups:
        with pytest.raises(UserError, match="--chunks"):
            group_works(works, groups, seed=seed)
        return
    out = group_works(works, groups, seed=seed)
    assert len(out) == groups
    assert all(out)
    assert sorted(i for group in out for i in group) == list(range(len(works)))
    contents = [{works[i] for i in group} for group in out]
    assert sum(map(len, contents)) == len(set(works))
    largest = max(Counter(works).values())
    assert max(map(len, out)) - min(map(len, out)) <= largest


@pytest.mark.parametrize("version", ["0.1.0", "0.2.0"])
def test_features_survive_the_disk(tmp_path, version):
    pcp = np.random.default_rng(0).random((7, 12), dtype=np.float32)
    path = tmp_path / "deep" / "a.npz"
    write_features(path, pcp, version)
    np.testing.assert_array_equal(read_features(path, version), pcp)


def test_each_version_finds_its_own_array(tmp_path):
    path = tmp_path / "a.npz"
    both = {"crema_pcp": np.zeros((3, 12), np.float32), "crema_pcp_020": np.ones((3, 12))}
    np.savez(path, **both)
    assert not read_features(path, "0.1.0").any()
    assert read_features(path, "0.2.0").all()
    write_features(path, np.ones((3, 12), np.float32), "0.2.0")
    with pytest.raises(UserError, match=r"no cremaPCP of crema 0\.1\.0"):
        read_features(path, "0.1.0")


def test_an_array_that_stands_alone_is_of_the_version_asked_for(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, crema_pcp=np.ones((3, 12), np.float16), cqt_u8=np.zeros((9, 96), np.uint8))
    assert read_features(path, "0.2.0").all()


def test_half_precision_features_are_widened(tmp_path):
    np.savez(tmp_path / "a.npz", crema_pcp=np.ones((3, 12), np.float16))
    assert read_features(tmp_path / "a.npz", "0.1.0").dtype == np.float32


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((12, 3), np.float32), "shape"),
        (np.zeros((0, 12), np.float32), "shape"),
        (np.zeros((3, 12), np.int64), "floating"),
        (np.full((3, 12), np.nan, np.float32), "not finite"),
        (np.array([{"a": 1}], dtype=object), "damaged"),
    ],
)
def test_bad_features_are_refused(tmp_path, array, message):
    path = tmp_path / "a.npz"
    np.savez(path, crema_pcp=array)
    with pytest.raises(UserError, match=message):
        read_features(path, "0.1.0")


def test_damaged_and_missing_feature_files(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(UserError, match="does not exist"):
        read_features(path, "0.1.0")
    write_features(path, np.ones((50, 12), np.float32), "0.1.0")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="damaged"):
        read_features(path, "0.1.0")


@pytest.mark.parametrize(
    ("description", "version"),
    [
        ({}, "0.1.0"),
        ({"crema_version": "0.2.0"}, "0.2.0"),
        ({"crema_version": "0.2.0-notes"}, "0.2.0"),
        ({"crema_version": "0.2.0-notes", "crema_for_sound": "0.1.0"}, "0.1.0"),
        ({"crema_version": None}, "0.1.0"),
    ],
)
def test_which_crema_describes_sound_for_a_model(description, version):
    assert version_for_sound(description) == version


def test_the_first_of_some_versions_that_a_file_holds(tmp_path):
    path = tmp_path / "a.npz"
    values = {key: np.full((50, 12), n, np.float32) for n, key in enumerate(FEATURE_KEYS.values())}
    np.savez(path, **{key: values[key] for key in ("crema_pcp_020", "note_pcp")})
    assert read_first(path, ["0.2.0-notes", "0.2.0"])[0, 0] == 2
    assert read_first(path, ["0.1.0", "0.2.0"])[0, 0] == 1
    assert read_first(path)[0, 0] == 1
    with pytest.raises(UserError, match=r"holds no cremaPCP of crema 0\.1\.0"):
        read_first(path, ["0.1.0"])


@pytest.mark.parametrize(
    ("description", "versions"),
    [
        ({}, ["0.1.0"]),
        ({"crema_version": "0.2.0"}, ["0.2.0"]),
        ({"crema_version": "0.2.0-notes"}, ["0.2.0", "0.2.0-notes"]),
        (
            {"crema_version": "0.2.0-notes", "crema_for_sound": "0.1.0"},
            ["0.1.0", "0.2.0", "0.2.0-notes"],
        ),
    ],
)
def test_which_features_a_model_takes(description, versions):
    assert versions_for(description) == versions


@pytest.mark.parametrize(
    ("description", "version", "expected"),
    [
        ({}, "0.2.0", True),
        ({"crema_version": "0.1.0"}, None, True),
        ({"crema_version": "0.1.0"}, "0.2.0", False),
        ({"crema_version": "0.2.0-notes"}, "0.2.0", True),
        ({"crema_version": "0.2.0-notes"}, "0.1.0", False),
        ({"crema_version": "0.2.0-notes", "crema_for_sound": "0.1.0"}, "0.1.0", True),
        ({"crema_version": "0.2.0-notes", "crema_for_sound": "0.1.0"}, "0.2.0", True),
    ],
)
def test_which_features_fit_a_model(description, version, expected):
    assert fits(description, version) is expected
