"""Making a corpus on disk: whole files, resumption, failures, the manifest."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from src.audio.cqt import CQTSpec
from src.corpus.build import BuildReport, Output, build, write_audio
from src.corpus.configuration import AudioFormat
from src.corpus.maker import MadeVersion, MakerSettings, cut_to
from src.corpus.plan import Job, plan_jobs
from src.data.cqt_features import load_cqt, read_spec
from src.data.manifest import read_manifest
from src.errors import UserError
from tests.corpus.test_plan import make_tune

RATE = 16000
TUNES = [make_tune(f"songs/{name}") for name in ("anna", "bert", "cilla")]
SETTINGS = MakerSettings(0, (60.0, 70.0), RATE, {}, None)
FLAC = AudioFormat(codec="flac", sample_rate=RATE)


class FakeMaker:
    """A second of a tone that tells work and version; counts what it makes."""

    made: list[str] = []  # noqa: RUF012 - shared on purpose

    def __init__(self, settings: MakerSettings) -> None:
        self.settings = settings

    def __call__(self, job: Job) -> MadeVersion:
        if job.utt in FailingMaker.bad and isinstance(self, FailingMaker):
            raise FailingMaker.error
        FakeMaker.made.append(job.utt)
        pitch = 200 + 100 * "abc".index(job.tune.title[0]) + 7 * job.version
        tone = 0.5 * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE)
        return MadeVersion(tone.astype(np.float32), RATE, {"pitch": pitch})


class FailingMaker(FakeMaker):
    bad: frozenset[str] = frozenset()
    error: Exception = ValueError("fewer than eight notes")


def last(reports: Iterable[BuildReport]) -> BuildReport:
    return list(reports)[-1]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeMaker, "made", [])
    monkeypatch.setattr(FailingMaker, "bad", frozenset())


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_manifest_and_audio(tmp_path: Path) -> None:
    jobs = plan_jobs(TUNES, versions=2)
    output = Output(tmp_path, FLAC)
    report = last(build(jobs, output, SETTINGS, workers=0, maker=FakeMaker))
    assert (report.made, report.kept, report.failed) == (6, 0, {})
    assert report.seconds == pytest.approx(6.0)
    rows = read_manifest(tmp_path / "dataset.txt", required=("utt", "wav", "song", "version"))
    assert [row["utt"] for row in rows] == [job.utt for job in jobs]
    assert [row["song"] for row in rows[:3]] == ["songs/anna", "songs/bert", "songs/cilla"]
    for row, job in zip(rows, jobs, strict=True):
        signal, rate = soundfile.read(row["wav"])
        assert (rate, signal.ndim) == (RATE, 1)
        assert len(signal) / rate == row["dur_s"] == 1.0
        peak = np.argmax(np.abs(np.fft.rfft(signal)))
        assert peak == row["choices"]["pitch"]
        assert row["version"] == f"v{job.version:02d}"
    assert not list(tmp_path.rglob("*.tmp*"))


def test_resumption_makes_only_what_is_missing_and_ends_equal(tmp_path: Path) -> None:
    jobs = plan_jobs(TUNES, versions=2)
    whole, parts = Output(tmp_path / "whole", FLAC), Output(tmp_path / "parts", FLAC)
    last(build(jobs, whole, SETTINGS, workers=0, maker=FakeMaker))
    FakeMaker.made.clear()

    interrupted = build(jobs, parts, SETTINGS, workers=0, maker=FakeMaker)
    for report in interrupted:
        if report.made == 2:
            break
    interrupted.close()  # as Ctrl-C does
    assert FakeMaker.made == [job.utt for job in jobs[:2]]
    assert len(read_manifest(parts.folder / "dataset.txt")) == 2
    parts.row_path(jobs[1]).unlink()  # stopped after the audio, before the row: made again

    report = last(build(jobs, parts, SETTINGS, workers=0, maker=FakeMaker))
    assert (report.made, report.kept) == (5, 1)
    assert FakeMaker.made[2:] == [job.utt for job in jobs[1:]]
    left, right = contents(whole.folder), contents(parts.folder)
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].replace(b"/whole/", b"/parts/") == right[name], name


def test_a_larger_plan_continues_a_smaller_one(tmp_path: Path) -> None:
    output = Output(tmp_path, FLAC)
    last(build(plan_jobs(TUNES[:2], versions=1), output, SETTINGS, workers=0, maker=FakeMaker))
    jobs = plan_jobs(TUNES, versions=2)
    report = last(build(jobs, output, SETTINGS, workers=0, maker=FakeMaker))
    assert (report.made, report.kept) == (4, 2)
    assert len(read_manifest(tmp_path / "dataset.txt")) == 6


def test_a_bad_tune_is_counted_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = plan_jobs(TUNES, versions=1)
    monkeypatch.setattr(FailingMaker, "bad", frozenset({jobs[1].utt}))
    output = Output(tmp_path, FLAC)
    report = last(build(jobs, output, SETTINGS, workers=0, maker=FailingMaker))
    assert report.made == 2
    assert list(report.failed) == [jobs[1].utt]
    assert "fewer than eight notes" in report.failed[jobs[1].utt]
    assert len(read_manifest(tmp_path / "dataset.txt")) == 2
    monkeypatch.setattr(FailingMaker, "bad", frozenset())
    assert last(build(jobs, output, SETTINGS, workers=0, maker=FailingMaker)).made == 1


def test_what_concerns_all_versions_stops_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = plan_jobs(TUNES, versions=1)
    monkeypatch.setattr(FailingMaker, "bad", frozenset({jobs[0].utt}))
    monkeypatch.setattr(FailingMaker, "error", UserError("SoundFont X has no drum kit"))
    with pytest.raises(UserError, match="no drum kit"):
        last(build(jobs, Output(tmp_path, FLAC), SETTINGS, workers=0, maker=FailingMaker))


def test_processes_make_the_same_files(tmp_path: Path) -> None:
    jobs = plan_jobs(TUNES, versions=1)
    here, there = Output(tmp_path / "here0", FLAC), Output(tmp_path / "there", FLAC)
    last(build(jobs, here, SETTINGS, workers=0, maker=FakeMaker))
    report = last(build(jobs, there, SETTINGS, workers=1, maker=FakeMaker))
    assert report.made == 3
    left, right = contents(here.folder), contents(there.folder)
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].replace(b"/here0/", b"/there/") == right[name], name


def test_features_only(tmp_path: Path) -> None:
    jobs = plan_jobs(TUNES[:1], versions=1)
    output = Output(tmp_path, None, ("crema_pcp-0.1.0", "cqt"))
    last(build(jobs, output, SETTINGS, workers=0, maker=FakeMaker))
    (row,) = read_manifest(tmp_path / "dataset.txt")
    assert row["wav"] == ""
    with np.load(row["features"], allow_pickle=False) as arrays:
        pcp = arrays["crema_pcp"]
    assert pcp.dtype == np.float16
    assert pcp.shape == (44100 // 4096, 12)
    assert (pcp >= 0).all()
    assert (pcp <= 1).all()
    assert row["feat_len"] == 25
    decibels = load_cqt(row["feat"])
    assert decibels.shape == (25, 96)
    assert decibels.max() == 0
    assert read_spec(Path(row["feat"]).parent) == CQTSpec()
    assert not (tmp_path / "audio").exists()


@pytest.mark.parametrize("codec", ["flac", "vorbis", "opus"])
def test_audio_is_written_at_the_rate_asked_for_and_below_full_scale(
    tmp_path: Path, codec: str
) -> None:
    time = np.arange(2 * RATE) / RATE
    loud = MadeVersion(np.sign(np.sin(2 * np.pi * 50 * time)).astype(np.float32), RATE, {})
    path = tmp_path / f"x.{codec}"
    write_audio(loud, path, AudioFormat(codec=codec, compression=0.9, sample_rate=22050))
    signal, rate = soundfile.read(path)
    assert rate == (48000 if codec == "opus" else 22050)
    assert len(signal) / rate == pytest.approx(2, abs=1e-3)
    assert 0.5 < np.abs(signal).max() <= 1.0


def test_cutting_to_length_fades() -> None:
    signal = np.ones(10 * RATE, dtype=np.float32)
    same, cut = cut_to(signal, RATE, 10.0)
    assert not cut
    assert same is signal
    short, cut = cut_to(signal, RATE, 4.0)
    assert cut
    assert len(short) == 4 * RATE
    assert short[: 3 * RATE].min() == 1
    assert short[-1] == 0
    assert signal.min() == 1  # the input is left as it was


def test_rows_are_single_lines_of_json(tmp_path: Path) -> None:
    jobs = plan_jobs(TUNES[:1], versions=1)
    output = Output(tmp_path, FLAC)
    last(build(jobs, output, SETTINGS, workers=0, maker=FakeMaker))
    lines = (tmp_path / "dataset.txt").read_text().splitlines()
    assert list(json.loads(lines[0])) == [
        "utt", "wav", "dur_s", "song", "version", "title", "choices",
    ]  # fmt: skip


def test_versions_of_a_family_are_one_song_also_where_they_were_made_before(
    tmp_path: Path,
) -> None:
    output = Output(tmp_path, FLAC)
    last(build(plan_jobs(TUNES[:2], versions=1), output, SETTINGS, workers=0, maker=FakeMaker))
    family = [replace(tune, family="songs/anna") for tune in TUNES]
    report = last(
        build(plan_jobs(family, versions=1), output, SETTINGS, workers=0, maker=FakeMaker)
    )
    assert (report.made, report.kept) == (1, 2)
    rows = read_manifest(tmp_path / "dataset.txt")
    assert [row["song"] for row in rows] == ["songs/anna"] * 3
    assert rows[2]["notation"] == "songs/cilla"
