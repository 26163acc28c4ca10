"""Queries against references: the right work, at the right place, with a p-value."""

import json

import numpy as np
import pytest

from src.errors import UserError
from src.retrieval.answer_text import answers_text, clock, comparison_text, p_text
from src.retrieval.calibration import (
    calibration_of,
    model_calibration_path,
    read_calibration,
    write_model_calibration,
)
from src.retrieval.compare import compare
from src.retrieval.identify import Identifier, identify
from src.retrieval.recording_windows import Recording2Windows
from src.retrieval.references import References
from tests.retrieval.collection import (
    WORKS,
    build,
    model_dir,
    save_recording,
    stand_in,
    write_collection,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Folder, embedder and references of 24 works with two versions each."""
    root = tmp_path_factory.mktemp("identify")
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        embedder = Recording2Windows(model_dir(root / "model"), device="cpu")
    references, _ = build(write_collection(root / "data"), root / "refs", embedder)
    return root, embedder, references


def test_known_works_are_found_and_unknown_ones_are_not(world, tmp_path):
    _, embedder, references = world
    known = [save_recording(tmp_path / f"k{i}.npy", i, start_s=9, seed=9) for i in range(8)]
    unknown = [save_recording(tmp_path / f"u{i}.npy", WORKS + i) for i in range(20)]
    answers = identify(known + unknown, references, embedder, top=3)
    for i, answer in enumerate(answers[:8]):
        assert answer.verdict == "match"
        assert [work.work for work in answer.matches] == [f"work {i:02d}"]
        (first, *_) = answer.works
        assert first.p_value < 0.01
        assert first.versions[0].name in (f"w{i:02d}v0", f"w{i:02d}v1")
        assert len(first.versions) == 2
        assert [work.rank for work in answer.works] == [1, 2, 3]
    verdicts = [answer.verdict for answer in answers[8:]]
    assert verdicts.count("nothing here matches") >= 17
    assert all(len(answer.works) == 3 for answer in answers)


def test_spans_say_where(world, tmp_path):
    _, embedder, references = world
    query = save_recording(tmp_path / "q.npy", 3, start_s=20, seconds=40, seed=5)
    answer = Identifier(references, embedder)(query)
    by_name = {version.name: version for version in answer.works[0].versions}
    for name, start_s in (("w03v0", 0), ("w03v1", 5)):
        span = by_name[name].spans[0]
        assert span.reference_start - span.query_start == pytest.approx(20 - start_s, abs=5.1)
        assert span.query_end - span.query_start >= 20


def test_a_short_query_is_padded_and_found(world, tmp_path):
    _, embedder, references = world
    query = save_recording(tmp_path / "short.npy", 5, seconds=20, seed=3)
    answer = Identifier(references, embedder)(query)
    assert answer.works[0].work == "work 05"


def test_distances_are_those_of_all_windows(world):
    """What comes through the index is what a comparison with everything gives."""
    _, embedder, references = world
    row = references.rows[10]
    answer = Identifier(references, embedder)(row.path, top=WORKS, threshold=1.0)
    table = references.table
    whole = table.nearest_to(table.select(np.array([10])))[0]
    found = {v.name: v.distance for work in answer.works for v in work.versions}
    assert len(found) == len(references)
    for position, other in enumerate(references.rows):
        assert found[other.name] == pytest.approx(whole[position], abs=1e-5)
    ranked = [work.distance for work in answer.works]
    assert ranked == sorted(ranked)


def test_few_windows_asked_for_find_the_same(world, monkeypatch):
    """More windows are fetched as long as a nearer recording may have been missed."""
    _, embedder, references = world
    identifier = Identifier(references, embedder)
    query = references.rows[4].path
    expected = identifier(query, top=5)
    monkeypatch.setattr("src.retrieval.identify.FIRST_WINDOWS", 1)
    few = identifier(query, top=5)
    assert [w.work for w in few.works] == [w.work for w in expected.works]
    assert [w.distance for w in few.works] == [w.distance for w in expected.works]


def test_an_approximate_index_finds_the_work(world, tmp_path, monkeypatch):
    root, embedder, _ = world
    monkeypatch.setattr("src.retrieval.search.EXACT_UP_TO", 10)
    references, _ = build(root / "data" / "full.txt", tmp_path / "refs", embedder)
    query = save_recording(tmp_path / "q.npy", 11, start_s=3, seed=4)
    answer = Identifier(References.load(tmp_path / "refs"), embedder)(query)
    assert answer.works[0].work == "work 11"
    assert answer.recall == references.index["recall_at_10"]


def test_too_few_references_leave_the_confidence_open(world, tmp_path):
    _, embedder, _ = world
    references, _ = build(write_collection(tmp_path / "d", range(1)), tmp_path / "r", embedder)
    answer = Identifier(references, embedder)(references.rows[0].path)
    assert (answer.verdict, answer.works[0].p_value) == ("unknown", None)
    assert "too few references" in answers_text([answer], "table")


def test_calibration_belongs_to_its_references(world, tmp_path):
    _, embedder, references = world
    kept = read_calibration(references)
    assert kept.method == "leave-one-work-out"
    np.testing.assert_allclose(kept.best.scores, calibration_of(references).best.scores, rtol=1e-6)
    more, _ = build(write_collection(tmp_path / "d", range(3)), tmp_path / "r", embedder)
    (tmp_path / "r" / "calibration.json").write_bytes(
        (references.folder / "calibration.json").read_bytes()
    )
    assert read_calibration(more) is None
    assert calibration_of(more).method == "pairs"


def test_compare_with_references_with_the_model_or_with_neither(world, tmp_path):
    root, embedder, references = world
    a = save_recording(tmp_path / "a.npy", 30, seed=1)
    b = save_recording(tmp_path / "b.npy", 30, start_s=12, seed=2)
    c = save_recording(tmp_path / "c.npy", 31)
    same, other = (compare(a, x, embedder, references=references) for x in (b, c))
    assert (same.verdict, other.verdict) == ("match", "nothing here matches")
    assert same.p_value < 0.01 < other.p_value
    assert same.spans[0].query_start - same.spans[0].reference_start == pytest.approx(12, abs=5.1)
    assert "versions of one work" in comparison_text(same, "table")
    plain = compare(a, b, embedder)
    assert (plain.p_value, plain.verdict) == (None, "unknown")
    assert plain.distance == same.distance
    assert "confidence unknown" in comparison_text(plain, "table")
    path = model_calibration_path(root / "model")
    try:
        write_model_calibration(references, path)
        shipped = compare(a, b, embedder)
        assert shipped.calibration == "shipped pairs"
        assert shipped.p_value < 0.01 < compare(a, c, embedder).p_value
        content = json.loads(path.read_text())
        content["identity"]["weights"] = "of another model"
        path.write_text(json.dumps(content))
        assert compare(a, b, embedder).p_value is None
    finally:
        path.unlink()


def test_answers_as_json_and_csv(world, tmp_path):
    _, embedder, references = world
    query = save_recording(tmp_path / "q, with comma.npy", 2, start_s=2, seed=8)
    answers = identify([query], references, embedder, top=2)
    (content,) = json.loads(answers_text(answers, "json"))
    assert content["verdict"] == "match"
    assert content["works"][0]["versions"][0]["spans"][0].keys() == {
        "query_start", "query_end", "reference_start", "reference_end", "distance",
    }  # fmt: skip
    lines = answers_text(answers, "csv").splitlines()
    assert lines[0].startswith("query,verdict,rank,work,version,distance,p_value,match")
    assert len(lines) == 1 + 4
    assert lines[1].startswith(f'"{query}",match,1,work 02,w02v')
    table = answers_text(answers, "table")
    assert "work 02 (p" in table


def test_arguments_out_of_range(world):
    _, embedder, references = world
    with pytest.raises(UserError, match="top must be"):
        identify([references.rows[0].path], references, embedder, top=0)


def test_times_and_probabilities_for_reading():
    assert [clock(s) for s in (0, 59.6, 187, 3723)] == ["0:00", "1:00", "3:07", "1:02:03"]
    assert [p_text(p) for p in (None, 1e-9, 0.0123, 0.5)] == [
        "unknown", "< 0.0001", "0.012", "0.5",
    ]  # fmt: skip


def test_the_nearest_in_another_order(world, tmp_path):
    _, embedder, references = world
    query = save_recording(tmp_path / "k3.npy", 3, start_s=9, seed=9)
    plain = Identifier(references, embedder)(query, top=2)
    asked = []

    def last_first(name, positions):
        asked.append((name, positions))
        return 1 / np.arange(1, len(positions) + 1)

    identifier = Identifier(references, embedder, rerank=6, blend=1, pair_distances=last_first)
    answer = identifier(query, top=2)
    ((name, positions),) = asked
    assert name == str(query)
    assert len(positions) == 6
    nearest = [references.rows[position].name for position in positions]
    assert set(nearest[:2]) == {"w03v0", "w03v1"}
    assert answer.works[0].versions[0].name == nearest[-1]
    assert [work.rank for work in answer.works] == [1, 2]
    assert "work 03" not in [work.work for work in answer.works]
    # The distances and what they are worth are still those of the embeddings.
    assert answer.works[0].distance == min(v.distance for v in answer.works[0].versions)
    assert answer.works[0].distance > plain.works[0].distance
    assert answer.works[0].p_value > plain.works[0].p_value
    one = Identifier(references, embedder, rerank=1, pair_distances=last_first)(query, top=2)
    assert one == plain
    # The nearest two stand out so far that a little of the other order changes nothing.
    little = Identifier(references, embedder, rerank=6, blend=0.1, pair_distances=last_first)
    assert little(query, top=2).works[0].work == "work 03"
    for wrong in ({"rerank": -1}, {"rerank": 2, "blend": 2.0}):
        with pytest.raises(UserError, match="re-rank"):
            Identifier(references, embedder, pair_distances=last_first, **wrong)
