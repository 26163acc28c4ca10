"""Which files a folder or a manifest means."""

import json
import sys

import pytest

from src.data.csi_stages import init_rows
from src.data.manifest import read_manifest
from src.data.recordings import find_all_recordings, find_recordings
from src.errors import UserError
from tools import make_dataset


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_sub_folders_are_works(tmp_path):
    touch(tmp_path, "b/2.ogg", "b/1.MP3", "a/live/x.strange", "a/cover.jpg", "a/.hidden.wav")
    touch(tmp_path, ".cache/a/y.wav", "a/notes.txt")
    found = find_recordings(tmp_path)
    assert [(r.name, r.work) for r in found] == [
        ("a/live/x.strange", "a"),
        ("b/1.MP3", "b"),
        ("b/2.ogg", "b"),
    ]


def test_loose_files_are_works_of_their_own(tmp_path, caplog):
    touch(tmp_path, "one.wav", "two.wav", "three/a.wav")
    assert [r.work for r in find_recordings(tmp_path)] == ["one", "three", "two"]
    assert "2 recordings lie directly in" in caplog.text


@pytest.mark.parametrize("new_keys", [False, True])
def test_manifest_paths_are_found_where_the_folder_is_now(tmp_path, new_keys, monkeypatch):
    touch(tmp_path, "moved/audio/a.ogg", "elsewhere/b.ogg", "moved/c.npz")
    utt, song = ("perf", "work") if new_keys else ("utt", "song")
    rows = [
        {utt: "a", song: "x", "wav": "data/demo/audio/a.ogg"},
        {utt: "b", song: "x", "wav": "elsewhere/b.ogg", "feat": "cqt/b.cqt.npy"},
        {utt: "c", song: "y", "wav": "", "features": "out/c.npz"},
        {utt: "d", song: "y", "wav": "gone.wav"},
    ]
    manifest = tmp_path / "moved" / "dataset.txt"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    for source in (manifest, manifest.parent):
        found = find_recordings(source)
        assert [(r.name, r.work, r.is_features) for r in found] == [
            ("a", "x", False),
            ("b", "x", False),
            ("c", "y", True),
            ("d", "y", False),
        ]
        assert [r.path.is_file() for r in found] == [True, True, True, False]
        assert found[0].path.samefile(tmp_path / "moved/audio/a.ogg")


def test_features_are_taken_before_sound(tmp_path):
    touch(tmp_path, "a.wav", "a.npz")
    manifest = tmp_path / "dataset.txt"
    manifest.write_text('{"utt": "a", "song": "x", "wav": "a.wav", "features": "a.npz"}')
    assert find_recordings(manifest)[0].is_features


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"utt": "a", "song": "x"}', "names no file"),
        ('{"utt": "a", "wav": "a.wav"}', "song"),
        ("", "no line"),
    ],
)
def test_manifests_that_lack_something(tmp_path, line, message):
    manifest = tmp_path / "list.txt"
    manifest.write_text(line)
    with pytest.raises(UserError, match=message):
        find_recordings(manifest)


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        find_recordings(tmp_path / "absent")
    touch(tmp_path, "readme.txt")
    with pytest.raises(UserError, match="holds no recording"):
        find_recordings(tmp_path)


def test_several_sources_have_free_names_and_each_recording_once(tmp_path):
    touch(tmp_path, "a/x/1.wav", "b/x/1.wav", "c/b/x/1.wav")
    a, b, c = (tmp_path / name for name in ("a", "b", "c/b"))
    assert [r.name for r in find_all_recordings([a, b])] == ["x/1.wav", "b/x/1.wav"]
    beside = find_all_recordings([a])
    (found,) = find_all_recordings([b], beside=beside)
    assert (found.name, found.path) == ("b/x/1.wav", b / "x" / "1.wav")
    with pytest.raises(UserError, match=r"another recording called b/x/1\.wav; rename"):
        find_all_recordings([a, b, c])
    again = r"a: the recording x/1\.wav was named before; leave it out of one"
    for sources, others in (([a, a], ()), ([b, tmp_path / "b" / ".." / "a"], beside)):
        with pytest.raises(UserError, match=again):
            find_all_recordings(sources, beside=others)


def test_a_folder_as_a_list(tmp_path, monkeypatch, capsys):
    """What make_dataset writes is what the folder says, under names that files can have."""
    folder = tmp_path / "own"
    touch(folder, "Au clair/1931.wav", "Au clair/live/1980.ogg", "Été/a.wav", "Été/a.flac", "x.wav")
    monkeypatch.setattr(sys, "argv", ["tool", str(folder), str(tmp_path / "data")])
    make_dataset.main()
    assert "5 recordings of 3 works" in capsys.readouterr().out
    rows = read_manifest(tmp_path / "data" / "dataset.txt")
    assert [row["utt"] for row in rows] == [
        "Au clair_1931",
        "Au clair_live_1980",
        "x",
        "Été_a",
        "Été_a-2",
    ]
    assert init_rows(rows) == sorted(rows, key=lambda row: row["utt"])
    listed = find_recordings(tmp_path / "data" / "dataset.txt")
    assert [(r.work, r.path) for r in listed] == [(r.work, r.path) for r in find_recordings(folder)]
    # A list in the folder itself does not hide what has come since.
    monkeypatch.setattr(sys, "argv", ["tool", str(folder), str(folder)])
    make_dataset.main()
    touch(folder, "y.wav")
    make_dataset.main()
    assert "6 recordings of 4 works" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["tool", str(folder / "x.wav"), str(tmp_path)])
    with pytest.raises(UserError, match="is no folder"):
        make_dataset.main()
