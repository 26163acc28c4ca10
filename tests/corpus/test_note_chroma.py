"""Chroma from notes: its symmetries, its seed, what it hears, and corpora that need no sound."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from src.corpus.arrange import arrange
from src.corpus.note_activity import FRAME_S, Played, note_activity
from src.corpus.note_chroma import NoteChroma, load_weights, save_weights, sigmoid
from src.corpus.note_chroma_fit import (
    Pair,
    agreement,
    expected_logits,
    fit_corpus,
    fit_network,
    fit_residual,
    frame_correlation,
    raw_chroma,
)
from src.corpus.performance import Performance, PlayedNote, Track
from src.corpus.tune import save_tunes
from src.data.crema_features import read_features
from src.data.dataset_file import load_dataset_file
from src.data.manifest import read_manifest
from src.errors import UserError
from tests.corpus.test_plan import make_tune
from tests.corpus.tunes import simple_tune
from tools import extract_crema_pcp, render_corpus

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def chroma() -> NoteChroma:
    return NoteChroma()


@pytest.fixture(scope="module")
def performance() -> Performance:
    return arrange(simple_tune(), seed=5, version=2, target_duration=(25.0, 40.0))


def held(*pitches: int, start: float = 1.0, end: float = 9.0, duration: float = 10.0):
    """A chord of strings."""
    notes = tuple(PlayedNote(start, end - start, pitch, 90) for pitch in pitches)
    return Performance((Track("chords", 48, False, notes),), 0.0, duration)


def transposed(performance: Performance, steps: int) -> Performance:
    tracks = tuple(
        replace(
            track,
            notes=tuple(
                note if track.is_drums else replace(note, pitch=note.pitch + steps)
                for note in track.notes
            ),
        )
        for track in performance.tracks
    )
    return replace(performance, tracks=tracks)


def test_shape_and_range(chroma: NoteChroma, performance: Performance) -> None:
    recording = {"edges": {"lead_s": 1.0, "tail_s": 0.5}, "speed": {"speed": 1.01}}
    played = Played(performance, recording, seed=(1, "a"))
    activity, pcp = note_activity(played), chroma(played)
    frames = int((performance.duration + 1.5 + 1.5) / 1.01 / FRAME_S)
    assert (activity.shape, activity.dtype) == ((frames, 12, 6), np.float32)
    assert (pcp.shape, pcp.dtype) == ((frames, 12), np.float32)
    for values in (activity, pcp):
        assert values.min() >= 0
        assert values.max() <= 1
    assert len(chroma(replace(played, seconds=20.0))) == int(20.0 / FRAME_S)


def test_notes_are_heard_when_the_recording_has_them() -> None:
    recording = {"edges": {"lead_s": 2.0, "fade_out_s": 3.0}, "speed": {"speed": 0.5}}
    level = note_activity(Played(held(60), recording))[:, 0, 5]
    sounding = np.flatnonzero(level > 0.5) * FRAME_S
    assert sounding[0] == pytest.approx((2 + 1) / 0.5, abs=0.1)
    assert sounding[-1] == pytest.approx((2 + 9) / 0.5, abs=0.3)
    plain = note_activity(Played(held(60, end=10.0), {"edges": {"fade_out_s": 0.0}}))[:, 0, 0:6]
    faded = note_activity(Played(held(60, end=10.0), {"edges": {"fade_out_s": 6.0}}))[:, 0, 0:6]
    assert np.allclose(plain[:55, 1], faded[:55, 1])
    assert faded[100, 1] < plain[100, 1] - 0.1


@pytest.mark.parametrize("steps", [1, -5, 11])
def test_a_transposition_rolls_the_chroma(
    chroma: NoteChroma, performance: Performance, steps: int
) -> None:
    before, after = Played(performance), Played(transposed(performance, steps))
    assert np.array_equal(np.roll(note_activity(before), steps, axis=1), note_activity(after))
    expected = np.roll(sigmoid(chroma.logits(before)), steps, axis=1)
    assert np.abs(expected - sigmoid(chroma.logits(after))).max() < 1e-5
    # A tape that runs a semitone fast is a transposition, but for the time that it takes.
    sharp = replace(performance, tuning_cents=performance.tuning_cents + 100.0)
    shifted = np.roll(note_activity(before), 1, axis=1)
    assert np.allclose(note_activity(Played(sharp)), shifted, atol=1e-6)


def test_the_seed_decides(chroma: NoteChroma, performance: Performance) -> None:
    one = chroma(Played(performance, seed=(3, "a")))
    assert np.array_equal(one, chroma(Played(performance, seed=(3, "a"))))
    other = chroma(Played(performance, seed=(3, "b")))
    mean = NoteChroma(noise=0.0)(Played(performance, seed=(3, "a")))
    assert np.array_equal(mean, NoteChroma(noise=0.0)(Played(performance, seed=(3, "b"))))
    # Two recordings of the same performance are alike, and nearer to their mean.
    assert 0.6 < frame_correlation(one, other) < 0.97
    assert frame_correlation(one, mean) > frame_correlation(one, other)


def test_a_held_chord_is_heard(chroma: NoteChroma) -> None:
    loud = sigmoid(chroma.logits(Played(held(48, 55, 60, 64, 67))))
    inside = loud[20:85].mean(0)
    assert set(np.argsort(inside)[-3:]) == {0, 4, 7}
    assert inside[[0, 4, 7]].min() > 0.6
    assert np.delete(inside, [0, 4, 7]).max() < 0.3
    minor = sigmoid(chroma.logits(Played(held(45, 52, 57, 60, 64))))[20:85].mean(0)
    assert set(np.argsort(minor)[-3:]) == {9, 0, 4}


def test_silence_is_low(chroma: NoteChroma) -> None:
    late = sigmoid(chroma.logits(Played(held(48, 55, 60, 64, start=15.0, end=24.0, duration=25.0))))
    # As with the real one, nothing sounds like no pitch class more than another.
    assert np.ptp(late[:100], axis=1).max() < 0.01
    assert late[:100].max() < 0.35
    assert late[200:250, [0, 4, 7]].min() > 0.6


def test_noise_has_the_distribution_that_was_fitted(chroma: NoteChroma) -> None:
    residual = chroma.residual
    rng = np.random.default_rng(0)
    logits = np.repeat(rng.uniform(-6, 3, (400, 12)), 10, axis=0)
    scores = np.concatenate([residual.scores(logits, rng) for _ in range(30)])
    assert scores.std() == pytest.approx(1, abs=0.1)
    assert abs(scores.mean()) < 0.1
    drawn = residual.at(logits, np.zeros_like(logits))
    assert np.all(np.diff(residual.quantiles, axis=1) >= 0)
    assert np.all(residual.at(logits, np.full_like(logits, 2.0)) >= drawn)
    medians = np.interp(logits, residual.knots, residual.quantiles[:, 5])
    assert np.allclose(drawn, medians)


def synthetic_pairs(count: int) -> list[Pair]:
    """cremaPCP that is a known function of the activity, with errors that are held."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(count):
        performance = arrange(simple_tune(), seed=1, version=number, target_duration=(30.0, 40.0))
        activity = note_activity(Played(performance))
        error = np.repeat(rng.normal(0, 1, (len(activity) // 20 + 1, 12)), 20, axis=0)
        fifths = np.roll(raw_chroma(activity), (2, 7), axis=(0, 1))  # and a little later
        pcp = sigmoid(8 * fifths - 5 + error[: len(activity)])
        pairs.append(Pair(f"work{number}", activity, pcp.astype(np.float32)))
    return pairs


def test_fitting_recovers_a_known_relation(tmp_path: Path) -> None:
    pairs = synthetic_pairs(5)
    network = fit_network(pairs[:4], steps=40, seed=0, width=6)
    residual = fit_residual(expected_logits(network, pairs[:4]), pairs[:4])
    logits = expected_logits(network, pairs[4:])
    raw = agreement([raw_chroma(pair.activity) for pair in pairs[4:]], pairs[4:])
    mean = agreement([sigmoid(x) for x in logits], pairs[4:])
    assert mean.entropy < raw.entropy - 0.1
    assert mean.correlation > raw.correlation + 0.3
    assert residual.shares.sum() == pytest.approx(1)
    assert np.all(np.diff(residual.knots) > 0)
    assert residual.pitch[0] == 1
    assert np.abs(residual.pitch[1:]).max() < 0.35
    path = tmp_path / "weights.safetensors"
    save_weights(path, network, residual, metadata={"seed": "0"})
    again, same = load_weights(path)
    assert torch.equal(again.enter.weight, network.enter.weight)
    assert np.allclose(same.quantiles, residual.quantiles, atol=1e-5)
    assert path.stat().st_size < 100_000


def test_weights_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with pytest.raises(UserError, match=r"weights\.safetensors is missing"):
        NoteChroma(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged"):
        NoteChroma(path)


@pytest.fixture
def without_fluidsynth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    monkeypatch.setattr(render_corpus, "find_soundfonts", lambda names: pytest.fail("not needed"))
    monkeypatch.setattr(render_corpus.signal, "signal", lambda *_: None)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    works = [f"songs/{name}" for name in ("anna", "bert", "cilla", "dora")]
    save_tunes([make_tune(work) for work in works], tmp_path / "songs.json")
    path = tmp_path / "corpus.yaml"
    path.write_text(
        f"tunes: ['{tmp_path / 'songs.json'}']\nversions: 2\nduration: [20, 30]\nseed: 7\n"
        "features: [note_pcp]\n"
    )
    return path


def test_a_corpus_without_sound_becomes_training_files(
    config: Path, tmp_path: Path, without_fluidsynth: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "corpus"
    arguments = [str(config), str(out), "--features-only", "--workers", "0"]
    assert render_corpus.main(arguments) == 0
    rows = read_manifest(out / "dataset.txt")
    assert len(rows) == 8
    contents = {}
    for row in rows:
        with np.load(row["features"]) as file:
            assert file.files == ["note_pcp"]
        pcp = read_features(Path(row["features"]), "0.2.0-notes")
        assert len(pcp) == int(row["dur_s"] / FRAME_S)
        assert 15 < row["dur_s"] <= 30
        assert set(row["choices"]["recording"]) >= {"kind", "edges", "cut"}
        contents[row["utt"]] = pcp
        # Nobody takes it for the real one.
        with pytest.raises(UserError, match=r"no cremaPCP of crema 0\.2\.0 .*0\.2\.0-notes"):
            read_features(Path(row["features"]), "0.2.0")
    again = tmp_path / "again"
    assert render_corpus.main([str(config), str(again), *arguments[2:]]) == 0
    for row in read_manifest(again / "dataset.txt"):
        same = read_features(Path(row["features"]), "0.2.0-notes")
        assert np.array_equal(same, contents[row["utt"]])
    assert render_corpus.main(arguments) == 0  # complete: nothing to do

    data = tmp_path / "data"
    words = [
        "extract_crema_pcp",
        str(out),
        "--training",
        "--chunks",
        "1",
        "--output-dir",
        str(data),
    ]
    words += ["--device", "cpu", "--crema-version", "0.2.0-notes"]
    monkeypatch.setattr(sys, "argv", words)
    extract_crema_pcp.main()
    chunk = load_dataset_file(data / "train_chunk_1.pt")
    assert chunk.crema_version == "0.2.0-notes"
    assert len(set(chunk.labels)) == 3
    first = chunk.data[0][0, :12].T.numpy()
    assert any(np.array_equal(first, pcp) for pcp in contents.values())


def test_features_of_sound_still_need_fluidsynth(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    monkeypatch.setattr(render_corpus.signal, "signal", lambda *_: None)
    with pytest.raises(UserError, match="pyfluidsynth is missing"):
        render_corpus.main([str(config), str(tmp_path / "out"), "--workers", "0"])
    config.write_text(config.read_text().replace("[note_pcp]", "[note_pcp, cqt]"))
    with pytest.raises(UserError, match="pyfluidsynth is missing"):
        render_corpus.main([str(config), str(tmp_path / "out"), "--features-only"])


def test_recordings_have_no_features_from_notes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "songs" / "anna").mkdir(parents=True)
    (tmp_path / "songs" / "anna" / "one.wav").write_bytes(b"RIFF")
    words = ["x", str(tmp_path / "songs"), "--crema-version", "0.2.0-notes", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", [*words, "--output-dir", str(tmp_path / "data")])
    with pytest.raises(UserError, match=r"one\.wav is a recording"):
        extract_crema_pcp.main()


def test_versions_of_another_arranger_are_not_fitted_to(
    config: Path, tmp_path: Path, without_fluidsynth: None
) -> None:
    out = tmp_path / "corpus"
    assert render_corpus.main([str(config), str(out), "--features-only", "--workers", "0"]) == 0
    for row in read_manifest(out / "dataset.txt"):
        pcp = read_features(Path(row["features"]), "0.2.0-notes")
        np.savez(row["features"], crema_pcp_020=pcp)
    options = {"steps": 3, "seed": 0}
    fit = fit_corpus(out, works=2, held_out=1, **options)
    assert fit.floor < fit.mean.entropy
    with pytest.raises(UserError, match="only 4 versions"):
        fit_corpus(out, works=4, held_out=1, **options)
    manifest = (out / "dataset.txt").read_text()
    assert '"seed": 7' in manifest
    (out / "dataset.txt").write_text(manifest.replace('"seed": 7', '"seed": 8'))
    with pytest.raises(UserError, match="only 0 versions"):
        fit_corpus(out, works=2, held_out=1, **options)
