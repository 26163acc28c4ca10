"""Lists of recordings, joined."""

import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import pytest

from src.corpus.families import write_same_works
from src.data.joined import join_datasets
from src.data.manifest import read_manifest, write_manifest
from src.data.recordings import located_rows
from src.errors import UserError
from tools import join_datasets as front


def write_list(folder: Path, works: Iterable[str], *, name: str = "train.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, work in enumerate(works):
        (folder / f"{number}.npy").touch()
        rows.append({"utt": f"{work}{number}", "song": work, "feat": f"{number}.npy",
                     "song_id": 7, "version_id": 7})  # fmt: skip
    write_manifest(rows, folder / name)
    return folder / name


def test_works_are_joined_by_name_and_numbered_anew(tmp_path):
    a, b = write_list(tmp_path / "a", "xxy"), write_list(tmp_path / "b", "xzz")
    joined = join_datasets([a, b])
    assert joined.works == 3
    assert joined.excluded == 0
    assert [row["utt"] for row in joined.rows] == ["x0", "x1", "y2", "b_x0", "z1", "z2"]
    assert [row["song_id"] for row in joined.rows] == [0, 0, 1, 0, 2, 2]
    assert [row["version_id"] for row in joined.rows] == list(range(6))
    files = [Path(row["feat"]) for row in joined.rows]
    assert all(file.is_file() for file in files)
    assert [file.parent.name for file in files] == list("aaabbb")


def test_works_can_be_left_out(tmp_path):
    a, b = write_list(tmp_path / "a", "xxy"), write_list(tmp_path / "b", "xzz")
    test = write_list(tmp_path / "c", "xw")
    joined = join_datasets([a, b], exclude=[test])
    assert {row["song"] for row in joined.rows} == {"y", "z"}
    assert joined.excluded == 3
    assert joined.works == 2
    with pytest.raises(UserError, match="no recording is left"):
        join_datasets([a, b], exclude=[a, b])


def test_a_work_is_one_however_its_accents_are_encoded(tmp_path):
    def named(folder: str, *songs: str) -> Path:
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "list.txt"
        rows = [{"utt": f"{folder}{n}", "song": song} for n, song in enumerate(songs)]
        write_manifest(rows, path)
        return path

    mac = unicodedata.normalize("NFD", "Águas")
    here = unicodedata.normalize("NFC", "Águas")
    assert mac != here
    a, b = named("a", mac, "Luiza"), named("b", f"{here} ")
    joined = join_datasets([a, b])
    assert joined.works == 2
    assert [row["song"] for row in joined.rows] == [mac, "Luiza", mac]
    assert [row["song_id"] for row in joined.rows] == [0, 1, 0]
    excluded = join_datasets([a], exclude=[b])
    assert [row["song"] for row in excluded.rows] == ["Luiza"]
    assert excluded.excluded == 1


def test_works_of_a_family_are_one(tmp_path, monkeypatch, capsys):
    """With the file that corpora are made with: a melody is not on both sides of a split."""
    a, b = write_list(tmp_path / "a", "uvw"), write_list(tmp_path / "b", "xyz")
    test = write_list(tmp_path / "test", "v")
    write_same_works([["v", "z"], ["u", "x"], ["not", "here"]], tmp_path / "same.json")
    out = tmp_path / "out.txt"
    arguments = [str(out), str(a), str(b), "--exclude", str(test)]
    monkeypatch.setattr(sys, "argv", ["tool", *arguments])
    front.main()
    assert [row["song"] for row in read_manifest(out)] == list("uwxyz")
    out.unlink()
    monkeypatch.setattr(
        sys, "argv", ["tool", *arguments, "--same-works", str(tmp_path / "same.json")]
    )
    capsys.readouterr()
    front.main()
    assert "4 recordings of 3 works, 2 left out by their works" in capsys.readouterr().out
    rows = read_manifest(out)
    assert [(row["utt"], row["song"]) for row in rows] == [
        ("u0", "u"), ("w2", "w"), ("x0", "u"), ("y1", "y"),
    ]  # fmt: skip
    assert [row["song_id"] for row in rows] == [0, 1, 0, 2]
    # However the accents are encoded, and with a family whose name is not among the works.
    mac = unicodedata.normalize("NFD", "é")
    joined = join_datasets([write_list(tmp_path / "c", [mac, "w"]), a], same_works={
        unicodedata.normalize("NFC", "é"): "a", "v": "a"})  # fmt: skip
    assert [row["song"] for row in joined.rows] == ["a", "w", "u", "a", "w"]


def test_recordings_that_cannot_be_told_apart(tmp_path):
    a = write_list(tmp_path / "a", "x")
    same = [a, write_list(tmp_path / "b", "x"), write_list(tmp_path / "c" / "b", "x")]
    with pytest.raises(UserError, match=r"another recording called b_x0"):
        join_datasets(same)


def test_no_recording_becomes_a_version_of_itself(tmp_path):
    folder = tmp_path / "a"
    a = write_list(folder, "xxy")
    b = write_list(tmp_path / "b", "xz")
    part = folder / "part.txt"
    write_manifest(read_manifest(a)[2:], part)
    for lists in ([a, a], [a, b, part], [part, a]):
        with pytest.raises(
            UserError, match=r"\.txt: the recording (x0|y2) was named before; leave"
        ):
            join_datasets(lists)
    renamed = [{**row, "utt": f"new {row['utt']}"} for row in read_manifest(a)]
    write_manifest(renamed, folder / "renamed.txt")
    with pytest.raises(UserError, match="new x0 was named before, as x0"):
        join_datasets([a, folder / "renamed.txt"])

    # By its sound, where one list has features and the other one not; but a copy with noise,
    # which has the sound of its original, is another recording.
    (folder / "x.wav").touch()
    sound = {"song": "x", "wav": "x.wav"}
    lines = {
        "sound": {"utt": "x0", **sound},
        "features": {"utt": "x0", "feat": "0.npy", **sound},
        "noise": {"utt": "noise-x0", "feat": "1.npy", **sound},
    }
    paths = {name: folder / f"{name}.txt" for name in lines}
    for name, path in paths.items():
        write_manifest([lines[name]], path)
    assert len(join_datasets([paths["features"], paths["noise"]]).rows) == 2
    with pytest.raises(UserError, match="x0 was named before;"):
        join_datasets([paths["features"], paths["sound"]])


def test_a_joined_list_means_the_same_files_from_everywhere(tmp_path, monkeypatch):
    """Not those of another corpus that have the same names there."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for place in (here, elsewhere):
        for corpus in ("a", "b"):
            write_list(place / corpus, "xy")
    monkeypatch.chdir(here)
    names = {"a": "a/0.npy", "b": "gone/9.npy"}  # from the current folder, and missing
    for corpus, name in names.items():
        write_manifest([{"utt": corpus, "song": "x", "feat": name}], Path(corpus, "list.txt"))
    monkeypatch.setattr(sys, "argv", ["tool", "joined.txt", "a/list.txt", "b/list.txt"])
    front.main()
    (elsewhere / "gone").mkdir()
    (elsewhere / "gone" / "9.npy").touch()
    (here / "joined.txt").rename(elsewhere / "joined.txt")
    monkeypatch.chdir(elsewhere)
    first, second = (Path(row["feat"]) for row in located_rows("joined.txt"))
    assert first == here / "a" / "0.npy"
    assert second.is_absolute()
    assert not second.exists()


def test_the_front(tmp_path, monkeypatch, capsys):
    a, b = write_list(tmp_path / "a", "xxy"), write_list(tmp_path / "b", "xzz")
    out = tmp_path / "new" / "train.txt"
    arguments = ["tool", str(out), str(a), str(b), "--exclude", str(a)]
    monkeypatch.setattr(sys, "argv", arguments)
    front.main()
    assert "2 recordings of 1 works, 4 left out by their works" in capsys.readouterr().out
    assert [row["utt"] for row in read_manifest(out)] == ["z1", "z2"]
    other = write_list(tmp_path / "c", "w")
    for more, words in (
        ([], "3 recordings of 2 works\n"),
        (["--exclude", str(other)], "2 works, 0 left out by their works\n"),
    ):
        out.unlink()
        monkeypatch.setattr(sys, "argv", ["tool", str(out), str(b), *more])
        front.main()
        assert capsys.readouterr().out.endswith(words)
    before = a.read_bytes()
    monkeypatch.setattr(sys, "argv", ["tool", str(a), str(b)])
    with pytest.raises(UserError, match="exists already"):
        front.main()
    assert a.read_bytes() == before
