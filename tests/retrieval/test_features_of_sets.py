"""Sets of recordings for a comparison: where the features of each recording come from."""

import logging

import numpy as np
import pytest
import torch

from src.audio.cqt import Audio2CQT, CQTSpec
from src.audio.decode import load_audio
from src.data.cqt_features import decode_cqt, encode_cqt, save_cqt
from src.data.crema_features import write_features as write_pcp
from src.data.manifest import read_manifest, write_manifest
from src.errors import UserError
from src.retrieval.collection import open_collection
from tests.training.comparison_world import cqt, pcp, write_features, write_sounds

CPU = torch.device("cpu")
SPEC = CQTSpec()


def test_one_archive_with_both_kinds(tmp_path):
    collection = open_collection(write_features(tmp_path / "few", [4, 4, 5]).parent, device=CPU)
    assert collection.name == "few"
    assert collection.labels == ["work 4", "work 4", "work 5"]
    assert len(collection.features(SPEC)) == 3
    np.testing.assert_array_equal(collection.features(SPEC)[1], decode_cqt(encode_cqt(cqt(4, 1))))
    np.testing.assert_allclose(collection.features("0.1.0")[1], pcp(4, 1), atol=1e-3)
    assert collection.features("0.2.0")[1].dtype == np.float32  # nothing says which version it is
    with pytest.raises(UserError, match="32 Hz"):
        collection.features(CQTSpec(min_freq=31.0, n_bins=96))[0]
    with pytest.raises(UserError, match="no sound of rec0"):
        collection.sounds()


def test_every_recording_its_own_way(tmp_path, caplog):
    """Features of a file, of another key, of sound; the right version before the other one."""
    manifest = write_sounds(tmp_path / "mixed", [0, 0, 1, 1], seconds=1.5)
    rows = read_manifest(manifest)
    folder = manifest.parent
    save_cqt(cqt(0, 0), folder / "a.cqt.npy")
    rows[0]["feat"] = "a.cqt.npy"
    rows[1] |= {"feat": "gone.cqt.npy", "features": "b.npz"}
    write_pcp(folder / "b.npz", pcp(0, 1), "0.2.0")
    write_manifest(rows, manifest)
    collection = open_collection(manifest, device=CPU)
    features = collection.features(SPEC)
    np.testing.assert_array_equal(features[0], cqt(0, 0))
    for number in (1, 2, 3):
        expected = Audio2CQT(SPEC)(*load_audio(folder / f"rec{number}.wav"))
        np.testing.assert_array_equal(features[number], decode_cqt(encode_cqt(expected)))
    assert collection.features(SPEC) is features
    found = collection.features("0.2.0")
    np.testing.assert_array_equal(found[1], pcp(0, 1))
    assert found[2].shape == (16, 12)  # 1.5 s of sound

    del rows[1]["wav"]
    write_manifest(rows[1:2], manifest)
    with caplog.at_level(logging.WARNING):
        only = open_collection(manifest, device=CPU).features("0.1.0")
    np.testing.assert_array_equal(only[0], pcp(0, 1))
    assert "1 of 1 recordings" in caplog.text
    assert "another version than 0.1.0" in caplog.text
    rows[1]["utt"] = "lost"
    write_manifest(rows[1:2], manifest)
    with pytest.raises(UserError, match=r"neither CQT.* nor sound of lost is where"):
        open_collection(manifest, device=CPU).features(SPEC)


def test_features_in_the_list_beside_it(tmp_path):
    manifest = write_features(tmp_path / "few", [0, 0])
    rows = read_manifest(manifest)
    full = [{**row, "feat": row["file"], "song_id": 0, "feat_len": 9} for row in rows]
    write_manifest(full, manifest.with_name("full.txt"))
    write_manifest([{"utt": row["utt"], "song": row["song"]} for row in rows], manifest)
    collection = open_collection(manifest, device=CPU)
    assert collection.labels == ["0", "0"]
    assert collection.features(SPEC)[0].shape == (825, 96)


def test_sound_that_is_too_short_is_named(tmp_path):
    manifest = write_sounds(tmp_path / "short", [0, 1], seconds=0.6)
    rows = read_manifest(manifest)
    with open(manifest.parent / "rec1.wav", "wb") as file:
        file.write(b"")
    with pytest.raises(UserError, match=r"rec1\.wav is empty"):
        open_collection(manifest, device=CPU).features(SPEC)
    write_manifest([{"utt": "rec0", "wav": rows[0]["wav"]}], manifest)
    with pytest.raises(UserError, match="does not say which work"):
        open_collection(manifest, device=CPU)
