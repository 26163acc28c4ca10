"""How distances separate works, and the centroids of works."""

import json

import numpy as np
import pytest

from src.data.manifest import write_manifest
from src.errors import UserError
from src.retrieval.histogram import equal_error, plot_histogram, separation, separation_of
from src.retrieval.recording_windows import Recording2Windows
from src.retrieval.reference_centroids import compute_centroids, write_centroids
from tests.retrieval.collection import build, model_dir, stand_in, write_collection


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    root = tmp_path_factory.mktemp("centroids")
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch)
        embedder = Recording2Windows(model_dir(root / "model"), device="cpu")
    return build(write_collection(root / "data", range(5), 3), root / "refs", embedder)[0]


def test_equal_error_of_two_normal_distributions():
    generator = np.random.default_rng(0)
    same = np.sort(generator.normal(0, 1, 20_000))
    different = np.sort(generator.normal(2, 1, 50_000))
    rate, threshold = equal_error(same, different)
    assert rate == pytest.approx(0.1587, abs=0.004)  # Phi(-1)
    assert threshold == pytest.approx(1, abs=0.03)
    assert equal_error(np.array([0.1, 0.2]), np.array([0.5, 0.6]))[0] == 0


def test_pairs_of_a_square_matrix_count_once_and_excluded_ones_not_at_all():
    distances = np.array([[-1, 0.1, 0.8], [0.1, -1, 0.9], [0.8, 0.9, -1]])
    result = separation(distances, np.array(["a", "a", "b"]))
    assert (result.same.tolist(), result.different.tolist()) == ([0.1], [0.8, 0.9])
    assert (result.equal_error_rate, result.threshold) == (0, 0.1)
    cross = separation(distances, np.array(["a", "a", "b"]), np.array(["b", "a", "a"]))
    assert cross.same.tolist() == [0.1, 0.8, 0.8, 0.9]
    with pytest.raises(UserError, match="no pair of recordings of one work"):
        separation(distances, np.array(["a", "b", "c"]))
    with pytest.raises(UserError, match="does not fit"):
        separation(distances, np.array(["a", "b"]))


def test_separation_from_references_and_matrices(references, tmp_path):
    result = separation_of(references.folder)
    assert (len(result.same), len(result.different)) == (5 * 3, 10 * 9)
    assert result.equal_error_rate == 0
    distances = references.table.nearest_to(references.table)
    names, works = [row.name for row in references.rows], references.works
    np.savez(tmp_path / "d.npz", distances=distances, query_utt=names, ref_utt=names,
             query_label=works, ref_label=works)  # fmt: skip
    again = separation_of(tmp_path / "d.npz")
    np.testing.assert_array_equal(again.same, result.same)
    np.save(tmp_path / "d.npy", distances)
    write_manifest([{"utt": n, "song": w} for n, w in zip(names, works, strict=True)],
                   tmp_path / "q.txt")  # fmt: skip
    bare = separation_of(tmp_path / "d.npy", query_path=tmp_path / "q.txt")
    np.testing.assert_array_equal(bare.different, result.different)
    with pytest.raises(UserError, match="give --query"):
        separation_of(tmp_path / "d.npy")
    with pytest.raises(UserError, match="no distance matrix"):
        separation_of(tmp_path / "q.txt")


def test_the_picture_is_a_png(references, tmp_path):
    plot_histogram(separation_of(references.folder), tmp_path / "out" / "h.png")
    assert (tmp_path / "out" / "h.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_centroids_are_means_over_recordings(references, tmp_path):
    centroids = compute_centroids(references)
    assert centroids.works == [f"work {i:02d}" for i in range(5)]
    assert centroids.recordings.tolist() == [3] * 5
    members = [i for i, work in enumerate(references.works) if work == "work 02"]
    means = [references.table.of(i).mean(axis=0) for i in members]
    mean = np.mean([m / np.linalg.norm(m) for m in means], axis=0)
    np.testing.assert_allclose(centroids.embeddings[2], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(centroids.embeddings, axis=1), 1, rtol=1e-5)
    write_centroids(references, tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as content:
        assert content["works"].tolist() == centroids.works
        np.testing.assert_array_equal(content["embeddings"], centroids.embeddings)
    described = json.loads((tmp_path / "c.json").read_text())
    assert described["weights"] == references.identity["weights"]
