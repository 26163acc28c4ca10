"""The CQT from notes: its symmetries, its seed, what it hears, corpora, and what it stands for."""

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from src.audio.cqt import Audio2CQT
from src.corpus import note_cqt_sound as sound
from src.corpus.arrange import arrange
from src.corpus.note_activity import Played
from src.corpus.note_cqt import NoteCqt
from src.corpus.note_cqt_bank import (
    BEFORE,
    DRUMS,
    FRAME_S,
    LOOP,
    PITCHES,
    PROGRAMS,
    SPEC,
    VELOCITIES,
    NoteBank,
    bank_from_powers,
    drum_entries,
    entries,
    load_bank,
    note_powers,
    ready_banks,
    save_bank,
    velocity_power,
)
from src.corpus.note_cqt_loops import kernels, power_table
from src.corpus.performance import Performance, PlayedNote, Track
from src.corpus.render import Renderer, load_fluidsynth
from src.corpus.soundfonts import find_soundfonts
from src.corpus.tune import save_tunes
from src.data.cqt_features import load_cqt, read_spec
from src.data.manifest import read_manifest
from src.errors import UserError
from tests.corpus.test_note_chroma import transposed
from tests.corpus.test_plan import make_tune
from tests.corpus.tunes import simple_tune
from tools import extract_csi_features, render_corpus

BINS = SPEC.bins
LOWEST = 24  # MIDI pitch of bin 0, nearly
HOLD = 50


pytestmark = pytest.mark.usefixtures("one_thread")


def tone(pitch: int) -> np.ndarray:
    """``(frames, 96)`` power of a note with overtones that fades a little and then is released."""
    power = np.full((BEFORE + HOLD + 20, BINS), 1e-12)
    for k in range(1, 9):
        place = pitch - LOWEST + 12 * np.log2(k)
        lobe = 10 ** (-np.minimum(7.1 * (np.arange(BINS) - place) ** 2, 60) / 10) / k**2
        power[BEFORE:] += lobe
    power[BEFORE:] *= 10 ** (-0.1 * np.arange(len(power) - BEFORE)[:, None] / 10)
    power[BEFORE + HOLD :] *= 10 ** (-1.0 * np.arange(1, 21)[:, None])
    return power


def make_bank() -> NoteBank:
    """All instruments are the same; drums are the lowest note."""
    bank = bank_from_powers(np.stack([tone(pitch) for pitch in PITCHES]))
    order = np.tile(np.repeat(np.arange(len(PITCHES)), len(VELOCITIES)), PROGRAMS)
    order = np.append(order, np.zeros(len(DRUMS) * len(VELOCITIES), int))
    level = bank.level[order] + 40 * np.log10(np.resize(VELOCITIES, len(order)) / VELOCITIES[1])
    level = level.astype(np.float32)
    return NoteBank(bank.held[order], bank.release[order], level, bank.decay[order])


@pytest.fixture(scope="module")
def bank() -> NoteBank:
    return make_bank()


@pytest.fixture(scope="module")
def plain(bank: NoteBank) -> NoteCqt:
    """Nothing is varied."""
    return NoteCqt({"font": bank}, variation=0.0)


@pytest.fixture(scope="module")
def performance() -> Performance:
    return arrange(simple_tune(), seed=5, version=2, target_duration=(25.0, 40.0))


def played(*notes: PlayedNote, cents: float = 0.0, seconds: float = 10.0, **recording) -> Played:
    track = Track("chords", 48, False, notes)
    return Played(Performance((track,), cents, seconds), recording, seconds, (1,), "font")


def test_shape_range_and_seed(bank: NoteBank, performance: Performance) -> None:
    recording = {"edges": {"lead_s": 1.0, "tail_s": 0.5}, "speed": {"speed": 1.01}}
    version = Played(performance, recording, seed=(1, "a"), soundfont="font")
    cqt = NoteCqt({"font": bank})
    one = cqt(version)
    frames = int((performance.duration + 1.5 + 1.5) / 1.01 / FRAME_S)
    assert (one.shape, one.dtype) == ((frames, BINS), np.float32)
    assert one.max() == 0
    assert one.min() >= -130.01
    assert np.array_equal(one, cqt(version))
    assert not np.array_equal(one, cqt(replace(version, seed=(1, "b"))))
    with pytest.raises(UserError, match="no notes of the SoundFont 'other'"):
        cqt(replace(version, soundfont="other"))


def test_silence(plain: NoteCqt) -> None:
    assert np.array_equal(plain(played(PlayedNote(20.0, 1.0, 60, 90))), np.zeros((250, BINS)))


def test_a_note_is_heard_where_and_as_long_as_it_sounds(plain: NoteCqt) -> None:
    note = PlayedNote(2.0, 3.0, 62, 90)
    level = plain(played(note))[:, 62 - LOWEST]
    sounding = np.flatnonzero(level > -15)
    assert sounding[0] * FRAME_S == pytest.approx(2.0, abs=0.05)
    assert sounding[-1] * FRAME_S == pytest.approx(5.0, abs=0.1)
    # It loses a tenth of a decibel a frame, beyond what the bank knows of it as well.
    assert level[120] - level[60] == pytest.approx(-6, abs=1)
    late = plain(played(note, edges={"lead_s": 1.0}, speed={"speed": 0.5}, seconds=14.0))
    assert np.flatnonzero(late[:, 50 - LOWEST] > -15)[0] * FRAME_S == pytest.approx(6, abs=0.05)


@pytest.mark.parametrize("steps", [1, 5, -3])
def test_a_transposition_moves_the_bins(
    plain: NoteCqt, performance: Performance, steps: int
) -> None:
    quiet = replace(performance, tracks=tuple(t for t in performance.tracks if not t.is_drums))
    version = Played(quiet, soundfont="font")
    before = plain(version)
    after = plain(replace(version, performance=transposed(quiet, steps)))
    inside, at = before[:, 24:60], after[:, 24 + steps : 60 + steps]
    loud = inside > -40
    assert np.abs(inside - at)[loud].mean() < 0.3
    tuned = replace(quiet, tuning_cents=quiet.tuning_cents + 100.0 * steps)
    sharp = plain(replace(version, performance=tuned))
    assert np.abs(inside - sharp[:, 24 + steps : 60 + steps])[loud].max() < 0.1


def test_between_two_bins(plain: NoteCqt) -> None:
    """A quarter tone up is where a Hamming window puts it: between its two neighbours."""
    frame = plain(played(PlayedNote(0.5, 4.0, 60, 90), cents=50.0))[60]
    first = 60 - LOWEST
    assert abs(frame[first] - frame[first + 1]) < 0.2
    assert frame[first - 1] < frame[first] - 8


def test_singing(bank: NoteBank, plain: NoteCqt) -> None:
    """Notes that slide and waver stay where they are, on the whole; others are not touched."""
    singers = 0
    notes = tuple(PlayedNote(1.0 + i, 0.9, 60 + i % 3, 90) for i in range(20))
    for name in ("melody", "chords"):
        track = Track(name, 52, False, notes)
        version = Played(Performance((track,), 0.0, 22.0), {}, 22.0, (1,), "font")
        still = plain.powers(version)
        for seed in range(12):
            sung = plain.powers(version, np.random.default_rng(seed))
            if np.array_equal(sung, still):
                continue
            singers += 1
            assert name == "melody"
            places = np.arange(BINS)
            means = [(x[30:] @ places / x[30:].sum(1)).mean() for x in (sung, still)]
            assert means[0] == pytest.approx(means[1], abs=0.5)
            assert sung.sum() == pytest.approx(still.sum(), rel=0.3)
    assert 3 <= singers <= 9


def test_a_bend_of_a_semitone_is_the_next_semitone(bank: NoteBank) -> None:
    def add(pitch: int, *bend: float) -> np.ndarray:
        power = np.zeros((60, BINS), np.float32)
        entry, shift = entries(48, np.array([pitch]), np.array([90]))
        one = np.ones(1, np.float32)
        whole = (np.array([10]), np.array([40]), np.array([bend], np.float32))
        kernels().add_notes(
            power, bank.held, bank.release, bank.decay, entry, shift, one, *whole,
            BEFORE, LOOP, power_table(),
        )  # fmt: skip
        return power

    straight = add(61, 0, 0, 0, 0, 0)
    assert np.allclose(add(60, 1, 0, 0, 0, 0)[:, 3:], straight[:, 3:], rtol=1e-5)
    slid = add(60, 0, 1, 0.5, 0, 0)
    assert np.allclose(slid[10, 3:], straight[10, 3:], rtol=1e-5)
    assert np.allclose(slid[30, 3:], add(60, 0, 0, 0, 0, 0)[30, 3:], rtol=0.3)
    shaken = add(60, 0, 0, 0, 0.9, 1.5)[15:45, 36:39]
    assert shaken.argmax(1).min() < shaken.argmax(1).max()


def test_levels(plain: NoteCqt) -> None:
    """Power goes with the fourth power of the velocity and the square of the gain."""

    def power(velocity: int = 90, gain: float = 1.0, pan: float = 0.0, side: float = 0.5):
        track = Track("a", 48, False, (PlayedNote(1.0, 3.0, 60, velocity),), gain, pan)
        version = Played(Performance((track,), 0.0, 5.0), {"side": side}, 5.0, (), "font")
        return plain.powers(version).sum()

    assert power(100) / power(80) == pytest.approx((100 / 80) ** 4, rel=0.01)
    assert power(gain=0.5) / power() == pytest.approx(0.25, rel=0.01)
    assert power(pan=-1.0, side=0.0) / power() == pytest.approx(2, rel=0.01)
    assert power(pan=1.0, side=0.0) < 1e-6
    velocities = np.array([1, 45, 65, 66, 95, 127])
    assert np.allclose(velocity_power(velocities)[[1, 4]], 1)
    assert velocity_power(velocities)[5] == pytest.approx((127 / 95) ** 4)


def test_every_note_has_an_entry() -> None:
    pitches, velocities = np.arange(128), np.full(128, 90)
    for program in (0, 127):
        entry, shift = entries(program, pitches, velocities)
        inside = (pitches >= PITCHES[0] - 2) & (pitches <= PITCHES[-1] + 2)
        assert np.abs(shift[inside]).max() == 2
        assert entry.min() >= program * len(PITCHES) * len(VELOCITIES)
        assert entry.max() < (program + 1) * len(PITCHES) * len(VELOCITIES)
    soft, loud = (drum_entries(np.arange(128), np.full(128, v)) for v in (20, 120))
    assert np.array_equal(loud - soft, np.ones(128))
    assert soft.min() == PROGRAMS * len(PITCHES) * len(VELOCITIES)


def room(wet_db: float, decay_s: float = 1.5) -> dict:
    numbers = {"bass_ratio": 1.0, "treble_ratio": 1.0, "seed": 3}
    return {"decay_s": decay_s, "wet_db": wet_db, **numbers}


def test_rooms_ring_on(plain: NoteCqt) -> None:
    note, at = PlayedNote(1.0, 2.0, 60, 90), 60 - LOWEST
    dry = plain(played(note))[:, at]
    near, far = (plain(played(note, room=room(wet)))[:, at] for wet in (-20, 0))
    second = slice(85, 100)
    assert dry[second].max() < near[second].min() < far[second].min()
    # 60 dB in a second and a half.
    assert far[80] - far[105] == pytest.approx(40, abs=3)


def test_steps_of_a_recording(plain: NoteCqt) -> None:
    loud, soft = PlayedNote(1.0, 2.0, 60, 95), PlayedNote(5.0, 2.0, 60, 45)
    at = 60 - LOWEST

    def level(**recording) -> np.ndarray:
        return plain(played(loud, soft, **recording))

    def drop(**recording) -> float:
        x = level(**recording)[:, at]
        return float(x[60] - x[160])

    times = {"attack_ms": 5.0, "release_ms": 60.0}
    full = drop()
    assert full == pytest.approx(40 * np.log10(95 / 45), abs=1)
    assert drop(compress={"threshold_db": -30, "ratio": 4.0, **times}) == pytest.approx(
        full / 4, abs=1.5
    )
    band = {"low": 200.0, "high": 1000.0, "order": 6}
    limited, whole = level(band=band), level()
    above = round(12 * np.log2(2000 / 32))
    assert (whole - limited)[60, above] == pytest.approx(36, abs=3)
    assert np.abs(whole - limited)[60, at : at + 12].max() < 1
    hiss = 10 ** (level(hiss={"snr_db": 30.0, "slope_db": 0.0}) / 10)
    music = 10 ** (whole / 10)
    ratio = music.sum() / (hiss[210:].sum() / 40 * 250)  # after the notes
    assert 10 * np.log10(ratio) == pytest.approx(30, abs=1)
    faded = level(edges={"fade_in_s": 4.0})[:, at]
    assert faded[30] < faded[60] - 4


def test_noises_have_the_level_that_was_asked_for() -> None:
    rng = np.random.default_rng(0)
    power = rng.random((400, BINS)).astype(np.float32)
    before = power.sum()
    layer = sound.stretch(sound.textures().white, 400, rng)
    sound.add_noise(power, layer, snr_db=10.0)
    assert power.sum() / before == pytest.approx(1.1, rel=1e-4)
    assert sound.hum(50.0, np.array([1.0, 0.5, 0.3]))[0].argmax() == 8


def test_a_bank_in_a_file(bank: NoteBank, tmp_path: Path) -> None:
    path = tmp_path / "bank.npz"
    save_bank(bank, path)
    again = load_bank(path)
    assert np.array_equal(again.held, bank.held)
    assert np.array_equal(again.decay, bank.decay)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"bank\.npz are missing or damaged; delete"):
        load_bank(path)
    np.savez(path, held=bank.held, release=bank.release, level=bank.level, decay=bank.decay[:5])
    with pytest.raises(UserError, match="damaged"):
        load_bank(path)


def test_a_corpus_becomes_training_lists(
    bank: NoteBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = [f"songs/{name}" for name in ("anna", "bert", "cilla", "dora")]
    save_tunes([make_tune(work) for work in works], tmp_path / "songs.json")
    config = tmp_path / "corpus.yaml"
    config.write_text(
        f"tunes: ['{tmp_path / 'songs.json'}']\nversions: 2\nduration: [20, 30]\nseed: 7\n"
        "features: [note_pcp, note_cqt]\n"
    )
    font = tmp_path / "font.sf2"
    font.write_bytes(b"sound")
    save_bank(bank, tmp_path / "font.npz")
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    monkeypatch.setattr(render_corpus, "find_soundfonts", lambda names: {"font": font})
    with pytest.raises(UserError, match="pyfluidsynth is missing"):
        ready_banks({"font": font}, tmp_path / "banks")
    monkeypatch.setattr(render_corpus, "ready_banks", lambda fonts: {"font": tmp_path / "font.npz"})
    monkeypatch.setattr(render_corpus.signal, "signal", lambda *_: None)
    out = tmp_path / "corpus"
    assert render_corpus.main([str(config), str(out), "--features-only", "--workers", "0"]) == 0
    rows = read_manifest(out / "dataset.txt")
    assert len(rows) == 8
    for row in rows:
        feature = load_cqt(row["feat"])
        assert feature.shape == (row["feat_len"], BINS)
        assert row["feat_len"] == int(row["dur_s"] / FRAME_S)
        assert feature.max() == 0
        assert read_spec(Path(row["feat"]).parent) == SPEC
        assert row["choices"]["soundfont"] == "font"
        assert "room" in row["choices"]["recording"]
        with np.load(row["features"]) as file:
            assert file.files == ["note_pcp"]
    shutil.copy("egs/opencorpus/split.yaml", out / "hparams.yaml")
    monkeypatch.setattr(sys, "argv", ["x", str(out)])
    assert not extract_csi_features.main()
    trained = read_manifest(out / "train.txt")
    assert {row["feat"] for row in trained} <= {row["feat"] for row in rows}
    assert len(trained) >= 4


@pytest.mark.system("fluidsynth")
def test_the_sum_of_notes_is_like_their_sound() -> None:
    """A chord and a tune: the CQT of the sound, and that of notes which were played one by one."""
    try:
        load_fluidsynth()
        font = min(find_soundfonts().values(), key=lambda path: path.stat().st_size)
    except UserError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    programs = (0, 73)
    with Renderer(font, sample_rate=22050) as renderer:
        one = {p: bank_from_powers(note_powers(renderer, p, PITCHES)) for p in programs}
        notes = tuple(PlayedNote(0.5 * i, 0.5, 67 + 2 * (i % 5), 80) for i in range(1, 19))
        chords = tuple(
            PlayedNote(4.0 * (i // 3), 3.5, p, 70)
            for i, p in enumerate((48, 55, 64, 50, 57, 65, 43, 59, 67))
        )
        tracks = (
            Track("melody", 73, False, notes, 0.9),
            Track("chords", 0, False, chords, 0.7, 0.3),
        )
        performance = Performance(tracks, 30.0, 12.0)
        signal = renderer.render(performance, tail=1.5).mean(1)
    arrays = {}
    for name in ("held", "release", "level", "decay"):
        empty = getattr(one[0], name)
        parts = [getattr(one[p], name) if p in one else 0 * empty for p in range(PROGRAMS)]
        drums = np.resize(0 * empty, (len(DRUMS) * len(VELOCITIES), *empty.shape[1:]))
        arrays[name] = np.concatenate([*parts, drums])
    cqt = NoteCqt({"font": NoteBank(**arrays)}, variation=0.0)
    made = cqt(Played(performance, {}, 13.5, (), "font"))
    real = Audio2CQT()(signal, 22050)
    made, real = (x[: min(len(made), len(real), 295)] for x in (made, real))
    loud = real > -50
    assert np.corrcoef(made[loud], real[loud])[0, 1] > 0.75
    assert np.abs(made - real)[loud].mean() < 7
    assert abs((made - real)[loud].mean()) < 6
