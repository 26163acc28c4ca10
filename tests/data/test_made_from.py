import os

import pytest

from src.data.made_from import MadeFrom
from src.errors import UserError


@pytest.fixture
def files(tmp_path):
    source, made = tmp_path / "source", tmp_path / "made"
    source.write_text("one")
    made.write_text("from one")
    return tmp_path / "record" / "x.txt", made, source


def set_time(path, seconds: float) -> None:
    os.utime(path, ns=(0, int(seconds * 1e9)))


def test_a_file_is_current_until_its_source_or_the_way_changes(files):
    path, made, source = files
    record = MadeFrom(path)
    record.note(made, source, "way")
    for fresh in (record, MadeFrom(path)):
        assert fresh.is_current(made, source, "way")
        assert not fresh.is_current(made, source, "another way")
    source.write_text("two")
    assert not MadeFrom(path).is_current(made, source, "way")


def test_only_the_content_counts_not_the_time_or_the_name(files, tmp_path):
    path, made, source = files
    record = MadeFrom(path)
    record.note(made, source, "way")
    set_time(source, 12345)
    assert record.is_current(made, source, "way")
    moved = source.rename(tmp_path / "elsewhere")
    assert record.is_current(made, moved, "way")
    moved.write_text("two")  # of the same size
    assert not record.is_current(made, moved, "way")


def test_a_file_of_another_program_is_current_unless_its_source_is_newer(files):
    path, made, source = files
    record = MadeFrom(path)
    set_time(source, 100)
    set_time(made, 200)
    assert record.is_current(made, source, "way")
    assert not record.knows(made)
    set_time(source, 300)
    assert not record.is_current(made, source, "way")


def test_a_file_without_its_source_is_kept_and_a_missing_file_is_not_current(files):
    path, made, source = files
    record = MadeFrom(path)
    record.note(made, source, "way")
    source.unlink()
    assert record.is_current(made, source, "way")
    made.unlink()
    assert not record.is_current(made, source, "way")


@pytest.mark.parametrize("rest", ['{"file": "oth', "\x00garbage\n[]\n", '{"size": 1}\n'])
def test_a_record_that_was_cut_off_or_damaged_is_used_as_far_as_it_goes(files, rest):
    path, made, source = files
    MadeFrom(path).note(made, source, "way")
    with path.open("a") as file:
        file.write(rest)
    record = MadeFrom(path)
    assert record.is_current(made, source, "way")
    record.note(source, made, "back")
    assert MadeFrom(path).knows(source)
    assert MadeFrom(path).knows(made)


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        MadeFrom(tmp_path / "file" / "record.txt")
