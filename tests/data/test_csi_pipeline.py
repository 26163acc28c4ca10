import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from src.audio.cqt import CQTSpec, compute_cqt, normalise_peak
from src.audio.errors import AudioError
from src.config import load_extract_hparams
from src.data import csi_pipeline, csi_stages
from src.data.cqt_features import load_cqt, read_spec, write_spec
from src.data.csi_pipeline import ExtractSettings, extract_csi
from src.data.csi_settings import extract_settings
from src.data.maps import add_ids
from src.data.splits import recording_of
from src.errors import UserError
from tests.data.csi_folder import (
    RATE,
    SHARES,
    SPEEDS,
    edit_lines,
    make_folder,
    read_lines,
    set_hparams,
    utts,
    write_lines,
    write_sound,
)
from tests.programs import needs_sox

FIXTURES = Path(__file__).parents[1] / "fixtures"
TEXTS = ("data.init.txt", "sp_aug.txt", "full.txt", "train.txt", "train-sample.txt", "dev.txt")


def extract(folder: Path, **options) -> csi_pipeline.Outcome:
    return extract_csi(folder, extract_settings(load_extract_hparams(folder)), **options)


def stamps(folder: Path) -> dict[str, int]:
    """When each file was written; npy and wav only."""
    files = [*folder.glob("cqt_feat/*.npy"), *folder.glob("sp_aug/*.wav")]
    return {path.name: path.stat().st_mtime_ns for path in files}


def remade(folder: Path, before: dict[str, int]) -> set[str]:
    return {name for name, when in stamps(folder).items() if before.get(name) != when}


@pytest.fixture
def folder(tmp_path):
    """Five works; no tempo copies, so that nothing but the CQT takes time."""
    works = {"Zeta": 3, "alpha song": 2, "B&B": 1, "Ünï": 2, "only": 1}
    return make_folder(tmp_path / "ds", works, aug_speed_mode=[1.0], **SHARES)


# --- the recorded run


@pytest.fixture(scope="module")
def recorded_run(tmp_path_factory):
    """The fabricated set that the reference was recorded on, with paths as recorded."""
    recorded = json.loads((FIXTURES / "c17_pipeline.json").read_text("utf-8"))
    folder = tmp_path_factory.mktemp("recorded") / "ds"

    def here(rows: list[dict]) -> list[dict]:
        text = json.dumps(rows, ensure_ascii=False).replace("<TMP>", folder.parent.as_posix())
        return json.loads(text.replace("sp_wav", "sp_aug"))

    rows = here(recorded["dataset_lines"])
    for row in rows:
        number = int(Path(row["wav"]).stem.removeprefix("f "))
        write_sound(Path(row["wav"]), 1.5 + 0.37 * number, number)  # as the reference's
    write_lines(folder / "dataset.txt", rows)
    set_hparams(folder, **recorded["hparams"])
    outcome = extract(folder, workers=2)
    return folder, outcome, {key: here(recorded[key]) for key in ("data_init", "sp_aug", "full")}


@needs_sox
def test_every_line_equals_the_recorded_one(recorded_run):
    folder, _, recorded = recorded_run
    names = {"data.init.txt": "data_init", "sp_aug.txt": "sp_aug", "full.txt": "full"}
    for name, key in names.items():
        found = read_lines(folder / name)
        if name == "full.txt":
            assert [row.pop("version_id") for row in found] == list(range(len(found)))
        # Lists of pairs, so that the order of the keys counts.
        assert [list(row.items()) for row in found] == [list(row.items()) for row in recorded[key]]


@needs_sox
def test_every_file_of_the_tables_is_there(recorded_run):
    folder, _, recorded = recorded_run
    names = {path.name for path in folder.iterdir()}
    maps = {"song_id.map", "song_id_num.map", "song_name_num.map"}
    assert names >= {*TEXTS, *maps, "sp_aug", "cqt_feat", "wav"}
    copies = {row["utt"] for row in recorded["sp_aug"]}
    features = {path.name for path in (folder / "cqt_feat").glob("*.npy")}
    assert features == {f"{utt}.cqt.npy" for utt in copies}
    sounds = {path.stem: soundfile.info(path) for path in (folder / "sp_aug").glob("*.wav")}
    assert set(sounds) == {utt for utt in copies if utt.startswith("sp_")}
    kinds = {(info.samplerate, info.channels, info.subtype) for info in sounds.values()}
    assert kinds == {(16000, 1, "PCM_16")}
    assert {path.suffix for path in (folder / "sp_aug").iterdir()} == {".wav"}


@needs_sox
def test_the_repeated_utt_is_told_and_its_first_line_kept(recorded_run):
    folder, outcome, _ = recorded_run
    versions = {row["utt"]: row["version"] for row in read_lines(folder / "data.init.txt")}
    assert versions["utt_017_9"] == "v9"
    assert any("repeat an utt" in note for note in outcome.notes)


@needs_sox
def test_copies_last_as_long_as_their_lines_say(recorded_run):
    folder, _, _ = recorded_run
    for row in read_lines(folder / "full.txt"):
        info = soundfile.info(row["wav"])
        assert info.duration == pytest.approx(row["dur_s"], abs=0.02)
        assert row["feat_len"] == info.frames // 640 == len(load_cqt(row["feat"]))


@needs_sox
def test_copies_of_a_recording_are_never_on_two_sides(recorded_run):
    folder, _, _ = recorded_run
    names = ("train.txt", "train-sample.txt", "dev.txt")
    sides = [set(map(recording_of, utts(folder / name))) for name in names]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    lines = [line for name in names for line in read_lines(folder / name)]
    key = str.casefold
    assert sorted((line["utt"] for line in lines), key=key) == sorted(
        utts(folder / "full.txt"), key=key
    )
    assert all(line in read_lines(folder / "full.txt") for line in lines)


@needs_sox
def test_a_second_run_makes_nothing_again_and_writes_the_same(recorded_run):
    folder, _, _ = recorded_run
    texts = {name: (folder / name).read_bytes() for name in TEXTS}
    before = stamps(folder)
    extract(folder)
    assert remade(folder, before) == set()
    assert {name: (folder / name).read_bytes() for name in TEXTS} == texts


# --- tempo copies


@needs_sox
def test_the_original_is_kept_wherever_its_factor_stands_and_names_are_not_chained(tmp_path):
    recorded = json.loads((FIXTURES / "c17_original_speed_naming_bug.json").read_text("utf-8"))
    assert "sp_0.9-sp_0.8-u1" in json.dumps(recorded)  # what the original did
    folder = make_folder(tmp_path / "ds", {"S": 1}, aug_speed_mode=[0.8, 0.9, 1.0, 1.1, 1.2])
    extract(folder)
    rows = read_lines(folder / "full.txt")
    names = [f"sp_{speed}-u0" for speed in (0.8, 0.9, 1.1, 1.2)]
    assert [row["utt"] for row in rows] == [*names[:2], "u0", *names[2:]]
    assert [row["dur_s"] for row in rows] == [0.62, 0.56, 0.5, 0.45, 0.42]
    assert rows[2]["wav"].endswith("wav/0.wav")
    assert len({row["feat"] for row in rows}) == 5
    assert not np.array_equal(load_cqt(rows[1]["feat"])[:10], load_cqt(rows[2]["feat"])[:10])


def test_without_sox_nothing_is_begun(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "ds", {"S": 1}, aug_speed_mode=[0.8, 1.0])

    def missing():
        raise AudioError("install SoX")

    monkeypatch.setattr(csi_pipeline, "require_sox", missing)
    with pytest.raises(UserError, match="install SoX"):
        extract(folder)
    assert not (folder / "sp_aug").exists()
    assert not (folder / "cqt_feat").exists()
    set_hparams(folder, aug_speed_mode=[1.0])
    extract(folder)  # needs no SoX


@needs_sox
def test_changed_speeds_are_noticed(tmp_path):
    folder = make_folder(tmp_path / "ds", {"S": 2}, aug_speed_mode=SPEEDS)
    extract(folder)
    before = stamps(folder)
    set_hparams(folder, aug_speed_mode=[0.8, 1.0, 1.1])
    extract(folder)
    assert utts(folder / "full.txt") == [
        "sp_0.8-u0", "u0", "sp_1.1-u0", "sp_0.8-u1", "u1", "sp_1.1-u1",
    ]  # fmt: skip
    names = {"sp_1.1-u0", "sp_1.1-u1"}
    assert remade(folder, before) == {
        f"{name}{end}" for name in names for end in (".wav", ".cqt.npy")
    }


@needs_sox
def test_another_recording_under_the_same_name_is_noticed(tmp_path):
    folder = make_folder(tmp_path / "ds", {"S": 2}, aug_speed_mode=[0.8, 1.0])
    extract(folder)
    before = stamps(folder)
    write_sound(folder / "wav" / "0.wav", 0.5, seed=77)
    extract(folder)
    assert remade(folder, before) == {
        "sp_0.8-u0.wav", "sp_0.8-u0.cqt.npy", "u0.cqt.npy",
    }  # fmt: skip


def test_a_recording_that_was_only_copied_is_not_done_again(folder):
    extract(folder)
    before = stamps(folder)
    for wav in (folder / "wav").iterdir():
        os.utime(wav, ns=(time.time_ns(), time.time_ns() + 10**9))
    extract(folder)
    assert remade(folder, before) == set()


# --- features


def test_features_are_those_of_the_normalised_recording(folder):
    extract(folder)
    row = read_lines(folder / "full.txt")[0]
    signal, _ = soundfile.read(row["wav"], dtype="float32")
    expected = compute_cqt(normalise_peak(signal), RATE)
    found = np.load(row["feat"])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert read_spec(folder / "cqt_feat") == CQTSpec()


def test_another_cqt_is_refused_in_a_folder_that_has_features(folder):
    extract(folder)
    full = (folder / "full.txt").read_bytes()
    set_hparams(folder, bins_per_octave=24, n_bins=168)
    with pytest.raises(UserError, match=r"cqt_feat has features of 96 bins.*168 bins"):
        extract(folder)
    assert (folder / "full.txt").read_bytes() == full
    for path in (folder / "cqt_feat").iterdir():
        path.unlink()
    extract(folder)
    assert load_cqt(read_lines(folder / "full.txt")[0]["feat"]).shape[1] == 168
    assert read_spec(folder / "cqt_feat").octave_resolution == 24


def test_damaged_features_are_made_again(folder):
    extract(folder)
    expected = np.load(folder / "cqt_feat" / "u1.cqt.npy")
    (folder / "cqt_feat" / "u1.cqt.npy").write_bytes(b"\x93NUMPY")
    before = stamps(folder)
    extract(folder)
    assert remade(folder, before) == {"u1.cqt.npy"}
    assert np.array_equal(np.load(folder / "cqt_feat" / "u1.cqt.npy"), expected)


def test_features_of_another_program_are_used_unless_they_are_older_than_the_recording(folder):
    (folder / "cqt_feat").mkdir()
    for name in ("u0", "u1"):
        np.save(folder / "cqt_feat" / f"{name}.cqt.npy", np.zeros((7, 96)))
    os.utime(folder / "cqt_feat" / "u1.cqt.npy", ns=(0, 0))
    extract(folder)
    lengths = {row["utt"]: row["feat_len"] for row in read_lines(folder / "full.txt")}
    assert lengths["u0"] == 7
    assert lengths["u1"] == 15


def test_lines_that_bring_features_need_no_recording(folder, tmp_path):
    given = tmp_path / "elsewhere" / "x.npz"
    given.parent.mkdir()
    np.savez(given, cqt_u8=np.zeros((33, 96), np.uint8))
    wrong = given.with_name("wrong.npy")
    np.save(wrong, np.zeros((33, 84), np.float32))
    other = tmp_path / "other" / "x3.npy"
    other.parent.mkdir()
    np.save(other, np.zeros((33, 96), np.float32))
    write_spec(other.parent, CQTSpec(min_freq=30.0))
    lines = [
        {"utt": "x3", "song": "Zeta", "feat": str(other)},
        {"utt": "x0", "song": "Zeta", "feat": str(given), "feat_len": 999},
        {"utt": "x1", "song": "Zeta", "feat": str(wrong)},
        {"utt": "x2", "song": "Zeta", "feat": "nowhere.npy"},
    ]
    edit_lines(folder, lambda rows: rows + lines)
    set_hparams(folder, aug_speed_mode=[0.8], **SHARES)
    edit_lines(folder, lambda rows: [row for row in rows if "feat" in row])
    outcome = extract(folder)
    (row,) = read_lines(folder / "full.txt")
    assert row["feat"] == given.as_posix()
    assert (row["utt"], row["feat_len"], row["dur_s"]) == ("x0", 33, 1.32)
    assert set(outcome.failures) == {"x1", "x2", "x3"}
    assert "from 30 Hz" in outcome.failures["x3"]
    assert "84 bins" in outcome.failures["x1"]
    assert any("no copies" in note for note in outcome.notes)


def test_paths_may_be_relative_to_the_folder(folder, monkeypatch, tmp_path):
    edit_lines(folder, lambda rows: [row | {"wav": "wav/" + Path(row["wav"]).name} for row in rows])
    monkeypatch.chdir(tmp_path)
    outcome = extract(Path("ds"))
    assert outcome.failures == {}
    assert read_lines(folder / "full.txt")[0]["feat"] == "ds/cqt_feat/u0.cqt.npy"


def test_a_missing_duration_is_measured(folder):
    edit_lines(folder, lambda rows: [{k: r[k] for k in r if k != "dur_s"} for r in rows])
    extract(folder)
    assert [row["dur_s"] for row in read_lines(folder / "full.txt")][:3] == [0.48, 0.6, 0.68]


def test_tab_separated_lines_work(folder):
    rows = read_lines(folder / "dataset.txt")
    lines = ["\t".join(f"{key}:{value}" for key, value in row.items()) for row in rows]
    lines[1] = json.dumps(rows[1])  # mixed
    (folder / "dataset.txt").write_text("\n".join(lines) + "\n\n", "utf-8")
    extract(folder)
    found = read_lines(folder / "full.txt")
    assert [row["dur_s"] for row in found] == [row["dur_s"] for row in rows]


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_other_formats_work_without_conversion(tmp_path, suffix):
    folder = make_folder(tmp_path / "ds", {"S": 1})
    sound, _ = soundfile.read(folder / "wav" / "0.wav")
    path = folder / f"x.{suffix}"
    soundfile.write(path, np.tile(sound, 4), RATE)
    edit_lines(folder, lambda rows: [rows[0] | {"wav": str(path)}])
    assert extract(folder).failures == {}
    assert read_lines(folder / "full.txt")[0]["feat_len"] == pytest.approx(50, abs=3)


# --- bad recordings


def test_bad_recordings_are_told_skipped_and_tried_again(folder):
    (folder / "wav" / "1.wav").write_bytes(b"no sound")
    (folder / "wav" / "2.wav").unlink()
    write_sound(folder / "wav" / "3.wav", 0.03)
    nan = np.full(RATE, np.nan, np.float32)
    soundfile.write(folder / "wav" / "4.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(folder / "wav" / "5.wav", np.zeros(RATE), RATE)  # silence is a recording
    outcome = extract(folder, workers=3)
    assert set(outcome.failures) == {"u1", "u2", "u3", "u4"}
    for utt, word in (("u1", "not a recording"), ("u2", "does not exist"), ("u3", "single frame"),
                      ("u4", "NaN")):  # fmt: skip
        assert word in outcome.failures[utt], outcome.failures[utt]
        assert f"wav/{utt[1:]}.wav" in outcome.failures[utt]
    assert utts(folder / "full.txt") == ["u0", "u5", "u6", "u7", "u8"]
    assert not load_cqt(folder / "cqt_feat" / "u5.cqt.npy").any()
    write_sound(folder / "wav" / "2.wav", 0.7)
    assert set(extract(folder).failures) == {"u1", "u3", "u4"}
    assert "u2" in utts(folder / "full.txt")


@needs_sox
def test_a_recording_without_copies_is_left_out_once(tmp_path):
    folder = make_folder(tmp_path / "ds", {"S": 2}, aug_speed_mode=SPEEDS)
    (folder / "wav" / "0.wav").write_bytes(b"no sound")
    outcome = extract(folder)
    assert list(outcome.failures) == ["u0"]
    assert {recording_of(utt) for utt in utts(folder / "full.txt")} == {"u1"}


def test_if_no_recording_can_be_used_nothing_is_listed(folder):
    for wav in (folder / "wav").iterdir():
        wav.write_bytes(b"")
    with pytest.raises(UserError, match="none of the recordings"):
        extract(folder)
    assert not (folder / "full.txt").exists()


@pytest.mark.parametrize("utt", ["a/b", "../u", "a\\b", ".hidden"])
def test_names_that_are_no_file_names_are_refused(folder, utt):
    edit_lines(folder, lambda rows: [rows[0] | {"utt": utt}])
    with pytest.raises(UserError, match="name of a file"):
        extract(folder)
    assert not (folder / "cqt_feat").exists()


def test_features_that_cannot_be_written_are_one_sentence(folder):
    (folder / "cqt_feat").write_text("a file, not a folder")
    with pytest.raises(UserError, match="cqt_feat"):
        extract(folder)


@pytest.mark.parametrize(
    ("line", "word"),
    [("", "holds no line"), ('{"utt": "a"}', "song"), ('{"utt": "a", "song": "s"}', "wav")],
)
def test_a_bad_list_is_one_sentence(folder, line, word):
    (folder / "dataset.txt").write_text(line)
    with pytest.raises(UserError, match=word):
        extract(folder)


# --- stages


def test_ids_and_maps(folder):
    extract(folder)
    rows = read_lines(folder / "full.txt")
    ids = {row["song"]: row["song_id"] for row in rows}
    assert ids == {"Zeta": 0, "alpha song": 1, "B&B": 2, "Ünï": 3, "only": 4}
    assert len({row["version_id"] for row in rows}) == len(rows)
    assert list(rows[0])[-4:] == ["feat", "feat_len", "song_id", "version_id"]
    maps = {name: (folder / name).read_text("utf-8").splitlines() for name in
            ("song_id.map", "song_id_num.map", "song_name_num.map")}  # fmt: skip
    assert maps["song_id.map"] == [f"{song}\t{number}" for song, number in ids.items()]
    assert maps["song_id_num.map"] == ["0\t3", "1\t2", "2\t1", "3\t2", "4\t1"]
    assert maps["song_name_num.map"][3] == "Ünï\t2"


def test_ids_of_other_programs_are_replaced():
    rows = [{"utt": utt, "song_id": 7, "song": song, "version_id": 7} for utt, song in
            (("a", "y"), ("b", "x"), ("c", "y"))]  # fmt: skip
    assert [(row["song_id"], row["version_id"]) for row in add_ids(rows)] == [
        (0, 0), (1, 1), (0, 2),
    ]  # fmt: skip


def test_stages_one_by_one_give_what_one_run_gives(folder):
    extract(folder)
    expected = {name: (folder / name).read_bytes() for name in TEXTS}
    for name in (*TEXTS, "song_id.map", "made_from/stages.json"):
        (folder / name).unlink()
    for stage in csi_pipeline.STAGES:
        extract(folder, start_stage=stage, end_stage=stage)
        if stage == 4:
            assert "song_id" not in read_lines(folder / "full.txt")[0]
    assert {name: (folder / name).read_bytes() for name in TEXTS} == expected


def test_a_later_stage_asks_for_what_it_needs(folder):
    with pytest.raises(UserError, match=r"sp_aug.txt does not exist; start at stage 3"):
        extract(folder, start_stage=4)
    with pytest.raises(UserError, match=r"full.txt does not exist; start at stage 4"):
        extract(folder, start_stage=8)
    extract(folder, end_stage=4)
    with pytest.raises(UserError, match="no song_id yet; run stage 8"):
        extract(folder, start_stage=13)
    with pytest.raises(UserError, match="no stage"):
        extract(folder, start_stage=5, end_stage=4)


def test_a_later_stage_refuses_lists_of_another_dataset(folder):
    extract(folder)
    edit_lines(folder, lambda rows: rows[:-1])
    for stage in (4, 5, 8, 13):
        with pytest.raises(UserError, match=r"made from another dataset\.txt"):
            extract(folder, start_stage=stage)
    extract(folder)
    assert "u8" not in utts(folder / "full.txt")


def test_a_full_list_of_ones_own_is_taken_as_it_is(folder):
    extract(folder)
    rows = read_lines(folder / "full.txt")[:-2]
    for name in (*TEXTS[2:], "made_from/stages.json"):
        (folder / name).unlink()
    write_lines(folder / "full.txt", rows)
    extract(folder, start_stage=13)
    listed = [utt for name in TEXTS[3:] for utt in utts(folder / name)]
    assert sorted(listed) == [row["utt"] for row in rows]


def test_without_split_keys_there_is_no_split_but_a_sentence(folder):
    extract(folder)
    set_hparams(folder, aug_speed_mode=[1.0])
    outcome = extract(folder)
    assert any("test_data_unseen" in note for note in outcome.notes)
    # Those of the run before would not fit any more.
    assert not any((folder / name).exists() for name in TEXTS[3:])


def test_split_lists_of_ones_own_stay(folder):
    (folder / "train.txt").write_text("mine")
    set_hparams(folder, aug_speed_mode=[1.0])
    extract(folder)
    assert (folder / "train.txt").read_text() == "mine"


def test_shares_of_zero_write_the_training_list_only(folder):
    extract(folder)
    set_hparams(folder, aug_speed_mode=[1.0], **dict.fromkeys(SHARES, 0))
    extract(folder)
    assert utts(folder / "train.txt") == utts(folder / "full.txt")
    assert not (folder / "train-sample.txt").exists()
    assert not (folder / "dev.txt").exists()


def test_the_seed_decides_the_split(folder):
    found = []
    for seed in (1, 2, 1):
        set_hparams(folder, aug_speed_mode=[1.0], seed=seed, **SHARES)
        extract(folder)
        found.append([utts(folder / name) for name in TEXTS[3:]])
    assert found[0] == found[2] != found[1]


def test_without_speeds_durations_stay(folder):
    settings = extract_settings(load_extract_hparams(folder))
    edit_lines(folder, lambda rows: [row | {"dur_s": 1.23456} for row in rows])
    extract(folder)
    assert read_lines(folder / "full.txt")[0]["dur_s"] == 1.23
    extract_csi(folder, replace(settings, speeds=None))
    assert read_lines(folder / "full.txt")[0]["dur_s"] == 1.23456
    assert not (folder / "sp_aug.txt").exists()


def test_an_interrupted_run_continues_at_the_file(folder, monkeypatch):
    write, written = csi_stages.save_cqt, []

    def interrupted(features, path):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.name)
        write(features, path)

    monkeypatch.setattr(csi_stages, "save_cqt", interrupted)
    with pytest.raises(KeyboardInterrupt):
        extract(folder)
    monkeypatch.setattr(csi_stages, "save_cqt", write)
    assert not (folder / "full.txt").exists()
    before = stamps(folder)
    assert len(before) == 3
    extract(folder)
    assert len(remade(folder, before)) == 9 - 3
    assert not list(folder.rglob("*.tmp*"))


def test_the_number_of_workers_changes_nothing(folder):
    extract(folder, workers=1)
    expected = [(folder / name).read_bytes() for name in TEXTS]
    features = {path.name: path.read_bytes() for path in folder.glob("cqt_feat/*.npy")}
    for path in folder.glob("cqt_feat/*"):
        path.unlink()
    extract(folder, workers=4)
    assert [(folder / name).read_bytes() for name in TEXTS] == expected
    assert {p.name: p.read_bytes() for p in folder.glob("cqt_feat/*.npy")} == features


def test_defaults_make_no_copies_and_no_split():
    assert ExtractSettings().speeds is None
    assert ExtractSettings().shares is None
