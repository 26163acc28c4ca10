"""FluidSynth: the right notes, in tune, in place, the same every time."""

import os
from pathlib import Path

import numpy as np
import pytest

from src.corpus.performance import Performance, PlayedNote, Track
from src.corpus.plan import Job
from src.corpus.render import Renderer, load_fluidsynth
from src.corpus.soundfonts import find_soundfonts
from src.errors import UserError

pytestmark = pytest.mark.system("fluidsynth")
RATE = 22050


@pytest.fixture(scope="module")
def renderer():
    try:
        load_fluidsynth()
        fonts = find_soundfonts()
        # The smallest loads fastest; all are General MIDI.
        smallest = min(fonts.values(), key=lambda path: path.stat().st_size)
    except UserError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with Renderer(smallest, sample_rate=RATE) as instance:
        yield instance


def performance(
    *notes: tuple[float, float, int], program: int = 73, gain: float = 1.0, pan: float = 0.0,
    cents: float = 0.0, seconds: float = 2.0, drums: bool = False,
) -> Performance:  # fmt: skip
    played = tuple(PlayedNote(onset, length, pitch, 90) for onset, length, pitch in notes)
    track = Track("melody", program, drums, played, gain, pan)
    return Performance((track,), cents, seconds, {})


def frequency(signal: np.ndarray, near: float) -> float:
    """Frequency of the strongest partial within a whole tone of ``near`` Hz."""
    mono = signal.sum(axis=1) * np.hanning(len(signal))
    spectrum = np.abs(np.fft.rfft(mono, 8 * len(mono)))
    at = np.fft.rfftfreq(8 * len(mono), 1 / RATE)
    spectrum[(at < near / 1.12) | (at > near * 1.12)] = 0
    return float(at[np.argmax(spectrum)])


def level(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(signal.astype(np.float64) ** 2)))


@pytest.mark.parametrize(("pitch", "hertz"), [(69, 440.0), (60, 261.63), (76, 659.26)])
def test_pitch(renderer: Renderer, pitch: int, hertz: float) -> None:
    signal = renderer.render(performance((0.0, 2.0, pitch)))
    # Samples of free SoundFonts are up to 20 cents off; a semitone is 6 per cent.
    assert frequency(signal[: 2 * RATE], hertz) == pytest.approx(hertz, rel=0.015)


@pytest.mark.parametrize("cents", [-45.0, 30.0, 100.0])
def test_tuning(renderer: Renderer, cents: float) -> None:
    plain = frequency(renderer.render(performance((0.0, 2.0, 69)))[: 2 * RATE], 440)
    tuned = renderer.render(performance((0.0, 2.0, 69), cents=cents))[: 2 * RATE]
    assert 1200 * np.log2(frequency(tuned, 440) / plain) == pytest.approx(cents, abs=1.5)


def test_notes_begin_and_end_in_time(renderer: Renderer) -> None:
    signal = renderer.render(performance((1.0, 0.5, 72), seconds=3.0), tail=1.0)
    assert signal.dtype == np.float32
    assert signal.shape[1] == 2
    assert len(signal) == pytest.approx(4 * RATE, abs=64)
    assert not signal[: int(0.99 * RATE)].any()
    assert level(signal[int(1.1 * RATE) : int(1.4 * RATE)]) > 1e-3
    late = level(signal[int(3.0 * RATE) :])
    assert late < 0.02 * level(signal[int(1.1 * RATE) : int(1.4 * RATE)])


def test_the_same_performance_sounds_the_same_whatever_came_before(renderer: Renderer) -> None:
    wanted = performance((0.0, 0.4, 60), (0.4, 0.4, 64), (0.8, 1.0, 67), program=40)
    first = renderer.render(wanted)
    renderer.render(performance((0.0, 1.9, 40), program=33, cents=50, pan=1.0, gain=0.2))
    np.testing.assert_array_equal(renderer.render(wanted), first)
    with Renderer(renderer.soundfont, sample_rate=RATE) as other:
        np.testing.assert_array_equal(other.render(wanted), first)


def test_gain_and_pan(renderer: Renderer) -> None:
    loud = renderer.render(performance((0.0, 2.0, 69)))
    soft = renderer.render(performance((0.0, 2.0, 69), gain=0.25))
    assert level(soft) / level(loud) == pytest.approx(0.25, rel=0.05)
    left = renderer.render(performance((0.0, 2.0, 69), pan=-1.0))
    right = renderer.render(performance((0.0, 2.0, 69), pan=1.0))
    assert level(left[:, 0]) > 10 * level(left[:, 1])
    assert level(right[:, 1]) > 10 * level(right[:, 0])


def test_a_key_struck_again_while_down_sounds_to_its_own_end(renderer: Renderer) -> None:
    overlapping = renderer.render(performance((0.0, 1.0, 69), (0.5, 1.4, 69)))
    after = overlapping[int(1.2 * RATE) : int(1.8 * RATE)]
    assert level(after) > 0.3 * level(overlapping[: RATE // 2])
    doubled = renderer.render(performance((0.0, 1.9, 69), (0.0, 1.9, 69)))
    once = renderer.render(performance((0.0, 1.9, 69)))
    np.testing.assert_array_equal(doubled, once)


def test_drums_are_not_tuned(renderer: Renderer) -> None:
    plain = renderer.render(performance((0.0, 0.5, 38), drums=True))
    tuned = renderer.render(performance((0.0, 0.5, 38), drums=True, cents=80))
    assert level(plain) > 1e-4
    np.testing.assert_array_equal(plain, tuned)


def test_too_many_tracks(renderer: Renderer) -> None:
    one = performance((0.0, 1.0, 60)).tracks
    with pytest.raises(ValueError, match="65 tracks"):
        renderer.render(Performance(one * 65, 0.0, 1.0, {}))


def test_a_file_that_is_no_soundfont(renderer: Renderer, tmp_path: Path) -> None:
    path = tmp_path / "x.sf2"
    path.write_bytes(b"RIFF not really")
    with pytest.raises(UserError, match=r"x\.sf2 cannot be read as a SoundFont"):
        Renderer(path)
    with pytest.raises(UserError, match="does not exist"):
        Renderer(tmp_path / "y.sf2")


def test_a_version_from_notation_to_signal_repeats_and_holds_its_notes(renderer: Renderer) -> None:
    from src.corpus.maker import MakerSettings, VersionMaker, play_job
    from tests.corpus.test_plan import make_tune

    fonts = {"font": renderer.soundfont}
    settings = MakerSettings(5, (15.0, 22.0), RATE, fonts, {"direct": 1.0})
    job = Job("x", make_tune("songs/anna"), 1)
    version = VersionMaker(settings)(job)
    again = VersionMaker(settings)(job)
    np.testing.assert_array_equal(version.signal, again.signal)
    assert version.choices == again.choices
    seconds = len(version.signal) / RATE
    assert 15.0 <= seconds <= 22.0
    # A plain chroma of the sound agrees best with the chroma of the notes untransposed.
    energy = np.zeros(12)
    power = np.abs(np.fft.rfft(version.signal)) ** 2
    at = np.fft.rfftfreq(len(version.signal), 1 / RATE)
    audible = (at > 100) & (at < 1500)
    cents = play_job(settings, job).tuning_cents
    pitch = np.round(69 + 12 * np.log2(at[audible] / 440) - cents / 100).astype(int)
    np.add.at(energy, pitch % 12, power[audible])
    notes = np.zeros(12)
    for note in play_job(settings, job).notes():
        notes[note.pitch % 12] += note.duration * note.velocity**2
    fits = [np.corrcoef(np.roll(notes, k), energy)[0, 1] for k in range(12)]
    assert np.argmax(fits) == 0
