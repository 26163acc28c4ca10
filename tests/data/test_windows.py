"""Windows of recordings, as recorded and with what the original leaves out."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.manifest import dict_to_line
from src.data.windows import (
    RARE_DELIMITER,
    cut_windows,
    duration_of,
    split_window_name,
    window_starts,
)
from src.errors import UserError
from tests.parity_weights import read_fixture

RECORDED = read_fixture("c14_lines.json")


def test_the_delimiter_is_the_recorded_one():
    assert f"U+{ord(RARE_DELIMITER):04X}" == RECORDED["rare_delimiter_codepoint"]


@pytest.mark.parametrize("case", sorted(RECORDED["cut"]))
def test_recorded_windows(case):
    chunk, duration = re.fullmatch(r"w(\d+)_dur([\d.]+)", case).groups()
    row = {"utt": "sp_0.8-tune_1", "dur_s": float(duration)}
    found = cut_windows(row, chunk_s=int(chunk))
    assert [[w["utt"], w["start"], w["start_s"]] for w in found] == RECORDED["cut"][case]


@pytest.mark.parametrize("chunk", [135, 15])
def test_recorded_lines(chunk):
    row = {"utt": "sp_0.8-tune_1", "song_id": 4, "dur_s": 600, "feat": "f.npy"}
    last = cut_windows(row, chunk_s=chunk)[-1]
    assert dict_to_line(last) == RECORDED[f"cut_example_line_w{chunk}"]


def test_milliseconds_and_other_steps():
    found = cut_windows({"utt": "u", "dur_ms": 300500}, chunk_s=135)
    assert [w["utt"] for w in found] == RECORDED["cut_dur_ms"]
    recorded = RECORDED["cut_shift_67.5"]
    found = cut_windows({"utt": "u", "dur_s": 300.5}, chunk_s=135, hop_s=67.5)
    assert [[w["utt"], w["start"]] for w in found] == recorded


def test_lines_with_the_files_of_the_embeddings():
    rows = [{"utt": "u1", "dur_s": 300.5}, {"utt": "ü▁x", "dur_s": 20.0}]
    lines = [
        dict_to_line(window)
        for row in rows
        for window in cut_windows(row, chunk_s=135, embed_dir="<EMBED_DIR>")
    ]
    assert lines == RECORDED["cut_lines_example"]


@given(
    duration=st.floats(1, 2000, allow_nan=False),
    chunk=st.integers(1, 200),
    hop=st.none() | st.floats(0.5, 200),
)
@settings(max_examples=200, deadline=None)
def test_a_kept_tail_reaches_the_end_and_changes_nothing_else(duration, chunk, hop):
    plain = window_starts(duration, chunk_s=chunk, hop_s=hop)
    kept = window_starts(duration, chunk_s=chunk, hop_s=hop, keep_tail=True)
    assert kept[: len(plain)] == plain
    assert len(kept) <= len(plain) + 1
    assert duration - (kept[-1] + chunk) < 1  # less than a second is lost
    assert len(kept) == 1 or kept[-1] + chunk <= duration + 1e-9  # nothing is padded


def test_the_tail_of_two_exact_windows_is_the_second():
    assert window_starts(270, chunk_s=135) == [0.0]
    assert window_starts(270, chunk_s=135, keep_tail=True) == [0.0, 135.0]
    assert window_starts(135.6, chunk_s=135, keep_tail=True) == [0.0]
    assert window_starts(10, chunk_s=135, keep_tail=True) == [0.0]


@pytest.mark.parametrize("hop", [0.25, 0.5, 1.0, 1.5, 15])
def test_every_window_has_a_name_of_its_own(hop):
    row = {"utt": "a▁start-3", "dur_s": 61.3}
    windows = cut_windows(row, chunk_s=15, hop_s=hop, keep_tail=True)
    assert len({w["utt"] for w in windows}) == len(windows)
    for window in windows:
        name, start = split_window_name(window["utt"])
        assert name == row["utt"]
        assert abs(start - window["start_s"]) < (1 if hop >= 1 else 0.01)
    assert row == {"utt": "a▁start-3", "dur_s": 61.3}


def test_names_that_are_no_windows():
    with pytest.raises(ValueError, match="not the name of a window"):
        split_window_name("tune")


def test_durations():
    assert duration_of({"utt": "u", "feat_len": 250}) == 10
    assert duration_of({"utt": "u", "feat_len": 250, "dur_s": 9.5}) == 9.5
    with pytest.raises(UserError, match="recording u lacks dur_s"):
        duration_of({"utt": "u"})
    for wrong in (0, -1, float("nan"), float("inf"), "12", True):
        with pytest.raises(UserError, match="dur_s must be above 0"):
            duration_of({"utt": "u", "dur_s": wrong})


@pytest.mark.parametrize(("chunk", "hop"), [(0, None), (-1, None), (15, 0), (float("inf"), 1)])
def test_windows_without_length_are_refused(chunk, hop):
    with pytest.raises(ValueError, match="positive"):
        window_starts(60, chunk_s=chunk, hop_s=hop)
