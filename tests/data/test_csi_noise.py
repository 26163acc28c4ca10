from pathlib import Path

import numpy as np
import pytest
import soundfile

from src.config import load_extract_hparams
from src.data.cqt_features import load_cqt
from src.data.csi_noise import NoiseSettings, with_noise
from src.data.csi_pipeline import extract_csi
from src.data.csi_settings import extract_settings
from src.errors import UserError
from tests.data.csi_folder import (
    RATE,
    SHARES,
    make_folder,
    read_lines,
    set_hparams,
    utts,
    write_lines,
)


@pytest.fixture
def noise(tmp_path) -> Path:
    """A list of two noises, one of them shorter than a stretch."""
    generator = np.random.default_rng(5)
    rows = []
    for number, seconds in enumerate((0.1, 2.0)):
        path = tmp_path / "noise" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, 0.1 * generator.standard_normal(round(seconds * RATE)), RATE)
        rows.append({"utt": f"n{number}", "wav": path.name})
    write_lines(tmp_path / "noise" / "dataset.txt", rows)
    return tmp_path / "noise" / "dataset.txt"


def run(folder: Path, noise: Path | str, *, start_stage: int = 0, **block):
    add_noise = {"noise_path": str(noise), "chunk": 0.3} | block
    set_hparams(folder, aug_speed_mode=[1.0], add_noise=add_noise, **SHARES)
    settings = extract_settings(load_extract_hparams(folder))
    return extract_csi(folder, settings, start_stage=start_stage)


@pytest.fixture
def folder(tmp_path):
    return make_folder(tmp_path / "ds", {"a": 3, "b": 2, "c": 4})


def features(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: np.load(path) for path in (folder / "cqt_feat").glob("*.npy")}


def test_copies_with_noise_stand_beside_the_clean_lines(folder, noise):
    outcome = run(folder, noise, prob=1.0)
    assert outcome.failures == {}
    rows = read_lines(folder / "full.txt")
    assert [row["utt"] for row in rows[:4]] == ["u0", "noise-u0", "u1", "noise-u1"]
    assert len(rows) == 18
    for clean, noisy in zip(rows[::2], rows[1::2], strict=True):
        assert noisy["feat_len"] == clean["feat_len"]
        assert noisy["song_id"] == clean["song_id"]
        assert noisy["version_id"] != clean["version_id"]
        assert Path(noisy["feat"]).name == f"noise-{clean['utt']}.cqt.npy"
        difference = load_cqt(noisy["feat"]) - load_cqt(clean["feat"])
        # Noise fills what is quiet; the loudest partials stay.
        assert np.median(difference) > 3
    listed = [utt for name in ("train.txt", "train-sample.txt", "dev.txt") for utt in
              utts(folder / name)]  # fmt: skip
    assert sorted(listed) == sorted(row["utt"] for row in rows)
    train = set(utts(folder / "train.txt"))
    assert all((f"noise-{row['utt']}" in train) == (row["utt"] in train) for row in rows[::2])


def test_the_probability_is_that_of_a_copy(folder, noise):
    run(folder, noise, prob=0.0)
    assert len(utts(folder / "full.txt")) == 9
    run(folder, noise, prob=0.5)
    assert 9 < len(utts(folder / "full.txt")) < 18


def test_a_copy_depends_on_the_seed_and_its_name_alone(folder, noise):
    run(folder, noise, prob=1.0)
    before = features(folder)
    rows = read_lines(folder / "dataset.txt")
    write_lines(folder / "dataset.txt", rows[4:])
    for path in (folder / "cqt_feat").glob("noise-*"):
        path.unlink()
    run(folder, noise, prob=1.0)
    for name in ("noise-u4.cqt.npy", "noise-u8.cqt.npy"):
        assert np.array_equal(features(folder)[name], before[name])


def test_changed_settings_and_changed_noise_make_other_copies(folder, noise):
    run(folder, noise, prob=1.0)
    first = features(folder)
    run(folder, noise, prob=1.0, snr_db=[30, 40])
    second = features(folder)
    name = "noise-u0.cqt.npy"
    assert not np.array_equal(first[name], second[name])
    assert np.array_equal(first["u0.cqt.npy"], second["u0.cqt.npy"])
    # Weaker noise changes less.
    change = [np.abs(found[name] - found["u0.cqt.npy"]).mean() for found in (first, second)]
    assert change[1] < change[0]
    sound, _ = soundfile.read(noise.parent / "1.wav")
    soundfile.write(noise.parent / "1.wav", sound[: RATE // 2], RATE)
    run(folder, noise, prob=1.0, snr_db=[30, 40])
    assert any(
        not np.array_equal(found, second[name])
        for name, found in features(folder).items()
        if name.startswith("noise-")
    )


def test_a_second_run_and_the_stage_alone_add_nothing_twice(folder, noise):
    run(folder, noise, prob=1.0)
    full = (folder / "full.txt").read_bytes()
    times = {path: path.stat().st_mtime_ns for path in (folder / "cqt_feat").glob("*.npy")}
    run(folder, noise, prob=1.0)
    run(folder, noise, prob=1.0, start_stage=5)
    assert (folder / "full.txt").read_bytes() == full
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_without_its_list_the_stage_is_left_out_and_says_so(folder, tmp_path):
    outcome = run(folder, tmp_path / "nowhere.txt")
    assert any("nowhere.txt does not exist" in note for note in outcome.notes)
    assert len(utts(folder / "full.txt")) == 9


def test_a_list_with_missing_noise_is_one_sentence(folder, noise):
    (noise.parent / "0.wav").unlink()
    with pytest.raises(UserError, match=r"0\.wav, which does not exist"):
        run(folder, noise)


def test_unreadable_noise_costs_the_copy_but_not_the_line(folder, noise):
    (noise.parent / "0.wav").write_bytes(b"nothing")
    (noise.parent / "1.wav").write_bytes(b"nothing")
    outcome = run(folder, noise, prob=1.0)
    assert set(outcome.failures) == {f"u{number}" for number in range(9)}
    assert len(utts(folder / "full.txt")) == 9


def test_stretches_have_levels_within_the_range_and_come_from_all_noises():
    signal = np.random.default_rng(0).standard_normal(RATE).astype("f4")
    sounds = {Path("a"): np.full(RATE, 0.01, "f4"), Path("b"): np.full(7, -0.5, "f4")}
    settings = NoiseSettings("", chunk_s=0.05, volume=(0.3, 1.0))
    generator = np.random.default_rng(3)
    mixed = with_noise(signal, RATE, list(sounds), sounds.__getitem__, settings, generator)
    levels = (mixed - signal).reshape(20, -1)
    assert np.abs(levels - levels[:, :1]).max() < 1e-5  # one level a stretch
    relative = levels[:, 0] / np.abs(signal).max()
    assert set(np.sign(relative)) == {-1, 1}
    assert 0.3 <= np.abs(relative).min() < 0.5
    assert 0.8 < np.abs(relative).max() <= 1.0


@pytest.mark.parametrize("block", [{"volume": [1.0, 0.3]}, {"snr_db": [5]}, {"probability": 1}])
def test_impossible_settings_are_one_sentence(folder, noise, block):
    with pytest.raises(UserError, match=r"hparams\.yaml"):
        run(folder, noise, **block)
