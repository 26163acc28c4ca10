"""Shifts between versions: the reference lines, known shifts, invariants, refusals."""

import json

import numpy as np
import pytest

from src.errors import UserError
from src.retrieval.alignment import (
    SHIFT_KEY,
    align_pair,
    align_rows,
    align_work,
    read_alignment,
    write_alignment,
)
from tests.parity_weights import read_fixture


def fixture_windows(utt):
    arrays = read_fixture("c16_aligner.npz")
    found = {int(name.split("▁start-")[1]): a for name, a in arrays.items()
             if name.split("-▁start-")[0] == utt}  # fmt: skip
    starts = sorted(found)
    return np.stack([found[start] for start in starts]), starts


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"original": True}, "out_sorted"),
        ({"original": True, "descending": True}, "out_reverse_listing"),
        ({}, "out_sorted"),
    ],
)
def test_reference_lines(tmp_path, options, expected):
    case = read_fixture("c16_aligner.json")["plain"]
    rows = case["lines_in"]
    embeddings, starts = zip(*(fixture_windows(row["utt"]) for row in rows), strict=True)
    count = write_alignment(align_rows(rows, embeddings, starts, **options), tmp_path / "a.txt")
    lines = (tmp_path / "a.txt").read_text("utf-8").splitlines()
    assert lines == case[expected]
    assert count == len(lines)
    alignment = read_alignment(tmp_path / "a.txt")
    assert alignment["utt_c", "utt_b"] == 75


def work(seed, seconds=420, dimensions=24):
    """A course in embedding space, one vector a second, smooth over some seconds."""
    steps = np.random.default_rng(seed).standard_normal((seconds + 8, dimensions))
    return np.stack([steps[i : i + 8].sum(axis=0) for i in range(seconds)])


def windows(course, start_s, seconds, *, noise=0.0, common=0.0, seed=0, hop=15):
    """Embeddings of windows of 15 s of a part of a course."""
    generator = np.random.default_rng((seed, start_s))
    starts = np.arange(0, seconds - 14, hop)
    means = [course[start_s + s : start_s + s + 15].mean(axis=0) for s in starts]
    embeddings = np.stack(means) + noise * generator.standard_normal((len(starts), course.shape[1]))
    return embeddings + common, starts.astype(float)


@pytest.mark.parametrize("true", [0, 15, 30, -45, 90])
@pytest.mark.parametrize("common", [0.0, 5.0])
def test_known_shifts_are_found(true, common):
    """i begins in the course where j does minus n: j at t is i at t + n."""
    course = work(1)
    for seed in range(5):
        i = windows(course, 90, 150, noise=1.5, common=common, seed=(seed, 1))
        j = windows(course, 90 + true, 150, noise=1.5, common=common, seed=(seed, 2))
        assert align_pair(*i, *j) == true
        assert align_pair(*j, *i) == -true


def test_the_original_vote_cannot_find_zero():
    course = work(2)
    i, j = windows(course, 0, 150), windows(course, 0, 150, noise=0.1)
    assert align_pair(*i, *j) == 0
    assert align_pair(*i, *j, original=True) != 0


def test_better_than_a_vote_where_it_is_noisy():
    """Of 60 noisy pairs at shifts other than 0 more come out right than by the vote."""
    right = {"ours": 0, "vote": 0}
    for seed in range(60):
        course, true = work(seed), 15 * (1 + seed % 4)
        i = windows(course, 60, 180, noise=3.0, seed=(seed, 1))
        j = windows(course, 60 + true, 180, noise=3.0, seed=(seed, 2))
        right["ours"] += align_pair(*i, *j) == true
        right["vote"] += align_pair(*i, *j, original=True) == true
    assert right["ours"] >= 50
    assert right["ours"] > right["vote"]


def test_finer_windows_give_finer_shifts():
    course = work(3)
    i, j = windows(course, 40, 150, hop=5), windows(course, 60, 150, hop=5)
    assert align_pair(*i, *j, hop_s=5) == 20


def test_versions_of_a_work_agree():
    """A pair that is too noisy by itself is decided by the versions between."""
    course, begins = work(4), [0, 30, 15, 60, 45, 0, 75, 30]
    wrong = {True: 0, False: 0}
    for seed in range(12):
        found = [windows(course, b, 120, noise=2.5, seed=(seed, k)) for k, b in enumerate(begins)]
        embeddings, starts = zip(*found, strict=True)
        true = np.subtract.outer(begins, begins).T
        for agreement in wrong:
            shifts = align_work(embeddings, starts, agreement=agreement)
            np.testing.assert_array_equal(shifts, -shifts.T)
            wrong[agreement] += int((shifts != true).sum())
    assert wrong[True] < 0.5 * wrong[False]


def test_pair_and_work_say_the_same():
    course = work(5)
    i, j = windows(course, 0, 130, noise=1.0), windows(course, 45, 160, noise=1.0)
    shifts = align_work([i[0], j[0]], [i[1], j[1]])
    assert shifts.tolist() == [[0, 45], [-45, 0]]
    assert align_pair(*i, *j) == 45


def test_order_of_windows_and_loudness_do_not_matter():
    course = work(6)
    i, j = windows(course, 0, 130, noise=1.0), windows(course, 30, 160, noise=1.0)
    order = np.random.default_rng(0).permutation(len(i[0]))
    assert align_pair(7 * i[0][order], i[1][order], *j) == align_pair(*i, *j) == 30


def test_recordings_of_one_window():
    one = np.ones((1, 4)), [0.0]
    assert align_pair(*one, *one) == 0
    other = np.random.default_rng(0).standard_normal((5, 4)), np.arange(5) * 15.0
    assert align_pair(*one, *other) % 15 == 0
    assert align_pair(*one, *one, original=True) == 0


def test_ties_go_to_the_smallest_shift():
    same = np.ones((6, 3)), np.arange(6) * 15.0
    assert align_pair(*same, *same) == 0
    shorter = np.ones((3, 3)), np.arange(3) * 15.0
    assert align_pair(*same, *shorter) == 0


def test_names_are_compared_whole(tmp_path):
    """``tune``, ``sp_0.8-tune`` and ``tune10`` are three recordings."""
    course = work(7)
    begins = {"tune": 0, "sp_0.8-tune": 30, "tune10": 45}
    rows = [{"utt": utt, "song": "S", "song_id": 0} for utt in begins]
    found = [windows(course, b, 200, noise=0.5) for b in begins.values()]
    lines = list(align_rows(rows, *zip(*found, strict=True)))
    assert len(lines) == 9
    for line in lines:
        assert line[SHIFT_KEY] == begins[line["utt_j"]] - begins[line["utt_i"]]
        assert isinstance(line[SHIFT_KEY], int)


def test_only_pairs_of_one_work_in_order_of_works():
    rows = [{"utt": u, "song": s, "song_id": s} for u, s in zip("abcd", "XYXZ", strict=True)]
    one = np.ones((2, 3))
    lines = align_rows(rows, [one] * 4, [[0, 15]] * 4)
    assert [line["utt_i"] + line["utt_j"] for line in lines] == ["aa", "ac", "ca", "cc", "bb", "dd"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"utt": "a", "song": "X"}], "'a' has no song_id"),
        (
            [{"utt": "a", "song": "X", "song_id": 1}, {"utt": "b", "song": "Y", "song_id": 1}],
            "song_id 1 is 'X' for 'a' but 'Y' for 'b'",
        ),
    ],
)
def test_rows_that_cannot_be_aligned(rows, sentence):
    one = np.ones((2, 3))
    with pytest.raises(UserError, match=sentence):
        list(align_rows(rows, [one] * 2, [[0, 15]] * 2))


def test_embeddings_that_cannot_be_aligned():
    good = np.ones((2, 3)), [0, 15]
    with pytest.raises(UserError, match="not finite"):
        align_pair(*good, np.full((2, 3), np.nan), [0, 15])
    with pytest.raises(UserError, match="3 and 4 dimensions"):
        align_pair(*good, np.ones((2, 4)), [0, 15])
    with pytest.raises(UserError, match="embed the recording again"):
        align_pair(*good, np.ones((0, 3)), [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"utt_i": "a", "utt_j": "b"}',
        '{"utt_i": "a", "utt_j": "b", "shift_frame_i_to_j": "x"}',
        '{"utt_i": "a", "shift_frame_i_to_j": 15}',
        '{"utt_i": "a", "utt_j": "b", "shift_frame_i_to_j": NaN}',
    ],
)
def test_alignment_files_that_are_none(tmp_path, text):
    (tmp_path / "alignment.txt").write_text(text, "utf-8")
    with pytest.raises(UserError, match=r"alignment\.txt"):
        read_alignment(tmp_path / "alignment.txt")


def test_alignment_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "alignment.txt"
    line = {"utt_i": "ä", "utt_j": "b", SHIFT_KEY: 7.5}
    write_alignment([line], path)
    assert json.loads(path.read_text("utf-8")) == line
    assert read_alignment(path) == {("ä", "b"): 7.5}

    def stops():
        yield line
        raise UserError("stop")

    with pytest.raises(UserError, match="stop"):
        write_alignment(stops(), path)
    with pytest.raises(UserError, match="nothing to align"):
        write_alignment([], path)
    assert read_alignment(path) == {("ä", "b"): 7.5}
