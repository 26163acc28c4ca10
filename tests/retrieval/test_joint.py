"""Several models as one: joint distances by loops, and what identification makes of them."""

from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from src.data.manifest import read_manifest, write_manifest
from src.errors import UserError
from src.retrieval import joint
from src.retrieval.calibration import calibrate_table, read_calibration
from src.retrieval.identify import Identifier
from src.retrieval.joint import JointTable, joint_distances, scale_of
from src.retrieval.recording_windows import Recording2Windows
from src.retrieval.second_model import TOGETHER_CALIBRATION, SecondModel
from src.retrieval.windows import WindowTable
from tests.retrieval.collection import (
    HALF_DEAF,
    build,
    model_dir,
    save_recording,
    stand_in,
    write_collection,
)


def random_table(seed: int, counts: list[int], size: int) -> WindowTable:
    generator = np.random.default_rng(seed)
    return WindowTable.build(
        [generator.standard_normal((n, size)).astype(np.float32) for n in counts], "cosine"
    )


@pytest.mark.parametrize("at_once", [joint.BLOCK_ELEMENTS, 7])
def test_joint_distances_by_loops(monkeypatch, at_once):
    monkeypatch.setattr(joint, "BLOCK_ELEMENTS", at_once)
    a, b = random_table(0, [1, 2, 3, 1, 2], 8), random_table(1, [2, 1, 1, 4, 1], 5)
    queries = random_table(2, [1, 2], 8), random_table(3, [3, 1], 5)
    both = JointTable.build([a, b])
    assert len(both) == 5
    expected = np.zeros((2, 5))
    for table, query in zip((a, b), queries, strict=True):
        logs = [
            np.log(min(1 - x @ y for x in table.of(i) for y in table.of(j)))
            for i in range(5)
            for j in range(5)
            if i != j
        ]
        for q in range(2):
            for r in range(5):
                nearest = min(1 - x @ y for x in query.of(q) for y in table.of(r))
                expected[q, r] += (np.log(nearest) - np.mean(logs)) / np.std(logs) / 2
    found = both.nearest_to(both.like(queries))
    np.testing.assert_allclose(found, np.exp(expected), rtol=1e-4)
    some = np.array([3, 1])
    np.testing.assert_array_equal(both.select(some).nearest_to(both.like(queries)), found[:, some])


def test_scales_of_very_little():
    assert scale_of(np.zeros((1, 1))) == (0.0, 1.0)
    middle, spread = scale_of(np.array([[0.0, 0.5], [0.5, 0.0]]))
    assert (middle, spread) == (pytest.approx(np.log(0.5)), 1.0)
    same = joint_distances([np.zeros((1, 1))], [(0.0, 1.0)])
    assert same[0, 0] > 0


def crowded(recordings: int, apart: float) -> WindowTable:
    """A model for which any two recordings are equally far apart, but for rounding."""
    rotation = np.linalg.qr(np.random.default_rng(5).standard_normal((recordings + 1,) * 2))[0]
    rows = np.sqrt(apart) * rotation[1:] + np.sqrt(1 - apart) * rotation[0]
    return WindowTable.build(list(rows.astype(np.float32)[:, None]), "cosine")


@pytest.mark.parametrize("apart", [1.0, 0.2, 0.01, 1e-4, 0.0])
def test_a_model_that_tells_nothing_apart_has_no_say(apart):
    model, collapsed = random_table(0, [1] * 24, 8), crowded(24, apart)
    alone = model.nearest_to(model)
    found = collapsed.nearest_to(collapsed)
    assert found[~np.eye(24, dtype=bool)] == pytest.approx(apart, abs=1e-6)
    both = JointTable.build([model, collapsed])
    assert both.scales[1][1] == 1.0
    together = both.nearest_to(both)
    different = ~np.eye(24, dtype=bool)
    order = np.argsort(alone[different], kind="stable")
    # But for pairs that are as far apart as the other model's rounding can tell.
    assert (np.diff(np.log(together[different][order])) > -0.01).all()
    assert (together > 0).all()
    # A spread of what is much like rounding still gives no distance of 0 or infinity.
    extreme = joint_distances([alone, found], [both.scales[0], (-50.0, 1e-5)])
    assert np.isfinite(extreme).all()
    assert (joint_distances([alone], [(50.0, 1e-5)]) > 0).all()


def test_scales_of_many_recordings_and_of_what_is_infinitely_far(monkeypatch):
    rng = np.random.default_rng(0)
    distances = rng.random((40, 40)) + 0.1
    monkeypatch.setattr(joint, "MOST_RECORDINGS", 10)
    some = joint.sample_recordings(40, seed=3)
    assert len(set(some)) == 10
    logs = [np.log(distances[i, j]) for i in some for j in some if i != j]
    assert scale_of(distances, seed=3) == pytest.approx((np.mean(logs), np.std(logs)))
    # Qmax has no limit; what finds nothing in common is the last, and says nothing of the rest.
    distances[some[0], some[1]] = np.inf
    scale = scale_of(distances, seed=3)
    del logs[0]
    assert scale == pytest.approx((np.mean(logs), np.std(logs)))
    found = joint_distances([distances, rng.random((40, 40))], [scale, (0.0, 1.0)])
    assert np.isfinite(found).all()
    assert found.argmax() == some[0] * 40 + some[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """References of 12 works by two models; the second ones have another recording in front."""
    root = tmp_path_factory.mktemp("joint")
    manifest = write_collection(root / "data", range(12))
    more = save_recording(root / "data" / "cqt_feat" / "a.cqt.npy", 70)
    rows = [{"utt": "a", "song": "work 70", "feat": str(more)}, *read_manifest(manifest)]
    write_manifest(rows, root / "data" / "more.txt")
    made = []
    for name, listed in (("one", manifest), (HALF_DEAF, root / "data" / "more.txt")):
        with pytest.MonkeyPatch.context() as patch:
            stand_in(patch)
            embedder = Recording2Windows(model_dir(root / name), device="cpu")
        made += [embedder, build(listed, root / f"refs {name}", embedder)[0]]
    return made


def test_recordings_of_the_second_model_are_found_by_name(world):
    _, references, other, others = world
    assert [row.name for row in others.rows] == ["a", *(row.name for row in references.rows)]
    second = SecondModel.beside(references, others, other)
    assert len(second.table) == len(references)
    for position in range(len(references)):
        np.testing.assert_array_equal(second.table.of(position), others.table.of(position + 1))


def test_a_second_model_counts_as_much(world, tmp_path):
    embedder, references, other, others = world
    second = SecondModel.beside(references, others, other)
    identifier = Identifier(references, embedder, second=second)
    query = save_recording(tmp_path / "q.npy", 3, start_s=9, seed=9)
    answer = identifier(query, top=2)
    assert answer.verdict == "match"
    assert answer.works[0].work == "work 03"
    assert answer.works[0].versions[0].spans
    assert answer.recall == 1.0
    assert answer.works[0].distance < answer.works[1].distance
    assert identifier(save_recording(tmp_path / "u.npy", 60)).verdict == "nothing here matches"

    # A second model that takes work 3 for work 8 (its references in the opposite order).
    reversed_table = second.table.select(np.arange(len(references))[::-1])
    other_way = replace(second, table=reversed_table, digest="reversed")
    against = Identifier(references, embedder, second=other_way)
    unsure = against(query, top=2)
    assert {work.work for work in unsure.works} == {"work 03", "work 08"}
    assert unsure.works[0].distance > answer.works[0].distance


def test_the_calibration_of_two_models_is_kept(world, monkeypatch):
    embedder, references, other, others = world
    path = references.folder / TOGETHER_CALIBRATION
    path.unlink(missing_ok=True)
    second = SecondModel.beside(references, others, other)
    computed = Mock(wraps=calibrate_table)
    monkeypatch.setattr("src.retrieval.second_model.calibrate_table", computed)
    new = Identifier(references, embedder, second=second)
    kept = Identifier(references, embedder, second=second)
    assert computed.call_count == 1
    assert kept.table.scales == new.table.scales
    np.testing.assert_array_equal(kept.calibration.cohort, new.calibration.cohort)
    for name in ("best", "pair_scores"):
        found, expected = (getattr(made.calibration, name).scores for made in (kept, new))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    # Neither the calibration of one model, nor of other references, nor what is damaged.
    assert read_calibration(references).best.scores[0] != new.calibration.best.scores[0]
    Identifier(references, embedder, second=replace(second, digest="of others"))
    fewer = replace(references, rows=references.rows[1:])
    for times, these in ((3, references), (4, fewer)):
        Identifier(these, embedder, second=SecondModel.beside(these, others, other))
        assert computed.call_count == times
    for damaged in ("{", path.read_text("utf-8").replace('"scales": [', '"scales": [3, ')):
        path.write_text(damaged, "utf-8")
        Identifier(fewer, embedder, second=SecondModel.beside(fewer, others, other))
    assert computed.call_count == 6
    # A folder that cannot be written to answers as well.
    path.unlink()
    path.mkdir()
    Identifier(fewer, embedder, second=SecondModel.beside(fewer, others, other))
    path.rmdir()


def test_references_of_other_recordings_are_refused(world):
    embedder, references, other, others = world
    front, first, *rest = others.rows
    fewer = replace(others, rows=(front, *rest))
    with pytest.raises(UserError, match=r"lacks 1 recordings of .*such as w00v0; make both"):
        SecondModel.beside(references, fewer, other)
    renamed = replace(others, rows=(front, replace(first, work="another"), *rest))
    with pytest.raises(UserError, match=r"w00v0 is a version of work 00 in .* but of another in"):
        SecondModel.beside(references, renamed, other)
    with pytest.raises(UserError, match="other weights"):
        SecondModel.beside(references, others, embedder)
