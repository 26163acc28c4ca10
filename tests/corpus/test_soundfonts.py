"""SoundFonts are found by name or path, and their absence is said with the remedy."""

import hashlib
from pathlib import Path

import pytest

from src.corpus import soundfonts
from src.corpus.soundfonts import available_soundfonts, find_soundfonts, fingerprint
from src.errors import UserError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(soundfonts, "soundfont_folders", lambda: [tmp_path / "none", tmp_path])
    return tmp_path


def test_search_prefers_free_fonts_and_ignores_links(folder: Path) -> None:
    for name in ("TimGM6mb.sf2", "FluidR3_GM.sf2", "MuseScore_General_Full.sf3", "Mine.SF2"):
        (folder / name).write_bytes(b"x")
    (folder / "notes.txt").write_bytes(b"x")
    (folder / "default-GM.sf2").symlink_to(folder / "TimGM6mb.sf2")
    assert set(available_soundfonts()) == {
        "TimGM6mb", "FluidR3_GM", "MuseScore_General_Full", "Mine",
    }  # fmt: skip
    assert list(find_soundfonts()) == ["FluidR3_GM", "MuseScore_General_Full", "TimGM6mb"]
    chosen = find_soundfonts(["MuseScore_General", str(folder / "Mine.SF2")])
    assert list(chosen) == ["MuseScore_General_Full", "Mine"]


def test_missing_fonts_come_with_the_command(folder: Path) -> None:
    with pytest.raises(UserError, match=r"no General MIDI SoundFont.*apt install"):
        find_soundfonts()
    with pytest.raises(UserError, match=r"SoundFont FluidR3_GM was not found; .*apt install"):
        find_soundfonts(["FluidR3_GM"])
    with pytest.raises(UserError, match=r"nowhere\.sf2 does not exist"):
        find_soundfonts([str(folder / "nowhere.sf2")])
    with pytest.raises(UserError, match="empty"):
        find_soundfonts([])


def test_own_folders_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDFONTS", f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    assert soundfonts.soundfont_folders()[:2] == [tmp_path / "a", tmp_path / "b"]


def test_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "x.sf2"
    path.write_bytes(b"a" * 3_000_000)
    assert fingerprint(path) == hashlib.sha256(b"a" * 3_000_000).hexdigest()
