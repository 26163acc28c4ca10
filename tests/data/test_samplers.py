"""Which lines make a batch: recorded lists, and what the default form adds to them."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.data.samplers import MPerClassSampler, even_series, fitting_batch_size
from src.errors import UserError
from tests.parity_weights import read_fixture

RECORDED = read_fixture("c17_dataset.json")
CASES = [key for key in RECORDED if key.startswith("sampler_") and key != "sampler_m_not_dividing"]


def by_work(sizes, seed=0):
    """Labels of works with so many lines each, shuffled."""
    labels = np.repeat(np.arange(len(sizes)) * 10, sizes)
    return np.random.default_rng(seed).permutation(labels).tolist()


@pytest.mark.parametrize("name", CASES)
def test_recorded_lists(name):
    case = RECORDED[name]
    sampler = MPerClassSampler(
        case["line_labels"],
        m=case["m"],
        batch_size=case["batch_size"],
        seed=case["python_random_seed"],
        original=True,
    )
    assert list(sampler) == case["indices"]
    assert len(sampler) == case["len"]
    assert sampler.num_batches == case["num_batches"]
    labels = [[case["line_labels"][line] for line in batch] for _, batch in sampler.batches()]
    assert labels == case["batch_labels"]


@pytest.mark.parametrize("original", [True, False])
def test_m_must_divide_the_batch(original):
    assert RECORDED["sampler_m_not_dividing"] == "AssertionError"
    with pytest.raises(UserError, match="10 is none of 4"):
        MPerClassSampler([1] * 40, m=4, batch_size=10, original=original)


@pytest.mark.parametrize("name", ["sampler_enough_classes", "sampler_m1"])
def test_epochs_are_as_long_as_recorded(name):
    case = RECORDED[name]
    sampler = MPerClassSampler(case["line_labels"], m=case["m"], batch_size=case["batch_size"])
    assert len(sampler) == len(list(sampler)) == case["len"]
    assert sampler.num_batches == case["num_batches"]


def test_too_few_works_or_lines_are_named():
    case = RECORDED["sampler_too_few_classes"]
    with pytest.raises(UserError, match=r"3 work\(s\).*batch of 8.*takes 4 works"):
        MPerClassSampler(case["line_labels"], m=case["m"], batch_size=case["batch_size"])
    case = RECORDED["sampler_smaller_than_batch"]
    with pytest.raises(UserError, match=r"2 work\(s\).*batch of 16"):
        MPerClassSampler(case["line_labels"], m=case["m"], batch_size=case["batch_size"])
    with pytest.raises(UserError, match=r"8 recording\(s\) give 2 batch\(es\).*3 are needed"):
        MPerClassSampler([0, 1, 2, 3] * 2, m=2, batch_size=4, world_size=3)
    with pytest.raises(UserError, match=r"0 work\(s\)"):
        MPerClassSampler([], m=2, batch_size=4)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=3, max_size=12),
    m=st.integers(1, 5),
    width=st.integers(1, 3),
    epoch=st.integers(0, 50),
)
@settings(max_examples=80, deadline=None)
def test_a_batch_is_m_lines_of_each_of_its_works(sizes, m, width, epoch):
    labels = by_work(sizes)
    sampler = MPerClassSampler(labels, m=m, batch_size=m * width, seed=5)
    sampler.set_epoch(epoch)
    batches = list(sampler.batches())
    assert [number for number, _ in batches] == list(range(sampler.num_batches))
    for _, batch in batches:
        groups = [batch[at : at + m] for at in range(0, len(batch), m)]
        works = [{labels[line] for line in group} for group in groups]
        assert all(len(work) == 1 for work in works)
        assert len(set.union(*works)) == width
        for group in groups:
            counts = Counter(group)
            copies = m / min(m, labels.count(labels[group[0]]))
            assert max(counts.values()) <= math.ceil(copies) + (copies > 1)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_no_line_waits_longer_than_a_round_of_its_work(world_size):
    sizes = [9, 2, 3, 5, 12, 1, 7]
    labels = by_work(sizes)
    m, width = 4, 2
    seen: dict[int, int] = {}
    longest = Counter()
    drawn = Counter()  # how often each work has been drawn
    for epoch in range(40):
        parts = []
        for rank in range(world_size):
            sampler = MPerClassSampler(
                labels, m=m, batch_size=m * width, seed=7, rank=rank, world_size=world_size
            )
            sampler.set_epoch(epoch)
            parts += sampler.batches()
        for _, batch in sorted(parts):
            for at in range(0, len(batch), m):
                work = labels[batch[at]]
                drawn[work] += 1
                for line in batch[at : at + m]:
                    gap = drawn[work] - seen.get(line, 0)
                    longest[line] = max(longest[line], gap)
                    seen[line] = drawn[work]
    assert max(drawn.values()) - min(drawn.values()) <= 1  # works come round by round
    for line, label in enumerate(labels):
        # In the worst case first in one round of its work's lines and last in the next.
        assert longest[line] <= 2 * math.ceil(labels.count(label) / m)


@pytest.mark.parametrize("original", [True, False])
def test_processes_share_an_epoch_evenly(original):
    labels = by_work([9, 2, 3, 5, 12, 1])
    options = {"m": 4, "batch_size": 8, "seed": 3, "original": original}
    whole = MPerClassSampler(labels, **options)
    whole.set_epoch(6)
    parts = [MPerClassSampler(labels, **options, rank=rank, world_size=2) for rank in range(2)]
    for part in parts:
        part.set_epoch(6)
    assert whole.num_batches == 5
    assert [part.num_batches for part in parts] == [2, 2]
    numbers = [[number for number, _ in part.batches()] for part in parts]
    assert numbers == [[0, 2], [1, 3]]


def test_shorter_epochs_leave_nothing_out():
    labels = by_work([9, 2, 3, 5, 12, 1])
    options = {"m": 4, "batch_size": 8, "seed": 3}

    def first_batches(epochs, **more):
        found = []
        for epoch in range(epochs):
            sampler = MPerClassSampler(labels, **options, **more)
            sampler.set_epoch(epoch)
            assert len(sampler) == 8 * sampler.num_batches
            found += [batch for _, batch in sampler.batches()]
        return found

    assert first_batches(2) == first_batches(5, max_batches=2)
    assert first_batches(2) == first_batches(2, max_batches=99)


def test_epochs_depend_on_seed_and_number_alone():
    labels = by_work([9, 2, 3, 5, 12, 1])

    def epoch(number, seed=1, before=()):
        sampler = MPerClassSampler(labels, m=4, batch_size=8, seed=seed)
        for earlier in (*before, number):
            sampler.set_epoch(earlier)
            lines = list(sampler)
        return lines

    assert epoch(4) == epoch(4, before=(0, 9, 2))
    assert epoch(4) != epoch(5)
    assert epoch(4) != epoch(4, seed=2)


@given(size=st.integers(1, 20), width=st.integers(1, 20), first=st.integers(0, 300))
@settings(max_examples=150, deadline=None)
def test_even_series(size, width, first):
    count = 5 * max(size, width)
    long = even_series(size, width, first=0, count=first + count, key=(1, 2))
    piece = even_series(size, width, first=first, count=count, key=(1, 2))
    np.testing.assert_array_equal(piece, long[first:])
    for start in range(0, len(long) - size + 1, size):
        assert sorted(long[start : start + size]) == list(range(size))
    if size >= width:
        for start in range(0, len(long) - width + 1, width):
            assert len(set(long[start : start + width])) == width


def test_even_series_are_random():
    starts = Counter(int(even_series(7, 3, first=21 * k, count=1, key=(0,))[0]) for k in range(700))
    assert min(starts.values()) > 60
    assert len(even_series(7, 3, first=0, count=0, key=(0,))) == 0


@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    m=st.integers(1, 5),
    width=st.integers(1, 8),
)
@settings(max_examples=60, deadline=None)
def test_the_batch_size_that_fits_is_the_largest(sizes, m, width):
    labels = by_work(sizes)
    fits = fitting_batch_size(labels, m=m, batch_size=m * width + m - 1)
    assert MPerClassSampler(labels, m=m, batch_size=fits).num_batches >= 1
    if fits < m * width:
        with pytest.raises(UserError):
            MPerClassSampler(labels, m=m, batch_size=fits + m)
