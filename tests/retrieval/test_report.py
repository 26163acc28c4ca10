import csv
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from src.errors import UserError
from src.retrieval.confidence import bootstrap_intervals
from src.retrieval.metrics import average_precisions, summarise
from src.retrieval.plots import first_rank_shares, precision_recall
from src.retrieval.ranking import Ranking, rank_relevant
from src.retrieval.report import write_report

FILES = {"queries.csv", "figures.json", "ranks.png", "precision_recall.png"}


def ranking_of(lists, n_references=50):
    """A ranking with given ranks for each query."""
    offsets = np.cumsum([0, *map(len, lists)])
    ranks = np.array([rank for ranks in lists for rank in ranks], dtype=np.int64)
    return Ranking(offsets, ranks, n_references)


def example(seed=0, n=80, works=20):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, works, n)
    labels[:3] = [1000, 1001, 1002]
    embeddings = rng.standard_normal((works, 8))[labels % works] + rng.standard_normal((n, 8))
    ranking = rank_relevant(torch.from_numpy(embeddings), None, labels)
    return ranking, [f"wörk {label}, a" for label in labels]


def test_the_rows_are_the_queries(tmp_path):
    ranking, works = example()
    write_report(ranking, works=works, directory=tmp_path / "new" / "report", resamples=10)
    folder = tmp_path / "new" / "report"
    assert {path.name for path in folder.iterdir()} == FILES
    with open(folder / "queries.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["work"] for row in rows] == works
    assert [row["query"] for row in rows] == [str(i) for i in range(80)]
    aps = average_precisions(ranking)
    for i, row in enumerate(rows):
        assert int(row["relevant"]) == works.count(works[i]) - 1
        if ranking.counts[i]:
            assert float(row["average_precision"]) == pytest.approx(aps[i], abs=1e-6)
            assert int(row["first_rank"]) == ranking.of_query(i)[0]
        else:
            assert row["average_precision"] == row["first_rank"] == ""
    found = [float(row["average_precision"]) for row in rows if row["average_precision"]]
    content = json.loads((folder / "figures.json").read_text("utf-8"))
    assert content["figures"]["mAP"] == pytest.approx(np.mean(found), abs=1e-6)
    assert content["queries_without_version"] == len(rows) - len(found) >= 3


@pytest.mark.parametrize("original", [False, True])
def test_figures_lie_within_their_intervals(tmp_path, original):
    ranking, works = example()
    content = write_report(
        ranking, works=works, directory=tmp_path, original=original, about={"model": "m"}
    )
    written = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(content))
    assert content["model"] == "m"
    assert content["figures"] == summarise(ranking, original)
    for name, value in content["figures"].items():
        low, high = content["interval"][name]
        assert low < value < high


def test_the_same_input_gives_the_same_files(tmp_path):
    ranking, works = example()
    for folder in ("a", "b"):
        write_report(ranking, works=works, directory=tmp_path / folder, seed=3, resamples=50)
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    write_report(ranking, works=works, directory=tmp_path / "c", seed=4, resamples=50)
    assert (tmp_path / "a" / "figures.json").read_text() != (
        tmp_path / "c" / "figures.json"
    ).read_text()


@pytest.mark.parametrize("original", [False, True])
def test_intervals_equal_a_plain_bootstrap(original):
    ranking, works = example(1)
    names, index = np.unique(works, return_inverse=True)
    usable = [w for w in range(len(names)) if original or ranking.counts[index == w].any()]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(400):
        lists = []
        for w in rng.choice(usable, len(usable)):
            lists += [ranking.of_query(q).tolist() for q in np.flatnonzero(index == w)]
        drawn.append(list(summarise(ranking_of(lists), original).values()))
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    found = bootstrap_intervals(
        ranking, works, generator=np.random.default_rng(1), original=original
    )
    width = high - low
    for i, (a, b) in enumerate(found.values()):
        assert abs(a - low[i]) < 0.25 * width[i]
        assert abs(b - high[i]) < 0.25 * width[i]


def test_versions_of_one_work_do_not_count_as_independent():
    lists = [[1]] * 50 + [[50]] * 50
    by_work = bootstrap_intervals(
        ranking_of(lists), [i // 10 for i in range(100)], generator=np.random.default_rng(0)
    )
    by_query = bootstrap_intervals(
        ranking_of(lists), list(range(100)), generator=np.random.default_rng(0)
    )
    assert np.ptp(by_work["mAP"]) > 2 * np.ptp(by_query["mAP"])


def test_a_single_work_has_no_interval():
    found = bootstrap_intervals(
        ranking_of([[1], [2], []]), ["a", "a", "b"], generator=np.random.default_rng(0)
    )
    assert found == dict.fromkeys(["mAP", "MRR", "MR", "Top1", "Top10"])


@settings(max_examples=40, deadline=None)
@given(lists=st.lists(st.sets(st.integers(1, 30), max_size=6).map(sorted), min_size=1, max_size=8))
def test_precision_recall_equals_plain_loops(lists):
    if not any(lists):
        return
    recall, precision = precision_recall(ranking_of(lists), points=21)
    for r, p in zip(recall, precision, strict=True):
        values = [
            max((i + 1) / rank for i, rank in enumerate(ranks) if (i + 1) / len(ranks) >= r - 1e-9)
            for ranks in lists
            if ranks
        ]
        assert p == pytest.approx(np.mean(values))
    assert (np.diff(precision) <= 1e-12).all()


def test_first_ranks_add_up():
    ranks, shares = first_rank_shares(ranking_of([[1, 4], [3], [], [1], [9]]))
    assert ranks.tolist() == [1, 3, 9]
    assert shares.tolist() == [0.5, 0.75, 1.0]


@pytest.mark.parametrize("lists", [[[1]], [[50], []], [[2], [7, 8]]])
def test_small_rankings_are_drawn(tmp_path, lists):
    write_report(ranking_of(lists), works=range(len(lists)), directory=tmp_path, resamples=5)
    for name in ("ranks.png", "precision_recall.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("lists", "options", "words"),
    [
        ([[], []], {"works": ["a", "b"]}, "no query has another version"),
        ([[1]], {"works": ["a", "b"]}, "2 works and 1 names"),
        ([[1]], {"works": ["a"], "query_ids": []}, "1 works and 0 names"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, lists, options, words):
    with pytest.raises(UserError, match=words):
        write_report(ranking_of(lists), directory=tmp_path / "report", **options)
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_report(ranking_of([[1]]), works=["a"], directory=tmp_path / "file")
