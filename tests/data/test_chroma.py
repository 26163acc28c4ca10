"""Doubled chroma: rows, transposition, padding."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.chroma import crop_frames, double_chroma, pad_frames, roll_pitch_classes

profiles = st.tuples(st.integers(1, 9), st.integers(0, 1000)).map(
    lambda drawn: np.random.RandomState(drawn[1]).rand(drawn[0], 12)
)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_row_r_is_pitch_class_r_modulo_12_and_type_is_kept(dtype):
    pcp = np.random.RandomState(0).rand(7, 12).astype(dtype)
    chroma = double_chroma(pcp)
    assert chroma.shape == (1, 23, 7)
    assert chroma.numpy().dtype == dtype
    for row in range(23):
        np.testing.assert_array_equal(chroma[0, row], pcp[:, row % 12])


def test_other_shapes_are_refused():
    for shape in [(12, 7), (12,), (3, 7, 12)]:
        with pytest.raises(ValueError, match=r"\(frames, 12\)"):
            double_chroma(np.zeros(shape))


@settings(max_examples=30, deadline=None)
@given(pcp=profiles, semitones=st.integers(-24, 24))
def test_rolling_is_the_chroma_of_the_transposed_recording(pcp, semitones):
    rolled = roll_pitch_classes(double_chroma(pcp), semitones)
    assert torch.equal(rolled, double_chroma(np.roll(pcp, semitones, axis=1)))


@settings(max_examples=30, deadline=None)
@given(pcp=profiles, start=st.integers(0, 10), frames=st.integers(1, 15))
def test_crops_have_the_asked_length_and_end_in_zeros(pcp, start, frames):
    chroma = double_chroma(pcp)
    crop = crop_frames(chroma, start, frames)
    kept = max(min(len(pcp) - start, frames), 0)
    assert crop.shape == (1, 23, frames)
    assert torch.equal(crop[..., :kept], chroma[..., start : start + kept])
    assert not crop[..., kept:].any()


def test_long_enough_chroma_is_not_copied():
    chroma = torch.rand(1, 23, 5)
    assert pad_frames(chroma, 5) is chroma
    assert crop_frames(chroma, 1, 3).data_ptr() == chroma[..., 1:].data_ptr()
