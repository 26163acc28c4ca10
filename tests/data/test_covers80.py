import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from src.config import load_extract_hparams, load_hparams
from src.data import covers80
from src.data.covers80 import prepare_covers80
from src.data.manifest import read_manifest
from src.errors import UserError
from tests.data.web import Site, serve

DATA = Path("data")


def sound(seconds: float = 1.0, rate: int = 16000) -> bytes:
    """What stands for an mp3 of the archive."""
    signal = 0.3 * np.sin(np.arange(int(seconds * rate)) / 20)
    file = io.BytesIO()
    soundfile.write(file, signal, rate, format="MP3")
    return file.getvalue()


def make_archive(path: Path, recordings: dict[str, bytes], extra=()) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        listing = {"coversongs/covers32k/list1.list": b"lists", "coversongs/README.txt": b"text"}
        for name, content in (listing | recordings).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    return path


def in_archive(row: dict) -> str:
    return f"coversongs/covers32k/{row['song']}/{row['version']}"


@pytest.fixture
def listed(tmp_path, monkeypatch) -> list[dict]:
    """The first four lines of dataset.txt are the whole set, in an empty current folder."""
    rows = read_manifest(DATA / "covers80" / "dataset.txt")[:4]
    shipped = tmp_path / "repository" / "data"
    for name in ("covers80", "covers80_testset"):
        (shipped / name).mkdir(parents=True)
        text = "".join(json.dumps(row | {"dur_s": 1.0}) + "\n" for row in rows)
        (shipped / name / "dataset.txt").write_text(text)
        (shipped / name / "hparams.yaml").write_text(f"# {name}\n")
    monkeypatch.setattr(covers80, "REPOSITORY", tmp_path / "repository")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return rows


# --- the files of the repository


@pytest.mark.parametrize("name", ["covers80", "covers80_testset"])
def test_the_list_has_the_164_tracks_in_the_seeds_format(name):
    rows = read_manifest(DATA / name / "dataset.txt")
    assert len(rows) == 164
    songs = list(dict.fromkeys(row["song"] for row in rows))
    assert len(songs) == 80
    assert songs == sorted(songs)
    versions = Counter(row["song"] for row in rows)
    assert {song: n for song, n in versions.items() if n != 2} == {
        "All_Along_The_Watchtower": 4,
        "Let_It_Be": 3,
        "Take_Me_To_The_River": 3,
    }
    for number, row in enumerate(rows):
        assert list(row) == ["utt", "wav", "dur_s", "song", "version"]
        before = sum(other["song"] == row["song"] for other in rows[:number])
        assert row["utt"] == f"cover80_{number:08d}_{songs.index(row['song'])}_{before}"
        assert row["wav"] == f"data/covers80/wav_16k/{Path(row['version']).stem}.wav"
        # 16 kHz mp3s consist of frames of 576 samples.
        assert row["dur_s"] * 16000 / 576 == pytest.approx(round(row["dur_s"] * 16000 / 576))
    assert len({row["wav"] for row in rows}) == 164
    assert rows[0]["version"] == "annie_lennox+Medusa+03-A_Whiter_Shade_Of_Pale.mp3"
    assert rows[0]["dur_s"] == 316.728


def test_the_configurations_are_valid():
    extract = load_extract_hparams(DATA / "covers80")
    assert extract.aug_speed_mode == [0.8, 0.9, 1.0, 1.1, 1.2]
    assert extract.splits
    test = load_extract_hparams(DATA / "covers80_testset")
    assert (test.aug_speed_mode, test.add_noise, test.splits) == ([1.0], None, False)
    train = load_hparams("egs/covers80")
    assert train.feature_spec == extract.feature_spec == test.feature_spec
    assert (train.chunk_frame, train.mean_size, train.chunk_s) == ([1125, 900, 675], 3, 135)
    assert (train.batch_size, train.m_per_class, train.early_stopping_patience) == (64, 8, 8)
    assert train.train_path == "data/covers80/train.txt"
    assert train.dev_path == "data/covers80/dev.txt"


# --- preparation


def test_the_archive_becomes_the_recordings_that_are_listed(listed, tmp_path):
    content = {in_archive(row): sound() for row in listed}
    archive = make_archive(tmp_path / "covers80.tgz", content)
    done = prepare_covers80(archive, Path("data", "covers80"), workers=2)
    assert (len(done.present), done.works, done.made) == (4, 2, 4)
    assert done.missing == done.unlisted == done.odd == []
    for row in listed:
        info = soundfile.info(row["wav"])
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
        assert info.duration == pytest.approx(1.0, abs=0.2)
    assert read_manifest("data/covers80/dataset.txt")[0]["wav"] == listed[0]["wav"]
    assert Path("data/covers80_testset/hparams.yaml").read_text() == "# covers80_testset\n"
    assert not list(Path("data", "covers80").glob(".unpacking*"))
    again = prepare_covers80(None, Path("data", "covers80"))  # needs no archive any more
    assert (len(again.present), again.made) == (4, 0)


def test_only_what_is_missing_is_made(listed, tmp_path):
    archive = make_archive(tmp_path / "a.tgz", {in_archive(row): sound() for row in listed})
    prepare_covers80(archive, Path("data", "covers80"))
    Path(listed[2]["wav"]).unlink()
    assert prepare_covers80(archive, Path("data", "covers80")).made == 1


def test_an_unpacked_folder_and_another_place_work_too(listed, tmp_path):
    for row in listed:
        path = tmp_path / "unpacked" / in_archive(row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound())
    done = prepare_covers80(tmp_path / "unpacked", Path("other", "place"))
    assert done.made == 4
    for name in ("place", "place_testset"):
        rows = read_manifest(Path("other", name, "dataset.txt"))
        assert all(row["wav"].startswith("other/place/wav_16k/") for row in rows)
        assert all(Path(row["wav"]).is_file() for row in rows)


def test_missing_unlisted_and_odd_recordings_are_told(listed, tmp_path):
    content = {in_archive(row): sound() for row in listed[:2]}
    content[in_archive(listed[2])] = sound(3.0)
    content["coversongs/covers32k/Another_Song/x+y+01-Another_Song.mp3"] = sound()
    content["coversongs/covers32k/Abracadabra/._steve.mp3"] = b"resource fork"
    done = prepare_covers80(make_archive(tmp_path / "a.tgz", content), Path("data", "covers80"))
    assert done.missing == [Path(listed[3]["wav"])]
    assert done.unlisted == ["Another_Song/x+y+01-Another_Song.mp3"]
    assert [path for path, _, _ in done.odd] == [Path(listed[2]["wav"])]


def test_capitals_and_signs_of_a_name_do_not_matter(listed, tmp_path):
    content = {
        in_archive(row).replace("_", "-").upper().replace(".MP3", ".mp3"): sound() for row in listed
    }
    done = prepare_covers80(make_archive(tmp_path / "a.tgz", content), Path("data", "covers80"))
    assert done.missing == []


def test_a_damaged_recording_is_told_and_the_rest_made(listed, tmp_path):
    content = {in_archive(row): sound() for row in listed}
    content[in_archive(listed[1])] = b"not an mp3"
    done = prepare_covers80(make_archive(tmp_path / "a.tgz", content), Path("data", "covers80"))
    assert done.made == 3
    assert list(done.failures) == [listed[1]["wav"]]
    assert listed[1]["version"] in done.failures[listed[1]["wav"]]
    assert not Path(listed[1]["wav"]).exists()


def test_nothing_in_an_archive_can_write_elsewhere(listed, tmp_path):
    link = tarfile.TarInfo(in_archive(listed[0]))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    song = listed[1]["song"]
    content = {
        f"../../../{song}/{listed[1]['version']}": sound(),
        f"coversongs/{song}/../../../../evil.mp3": sound(),
    }
    archive = make_archive(tmp_path / "a.tgz", content, extra=[link])
    before = {path for path in tmp_path.rglob("*") if "here" not in path.parts}
    done = prepare_covers80(archive, Path("data", "covers80"))
    assert done.made == 1
    assert {path for path in tmp_path.rglob("*") if "here" not in path.parts} == before
    written = {path.name for path in Path().rglob("*") if path.is_file()}
    assert written == {"dataset.txt", "hparams.yaml", Path(listed[1]["wav"]).name}


@pytest.mark.parametrize("kind", ["cut", "text", "empty", "foreign"])
def test_a_bad_archive_is_one_sentence_and_leaves_nothing(listed, tmp_path, kind):
    archive = make_archive(tmp_path / "a.tgz", {in_archive(row): sound() for row in listed})
    content = archive.read_bytes()
    if kind == "foreign":
        make_archive(archive, {"music/a/b.mp3": sound()})
    else:
        archive.write_bytes(
            {"cut": content[: len(content) // 2], "text": b"?" * 999}.get(kind, b"")
        )
    with pytest.raises(UserError, match=r"a\.tgz"):
        prepare_covers80(archive, Path("data", "covers80"))
    assert not Path("data", "covers80", "wav_16k").exists()
    assert not list(Path("data", "covers80").glob(".unpacking*"))


def test_a_path_that_does_not_exist_is_one_sentence(listed):
    with pytest.raises(UserError, match=r"nowhere\.tgz does not exist"):
        prepare_covers80(Path("nowhere.tgz"), Path("data", "covers80"))


def test_without_an_archive_it_is_downloaded_once(listed, tmp_path, monkeypatch):
    content = make_archive(tmp_path / "a.tgz", {in_archive(row): sound() for row in listed})
    with serve(Site(files={"/covers80.tgz": content.read_bytes()})) as site:
        monkeypatch.setattr(covers80, "URL", f"{site.url}/covers80.tgz")
        assert prepare_covers80(None, Path("data", "covers80")).made == 4
        Path(listed[0]["wav"]).unlink()
        assert prepare_covers80(None, Path("data", "covers80")).made == 1
        assert len(site.requests) == 1


def test_a_failed_download_says_what_to_do(listed, monkeypatch):
    with serve(Site(status=404)) as site:
        monkeypatch.setattr(covers80, "URL", f"{site.url}/covers80.tgz")
        with pytest.raises(UserError, match=r"404.*with a browser"):
            prepare_covers80(None, Path("data", "covers80"))
    assert not Path("data", "covers80", "covers80.tgz").exists()
