"""One table of all methods: its rows beside what other commands give, its intervals by loops."""

import copy
import csv
import logging
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from src.data.chroma import double_chroma
from src.data.dataset_file import DatasetFile
from src.data.manifest import write_manifest
from src.errors import UserError
from src.retrieval.collection import open_collection
from src.retrieval.confidence import bootstrap_mean
from src.retrieval.metrics import average_precisions
from src.retrieval.rerank_testset import reranked
from src.retrieval.testset import compare_testset
from src.training.checkpoint import load_coverhunter, load_move
from src.training.comparison import (
    compare,
    compare_set,
    comparison_table,
    difference,
    figure_table,
    find_row,
    planned_rows,
    result_text,
    rows_together,
    write_comparison,
)
from src.training.evaluation import evaluate_network
from src.training.kept import Kept
from src.training.method_list import all_methods, open_models
from src.training.methods import Method, Move, Qmax, Together, Windows
from tests.training.comparison_world import pcp, write_coverhunter, write_features, write_models

CPU = torch.device("cpu")
WORKS = [0, 0, 1, 1, 2, 2, 3]
K = 2


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Lines that name the same file under every key."""
    path = write_features(tmp_path_factory.mktemp("sets") / "few", WORKS)
    rows = [
        {
            "utt": f"rec{n}", "song": f"work {work}", "song_id": work,
            "feat": f"rec{n}.npz", "features": f"rec{n}.npz",
        }
        for n, work in enumerate(WORKS)
    ]  # fmt: skip
    write_manifest(rows, path.parent / "full.txt")
    return path


@pytest.fixture(scope="module")
def methods(models):
    found = open_models(None, models, device=CPU, as_testset=True)
    return all_methods(found, device=CPU, as_testset=True)


@pytest.fixture(scope="module")
def result(manifest, methods):
    pairs = [("qmax", "fourier")]
    collection = open_collection(manifest, device=CPU)
    return compare_set(collection, methods, pairs=pairs, rerank=K, resamples=60)


def test_rows_and_their_sizes(result, models):
    plain = [row for row in result.rows if not row.key.endswith("+qmax")]
    assert [(row.name, row.numbers) for row in plain] == [
        ("2D Fourier magnitude (unsupervised)", 312),
        ("Qmax (unsupervised, pair by pair)", 12 * 340 / 4),
        ("MOVE, 16000, untrained (control)", 16000),
        ("MOVE, 24", 24),
        ("Re-MOVE kd, 8", 8),
        ("Re-MOVE lsr, 8", 8),
        ("CoverHunter, 16, untrained (control)", 32),  # 33 s: two windows of 15 s
        ("CoverHunter, 16", 32),
    ]
    assert len(result.rows) == 2 * len(plain) - 1
    again = next(row for row in result.rows if row.key == "fourier+qmax")
    assert again.name == "2D Fourier magnitude (unsupervised), first 2 with Qmax"
    assert again.numbers == 312 + 1020
    assert {row.evaluation.ranking.n_queries for row in result.rows} == {len(WORKS)}


def test_re_ranked_rows_are_those_of_the_other_commands(result, manifest, models, tmp_path):
    rows = {row.key: row for row in result.rows}
    lsr = models / "lsr_models" / "model_re-move_lsr.pt"
    tracks = [pcp(work, n).astype(np.float16).astype(np.float32) for n, work in enumerate(WORKS)]
    dataset = DatasetFile([double_chroma(t) for t in tracks], [f"work {w}" for w in WORKS], "0.1.0")
    options = {"distance": "cosine", "device": CPU}
    alone = evaluate_network(load_move(lsr), dataset, **options)
    again = evaluate_network(load_move(lsr), dataset, rerank=K, **options)
    assert rows[lsr.as_posix()].evaluation.figures == alone.figures
    assert rows[f"{lsr.as_posix()}+qmax"].evaluation.figures == again.figures
    assert any(
        (row.evaluation.ranking.ranks != rows[f"{key}+qmax"].evaluation.ranking.ranks).any()
        for key, row in rows.items()
        if f"{key}+qmax" in rows
    )

    folder = models / "coverhunter"
    full = manifest.parent / "full.txt"
    model = load_coverhunter(folder)
    expected = compare_testset(model, full, full, embed_dir=tmp_path / "out", device=CPU)
    found = rows[folder.as_posix()].evaluation.ranking
    np.testing.assert_array_equal(found.ranks, expected.ranking.ranks)
    expected = reranked(expected, K, query_path=full, ref_path=full)
    found = rows[f"{folder.as_posix()}+qmax"].evaluation.ranking
    np.testing.assert_array_equal(found.ranks, expected.ranking.ranks)


def test_difference_by_loops(result):
    rows = {row.key: row for row in result.rows}
    labels = result.collection.labels
    (found,) = result.differences
    first, second = rows["qmax"], rows["fourier"]
    assert found == difference(first, second, labels, resamples=60)
    gains = [
        a - b
        for a, b in zip(
            average_precisions(first.evaluation.ranking),
            average_precisions(second.evaluation.ranking),
            strict=True,
        )
    ]
    assert np.isnan(gains[6])  # the only version of its work
    assert found.value == pytest.approx(
        first.evaluation.figures["mAP"] - second.evaluation.figures["mAP"]
    )
    by_work = {}
    for label, gain in zip(labels, gains, strict=True):
        if not np.isnan(gain):
            by_work.setdefault(label, []).append(gain)
    rng = np.random.default_rng(0)
    means = []
    for times in rng.multinomial(len(by_work), [1 / len(by_work)] * len(by_work), size=60):
        drawn = []
        for label, often in zip(sorted(by_work), times, strict=True):
            drawn += by_work[label] * often
        means.append(sum(drawn) / len(drawn))
    assert found.interval == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    assert str(found).startswith("mAP of Qmax (unsupervised, pair by pair) minus 2D Fourier")


def test_interval_of_a_mean_draws_whole_works():
    values = np.array([1.0, 1.0, 1.0, 0.0, np.nan, 0.0])
    works = ["a", "a", "a", "b", "b", "c"]
    low, high = bootstrap_mean(values, works, generator=np.random.default_rng(1), resamples=400)
    assert (low, high) == (0, 1)
    one = bootstrap_mean(values[:3], works[:3], generator=np.random.default_rng(1))
    assert one is None
    with pytest.raises(UserError, match="5 works are named for 6"):
        bootstrap_mean(values, works[:5], generator=np.random.default_rng(1))


def test_rows_as_a_person_names_them(methods, models):
    planned = planned_rows(methods, K)
    assert find_row("qmax", planned) == "qmax"
    assert find_row("LSR", planned) == (models / "lsr_models" / "model_re-move_lsr.pt").as_posix()
    assert find_row("coverhunter, 16, first", planned).endswith("coverhunter+qmax")
    with pytest.raises(UserError, match="'re-move' fits 4 rows; the rows are: 2D Fourier"):
        find_row("re-move", planned)
    with pytest.raises(UserError, match="'covers' is no row"):
        find_row("covers", planned)


def test_rows_of_two_as_a_person_names_them(methods, models):
    lsr, hunter = methods[5], methods[7]
    assert find_row("coverhunter", planned_rows(methods)) == hunter.key  # not its control
    both, other = rows_together(methods, [("LSR", "coverhunter"), ("qmax", "lsr")])
    assert both.parts == (lsr, hunter)
    planned = planned_rows([*methods, both, other], K)
    for wanted in ("lsr + coverhunter", "coverhunter + lsr", " Re-MOVE lsr, 8 + models0/coverhu"):
        wanted = wanted.replace("models0", models.name)
        assert find_row(wanted, planned) == both.key
        assert find_row(f"{wanted}+qmax", planned) == f"{both.key}+qmax"
    assert find_row("lsr + qmax", planned) == other.key
    for single in (lsr, hunter):
        assert find_row(single.name, planned) == single.key
    assert find_row("lsr", planned) == lsr.key
    with pytest.raises(UserError, match=r"no row of kd \+ lsr; ask for it with --together"):
        find_row("kd + lsr", planned)
    with pytest.raises(UserError, match="'covers' is no row"):
        find_row("lsr + covers", planned)
    for wanted, words in [
        ([("lsr", "lsr")], "lsr.pt is given twice"),
        ([("lsr", "qmax"), ("qmax", "LSR")], r"Qmax .* \+ Re-MOVE lsr, 8 is given twice"),
        ([("lsr", "covers")], "'covers' is no row"),
    ]:
        with pytest.raises(UserError, match=words):
            rows_together(methods, wanted)


def test_two_methods_together_by_loops(manifest, methods):
    collection = open_collection(manifest, device=CPU)
    first, second = methods[5], methods[7]
    both = Together([first, second])
    assert both.name == "Re-MOVE lsr, 8 + CoverHunter, 16"
    described = both.describe_set(collection)
    assert len(described) == len(WORKS)
    assert both.numbers(described) == 8 + 32

    embeddings = [F.normalize(track, dim=0) for track in first.describe_set(collection)]
    windows = second.describe_set(collection)
    apart, nearest = np.zeros((2, len(WORKS), len(WORKS)))
    for i in range(len(WORKS)):
        for j in range(len(WORKS)):
            apart[i, j] = 1 - float(embeddings[i] @ embeddings[j])
            nearest[i, j] = min(
                1 - float(F.cosine_similarity(torch.as_tensor(a), torch.as_tensor(b), dim=0))
                for a in windows[i]
                for b in windows[j]
            )
    expected = np.zeros_like(apart)
    different = [(i, j) for i in range(len(WORKS)) for j in range(len(WORKS)) if i != j]
    for distances in (apart, nearest):
        logs = [np.log(distances[pair]) for pair in different]
        expected += (np.log(distances.clip(1e-6)) - np.mean(logs)) / np.std(logs) / 2
    found = both.distances(described, None)
    np.testing.assert_allclose(
        [found[pair] for pair in different],
        [np.exp(expected[pair]) for pair in different],
        rtol=1e-3,
    )

    planned = planned_rows([*methods, both], rerank=K)
    assert find_row("lsr", planned) == first.key
    assert find_row(both.name, planned) == both.key
    rows = compare_set(
        collection, [first, both], rerank=K, resamples=20, pairs=[(both.key, first.key)]
    )
    assert [row.key for row in rows.rows][2:] == [both.key, f"{both.key}+qmax"]
    assert rows.differences[0].first == both.name


def test_what_a_method_says_of_a_set_is_computed_once(manifest, methods, monkeypatch):
    """Whether it is a row, re-ranked, or a part of others."""
    calls = Counter()

    def count(cls, name):
        plain = getattr(cls, name)

        def call(self, *arguments):
            calls[name, id(self)] += 1
            return plain(self, *arguments)

        monkeypatch.setattr(cls, name, call)

    for cls in (Move, Qmax, Windows):
        count(cls, "distances")
    count(Method, "describe_set")
    qmax, lsr, hunter = (methods[number] for number in (1, 5, 7))
    both, with_qmax = Together([lsr, hunter]), Together([hunter, qmax])
    collection = open_collection(manifest, device=CPU)
    rows = compare(collection, [qmax, hunter, lsr, both, with_qmax], rerank=K, resamples=0)
    for method in (qmax, lsr, hunter):
        for name in ("describe_set", "distances"):
            assert calls[name, id(method)] == 1, (name, method.name)
    assert set(calls.values()) == {1}
    for together in (both, with_qmax):
        row = next(row for row in rows if row.key == together.key)
        alone = together.rank(together.describe_set(collection), collection.labels)
        np.testing.assert_array_equal(row.evaluation.ranking.ranks, alone.ranks)

    # What no row to come needs is not held.
    calls.clear()
    kept = Kept(collection)
    for needed, times in (([both], 1), ([lsr], 1), ([hunter], 2)):
        kept.keep_for(needed)
        kept.distances(lsr)
        assert set(calls.values()) == {times}


@pytest.mark.parametrize("distance", ["cosine", "pearson", "euclidean"])
def test_distances_order_recordings_as_ranks_do(methods, distance):
    """A row together with itself is the row alone: both measure by the distance of the model."""
    method = copy.copy(methods[5])
    method.distance = distance
    vectors = list(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)) + 3)
    labels = ["a", "a", "b", "b", "b", "c", "c", "d"]
    twice = Together([method, method])
    alone = method.rank(vectors, labels)
    joined = twice.rank([(vector, vector) for vector in vectors], labels)
    np.testing.assert_array_equal(joined.ranks, alone.ranks)
    others = list(reversed(vectors))
    found = method.distances(vectors, others)
    expected = {
        "cosine": lambda x, y: 1 - F.cosine_similarity(x, y, dim=0),
        "pearson": lambda x, y: 1 - np.corrcoef(x, y)[0, 1],
        "euclidean": lambda x, y: (x - y).square().mean(),
    }[distance]
    for query in (0, 3):
        for reference in range(8):
            wanted = float(expected(vectors[query], others[reference]))
            assert found[query, reference] == pytest.approx(wanted, abs=1e-5)


def test_one_pair_of_recordings_has_no_spread(methods):
    both = Together([methods[0], methods[2]])
    described = [(torch.ones(3), torch.ones(4)), (torch.eye(3)[0], torch.eye(4)[0])]
    assert np.isfinite(both.distances(described, None)).all()


def test_tables_and_file(result, tmp_path):
    text = result_text(result)
    assert text.startswith("few: 7 recordings of 4 works\n\n| method | mAP (95 %) |")
    assert text.splitlines()[-1] == str(result.differences[0])
    table = comparison_table(result.rows).splitlines()
    assert len(table) == 2 + len(result.rows)
    figures = result.rows[0].evaluation.figures
    assert f"{figures['mAP']:.3f} (" in table[2]
    assert table[2].endswith("| 312 |")
    head = "| method | mAP | MRR | MR | Top1 | Top10 |\n| --- | ---: | ---: | ---: | ---: | ---: |"
    assert figure_table([]) == head
    write_comparison(tmp_path / "table.csv", [result])
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.rows) + 1
    assert float(rows[0]["mAP"]) == pytest.approx(figures["mAP"], rel=1e-5)
    assert float(rows[0]["mAP_low"]) <= float(rows[0]["mAP"]) <= float(rows[0]["mAP_high"])
    assert rows[-1]["method"].startswith("Qmax (unsupervised, pair by pair) minus 2D Fourier")


def test_what_has_no_features_is_left_out_and_said(tmp_path, methods, caplog):
    path = write_features(tmp_path / "cqt", WORKS)
    for n in range(len(WORKS)):
        with np.load(path.parent / f"rec{n}.npz") as arrays:
            stored = arrays["cqt_u8"]
        np.savez(path.parent / f"rec{n}.npz", cqt_u8=stored)
    with caplog.at_level(logging.WARNING):
        options = {"rerank": K, "resamples": 0, "progress": False}
        rows = compare(open_collection(path, device=CPU), methods, **options)
    assert {row.name for row in rows} == {
        "CoverHunter, 16, untrained (control)", "CoverHunter, 16"
    }  # fmt: skip
    assert rows[0].interval is None
    assert len(caplog.messages) == 6 + 2
    assert caplog.messages[-1].startswith("cqt: CoverHunter, 16, first 2 with Qmax is left out: ")
    assert caplog.messages[0].startswith("cqt: 2D Fourier magnitude (unsupervised) is left out: ")
    assert "neither cremaPCP 0.1.0 nor sound of rec0 is where" in caplog.messages[0]
    with pytest.raises(UserError, match="no method can be evaluated"):
        compare(open_collection(path, device=CPU), methods[:3], progress=False)
    alone = write_features(tmp_path / "alone", [0, 1, 2])
    with pytest.raises(UserError, match="no recording has another version"):
        compare(open_collection(alone, device=CPU), methods, progress=False)


def test_models_of_one_name_are_told_apart(models, tmp_path, caplog):
    other = write_coverhunter(tmp_path / "second" / "coverhunter")
    paths = [models / "coverhunter", other]
    found = all_methods(open_models(paths, models, device=CPU), device=CPU, untrained=False)
    assert [method.name for method in found][2:] == [
        f"CoverHunter, 16 ({models.name}/coverhunter)",
        "CoverHunter, 16 (second/coverhunter)",
    ]
    with pytest.raises(UserError, match="given twice"):
        all_methods(open_models([other, other], models, device=CPU), device=CPU)
    (other / "pt_model" / "g_00000001").unlink()
    with caplog.at_level(logging.WARNING):
        assert open_models(None, tmp_path, device=CPU) == []
    assert "is left out" in caplog.messages[0]
    with pytest.raises(UserError, match="g_"):
        open_models([other], models, device=CPU)
