"""p-values: uniform for recordings that are not among the references, small for versions."""

import numpy as np
from scipy import stats

from src.retrieval.calibration import (
    NullSample,
    PairDistribution,
    calibrate_table,
)
from src.retrieval.windows import WindowTable

D = 12


def recording(generator, centre: np.ndarray, spread: float, windows: int) -> np.ndarray:
    return centre + spread * generator.standard_normal((windows, D))


def world(seed: int, works: int, *, versions: int = 2) -> tuple[WindowTable, np.ndarray]:
    """References of works in random directions; 1 to 4 windows each."""
    generator = np.random.default_rng(seed)
    recordings, codes = [], []
    for work in range(works):
        centre = generator.standard_normal(D)
        for _ in range(versions):
            recordings.append(recording(generator, centre, 0.3, int(generator.integers(1, 5))))
            codes.append(work)
    return WindowTable.build(recordings, "cosine"), np.array(codes)


def p_values(table, codes, queries: list[np.ndarray], **options) -> np.ndarray:
    calibration = calibrate_table(table, codes, **options)
    cohort = table.select(calibration.cohort)
    values = []
    for query in queries:
        windows = WindowTable.build([query], "cosine")
        best = float(table.nearest_to(windows).min())
        values.append(calibration.p_of_best(best, cohort.nearest_to(windows)[0]))
    return np.array(values)


def strangers(seed: int, count: int, windows=(1, 5)) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        recording(generator, generator.standard_normal(D), 0.3, int(generator.integers(*windows)))
        for _ in range(count)
    ]


def test_p_is_uniform_for_recordings_that_are_not_there():
    table, codes = world(0, 150)
    p = p_values(table, codes, strangers(1, 600))
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.02 < np.mean(p <= 0.05) < 0.08


def test_longer_queries_than_the_references_are_not_taken_for_matches():
    """Raw distances of long queries are smaller; in their own terms they are not."""
    table, codes = world(0, 150)
    p = p_values(table, codes, strangers(2, 300, windows=(12, 13)))
    assert np.mean(p <= 0.05) < 0.12


def test_p_is_small_for_versions():
    table, codes = world(3, 100)
    generator = np.random.default_rng(4)
    queries = [table.of(2 * i)[:1] + 0.05 * generator.standard_normal((2, D)) for i in range(50)]
    p = p_values(table, codes, queries)
    assert np.mean(p < 0.01) > 0.95


def test_tail_is_continuous_and_falls():
    sample = NullSample(np.sort(np.random.default_rng(0).exponential(size=400)))
    scores = np.linspace(0, 15, 400)
    p = np.array([sample.p_value(score) for score in scores])
    assert (np.diff(p) <= 1e-12).all()
    assert np.abs(np.diff(p)).max() < 0.05
    exact = np.exp(-scores)
    near = exact > 1e-4
    np.testing.assert_array_less(np.abs(np.log(p[near] / exact[near])), np.log(4))
    assert p[-1] > exact[-1]  # conservative far out
    assert sample.p_value(-1.0) == 1.0


def test_few_references_fall_back_to_pairs():
    """Strangers are declared a match no more often than the threshold says."""
    hits = []
    for seed in range(60):
        table, codes = world(100 + seed, 5)
        calibration = calibrate_table(table, codes)
        assert calibration.method == "pairs"
        hits += list(p_values(table, codes, strangers(500 + seed, 5)) <= 0.05)
    assert np.mean(hits) < 0.08


def test_pairs_that_came_with_the_model_serve_a_single_work():
    shipped = PairDistribution(np.sort(np.random.default_rng(0).normal(0.9, 0.1, 500)), 40)
    table, codes = world(0, 1)
    assert calibrate_table(table, codes).method == "none"
    assert calibrate_table(table, codes).p_of_best(0.1, np.zeros(0)) is None
    calibration = calibrate_table(table, codes, shipped=shipped)
    assert calibration.method == "shipped pairs"
    near, far = (calibration.p_of_best(d, np.zeros(0)) for d in (0.2, 0.85))
    assert near < 1e-4
    assert far > 0.3


def test_pairs_of_recordings():
    """The p-value of a single pair is uniform for strangers and small for versions."""
    table, codes = world(7, 30)
    p, near = pair_p_values(table, codes, strangers(8, 200))
    assert np.mean(p <= 0.05) < 0.12
    assert 0.35 < np.mean(p) < 0.65
    assert near < 0.01


def test_pairs_of_recordings_with_few_references():
    """Over many small sets of references, strangers are rarely declared versions."""
    found = [pair_p_values(*world(200 + i, 6), strangers(300 + i, 10)) for i in range(30)]
    assert np.mean(np.concatenate([p for p, _ in found]) <= 0.05) < 0.08
    assert np.mean([near for _, near in found]) < 0.05


def pair_p_values(table, codes, recordings) -> tuple[np.ndarray, float]:
    """p-values of neighbours in a list of strangers, and that of nearly equal recordings."""
    calibration = calibrate_table(table, codes)
    cohort = table.select(calibration.cohort)
    tables = [WindowTable.build([one], "cosine") for one in recordings]
    own = [cohort.nearest_to(one)[0] for one in tables]
    p = [
        calibration.p_of_pair(float(tables[i].nearest_to(tables[i + 1])[0, 0]), own[i], own[i + 1])
        for i in range(0, len(tables), 2)
    ]
    return np.array(p), calibration.p_of_pair(0.001, own[0], own[1])
