"""A query beside references by Qmax: which features are read, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from src.data.crema_features import write_features
from src.errors import UserError
from src.retrieval.qmax import prepare, qmax_distance
from src.retrieval.qmax_references import CREMA_VERSION, QmaxReferences
from src.retrieval.references import ReferenceRow, References


def chroma(work: int, version: int) -> np.ndarray:
    pcp = np.repeat(np.random.default_rng(work).random((20, 12)) ** 3, 8, axis=0)
    noise = np.random.default_rng((work, version)).random(pcp.shape)
    return np.roll(pcp + 0.3 * noise, version, axis=1).astype(np.float32)


@pytest.fixture
def references(tmp_path) -> References:
    rows = []
    for work in range(4):
        path = tmp_path / f"{work}.npz"
        write_features(path, chroma(work, 1), CREMA_VERSION)
        rows.append(ReferenceRow(str(work), f"work {work}", str(path), 0, 0, 0.0, "", 0))
    return References(tmp_path / "refs", "model", {}, tuple(rows))


def test_distances_are_those_of_the_features(references, tmp_path):
    query = tmp_path / "query.npz"
    write_features(query, chroma(2, 5), CREMA_VERSION)
    compare = QmaxReferences(references, device=torch.device("cpu"), workers=2)
    found = compare(query, [3, 2, 0])
    feature = prepare(chroma(2, 5))
    expected = [qmax_distance(feature, prepare(chroma(work, 1))) for work in (3, 2, 0)]
    np.testing.assert_array_equal(found, expected)
    assert found.argmin() == 1
    itself = compare(references.rows[0].path, [0, 1])
    assert itself.argmin() == 0


def test_a_recording_that_is_gone_is_named(references):
    Path(references.rows[1].path).unlink()
    compare = QmaxReferences(references, device=torch.device("cpu"))
    assert np.isfinite(compare(references.rows[0].path, [2])).all()
    with pytest.raises(
        UserError, match=r"re-ranking compares sound or cremaPCP: .*1\.npz does not"
    ):
        compare(references.rows[0].path, [2, 1])
    short = references.rows[2].path
    write_features(Path(short), chroma(2, 0)[:30], CREMA_VERSION)
    with pytest.raises(UserError, match=r"2\.npz has 30 frames of cremaPCP"):
        compare(references.rows[0].path, [2])
