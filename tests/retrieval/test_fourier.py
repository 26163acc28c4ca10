import numpy as np
import pytest

from src.errors import UserError
from src.retrieval.fourier import fourier_magnitude_embedding


def chroma(seed=0, frames=700):
    rng = np.random.default_rng(seed)
    return np.repeat(rng.random((frames // 7, 12)) ** 3, 7, axis=0).astype("float32")


def full_plane(pcp, mean_frames=6, patch=50):
    """The same without any saving: every patch by itself, the whole plane."""
    n = len(pcp) // mean_frames
    frames = [pcp[i * mean_frames : (i + 1) * mean_frames].mean(0) ** 1.96 for i in range(n)]
    frames = np.array([frame / np.linalg.norm(frame) for frame in frames])
    planes = [np.abs(np.fft.fft2(frames[i : i + patch])) for i in range(n - patch + 1)]
    return np.median(planes, axis=0).ravel()


@pytest.mark.parametrize(("mean_frames", "patch"), [(6, 50), (1, 38), (4, 25)])
def test_angles_are_those_of_the_full_plane(mean_frames, patch):
    first, second = chroma(1), chroma(2)
    a, b = (
        fourier_magnitude_embedding(x, mean_frames=mean_frames, patch=patch)
        for x in (first, second)
    )
    assert a.shape == (12 * (patch // 2 + 1),)
    x, y = full_plane(first, mean_frames, patch), full_plane(second, mean_frames, patch)
    cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
    assert a @ b == pytest.approx(cosine, abs=1e-5)
    assert cosine < 0.999


@pytest.mark.parametrize("semitones", [1, 5, 11])
def test_transposition_changes_nothing(semitones):
    pcp = chroma()
    moved = fourier_magnitude_embedding(np.roll(pcp, semitones, axis=1))
    assert np.abs(moved - fourier_magnitude_embedding(pcp)).max() < 1e-5


def test_loudness_changes_nothing_but_the_music_does():
    pcp = chroma()
    embedding = fourier_magnitude_embedding(pcp)
    assert np.abs(fourier_magnitude_embedding(pcp / 3) - embedding).max() < 1e-5
    assert np.abs(fourier_magnitude_embedding(chroma(1)) - embedding).max() > 1e-2


@pytest.mark.parametrize("frames", [1, 5, 6, 100])
def test_short_recordings_are_padded(frames):
    embedding = fourier_magnitude_embedding(chroma()[:frames])
    assert embedding.shape == (312,)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-5)


def test_silence_gives_zeros():
    assert not fourier_magnitude_embedding(np.zeros((400, 12))).any()


@pytest.mark.parametrize(
    ("pcp", "words"),
    [
        (np.zeros((0, 12)), "12 pitch classes"),
        (np.zeros((9, 23)), "12 pitch classes"),
        (np.zeros(12), "12 pitch classes"),
        (np.full((9, 12), np.nan), "not finite"),
        (np.full((9, 12), -1.0), "negative"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(pcp, words):
    with pytest.raises(UserError, match=words):
        fourier_magnitude_embedding(pcp)
