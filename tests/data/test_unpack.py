import stat
import zipfile

import pytest

from src.data.unpack import unpack_zip
from src.errors import UserError


def make_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member, content in members:
            file.writestr(member, content)
    return path


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("prefix", ["set/", ""])
def test_a_zip_with_or_without_its_folder_gives_the_folder(tmp_path, prefix):
    archive = make_zip(
        tmp_path / "set.zip",
        [(f"{prefix}w/p.h5", "1"), (f"{prefix}q.h5", "2"), ("__MACOSX/._q", "x")],
    )
    found = unpack_zip(archive, tmp_path / "out")
    assert found == tmp_path / "out" / "set"
    assert tree(tmp_path / "out") == {"set/w/p.h5": "1", "set/q.h5": "2"}


def test_an_old_folder_is_replaced(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "old").write_text("")
    unpack_zip(make_zip(tmp_path / "set.zip", [("set/new", "1")]), tmp_path)
    assert tree(tmp_path / "set") == {"new": "1"}


def link(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "evil",
    [
        "../out.txt",
        "set/../../out.txt",
        "/etc/out.txt",
        "..\\out.txt",
        "C:\\out.txt",
        link("set/l"),
    ],
)
def test_paths_outside_and_links_are_refused_before_anything_is_written(tmp_path, evil):
    archive = make_zip(tmp_path / "set.zip", [("set/good", "1"), (evil, "/etc/passwd")])
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    with pytest.raises(UserError, match="nothing was unpacked"):
        unpack_zip(archive, folder)
    assert tree(tmp_path / "deep") == {}
    assert list(folder.iterdir()) == []


def damaged(path):
    make_zip(path, [("set/a", "some content " * 100)])
    content = bytearray(path.read_bytes())
    content[40:44] = b"\0\1\2\3"
    path.write_bytes(content)


def truncated(path):
    make_zip(path, [("set/a", "some content")])
    path.write_bytes(path.read_bytes()[:-30])


def not_a_zip(path):
    path.write_bytes(b"<html>Not found</html>")


def empty(path):
    make_zip(path, [])


@pytest.mark.parametrize("make", [damaged, truncated, not_a_zip, empty])
def test_a_bad_zip_is_named_and_leaves_nothing(tmp_path, make):
    make(tmp_path / "set.zip")
    with pytest.raises(UserError, match=r"set\.zip is (damaged|empty)"):
        unpack_zip(tmp_path / "set.zip", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]


def test_a_full_disk_is_noticed_before_anything_is_written(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "set.zip", [("set/a", "12345")])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 4}))
    with pytest.raises(UserError, match="free some space"):
        unpack_zip(archive, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]
