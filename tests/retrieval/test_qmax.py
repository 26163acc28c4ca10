"""Qmax beside its definition in plain loops, and what follows from the definition."""

import numpy as np
import pytest

from src.errors import UserError
from src.retrieval.qmax import (
    QmaxPairs,
    QmaxSettings,
    prepare,
    qmax,
    qmax_distance,
    qmax_distances,
    transposition,
)

SMALL = QmaxSettings(mean_frames=2, embedding=3, neighbours=0.2)


def chroma(seed=0, frames=120, levels=64):
    """Chords of some frames each.

    Values are fractions of 64 and every frame has the same loudest class, so that averages, their
    maxima and the sums of distances have no rounding.
    """
    rng = np.random.default_rng(seed)
    chords = np.repeat(rng.random((frames, 12)) ** 3, rng.integers(1, 6, frames), axis=0)
    chords[:, 0] = 1
    return (np.round(chords[:frames] * levels) / levels).astype(np.float32)


def plain_qmax(first, second, settings):
    """The definition, in float64: nothing shared with what is tested, nothing saved."""
    m, width, share = settings.mean_frames, settings.embedding, settings.neighbours

    def averaged(pcp):
        frames = [pcp[i * m : (i + 1) * m].mean(axis=0) for i in range(len(pcp) // m)]
        return [frame / (frame.max() or 1) for frame in frames]

    def embedded(frames):
        return [np.concatenate(frames[i : i + width]) for i in range(len(frames) - width + 1)]

    first = averaged(first.astype(float))
    second = averaged(second.astype(float))
    products = [np.mean(first, 0) @ np.roll(np.mean(second, 0), k) for k in range(12)]
    second = [np.roll(frame, np.argmax(products)) for frame in second]
    x, y = embedded(first), embedded(second)
    distances = np.array([[((a - b) ** 2).sum() for b in y] for a in x])
    rows = [sorted(row)[max(1, int(share * len(y))) - 1] for row in distances]
    columns = [sorted(column)[max(1, int(share * len(x))) - 1] for column in distances.T]
    points = np.array(
        [[d <= rows[i] and d <= columns[j] for j, d in enumerate(row)]
         for i, row in enumerate(distances)]
    )  # fmt: skip
    scores = np.zeros(points.shape)
    for i in range(2, len(x)):
        for j in range(2, len(y)):
            steps = [(i - 1, j - 1), (i - 2, j - 1), (i - 1, j - 2)]
            if points[i, j]:
                scores[i, j] = max(scores[step] for step in steps) + 1
            else:
                losses = [settings.onset if points[s] else settings.extension for s in steps]
                gaps = [scores[s] - loss for s, loss in zip(steps, losses, strict=True)]
                scores[i, j] = max(0, *gaps)
    return scores.max()


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        QmaxSettings(),
        QmaxSettings(mean_frames=1, embedding=1, neighbours=0.05, onset=1.25, extension=0.25),
        QmaxSettings(mean_frames=4, embedding=2, neighbours=1.0, onset=0, extension=3),
        QmaxSettings(mean_frames=2, embedding=4, onset=0.5, extension=0.5),
    ],
)
def test_equals_the_plain_form(settings):
    scores = []
    for seed in range(3):
        first, second = chroma(seed, 150), np.roll(chroma(seed + 1, 90), seed, axis=1)
        second[20:60] = np.roll(first[40:80], 2, axis=1)
        expected = plain_qmax(first, second, settings)
        found = qmax(*(prepare(x, settings=settings) for x in (first, second)))
        assert found == pytest.approx(expected, abs=1e-4)
        scores.append(expected)
    assert min(scores) >= 1


def test_ties_count_as_neighbours():
    # Two tones only: nearly all distances are tied, and all of a tie are within the limit.
    tones = np.eye(12)[np.random.default_rng(0).integers(0, 2, 80)]
    other = np.eye(12)[np.random.default_rng(1).integers(0, 2, 80)]
    found = qmax(prepare(tones, settings=SMALL), prepare(other, settings=SMALL))
    assert found == pytest.approx(plain_qmax(tones, other, SMALL), abs=1e-4)
    silence = prepare(np.zeros((80, 12)), settings=SMALL)
    assert qmax(silence, silence) == len(silence) - 2 - 2  # every moment after the first two


def test_numbers_without_exact_fractions_differ_little():
    rng = np.random.default_rng(5)
    first, second = rng.random((160, 12)) ** 3, rng.random((130, 12)) ** 3
    found = qmax(prepare(first, settings=SMALL), prepare(second, settings=SMALL))
    assert found == pytest.approx(plain_qmax(first, second, SMALL), abs=1e-3)


def test_loudness_changes_nothing():
    first, second = chroma(1, 200), chroma(2, 160)
    fading = second * 2.0 ** -np.arange(0, 40).repeat(4)[:, None]
    assert qmax(prepare(first / 4), prepare(fading)) == qmax(prepare(first), prepare(second))


@pytest.mark.parametrize("semitones", range(12))
def test_transposition_changes_nothing(semitones):
    first, second = chroma(1, 200), chroma(2, 160)
    a, b = prepare(first), prepare(second)
    moved = prepare(np.roll(second, semitones, axis=1))
    assert transposition(a, moved) == (transposition(a, b) - semitones) % 12
    assert qmax(a, moved) == qmax(a, b)
    assert transposition(moved, b) == semitones


def test_a_version_is_nearer_than_another_work():
    rng = np.random.default_rng(3)
    work, other = chroma(1, 600), chroma(2, 600)
    bent = work[np.minimum(np.arange(0, 600, 0.8).astype(int), 599)]  # slower
    version = np.roll(np.delete(bent, slice(300, 340), axis=0), 7, axis=1)
    version = np.clip(version + 0.1 * rng.standard_normal(version.shape), 0, 1)
    query, *references = (prepare(x) for x in (work, version, other))
    near, far = (qmax_distance(query, reference) for reference in references)
    assert near < 0.5 * far
    assert near == np.sqrt(len(references[0])) / qmax(query, references[0])


def test_matrix_of_distances():
    features = [prepare(chroma(seed, 100 + 20 * seed), settings=SMALL) for seed in range(5)]
    among = qmax_distances(features, workers=2)
    assert not among.diagonal().any()
    between = qmax_distances(features[:2], features)
    pairs, given = QmaxPairs(features), QmaxPairs(features[:2], features)
    for i, query in enumerate(features):
        for j, reference in enumerate(features):
            if i != j:
                expected = qmax_distance(query, reference)
                assert among[i, j] == pairs(i, j) == expected
                assert i > 1 or between[i, j] == given(i, j) == expected
    assert between[0, 0] == np.sqrt(len(features[0])) / qmax(features[0], features[0])


def test_recordings_as_short_as_may_be():
    shortest = prepare(chroma(0, 36))
    assert len(shortest) == 9  # one moment, which is no trace yet
    assert qmax_distance(shortest, prepare(chroma(1, 200))) == np.inf
    assert np.isinf(qmax_distances([shortest], [shortest])).all()


@pytest.mark.parametrize(
    ("pcp", "words"),
    [
        (np.zeros((35, 12)), "song.npz has 35 frames of cremaPCP, but Qmax needs 36"),
        (np.zeros((0, 12)), "has 0 frames"),
        (np.zeros((99, 23)), "12 pitch classes"),
        (np.zeros(12), "12 pitch classes"),
        (np.full((99, 12), "a"), "12 pitch classes"),
        (np.full((99, 12), np.nan), "not finite"),
        (np.full((99, 12), -1.0), "negative"),
    ],
)
def test_bad_features_are_refused_in_a_sentence(pcp, words):
    with pytest.raises(UserError, match=words):
        prepare(pcp, name="song.npz")


def test_bad_calls_are_refused_in_a_sentence():
    feature = prepare(chroma())
    for options in ({"embedding": 0}, {"mean_frames": 0}, {"neighbours": 0}, {"neighbours": 1.1},
                    {"onset": -1}, {"extension": np.inf}):  # fmt: skip
        with pytest.raises(UserError, match="of Qmax"):
            QmaxSettings(**options)
    with pytest.raises(UserError, match="different settings"):
        qmax(feature, prepare(chroma(), settings=SMALL))
    with pytest.raises(UserError, match="at least one query"):
        qmax_distances([], [feature])
    with pytest.raises(UserError, match="workers"):
        qmax_distances([feature], [feature], workers=0)
