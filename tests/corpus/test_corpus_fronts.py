"""tools.render_corpus and tools.make_demo as a person types them."""

import os
import signal
import sys
from pathlib import Path

import pytest

from src.corpus import soundfonts
from src.corpus.render import load_fluidsynth
from src.corpus.soundfonts import find_soundfonts
from src.corpus.tune import save_tunes
from src.data.manifest import read_manifest
from src.errors import UserError
from tests.corpus.test_plan import make_tune
from tools import make_demo, render_corpus


@pytest.fixture(autouse=True)
def _same_signals_afterwards():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    save_tunes([make_tune("songs/anna"), make_tune("songs/bert")], tmp_path / "songs.json")
    path = tmp_path / "corpus.yaml"
    path.write_text(
        f"tunes: ['{tmp_path / 'songs.json'}']\nversions: 1\nduration: [15, 21]\n"
        "sample_rate: 22050\nrecordings: {direct: 1}\n"
        "features: [crema_pcp-0.1.0]\naudio: {codec: flac, sample_rate: 22050}\n"
    )
    return path


@pytest.mark.system("fluidsynth")
def test_a_small_corpus_is_made_and_then_found_complete(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    try:
        load_fluidsynth()
        smallest = min(find_soundfonts().values(), key=lambda path: path.stat().st_size)
    except UserError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with config.open("a") as handle:
        handle.write(f"soundfonts: ['{smallest}']\n")
    out = tmp_path / "corpus"
    assert render_corpus.main([str(config), str(out), "--workers", "0"]) == 0
    assert "made 2 versions" in capsys.readouterr().out
    rows = read_manifest(out / "dataset.txt")
    assert {row["song"] for row in rows} == {"songs/anna", "songs/bert"}
    for row in rows:
        assert 15 <= row["dur_s"] <= 21
        assert Path(row["wav"]).is_file()
        assert Path(row["features"]).is_file()
        assert row["choices"]["recording"]["kind"] == "direct"
        assert row["choices"]["arrangement"]["style"]
    manifest = (out / "dataset.txt").read_bytes()
    assert render_corpus.main([str(config), str(out), "--workers", "0"]) == 0
    assert "made 0 versions (0.00 h), 2 were there" in capsys.readouterr().out
    assert (out / "dataset.txt").read_bytes() == manifest

    with pytest.raises(UserError, match="another --features-only; choose another folder"):
        render_corpus.main([str(config), str(out), "--workers", "0", "--features-only"])
    config.write_text(config.read_text().replace("duration: [15, 21]", "duration: [15, 30]"))
    with pytest.raises(UserError, match="made with another 'duration'; choose another folder"):
        render_corpus.main([str(config), str(out), "--workers", "0"])
    config.write_text(config.read_text().replace("duration: [15, 30]", "duration: [15, 21]"))
    config.write_text(config.read_text().replace("versions: 1", "versions: 2"))
    assert render_corpus.main([str(config), str(out), "--workers", "0"]) == 0
    assert "made 2 versions" in capsys.readouterr().out


def test_nothing_is_written_when_something_is_missing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "corpus"
    monkeypatch.setattr(soundfonts, "soundfont_folders", list)
    monkeypatch.setattr(render_corpus, "load_fluidsynth", lambda: None)
    with pytest.raises(UserError, match="apt install"):
        render_corpus.main([str(config), str(out)])
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(UserError, match=r"pyfluidsynth is missing.*requirements_corpus\.txt"):
        render_corpus.main([str(config), str(out)])
    with pytest.raises(UserError, match="pyfluidsynth is missing"):
        make_demo.main(["--tunes", "none.json", "--out", str(out)])
    assert not out.exists()


def test_another_package_called_fluidsynth_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fluidsynth", type(sys)("fluidsynth"))
    with pytest.raises(UserError, match="pip uninstall fluidsynth"):
        load_fluidsynth()


def test_features_only_needs_features(config: Path, tmp_path: Path) -> None:
    text = config.read_text().replace("features: [crema_pcp-0.1.0]\n", "")
    config.write_text(text)
    with pytest.raises(UserError, match="--features-only needs a list 'features'"):
        render_corpus.main([str(config), str(tmp_path / "corpus"), "--features-only"])
    with pytest.raises(UserError, match="--workers"):
        render_corpus.main([str(config), str(tmp_path / "corpus"), "--workers", "-1"])
