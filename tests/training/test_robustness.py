"""Changes of sound do what they say; queries change while references stay."""

import csv
import os

import numpy as np
import pytest
import torch

from src.corpus.codec import codec_available
from src.errors import UserError
from src.retrieval.collection import open_collection
from src.training.comparison import compare
from src.training.methods import Windows
from src.training.robustness import (
    plot_robustness,
    robustness,
    robustness_text,
    write_robustness,
)
from src.training.sound_changes import KINDS, Change, parse_changes
from tests.retrieval.music import MeanModel
from tests.training.comparison_world import write_features, write_sounds

CPU = torch.device("cpu")
RATE = 16000
SEED = (0, 5)


def tone(hertz: float, seconds: float = 2.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE).astype(np.float32)


def loudest(signal: np.ndarray) -> float:
    middle = signal[len(signal) // 4 : -len(signal) // 4]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    return float(np.fft.rfftfreq(len(middle), 1 / RATE)[spectrum.argmax()])


def power(signal: np.ndarray) -> float:
    return float(np.mean(np.square(signal, dtype=np.float64)))


def test_pitch_and_tempo():
    sound = (tone(440), RATE)
    changed, rate = Change("pitch", 3)(sound, seed=SEED)
    assert rate == RATE
    assert len(changed) == len(sound[0])
    assert loudest(changed) == pytest.approx(440 * 2 ** (3 / 12), rel=0.005)
    changed, _ = Change("tempo", 1.25)(sound, seed=SEED)
    assert len(changed) == pytest.approx(len(sound[0]) / 1.25, rel=0.01)
    assert loudest(changed) == pytest.approx(440, rel=0.005)


def test_noise_has_its_level_and_its_seed():
    sound = (tone(440), RATE)
    changed, _ = Change("noise", 10)(sound, seed=SEED)
    noise = changed - sound[0]
    assert 10 * np.log10(power(sound[0]) / power(noise)) == pytest.approx(10, abs=0.1)
    again, _ = Change("noise", 10)(sound, seed=SEED)
    np.testing.assert_array_equal(changed, again)
    other, _ = Change("noise", 10)(sound, seed=(0, 6))
    assert np.abs(other - changed).max() > 0.1
    louder, _ = Change("noise", 0)(sound, seed=SEED)  # the same noise, louder
    np.testing.assert_allclose(louder - sound[0], noise * 10**0.5, atol=1e-5)


def test_clips_lie_within_each_other():
    sound = (np.arange(10 * RATE, dtype=np.float32), RATE)
    long, _ = Change("length", 6)(sound, seed=SEED)
    short, _ = Change("length", 2)(sound, seed=SEED)
    assert (len(long), len(short)) == (6 * RATE, 2 * RATE)
    assert long[0] < short[0]
    assert short[-1] < long[-1]
    np.testing.assert_array_equal(np.diff(short), 1)
    whole, _ = Change("length", 60)(sound, seed=SEED)
    np.testing.assert_array_equal(whole, sound[0])
    other, _ = Change("length", 2)(sound, seed=(0, 6))
    assert other[0] != short[0]


def test_bands():
    low, high = tone(300), tone(3000)
    changed, _ = Change("lowpass", 1000)((low + high, RATE), seed=SEED)
    assert loudest(changed) == pytest.approx(300, abs=2)
    middle = slice(RATE // 2, -RATE // 2)
    assert power((changed - low)[middle]) < 1e-4


@pytest.mark.skipif(
    not os.environ.get("CI") and not codec_available("mp3"),
    reason="the installed libsndfile writes no mp3",
)
def test_mp3_of_a_low_rate_keeps_what_is_low_and_loses_what_is_high():
    low, high = tone(300), tone(6000)
    changed, _ = Change("mp3", 8000)((low + high, RATE), seed=SEED)
    assert len(changed) == len(low)
    assert 10 * np.log10(power(changed) / power(low)) == pytest.approx(0, abs=1)


def test_changes_as_a_person_types_them():
    assert parse_changes(["pitch=-3,2.5", "length"]) == [
        Change("pitch", -3), Change("pitch", 2.5), Change("length", 60), Change("length", 30),
        Change("length", 20), Change("length", 10),
    ]  # fmt: skip
    assert parse_changes(["noise=5", "noise=5"]) == [Change("noise", 5)]
    for kind, about in KINDS.items():
        assert all(about.lowest <= change.strength <= about.highest for change in
                   parse_changes([kind]))  # fmt: skip
    for text, words in [
        ("speed", "unknown change 'speed'; there are pitch, tempo"),
        ("pitch=x", "numbers such as pitch=1,2.5"),
        ("tempo=0", "tempo takes 0.25 to 4 times"),
        ("mp3=9000", "no sample rate of 9000"),
    ]:
        with pytest.raises(UserError, match=words):
            parse_changes([text])


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    manifest = write_sounds(tmp_path_factory.mktemp("sounds"), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    collection = open_collection(manifest, device=CPU)
    method = Windows(MeanModel(), name="mean spectrum", key="mean", device=CPU)
    changes = [Change("noise", 100), Change("noise", -30), Change("pitch", 3)]
    found = robustness(collection, [method], changes, device=CPU, resamples=40)
    return collection, method, found


def test_queries_change_and_references_stay(points):
    collection, method, found = points
    unchanged, quiet, loud, pitch = found
    assert unchanged.change is None
    assert unchanged.gain is None
    (row,) = compare(collection, [method], resamples=0, progress=False)
    assert unchanged.row.evaluation.figures == row.evaluation.figures
    # Were a recording among its own references, it would come first.
    assert quiet.row.evaluation.figures == row.evaluation.figures
    assert quiet.gain == 0
    assert row.evaluation.figures["mAP"] > 0.9
    assert loud.row.evaluation.figures["mAP"] < 0.6
    assert loud.gain == pytest.approx(loud.row.evaluation.figures["mAP"] - unchanged.row.evaluation.figures["mAP"])  # fmt: skip # noqa: E501
    assert loud.gain_interval[1] < 0
    assert pitch.row.evaluation.figures["mAP"] < 0.7  # a spectrum knows no transposition


def test_table_file_and_picture(points, tmp_path):
    _, _, found = points
    tables = robustness_text(found).split("\n\n")
    assert [table.splitlines()[0] for table in tables] == [
        "| noise (dB SNR) | -30 | 100 | none |",
        "| pitch (semitones) | 0 | 3 |",
    ]
    row = tables[1].splitlines()[2]
    assert (
        row
        == "| mean spectrum | "
        + " | ".join(f"{found[n].row.evaluation.figures['mAP']:.3f}" for n in (0, 3))
        + " |"
    )
    write_robustness(found, tmp_path / "r.csv", name="sounds")
    with open(tmp_path / "r.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["change"], row["strength"]) for row in rows] == [
        ("none", ""), ("noise", "100"), ("noise", "-30"), ("pitch", "3"),
    ]  # fmt: skip
    assert float(rows[2]["gain_low"]) <= float(rows[2]["gain"]) <= float(rows[2]["gain_high"])
    plot_robustness(found, tmp_path / "r.png")
    assert (tmp_path / "r.png").read_bytes()[:4] == b"\x89PNG"


def test_features_alone_do_not_do(tmp_path):
    collection = open_collection(write_features(tmp_path, [0, 0]), device=CPU)
    method = Windows(MeanModel(), name="mean spectrum", key="mean", device=CPU)
    with pytest.raises(UserError, match="no sound of rec0"):
        robustness(collection, [method], [], device=CPU)
