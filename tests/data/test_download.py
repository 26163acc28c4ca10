import functools
import hashlib
import sys
import types

import numpy as np
import pytest

from src.data.download import ResumingDownloader, fetch
from src.errors import UserError
from tests.data.web import Site, serve

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()
QUICK = functools.partial(ResumingDownloader, attempts=4, wait=0.0, timeout=5, progress=False)


@pytest.fixture
def site():
    with serve(Site({"/a.zip": CONTENT})) as site:
        yield site


def get(site, folder, *, md5=MD5, urls=None):
    return fetch(
        "a.zip",
        folder,
        md5=md5,
        urls=urls or [f"{site.url}/a.zip?download=1"],
        manual="fetch it by hand",
        downloader=QUICK,
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole(site, tmp_path):
    assert get(site, tmp_path / "new").read_bytes() == CONTENT
    assert names(tmp_path / "new") == ["a.zip"]


def test_a_file_that_is_there_is_not_fetched_again(site, tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT)
    get(site, tmp_path)
    assert site.requests == []


def test_a_damaged_file_is_fetched_again(site, tmp_path):
    (tmp_path / "a.zip").write_bytes(CONTENT[:-1])
    assert get(site, tmp_path).read_bytes() == CONTENT


def test_a_broken_connection_is_continued(site, tmp_path):
    site.cut = [100_000, 0, 50_000]
    assert get(site, tmp_path).read_bytes() == CONTENT
    asked = [wanted for _, wanted in site.requests]
    assert asked == [None, *(f"bytes={n}-" for n in (100_000, 100_000, 150_000))]


def test_the_next_run_continues_what_this_one_lost(site, tmp_path):
    site.cut = [120_000, 0, 0, 0, 0]
    with pytest.raises(UserError, match="broke off"):
        get(site, tmp_path)
    assert names(tmp_path) == ["a.zip.part"]
    site.requests.clear()
    site.cut = []
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.requests] == ["bytes=120000-"]
    assert names(tmp_path) == ["a.zip"]


def test_a_part_that_is_already_complete_is_taken(site, tmp_path):
    (tmp_path / "a.zip.part").write_bytes(CONTENT)
    assert get(site, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("part", [b"x" * 400_000, b"x" * 1000])
def test_a_part_of_another_file_is_thrown_away(site, tmp_path, part):
    (tmp_path / "a.zip.part").write_bytes(part)
    assert get(site, tmp_path).read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(site, tmp_path):
    site.ranges = False
    site.cut = [100_000, 200_000]
    assert get(site, tmp_path).read_bytes() == CONTENT
    assert len(site.requests) == 3


def test_a_server_that_always_breaks_off_at_the_same_place_is_given_up(site, tmp_path):
    site.ranges = False
    site.cut = [100_000] * 20
    with pytest.raises(UserError, match="broke off"):
        get(site, tmp_path)
    assert len(site.requests) == 5


def test_a_wrong_checksum_leaves_nothing(site, tmp_path):
    with pytest.raises(UserError, match=r"127\.0\.0\.1: what it sends has the wrong checksum"):
        get(site, tmp_path, md5="0" * 32)
    assert names(tmp_path) == []


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (403, 1), (503, 2)])
def test_only_passing_refusals_are_tried_again(site, tmp_path, status, requests):
    site.status = status
    with pytest.raises(UserError, match=f"the server answers {status}.*fetch it by hand"):
        get(site, tmp_path)
    assert len(site.requests) == requests


def test_the_second_address_helps_when_the_first_refuses(site, tmp_path):
    urls = ["http://127.0.0.1:9/a.zip", f"{site.url}/none.zip", f"{site.url}/a.zip"]
    assert get(site, tmp_path, urls=urls).read_bytes() == CONTENT


def test_no_network_is_one_sentence_with_the_manual_way(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"half")
    with pytest.raises(UserError) as caught:
        get(None, tmp_path, urls=["http://127.0.0.1:9/a.zip"])
    sentence = str(caught.value)
    assert "no connection" in sentence
    assert "a.zip that is there is damaged" in sentence
    assert sentence.endswith("fetch it by hand")
    assert "\n" not in sentence


def test_a_folder_that_cannot_be_written_is_named(site, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*file"):
        get(site, tmp_path / "file" / "folder")


class TestDrive:
    URL = "https://drive.google.com/drive/folders/some-folder"

    def pretend(self, monkeypatch, content):
        def download_folder(url, *, output, **_):
            from pathlib import Path

            (Path(output) / "sub").mkdir(parents=True)
            (Path(output) / "sub" / "a.zip").write_bytes(content)

        module = types.SimpleNamespace(download_folder=download_folder)
        monkeypatch.setitem(sys.modules, "gdown", module)

    def test_a_folder_is_searched(self, monkeypatch, tmp_path):
        self.pretend(monkeypatch, CONTENT)
        assert get(None, tmp_path, urls=[self.URL]).read_bytes() == CONTENT
        assert names(tmp_path) == ["a.zip"]

    def test_its_files_are_checked(self, monkeypatch, tmp_path):
        self.pretend(monkeypatch, CONTENT[1:])
        with pytest.raises(UserError, match="wrong checksum"):
            get(None, tmp_path, urls=[self.URL])
        assert "a.zip" not in names(tmp_path)

    def test_gdown_is_named_when_it_is_missing(self, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, "gdown", None)
        with pytest.raises(UserError, match="pip install gdown"):
            get(None, tmp_path, urls=[self.URL])
