"""Manifests: recorded lines, both spellings of keys, and mistakes named by file and line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.manifest import dict_to_line, line_to_dict, read_manifest, write_manifest
from src.errors import UserError
from tests.parity_weights import read_fixture

RECORDED = read_fixture("c14_lines.json")
LINE = '{"utt": "a", "wav": "w/a.ogg", "dur_s": 3.5, "song": "S", "version": "v0"}'


@pytest.mark.parametrize(("line", "expected"), RECORDED["line_to_dict"])
def test_lines_are_parsed_as_recorded(line, expected):
    found = line_to_dict(line)
    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parametrize(("row", "expected"), RECORDED["dict_to_line"])
def test_lines_are_written_as_recorded(row, expected):
    assert dict_to_line(row) == expected


json_values = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())


@settings(deadline=None)
@given(row=st.dictionaries(st.text(), json_values, min_size=1))
def test_any_row_survives_a_line(row):
    line = dict_to_line(row)
    assert "\n" not in line
    assert line_to_dict(line) == row


def write(path, text):
    path.write_text(text, "utf-8")
    return path


def test_blank_lines_are_dropped_and_ends_stripped(tmp_path):
    text, lines = RECORDED["read_lines_example"]
    path = write(tmp_path / "list.txt", text)
    rows = read_manifest(path, required=())
    assert rows == [line_to_dict(line) for line in lines]
    indented = write(tmp_path / "indented.txt", f"\ufeff  {LINE}\r\n\n")
    assert read_manifest(indented) == [json.loads(LINE)]


def test_newer_keys_become_the_seeds(tmp_path):
    newer = '{"perf": "p1", "dur_s": 2, "work": "Song", "work_id": 4, "feat": "f.npy"}'
    old = '{"utt": "p2", "perf": "ignored", "song": "Song", "song_id": 4}'
    rows = read_manifest(write(tmp_path / "full.txt", f"{newer}\n{old}\n"))
    assert list(rows[0].items()) == [
        ("utt", "p1"),
        ("dur_s", 2),
        ("song", "Song"),
        ("song_id", 4),
        ("feat", "f.npy"),
    ]
    assert rows[1] == {"utt": "p2", "song": "Song", "song_id": 4}


def test_tab_separated_numbers_are_numbers_and_names_are_text(tmp_path):
    text = (
        'utt:7\twav:/x/y:z.wav\tdur_s:3.5\t song:Two Words\tsong_id:3\n{"utt": 8, "song": 1999}\n'
    )
    rows = read_manifest(write(tmp_path / "dataset.txt", text))
    assert rows[0] == {
        "utt": "7",
        "wav": "/x/y:z.wav",
        "dur_s": 3.5,
        "song": "Two Words",
        "song_id": 3,
    }
    assert rows[1] == {"utt": "8", "song": "1999"}


def test_what_is_written_is_read_again_with_the_seeds_keys(tmp_path):
    rows = [{"perf": "ü▁x", "work": "Line\u2028separator", "n": None}, {"utt": "b", "l": [1, 2]}]
    path = tmp_path / "new" / "list.txt"
    write_manifest(iter(rows), path)
    assert read_manifest(path) == [
        {"utt": "ü▁x", "song": "Line\u2028separator", "n": None},
        {"utt": "b", "l": [1, 2]},
    ]
    assert path.read_text("utf-8").count("\n") == 2


def test_an_empty_list_is_not_written(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("before")
    with pytest.raises(UserError, match=r"list\.txt was not written"):
        write_manifest([], path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no line"),
        (" \n\n", "holds no line"),
        (f'{LINE}\n\n{{"utt": \n', "line 3: the line is not valid JSON"),
        (f"{LINE}\n{LINE}\n", "line 2: utt 'a' already stands on line 1"),
        ('{"song": "S"}\n', r"line 1: the key utt \(or perf\) is missing or empty"),
        ('{"utt": "", "song": "S"}\n', "line 1: the key utt"),
        ('{"utt": "a", "song": null}\n', r"line 1: the key song \(or work\)"),
        ("utt:a\tsong:S\tdur_s:long\n", "line 1: dur_s must be a number, not 'long'"),
        ("utt:a\tsong:S\tlen:1.5\n", "line 1: len must be a whole number, not '1.5'"),
    ],
)
def test_mistakes_are_named_by_file_and_line(tmp_path, text, sentence):
    path = write(tmp_path / "dataset.txt", text)
    with pytest.raises(UserError, match=rf"dataset\.txt.*{sentence}") as caught:
        read_manifest(path, required=("utt", "song"))
    assert "\n" not in str(caught.value)


def test_repeated_recordings_can_be_allowed(tmp_path):
    path = write(tmp_path / "dataset.txt", f"{LINE}\n{LINE}\n")
    assert len(read_manifest(path, unique=False)) == 2


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="cannot read"):
        read_manifest(tmp_path / "missing.txt")
    with pytest.raises(UserError, match="cannot read"):
        read_manifest(tmp_path)
    (tmp_path / "latin.txt").write_bytes("utt:é".encode("latin-1"))
    with pytest.raises(UserError, match="not a text file in UTF-8"):
        read_manifest(tmp_path / "latin.txt")
