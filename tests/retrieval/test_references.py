"""References on disk: made, extended, continued, and refused where they do not fit."""

import json
import os

import numpy as np
import pytest

from src.audio.cqt import CQTSpec
from src.data.cqt_features import save_cqt, write_spec
from src.data.manifest import read_manifest, write_manifest
from src.errors import UserError
from src.retrieval import reference_builder
from src.retrieval.recording_windows import Recording2Windows, WindowSettings
from src.retrieval.reference_builder import open_embedder
from src.retrieval.references import References
from tests.retrieval.collection import build, model_dir, save_recording, stand_in, write_collection


@pytest.fixture
def embedder(monkeypatch, tmp_path) -> Recording2Windows:
    stand_in(monkeypatch)
    return Recording2Windows(model_dir(tmp_path / "model"), device="cpu")


@pytest.fixture
def embedded(embedder, monkeypatch):
    """Names of the files that went through the model."""
    names = []
    original = Recording2Windows.embed

    def counted(self, loaded):
        names.append(loaded.path.name.split(".")[0])
        return original(self, loaded)

    monkeypatch.setattr(Recording2Windows, "embed", counted)
    return names


def test_made_and_read_again(embedder, tmp_path):
    made, report = build(write_collection(tmp_path / "data", range(3)), tmp_path / "r", embedder)
    read = References.load(tmp_path / "r")
    assert read == made
    assert (len(report.added), report.failures) == (6, {})
    assert read.works == [f"work {i // 2:02d}" for i in range(6)]
    own = embedder(read.rows[3].path)
    wide, narrow = read.windows(3), read.windows(3, "narrow")
    np.testing.assert_array_equal(wide.embeddings, own.wide.embeddings)
    np.testing.assert_array_equal(wide.starts_s, [0, 15, 30])
    np.testing.assert_array_equal(narrow.ends_s, own.narrow.ends_s)
    np.testing.assert_allclose(narrow.embeddings, own.narrow.embeddings, rtol=1e-3, atol=1e-2)
    assert len(read.table.of(3)) == 3
    header = json.loads((tmp_path / "r" / "references.json").read_text())
    assert header["features"] == {"cqt": CQTSpec().to_dict()}
    assert header["windows"]["window_s"] == 30


def test_only_new_and_changed_recordings_are_embedded(embedder, embedded, tmp_path):
    manifest = write_collection(tmp_path / "data", range(2))
    build(manifest, tmp_path / "r", embedder)
    embedded.clear()
    assert build(manifest, tmp_path / "r", embedder)[1].unchanged == 4
    assert embedded == []
    rows = read_manifest(manifest)
    rows[0]["song"] = "another work"
    new = save_recording(tmp_path / "data" / "cqt_feat" / "new.npy", 7)
    save_recording(tmp_path / "data" / "cqt_feat" / "w01v1.cqt.npy", 1, seconds=70)
    rows.append({"utt": "new", "song": "seven", "feat": str(new)})
    write_manifest([row for row in rows if row["utt"] != "w00v1"], manifest)
    references, report = build(manifest, tmp_path / "r", embedder)
    assert sorted(embedded) == ["new", "w01v1"]
    assert (report.added, report.changed, report.relabelled) == (["new"], ["w01v1"], ["w00v0"])
    assert (report.absent, report.removed) == (["w00v1"], [])
    assert references.works[:2] == ["seven", "another work"]
    assert len(references) == 5
    pruned, report = build(manifest, tmp_path / "r", embedder, prune=True)
    assert (report.removed, len(pruned)) == (["w00v1"], 4)
    assert References.load(tmp_path / "r") == pruned
    # Nothing of the old blocks is lost or mixed up by joining them.
    for position, row in enumerate(pruned.rows):
        expected = embedder(row.path).wide.embeddings
        np.testing.assert_array_equal(pruned.windows(position).embeddings, expected)
    in_force = {row.block for row in pruned.rows}
    assert {path.name for path in (tmp_path / "r").glob("block_*")} == in_force


def test_a_stopped_run_goes_on_where_it_was(embedder, embedded, tmp_path, monkeypatch):
    manifest = write_collection(tmp_path / "data", range(4))
    monkeypatch.setattr(reference_builder, "COMMIT_RECORDINGS", 2)
    original = Recording2Windows.load

    def stop_at_the_fifth(self, path):
        if "w02v0" in str(path):
            raise KeyboardInterrupt
        return original(self, path)

    with monkeypatch.context() as patch:
        patch.setattr(Recording2Windows, "load", stop_at_the_fifth)
        with pytest.raises(KeyboardInterrupt):
            build(manifest, tmp_path / "r", embedder, workers=1)
    done = {row.name for row in References.load(tmp_path / "r").rows}
    assert done
    assert done == set(embedded)
    embedded.clear()
    references, _ = build(manifest, tmp_path / "r", embedder)
    assert len(references) == 8
    assert done.isdisjoint(embedded)


def test_unusable_recordings_are_left_out_and_counted(embedder, tmp_path):
    manifest = write_collection(tmp_path / "data", range(2))
    folder = tmp_path / "data" / "cqt_feat"
    (folder / "bad.npy").write_bytes(b"no array")
    save_cqt(np.zeros((10, 96), np.float32), folder / "short.npy")
    save_cqt(np.zeros((100, 84), np.float32), folder / "narrow.npy")
    nan = np.full((100, 96), -10.0)
    nan[3, 5] = np.nan
    save_cqt(nan, folder / "nan.npy")
    rows = read_manifest(manifest)
    for name in ("bad", "short", "narrow", "nan"):
        rows.append({"utt": name, "song": "x", "feat": str(folder / f"{name}.npy")})
    rows.append({"utt": "gone", "song": "x", "wav": "gone.wav"})
    rows.append({"utt": "lost", "song": "x", "feat": "lost.npy"})
    write_manifest(rows, manifest)
    references, report = build(manifest, tmp_path / "r", embedder)
    assert len(references) == 4
    reasons = {name: report.failures[name] for name in report.failures}
    for name, words in {
        "bad": "damaged", "short": "too short", "narrow": "96", "nan": "no numbers",
        "gone": "does not exist", "lost": "does not exist",
    }.items():  # fmt: skip
        assert words in reasons[name]
        assert name in reasons[name]


def test_nothing_usable_is_an_error_and_leaves_no_references(embedder, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "noise.wav").write_bytes(b"no sound")
    with pytest.raises(UserError, match="none of the 1 recordings"):
        build(tmp_path / "data", tmp_path / "r", embedder)
    assert not (tmp_path / "r" / "references.json").exists()


def test_another_model_other_features_or_windows_are_refused(embedder, tmp_path, monkeypatch):
    manifest = write_collection(tmp_path / "data", range(2))
    references, _ = build(manifest, tmp_path / "r", embedder)
    settings = WindowSettings(20, 10, 20, 0, 1)
    other = Recording2Windows(tmp_path / "model", device="cpu", settings=settings)
    with pytest.raises(UserError, match="other windows than"):
        references.require_model(other)
    with pytest.raises(UserError, match="windows of 30 s every 15 s"):
        open_embedder(tmp_path / "model", tmp_path / "r", device="cpu", window_s=20)
    stand_in(monkeypatch, scale=2.0)
    with pytest.raises(UserError, match="other weights than"):
        build(manifest, tmp_path / "r", Recording2Windows(tmp_path / "model", device="cpu"))
    write_spec(tmp_path / "data" / "cqt_feat", CQTSpec(min_freq=55.0))
    with pytest.raises(UserError, match=r"none of the 4 recordings can be used.*CQT"):
        build(manifest, tmp_path / "r2", embedder)


def test_references_that_are_none_or_damaged(embedder, tmp_path):
    with pytest.raises(UserError, match="holds no references"):
        References.load(tmp_path)
    references, _ = build(write_collection(tmp_path / "d", range(2)), tmp_path / "r", embedder)
    block = tmp_path / "r" / references.rows[0].block
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        References.load(tmp_path / "r").table  # noqa: B018
    (tmp_path / "r" / "references.json").write_text('{"format": 1}')
    with pytest.raises(UserError, match="not a list of references"):
        References.load(tmp_path / "r")


def test_an_index_on_disk_for_large_sets(embedder, tmp_path, monkeypatch):
    monkeypatch.setattr("src.retrieval.search.EXACT_UP_TO", 10)
    manifest = write_collection(tmp_path / "data", range(4))
    references, _ = build(manifest, tmp_path / "r", embedder)
    assert references.index["kind"] == "graph"
    assert references.index["recall_at_10"] > 0.9
    before = os.stat(tmp_path / "r" / "index.faiss").st_mtime_ns
    again, _ = build(manifest, tmp_path / "r", embedder)
    assert again.index == references.index
    assert os.stat(tmp_path / "r" / "index.faiss").st_mtime_ns == before


def test_two_recordings_of_one_name_are_not_mixed_up(embedder, tmp_path):
    build(write_collection(tmp_path / "a", range(2)), tmp_path / "r", embedder)
    with pytest.raises(UserError, match="have the same name 'w00v0'"):
        build(write_collection(tmp_path / "b", range(2)), tmp_path / "r", embedder)


def test_the_same_folder_by_another_path(embedder, tmp_path):
    """A link to the folder, or the folder moved, is no reason to embed anything again."""
    write_collection(tmp_path / "a", range(2))
    sounds = tmp_path / "a" / "full.txt"
    sounds.write_text(sounds.read_text().replace(str(tmp_path / "a") + "/", ""))
    build(sounds, tmp_path / "r", embedder)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    save_recording(tmp_path / "a" / "cqt_feat" / "w00v0.cqt.npy", 0, seconds=50)
    _, report = build(tmp_path / "link" / "full.txt", tmp_path / "r", embedder)
    assert (report.changed, report.unchanged) == (["w00v0"], 3)
    (tmp_path / "a").rename(tmp_path / "b")
    references, report = build(tmp_path / "b" / "full.txt", tmp_path / "r", embedder)
    assert report.unchanged == 4
    assert references.rows[0].path == str(tmp_path / "b" / "cqt_feat" / "w00v0.cqt.npy")


def test_a_folder_that_cannot_be_one(embedder, tmp_path):
    manifest = write_collection(tmp_path / "data", range(2))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        build(manifest, tmp_path / "file", embedder)
