import json
from pathlib import Path

import pytest

from src.data.splits import SplitShares, recording_of, split_rows
from src.errors import UserError

FIXTURES = Path(__file__).parents[1] / "fixtures"
PARTS = ("train", "validation", "test")


def rows_of(works: dict[str, int], copies=("", "sp_0.8-", "noise-", "noise-sp_0.8-")) -> list:
    return [
        {"utt": f"{prefix}{work}_{number}", "song": work}
        for work, versions in works.items()
        for number in range(versions)
        for prefix in copies
    ]


def utts(split) -> dict[str, list[str]]:
    return {part: [row["utt"] for row in getattr(split, part)] for part in PARTS}


def recordings(split) -> dict[str, set[str]]:
    return {part: set(map(recording_of, names)) for part, names in utts(split).items()}


@pytest.mark.parametrize(
    ("utt", "recording"),
    [
        ("u1", "u1"),
        ("sp_0.8-u1", "u1"),
        ("sp_0.9-sp_0.8-u1", "u1"),
        ("sp_2-u1", "u1"),
        ("sp_1e-05-u1", "u1"),
        ("noise-u1", "u1"),
        ("noise-sp_1.25-u1", "u1"),
        ("sp_x-u1", "sp_x-u1"),
        ("spring-1", "spring-1"),
        ("noise-", "noise-"),
    ],
)
def test_the_name_of_a_copy_tells_its_recording(utt, recording):
    assert recording_of(utt) == recording


def test_the_recorded_split_is_reproduced_with_original():
    recorded = json.loads((FIXTURES / "c17_pipeline.json").read_text("utf-8"))
    hparams = recorded["hparams"]
    shares = SplitShares(
        test_unseen=hparams["test_data_unseen"],
        validation_unseen=hparams["train-sample_unseen"],
        test=hparams["test_data_split"],
        validation=hparams["train-sample_data_split"],
    )
    found = utts(split_rows(recorded["full"], shares, original=True))
    assert found["train"] == recorded["train"]
    assert found["validation"] == recorded["train_sample"]
    assert found["test"] == recorded["dev"]
    # This split lets copies of one recording land on several sides; ours does not.
    sides = recordings(split_rows(recorded["full"], shares, original=True))
    assert sides["train"] & sides["test"]


def test_the_recorded_split_without_shares_is_reproduced_with_original():
    recorded = json.loads((FIXTURES / "c17_pipeline.json").read_text("utf-8"))
    clean = [row for row in recorded["full"] if not row["utt"].startswith("sp_")]
    found = utts(split_rows(clean, SplitShares(), original=True))
    assert found["train"] == recorded["zero_split_no_aug"]["train.txt"]
    assert found["validation"] == recorded["zero_split_no_aug"]["train-sample.txt"]
    assert found["test"] == recorded["zero_split_no_aug"]["dev.txt"]


@pytest.mark.parametrize("seed", range(20))
def test_all_copies_of_a_recording_are_on_one_side_and_nothing_is_lost(seed):
    rows = rows_of({"a": 5, "b": 1, "c": 2, "d": 9, "e": 3, "f": 2})
    split = split_rows(rows, SplitShares(0.1, 0.1, 0.25, 0.25), seed=seed)
    sides = recordings(split)
    assert all(sides.values())
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not sides[one] & sides[other]
    together = [utt for part in utts(split).values() for utt in part]
    assert sorted(together) == sorted(row["utt"] for row in rows)


def test_unseen_works_are_held_out_whole_and_every_other_keeps_something_to_train_on():
    works = {f"w{number}": 1 + number % 4 for number in range(20)}
    split = split_rows(rows_of(works), SplitShares(0.2, 0.1, 0.3, 0.3))
    songs = {part: {row["song"] for row in getattr(split, part)} for part in PARTS}
    unseen = set(works) - songs["train"]
    assert len(unseen) == 4 + 1  # int(20 * 0.2), int(16 * 0.1)
    for song in unseen:
        assert (song in songs["validation"]) != (song in songs["test"])


def test_shares_of_zero_hold_nothing_out():
    rows = rows_of({"a": 1, "b": 2, "c": 5})
    found = utts(split_rows(rows, SplitShares()))
    assert sorted(found["train"]) == sorted(row["utt"] for row in rows)
    assert found["validation"] == []
    assert found["test"] == []


@pytest.mark.parametrize("versions", [1, 2])
def test_works_with_one_or_two_versions_give_to_the_training(versions):
    works = {f"w{number}": versions for number in range(10)}
    found = recordings(split_rows(rows_of(works), SplitShares(test=0.1, validation=0.1)))
    assert len(found["train"]) == {1: 10, 2: 16}[versions]
    assert len(found["validation"]) == len(found["test"]) == {1: 0, 2: 2}[versions]


@pytest.mark.parametrize("share", [0.1, 0.15, 0.3])
def test_the_share_of_recordings_is_that_of_the_whole_collection(share):
    works = {f"w{number}": 2 + number % 7 for number in range(50)}
    total = sum(works.values())
    split = split_rows(rows_of(works), SplitShares(test=share, validation=share))
    for part in ("validation", "test"):
        assert len(recordings(split)[part]) == pytest.approx(total * share, abs=1.01)


def test_a_single_work_stays_in_the_training():
    found = recordings(split_rows(rows_of({"a": 3}), SplitShares(0.5, 0.4, 0.3, 0.3)))
    assert len(found["train"]) >= 1


def test_the_same_seed_gives_the_same_split_and_another_another():
    rows = rows_of({f"w{number}": 4 for number in range(12)})
    shares = SplitShares(0.1, 0.1, 0.2, 0.2)
    assert utts(split_rows(rows, shares)) == utts(split_rows(rows, shares, seed=1))
    assert utts(split_rows(rows, shares)) != utts(split_rows(rows, shares, seed=2))


def test_shares_that_leave_nothing_are_refused():
    for shares in ((1.0,), (0.5, 0.5), (0, 0, 0.6, 0.4), (-0.1,)):
        with pytest.raises(UserError, match="share"):
            SplitShares(*shares)


def test_original_refuses_a_collection_that_it_holds_out_completely():
    with pytest.raises(UserError, match="no line to train on"):
        split_rows(rows_of({"a": 1, "b": 1, "c": 1}, copies=("",)), SplitShares(), original=True)
