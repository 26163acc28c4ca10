"""Several models as one: joint distances by loops, and what identification makes of them."""

from dataclasses import replace

import numpy as np
import pytest

from src.errors import UserError
from src.retrieval.identify import Identifier
from src.retrieval.joint import JointTable, joint_distances, scale_of
from src.retrieval.recording_windows import Recording2Windows
from src.retrieval.second_model import SecondModel
from src.retrieval.windows import WindowTable
from tests.retrieval.collection import build, model_dir, save_recording, stand_in, write_collection


def random_table(seed: int, counts: list[int], size: int) -> WindowTable:
    generator = np.random.default_rng(seed)
    return WindowTable.build(
        [generator.standard_normal((n, size)).astype(np.float32) for n in counts], "cosine"
    )


def test_joint_distances_by_loops():
    a, b = random_table(0, [1, 2, 3, 1, 2], 8), random_table(1, [2, 1, 1, 4, 1], 5)
    queries = random_table(2, [1, 2], 8), random_table(3, [3, 1], 5)
    joint = JointTable.build([a, b])
    assert len(joint) == 5
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
    found = joint.nearest_to(joint.like(queries))
    np.testing.assert_allclose(found, np.exp(expected), rtol=1e-4)
    some = np.array([3, 1])
    np.testing.assert_array_equal(
        joint.select(some).nearest_to(joint.like(queries)), found[:, some]
    )


def test_scales_of_very_little():
    assert scale_of(np.zeros((1, 1))) == (0.0, 1.0)
    middle, spread = scale_of(np.array([[0.0, 0.5], [0.5, 0.0]]))
    assert (middle, spread) == (pytest.approx(np.log(0.5)), 1.0)
    same = joint_distances([np.zeros((1, 1))], [(0.0, 1.0)])
    assert same[0, 0] > 0


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """References of 12 works by two models, the second of which sorts them otherwise."""
    root = tmp_path_factory.mktemp("joint")
    manifest = write_collection(root / "data", range(12))
    made = []
    for name, scale in (("one", 1.0), ("two", 3.0)):
        with pytest.MonkeyPatch.context() as patch:
            stand_in(patch, scale=scale)
            embedder = Recording2Windows(model_dir(root / name), device="cpu")
        made += [embedder, build(manifest, root / f"refs_{name}", embedder)[0]]
    return made


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
    reversed_table = others.table.select(np.arange(len(others))[::-1])
    against = Identifier(references, embedder, second=replace(second, table=reversed_table))
    unsure = against(query, top=2)
    assert {work.work for work in unsure.works} == {"work 03", "work 08"}
    assert unsure.works[0].distance > answer.works[0].distance


def test_references_of_other_recordings_are_refused(world):
    embedder, references, other, others = world
    fewer = replace(others, rows=others.rows[1:])
    with pytest.raises(UserError, match=r"lacks 1 recordings of .*such as w00v0; make both"):
        SecondModel.beside(references, fewer, other)
    renamed = replace(others, rows=(replace(others.rows[0], work="another"), *others.rows[1:]))
    with pytest.raises(UserError, match=r"w00v0 is a version of work 00 in .* but of another in"):
        SecondModel.beside(references, renamed, other)
    with pytest.raises(UserError, match="other weights"):
        SecondModel.beside(references, others, embedder)
