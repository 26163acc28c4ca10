"""Feature files: what is read is what was written, in parts and in every form."""

import numpy as np
import pytest

from src.audio.cqt import CQTSpec
from src.data.cqt_features import (
    check_spec,
    encode_cqt,
    load_cqt,
    open_cqt,
    read_spec,
    save_cqt,
    write_spec,
)
from src.errors import UserError


@pytest.fixture
def decibels():
    return -100 * np.random.default_rng(0).random((50, 96)).astype(np.float32)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16])
def test_parts_of_files_in_any_precision(decibels, kind, tmp_path):
    path = tmp_path / "u.cqt.npy"
    np.save(path, decibels.astype(kind))
    found = load_cqt(path, 7, 19)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, decibels.astype(kind).astype(np.float32)[7:19])
    np.testing.assert_array_equal(load_cqt(path), decibels.astype(kind))
    assert load_cqt(path, 60).shape == (0, 96)


def test_half_decibels_in_arrays_and_archives(decibels, tmp_path):
    units = encode_cqt(decibels)
    assert units.dtype == np.uint8
    save_cqt(units, tmp_path / "u.npy")
    np.savez_compressed(tmp_path / "u.npz", cqt_u8=units, other=np.zeros(3))
    for name in ("u.npy", "u.npz"):
        found = load_cqt(tmp_path / name, 3)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, units[3:] / -2)
        np.testing.assert_allclose(found, decibels[3:], atol=0.25)
    assert open_cqt(tmp_path / "u.npy").dtype == np.uint8


def test_half_decibels_end_at_the_floor():
    values = np.array([[0.0, -0.2, -0.3, -99.9, -165.0, 3.0]])
    np.testing.assert_array_equal(encode_cqt(values) / -2, [[0, 0, -0.5, -100, -100, 0]])


def test_a_part_is_read_from_a_map_and_not_from_the_whole_file(decibels, tmp_path):
    path = tmp_path / "u.npy"
    save_cqt(decibels, path)
    assert isinstance(open_cqt(path), np.memmap)
    assert not isinstance(load_cqt(path), np.memmap)


def test_what_is_saved_is_single_precision(decibels, tmp_path):
    save_cqt(decibels.astype(np.float64), tmp_path / "new" / "u.cqt.npy")
    found = np.load(tmp_path / "new" / "u.cqt.npy")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, decibels)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["u.cqt.npy"]


def test_files_that_are_no_features(decibels, tmp_path):
    with pytest.raises(UserError, match=r"gone\.npy does not exist"):
        load_cqt(tmp_path / "gone.npy")
    with pytest.raises(UserError, match=r"gone\.npz does not exist"):
        load_cqt(tmp_path / "gone.npz")
    whole = tmp_path / "whole.npy"
    save_cqt(decibels, whole)
    for number, content in enumerate((b"", b"abc", whole.read_bytes()[:-1000], b"PK\x03\x04 zip")):
        for kind in ("npy", "npz"):
            path = tmp_path / f"damaged{number}.{kind}"
            path.write_bytes(content)
            with pytest.raises(UserError, match=f"{path.name} is damaged"):
                load_cqt(path)
    for number, array in enumerate(
        (decibels[0], decibels[None], decibels[:0], np.ones((3, 3), int))
    ):
        np.save(tmp_path / f"shape{number}.npy", array)
        with pytest.raises(UserError, match="features are"):
            load_cqt(tmp_path / f"shape{number}.npy")
    np.savez(tmp_path / "empty.npz", chroma=decibels)
    with pytest.raises(UserError, match=r"empty\.npz holds no features: it lacks the array cqt_u8"):
        load_cqt(tmp_path / "empty.npz")
    np.save(tmp_path / "objects.npy", np.array([{}, []], object), allow_pickle=True)
    with pytest.raises(UserError, match="damaged or not one"):
        load_cqt(tmp_path / "objects.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(decibels, value, tmp_path):
    decibels[20, 5] = value
    save_cqt(decibels, tmp_path / "u.npy")
    with pytest.raises(UserError, match=r"u\.npy holds values that are no numbers"):
        load_cqt(tmp_path / "u.npy", 15, 25)
    assert np.isfinite(load_cqt(tmp_path / "u.npy", 0, 20)).all()


def test_a_folder_says_what_made_it(tmp_path):
    assert read_spec(tmp_path) is None
    spec = CQTSpec(octave_resolution=36, min_freq=65.4, n_bins=216)
    write_spec(tmp_path, spec)
    assert read_spec(tmp_path) == spec
    for wrong in ("[1]", "{}x", '{"hop": 3}', '{"hop_size": "a"}', '{"hop_size": -1}'):
        (tmp_path / "cqt_spec.json").write_text(wrong)
        with pytest.raises(UserError, match=r"cqt_spec\.json"):
            read_spec(tmp_path)


def test_features_of_another_cqt_are_refused():
    reference, other = CQTSpec(), CQTSpec(octave_resolution=24)
    check_spec(reference, None, "data/x")
    check_spec(other, CQTSpec(octave_resolution=24), "data/x")
    for expected, found in ((other, None), (reference, other)):
        with pytest.raises(UserError) as error:
            check_spec(expected, found, "data/x")
        message = str(error.value)
        assert message.startswith("data/x has features of")
        assert reference.describe() in message
        assert other.describe() in message
