"""The bundled demo is whole: sixty short recordings, every one with its source."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from src.corpus.demo import LARGEST_DEMO, sources_text
from src.corpus.works import read_work_list
from src.data.manifest import read_manifest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "data/demo"


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    return read_manifest(DEMO / "dataset.txt", required=("utt", "wav", "dur_s", "song", "version"))


def test_twenty_works_in_three_versions_half_songs_half_fiddle_tunes(rows: list[dict]) -> None:
    versions = Counter(row["song"] for row in rows)
    assert len(versions) == 20
    assert set(versions.values()) == {3}
    assert Counter(work.split("/")[0] for work in versions) == {"openewld": 10, "fiddle": 10}
    assert set(versions) == set(read_work_list(DEMO / "works.txt"))


def test_manifest_and_folder_agree(rows: list[dict]) -> None:
    assert {row["wav"] for row in rows} == {f"data/demo/{p.name}" for p in DEMO.glob("*.ogg")}
    assert sum(p.stat().st_size for p in DEMO.glob("*.ogg")) <= LARGEST_DEMO


def test_every_recording_is_mono_sounding_and_as_long_as_it_says(rows: list[dict]) -> None:
    for row in rows:
        signal, rate = soundfile.read(ROOT / row["wav"], dtype="float32")
        assert signal.ndim == 1, row["utt"]
        seconds = len(signal) / rate
        assert 45 <= seconds <= 60, row["utt"]
        assert seconds == pytest.approx(row["dur_s"], abs=0.1), row["utt"]
        assert np.isfinite(signal).all(), row["utt"]
        assert 0.02 < np.abs(signal).max() <= 1, row["utt"]
        assert np.sqrt(np.mean(signal**2)) > 0.003, row["utt"]


def test_versions_of_a_work_differ_in_what_covers_change(rows: list[dict]) -> None:
    for work in {row["song"] for row in rows}:
        choices = [row["choices"] for row in rows if row["song"] == work]
        for name in ("style", "lead", "transposition"):
            assert len({c["arrangement"][name] for c in choices}) == 3, (work, name)
        assert len({c["recording"]["kind"] for c in choices}) == 3, work


def test_fiddle_tunes_play_other_printed_settings(rows: list[dict]) -> None:
    for work in {row["song"] for row in rows if row["song"].startswith("fiddle/")}:
        settings = [row for row in rows if row["song"] == work]
        assert {row["setting"] for row in settings} == {0, 1, 2}
    collections = {row["collection"] for row in rows if row["song"].startswith("fiddle/")}
    assert len(collections) == 3


def test_every_source_is_named(rows: list[dict]) -> None:
    text = (DEMO / "SOURCES.md").read_text("utf-8")
    assert text == sources_text(rows)
    for row in rows:
        for key in ("title", "collection", "licence", "soundfont"):
            assert row[key], (row["utt"], key)
        assert f"| {row['utt']} |" in text
    assert "TimGM6mb" not in {row["soundfont"] for row in rows}
    assert "(MIT)" in text
