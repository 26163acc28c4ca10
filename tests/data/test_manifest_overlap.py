"""What two manifests share, and the pairs that an evaluation leaves out."""

import json
import sys

import pytest

from src.data.manifest import write_manifest
from src.data.manifest_overlap import compare_manifests, original_utt, write_query_in_ref
from src.errors import UserError
from src.retrieval.testset_files import read_query_in_ref
from tools import compare_datasets, make_query_in_ref


def manifest(folder, name, rows):
    for utt, _, content in rows:
        if content is not None:
            (folder / f"{utt}.wav").parent.mkdir(exist_ok=True, parents=True)
            (folder / f"{utt}.wav").write_bytes(content)
    write_manifest(
        [{"utt": utt, "song": song, "wav": str(folder / f"{utt}.wav")} for utt, song, _ in rows],
        folder / name,
    )
    return folder / name


@pytest.fixture
def two(tmp_path):
    a = [("u1", "A", b"1"), ("u2", "B", b"2"), ("u3", "C", b"3"), ("sp_0.9-u9", "D", b"9")]
    b = [("u3", "C", b"x"), ("v2", "B", b"2"), ("u1", "Z", b"1"), ("u9", "D", b"8")]
    return manifest(tmp_path / "a", "a.txt", a), manifest(tmp_path / "b", "b.txt", b)


def test_what_is_shared(two):
    overlap = compare_manifests(*two, by_content=True)
    assert overlap.sizes == (4, 4)
    assert overlap.songs == ["B", "C", "D"]
    assert overlap.utts == ["u1", "u3"]
    assert overlap.conflicts == ["u1"]
    assert overlap.copies == [("sp_0.9-u9", "u9")]
    assert overlap.contents == [("u1", "u1"), ("u2", "v2")]
    assert compare_manifests(*two).contents is None


@pytest.mark.parametrize(
    ("utt", "original"),
    [("sp_0.8-u", "u"), ("sp_0.9-sp_0.8-u", "u"), ("sp_u", "sp_u"), ("sp_-u", "sp_-u")],
)
def test_names_of_tempo_copies(utt, original):
    assert original_utt(utt) == original


@pytest.mark.parametrize(
    ("key", "pairs"), [("utt", [(0, 2), (2, 0)]), ("content", [(0, 2), (1, 1)])]
)
def test_the_evaluation_reads_the_pairs(two, tmp_path, key, pairs):
    out = tmp_path / "out" / "query_in_ref.txt"
    assert write_query_in_ref(*two, out, key=key) == pairs
    assert read_query_in_ref(out, (4, 4)).tolist() == [list(pair) for pair in pairs]


def test_the_same_path_under_two_names(tmp_path):
    for name, utt in (("a.txt", "one"), ("b.txt", "two")):
        write_manifest([{"utt": utt, "song": "s", "wav": "x.wav"}], tmp_path / name)
    pairs = write_query_in_ref(tmp_path / "a.txt", tmp_path / "b.txt", tmp_path / "o", key="file")
    assert pairs == [(0, 0)]


def test_nothing_shared_is_an_empty_list(tmp_path):
    a = manifest(tmp_path, "a.txt", [("a", "A", None)])
    b = manifest(tmp_path, "b.txt", [("b", "B", None)])
    write_query_in_ref(a, b, tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == '{"query_in_ref": []}\n'
    with pytest.raises(UserError, match=r"b\.wav of utt 'b' does not exist"):
        write_query_in_ref(a, b, tmp_path / "out.txt", key="content")


def test_the_fronts(two, tmp_path, monkeypatch, capsys):
    out = tmp_path / "overlap.json"
    monkeypatch.setattr(sys, "argv", ["x", *map(str, two), "--content", "--out", str(out)])
    compare_datasets.main()
    text = capsys.readouterr().out
    assert "3 works in both" in text
    assert "u2  =  v2" in text
    assert json.loads(out.read_text())["contents"] == [["u1", "u1"], ["u2", "v2"]]
    monkeypatch.setattr(sys, "argv", ["x", *map(str, two), str(tmp_path / "pairs.txt")])
    make_query_in_ref.main()
    assert "2 queries are among the references" in capsys.readouterr().out
