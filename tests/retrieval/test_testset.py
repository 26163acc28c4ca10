"""Evaluation of a test set: figures, files, what is reused and what is refused."""

import json
import os

import numpy as np
import pytest
import torch

from src.audio.cqt import CQTSpec
from src.data.cqt_features import save_cqt, write_spec
from src.data.manifest import read_manifest
from src.errors import UserError
from src.retrieval.testset import compare_testset, evaluate_testset
from src.retrieval.testset_files import read_labels, read_query_in_ref
from src.retrieval.testset_result import format_result, save_distances
from tests.retrieval.music import MeanModel, rewrite, tune, write_set

# Windows last 3 s (25 frames of 3). Works 0 to 2 in two versions each, work 3 in one.
VERSIONS = [(0, 0, 10), (0, 0, 8), (1, 0, 7), (1, 0, 12), (2, 0, 2), (2, 0, 2), (3, 0, 9)]


@pytest.fixture
def full(tmp_path):
    return write_set(tmp_path / "set", VERSIONS)


def windows_of(folder):
    return sorted(path.name for path in (folder / "query_embed").glob("*.npy"))


def test_figures_of_a_set_against_itself(full, tmp_path):
    figures = evaluate_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    assert list(figures)[:4] == ["mean_ap", "top10", "rank1", "hit_rate"]
    # The seventh recording has no version: it counts 0 in CoverHunter's figures only.
    assert figures["mean_ap"] == pytest.approx(6 / 7)
    assert figures["rank1"] == pytest.approx(6 / 7)
    assert figures["hit_rate"] == pytest.approx(6 / 7)
    assert figures["top10"] == pytest.approx(6 / 7 / 10)
    assert figures["mAP"] == figures["MRR"] == figures["MR"] == 1
    assert figures["Top1"] == 6


def test_one_file_a_window(full, tmp_path):
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    names = windows_of(tmp_path / "out")
    assert "rec0-▁start-0.npy" in names
    assert "rec0-▁start-6.npy" in names
    assert "rec0-▁start-9.npy" not in names  # the last second of ten is dropped
    assert [len(windows) for windows in result.query_embeddings] == [3, 2, 2, 3, 1, 1, 2]
    embedding = np.load(tmp_path / "out" / "query_embed" / "rec0-▁start-3.npy")
    assert embedding.dtype == np.float32
    np.testing.assert_array_equal(embedding, result.query_embeddings[0][1])
    lines = read_manifest(tmp_path / "out" / "query.txt")
    assert [line["utt"] for line in lines[:3]] == [f"rec0-▁start-{s}" for s in (0, 3, 6)]
    assert lines == read_manifest(tmp_path / "out" / "ref.txt")


def test_tail_is_kept_on_request(full, tmp_path):
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out", keep_tail=True)
    assert len(result.query_embeddings[0]) == 4
    assert "rec0-▁start-7.npy" in windows_of(tmp_path / "out")


def test_diagonal_is_excluded_and_nothing_else(full, tmp_path):
    rewrite(full, lambda row: {**row, "feat": row["feat"].replace("rec1.", "rec0.")})
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    np.testing.assert_array_equal(result.distances < 0, np.eye(7, dtype=bool))
    assert result.distances[0, 1] < 1e-6  # the same features, and yet a candidate
    assert result.figures["Top1"] == 6


def test_query_in_ref_leaves_pairs_out(full, tmp_path):
    other = tmp_path / "set" / "again.txt"
    other.write_text(full.read_text("utf-8"), "utf-8")
    pairs = tmp_path / "query_in_ref.txt"
    pairs.write_text(json.dumps({"query_in_ref": [[i, i] for i in range(7)]}), "utf-8")
    alone = evaluate_testset(MeanModel(), full, full, embed_dir=tmp_path / "a")
    crossed = evaluate_testset(
        MeanModel(), full, other, query_in_ref_path=pairs, embed_dir=tmp_path / "b"
    )
    assert crossed == alone
    with_itself = evaluate_testset(MeanModel(), full, other, embed_dir=tmp_path / "c")
    assert with_itself["hit_rate"] == 1


def test_order_of_lines_does_not_matter(full, tmp_path):
    figures = evaluate_testset(MeanModel(), full, full, embed_dir=tmp_path / "a")
    lines = full.read_text("utf-8").splitlines()
    full.write_text("\n".join(lines[::-1]), "utf-8")
    again = evaluate_testset(MeanModel(), full, full, embed_dir=tmp_path / "b")
    assert again == pytest.approx(figures)


def test_ids_of_two_extractions_are_not_compared(tmp_path, caplog):
    query = write_set(tmp_path / "q", VERSIONS[::2])
    reference = write_set(tmp_path / "r", VERSIONS[1::2])
    rewrite(reference, lambda row: {**row, "song_id": row["song_id"] + 1, "utt": f"{row['utt']}r"})
    figures = evaluate_testset(MeanModel(), query, reference, embed_dir=tmp_path / "out")
    assert "told apart by their titles" in caplog.text
    assert figures["Top1"] == 3
    assert figures["hit_rate"] == 3 / 4


def test_dataset_without_features_finds_full_beside_it(full, tmp_path):
    dataset = full.with_name("dataset.txt")
    rows = read_manifest(full)
    lines = [json.dumps({k: r[k] for k in ("utt", "dur_s", "song", "version")}) for r in rows]
    dataset.write_text("\n".join(lines), "utf-8")
    figures = evaluate_testset(MeanModel(), dataset, dataset, embed_dir=tmp_path / "a")
    assert figures == evaluate_testset(MeanModel(), full, full, embed_dir=tmp_path / "b")
    full.rename(full.with_name("other.txt"))
    with pytest.raises(UserError, match=r"python -m tools.extract_csi_features .*set"):
        evaluate_testset(MeanModel(), dataset, dataset, embed_dir=tmp_path / "c")


class Counting(MeanModel):
    @property
    def windows(self):
        return sum(self.batches)


def run(model, full, out, **options):
    model.batches.clear()
    return compare_testset(model, full, full, embed_dir=out, **options)


def test_embeddings_are_reused_only_when_asked_and_unchanged(full, tmp_path, caplog):
    out, model = tmp_path / "out", Counting()
    first = run(model, full, out)
    assert model.windows == 14
    run(model, full, out)
    assert model.windows == 14
    again = run(model, full, out, reuse=True)
    assert model.windows == 0
    np.testing.assert_array_equal(again.distances, first.distances)
    # The features of one recording change: only that one is computed.
    save_cqt(tune(5, 10), full.parent / "cqt_feat" / "rec0.cqt.npy")
    changed = run(model, full, out, reuse=True)
    assert model.windows == 3
    assert changed.distances[0, 1] > 0.3 > first.distances[0, 1]
    # Other windows, other weights: everything is computed, and nothing old remains.
    run(model, full, out, reuse=True, keep_tail=True)
    assert model.windows > 14
    with torch.no_grad():
        model.scale[0] = 2
    run(model, full, out, reuse=True)
    assert model.windows == 14
    assert len(windows_of(out)) == 14
    assert "computed anew" in caplog.text


def test_interrupted_run_continues(full, tmp_path, monkeypatch):
    from src.retrieval import embedding_folder

    out, model = tmp_path / "out", Counting()
    write, left = embedding_folder._write_recording, [3]

    def stop(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(*arguments)

    monkeypatch.setattr(embedding_folder, "_write_recording", stop)
    with pytest.raises(KeyboardInterrupt):
        run(model, full, out, batch_size=2)
    monkeypatch.undo()
    with open(out / "query_embed" / "recordings.jsonl", "a", encoding="utf-8") as file:
        file.write('{"utt": "rec5", "sta')  # killed while writing
    result = run(model, full, out)
    assert model.windows == 14 - 3 - 2 - 2
    np.testing.assert_array_equal(result.distances, run(Counting(), full, tmp_path / "b").distances)
    assert run(model, full, out, reuse=True).figures == result.figures
    assert model.windows == 0


def test_damaged_features_are_left_out_and_named(full, tmp_path, caplog):
    (full.parent / "cqt_feat" / "rec2.cqt.npy").write_bytes(b"no features")
    features = np.load(full.parent / "cqt_feat" / "rec4.cqt.npy")
    features[3, 5] = np.nan
    np.save(full.parent / "cqt_feat" / "rec4.cqt.npy", features)
    (full.parent / "cqt_feat" / "rec6.cqt.npy").unlink()
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    assert sorted(result.failures) == ["rec2", "rec4", "rec6"]
    assert result.distances.shape == (4, 4)
    assert result.figures["Top1"] == 2
    assert "rec4.cqt.npy" in caplog.text
    assert format_result(result)[-1].endswith(
        "2 queries have no version among them; 3 recordings left out"
    )


def test_a_duration_that_is_too_long_makes_no_windows_of_nothing(full, tmp_path, caplog):
    rewrite(full, lambda row: {**row, "dur_s": 60.0} if row["utt"] == "rec0" else row)
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    assert len(result.query_embeddings[0]) == 4  # of 10 s, the last one filled up
    assert "rec0: dur_s is 60.0 but the features end after 10.0 s" in caplog.text
    rewrite(full, lambda row: {k: v for k, v in row.items() if k not in ("dur_s", "feat_len")})
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    assert [len(windows) for windows in result.query_embeddings] == [3, 2, 2, 3, 1, 1, 2]


def test_tab_separated_lines(full, tmp_path):
    rows = read_manifest(full)
    text = "\n".join("\t".join(f"{key}:{value}" for key, value in row.items()) for row in rows)
    (full.parent / "tabs.txt").write_text(text, "utf-8")
    tabs = full.parent / "tabs.txt"
    figures = evaluate_testset(MeanModel(), tabs, tabs, embed_dir=tmp_path / "a")
    assert figures == evaluate_testset(MeanModel(), full, full, embed_dir=tmp_path / "b")


def test_silence_is_like_nothing(full, tmp_path):
    for number in (0, 4):
        save_cqt(np.zeros((250, 96), np.float32), full.parent / "cqt_feat" / f"rec{number}.cqt.npy")
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    assert result.distances[0, 4] == 1
    assert result.figures["Top1"] == 3  # rec2, rec3, and rec0, by the order of equal distances


def test_pairs_of_query_in_ref_count_lines_also_when_some_are_left_out(full, tmp_path):
    (full.parent / "cqt_feat" / "rec0.cqt.npy").unlink()
    other = tmp_path / "set" / "again.txt"
    other.write_text(full.read_text("utf-8"), "utf-8")
    pairs = tmp_path / "query_in_ref.txt"
    pairs.write_text('{"query_in_ref": [[0, 0], [2, 2], [6, 3]]}', "utf-8")
    result = compare_testset(
        MeanModel(), full, other, query_in_ref_path=pairs, embed_dir=tmp_path / "out"
    )
    assert np.argwhere(result.excluded).tolist() == [[1, 1], [5, 2]]


def test_features_of_another_kind_are_refused(full, tmp_path):
    write_spec(full.parent / "cqt_feat", CQTSpec(octave_resolution=24))
    with pytest.raises(UserError, match=r"191 bins .* 96 bins"):
        evaluate_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    (full.parent / "cqt_feat" / "cqt_spec.json").unlink()
    save_cqt(np.zeros((100, 84), np.float32), full.parent / "cqt_feat" / "rec3.cqt.npy")
    with pytest.raises(UserError, match=r"rec3.* has 84 bins but the model was trained on 96"):
        evaluate_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")


def test_refusals_before_the_long_work(full, tmp_path):
    model = Counting()
    rewrite(full, lambda row: {k: v for k, v in row.items() if k not in ("song", "song_id")})
    with pytest.raises(UserError, match=r"full.txt does not say which work 'rec0' performs"):
        evaluate_testset(model, full, full, embed_dir=tmp_path / "out")
    rewrite(full, lambda row: {**row, "song": "x", "utt": f"a/{row['utt']}"})
    with pytest.raises(UserError, match="cannot be a file name"):
        evaluate_testset(model, full, full, embed_dir=tmp_path / "out")
    model.hparams["chunk_s"] = 4
    with pytest.raises(UserError, match=r"chunk_s of the model's hparams.yaml is 4 s"):
        evaluate_testset(model, full, full, embed_dir=tmp_path / "out")
    assert model.batches == []


def test_one_name_for_two_recordings_is_refused(full, tmp_path):
    other = write_set(tmp_path / "other", VERSIONS[:2])
    with pytest.raises(UserError, match="'rec0' stands for two recordings"):
        evaluate_testset(MeanModel(), full, other, embed_dir=tmp_path / "out")


def test_unwritable_folder_is_one_sentence(full, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write"):
        evaluate_testset(MeanModel(), full, full, embed_dir=tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "must hold one line"),
        ("{broken", "is not valid"),
        ('{"other": []}', "has no list query_in_ref"),
        ('{"query_in_ref": [[0]]}', r"\[0\] is no pair"),
        ('{"query_in_ref": [[0, 1.5]]}', "is no pair"),
        ('{"query_in_ref": [[true, 1]]}', "is no pair"),
        ('{"query_in_ref": [[7, 0]]}', "out of range, there are 7 queries"),
        ('{"query_in_ref": [[0, -1]]}', "out of range, there are 4 references"),
        ("query_in_ref:[[0, 1]", "is not valid"),
    ],
)
def test_wrong_query_in_ref(tmp_path, text, sentence):
    path = tmp_path / "pairs.txt"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match=sentence):
        read_query_in_ref(path, (7, 4))


@pytest.mark.parametrize(
    "text", ['{"query_in_ref": [[6, 3], [0, 0]]}', "query_in_ref:[(6, 3), (0, 0)]"]
)
def test_query_in_ref_in_both_forms(tmp_path, text):
    path = tmp_path / "pairs.txt"
    path.write_text(text, "utf-8")
    assert read_query_in_ref(path, (7, 4)).tolist() == [[6, 3], [0, 0]]


def test_only_some_works_are_measured(full, tmp_path):
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    (tmp_path / "works.txt").write_text("Work 1\n3\n", "utf-8")
    few = result.restricted(read_labels(tmp_path / "works.txt"))
    assert [row["utt"] for row in few.queries] == ["rec2", "rec3", "rec6"]
    assert len(few.references) == 7
    assert few.figures["mean_ap"] == pytest.approx(2 / 3)
    with pytest.raises(UserError, match="no query"):
        result.restricted(["Work 9"])


def test_intervals_hold_the_figures(full, tmp_path):
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    intervals = result.intervals(500)
    assert list(intervals) == list(result.figures)
    low, high = intervals["mean_ap"]
    assert low < result.figures["mean_ap"] < high == 1
    assert intervals["mAP"] == (1, 1)
    assert intervals == result.intervals(500)


@pytest.mark.parametrize("name", ["d.npy", "d.npz"])
def test_distances_on_disk(full, tmp_path, name):
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    save_distances(result, tmp_path / name)
    stored = np.load(tmp_path / name)
    if name.endswith("z"):
        assert stored["query_utt"].tolist() == [f"rec{i}" for i in range(7)]
        stored = stored["distances"]
    np.testing.assert_array_equal(stored, result.distances)
    assert os.listdir(tmp_path).count(name) == 1


def test_picture_has_colours_symbols_and_the_same_bytes_again(full, tmp_path):
    from src.retrieval.scatter import plot_testset

    rewrite(full, lambda row: {**row, "version": "live" if row["utt"] < "rec3" else "$tudio"})
    result = compare_testset(MeanModel(), full, full, embed_dir=tmp_path / "out")
    for name, options in {"a": {}, "b": {"marks": "version"}, "c": {"marks": "version"}}.items():
        plot_testset(result, tmp_path / f"{name}.png", **options)
    plain, marked, again = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert plain[:4] == b"\x89PNG"
    assert plain != marked == again
    with pytest.raises(UserError, match="no recording has the key 'genre'"):
        plot_testset(result, tmp_path / "d.png", marks="genre")
    assert not (tmp_path / "d.png").exists()
