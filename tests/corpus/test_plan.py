"""What a corpus is made of: configuration, choice of works, order of versions."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.corpus import works as works_module
from src.corpus.configuration import Blocks, CorpusConfig, load_config
from src.corpus.plan import plan_corpus, plan_jobs, utt_name
from src.corpus.tune import Chord, MelodyNote, Meter, Section, Tune, save_tunes
from src.corpus.works import load_corpus_tunes, read_work_list, select_works, similar_works
from src.errors import UserError

SCALE = (60, 62, 64, 65, 67, 69, 71, 72, 74)


def make_tune(work: str, *, seed: int | None = None, transposed: int = 0) -> Tune:
    """Sixteen bars in quarters; another ``seed`` is another melody."""
    state = hash_of(work) if seed is None else seed
    notes = []
    for onset in range(64):
        state = (state * 1103515245 + 12345) % 2**31
        notes.append(MelodyNote(float(onset), 1.0, SCALE[(state >> 16) % 9] + transposed))
    chords = tuple(Chord(4.0 * bar, 4.0, 0, "maj", 0) for bar in range(16))
    return Tune(
        work=work,
        title=work.split("/")[1],
        composer="nobody",
        source="test",
        licence="none",
        meter=Meter(4, 4),
        tonic=0,
        mode="major",
        tempo=120.0,
        sections=(Section("A", 16, tuple(notes), chords),),
        order=(0,),
    )


def hash_of(text: str) -> int:
    return sum(ord(c) * 31**i for i, c in enumerate(text)) % 2**31


TUNES = [make_tune(f"{name}/{i}") for name, n in (("songs", 12), ("reels", 6)) for i in range(n)]


def test_selection_is_stable_and_mixes_collections() -> None:
    few = select_works(TUNES, {"songs": 4, "reels": 2}, seed=1)
    many = select_works(TUNES, {"songs": 8, "reels": 4}, seed=1)
    assert {t.work for t in few} <= {t.work for t in many}
    assert [t.work for t in few] == [
        t.work for t in select_works(TUNES[::-1], {"songs": 4, "reels": 2}, seed=1)
    ]
    assert [t.work for t in few] != [
        t.work for t in select_works(TUNES, {"songs": 4, "reels": 2}, seed=2)
    ]
    for part in (few[:3], few[3:]):
        assert sum(t.work.startswith("reels") for t in part) == 1
    assert len(select_works(TUNES, None, seed=1)) == 18
    assert all(t.work.startswith("reels") for t in select_works(TUNES, {"reels": 9}, seed=1))


def test_unknown_collection_is_named() -> None:
    with pytest.raises(UserError, match=r"no works of collection carols.*reels.*songs"):
        select_works(TUNES, {"carols": 1}, seed=0)


@given(
    works=st.integers(1, 18),
    versions=st.integers(1, 7),
    block_works=st.integers(1, 20),
    block_versions=st.integers(1, 8),
)
def test_every_version_is_planned_once_and_blocks_fill_in_order(
    works, versions, block_works, block_versions
) -> None:
    blocks = Blocks(works=block_works, versions=block_versions)
    jobs = plan_jobs(TUNES[:works], versions=versions, blocks=blocks)
    assert len(jobs) == works * versions
    assert len({job.utt for job in jobs}) == len(jobs)
    # The first block is whole before anything else begins.
    size = min(block_works, works) * min(block_versions, versions)
    first = jobs[:size]
    assert {j.tune.work for j in first} == {t.work for t in TUNES[:block_works][:works]}
    assert {j.version for j in first} == set(range(min(block_versions, versions)))
    # Any beginning of it has balanced versions.
    for end in range(1, size):
        counts: dict[str, int] = {}
        for job in first[:end]:
            counts[job.tune.work] = counts.get(job.tune.work, 0) + 1
        assert max(counts.values()) - min(counts.values()) <= 1


def test_first_version_shifts_the_numbers() -> None:
    jobs = plan_jobs(TUNES[:1], versions=2, first_version=6)
    assert [(j.utt, j.version) for j in jobs] == [("songs_0_v06", 6), ("songs_0_v07", 7)]


def test_names_are_safe_for_files_and_must_differ() -> None:
    assert utt_name("fiddle/Héé? & ../x", 3) == "fiddle_H______.._x_v03"
    twins = [make_tune("a/b"), replace(make_tune("a/b"), work="a_b")]
    with pytest.raises(UserError, match="two works would both be called a_b_v00"):
        plan_jobs(twins, versions=1)


def test_excluded_works_and_their_melodies_are_left_out(tmp_path: Path) -> None:
    demo = make_tune("songs/demo", seed=77)
    same = make_tune("reels/other-name", seed=77, transposed=5)
    others = [make_tune(f"songs/{i}", seed=i + 100) for i in range(20)]
    save_tunes([demo, *others], tmp_path / "songs.json")
    save_tunes([same], tmp_path / "reels.json")
    (tmp_path / "works.txt").write_text("# of the demo\nsongs/demo  # here\n\n")
    assert read_work_list(tmp_path / "works.txt") == ["songs/demo"]
    files = [str(tmp_path / "songs.json"), str(tmp_path / "reels.json")]
    strict = CorpusConfig(tunes=files, exclude=[str(tmp_path / "works.txt")])
    assert {t.work for t in load_corpus_tunes(strict)} == {t.work for t in others}
    by_name = strict.model_copy(update={"exclude_similar": None})
    assert {t.work for t in load_corpus_tunes(by_name)} == {t.work for t in [same, *others]}
    assert similar_works([demo], [same, *others], least=0.3) == {"reels/other-name"}
    everything = strict.model_copy(update={"tunes": files[1:], "exclude": [str(tmp_path / "all")]})
    (tmp_path / "all").write_text("reels/other-name\n")
    with pytest.raises(UserError, match="no work is left"):
        load_corpus_tunes(everything)


def test_unknown_exclusions_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_tunes(TUNES[:4], tmp_path / "songs.json")
    (tmp_path / "works.txt").write_text("songs/1\nsongs/lost\nsongs/gone\n")
    config = CorpusConfig(
        tunes=[str(tmp_path / "songs.json")], exclude=[str(tmp_path / "works.txt")]
    )
    with caplog.at_level("WARNING"):
        assert {t.work for t in load_corpus_tunes(config)} == {"songs/0", "songs/2", "songs/3"}
    assert "works.txt excludes works" in caplog.text
    assert "songs/lost, songs/gone" in caplog.text
    assert "songs/1" not in caplog.text
    (tmp_path / "works.txt").write_text("songs/lost\n")
    with pytest.raises(
        UserError, match=r"none of the works .*works\.txt .*songs/lost.*songs\.json"
    ):
        load_corpus_tunes(config)
    (tmp_path / "works.txt").write_text("# nothing yet\n")
    assert len(load_corpus_tunes(config)) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tunes: [a.json]\nversion: 3\n", "version: unknown key"),
        ("tunes: [a.json]\nversions: many\n", "versions: .*integer"),
        ("versions: 3\n", "tunes: .*required"),
        ("tunes: []\n", "tunes: "),
        ("tunes: [a.json]\nduration: [60, 50]\n", "duration: .*two numbers"),
        ("tunes: [a.json]\ndistractors: {songs: -1}\n", "distractors: .*-1 works"),
        (
            "tunes: [a.json]\nprinted_settings: true\nversions: 3\n",
            "'versions' has no place beside 'printed_settings'",
        ),
        ("tunes: [a.json]\nhard_negatives: 0.9\n", "hard_negatives: .*0.5"),
        ("tunes: [a.json]\nfeatures: [mfcc]\n", r"features.0: .*crema_pcp-0.1.0"),
        ("tunes: [a.json]\naudio: {codec: wma}\n", "audio.codec: "),
        ("tunes: [a.json]\nblocks: {song: 3}\n", "blocks.song: unknown key"),
        ("tunes: [a.json]\nrecordings: {moon: 1}\n", "unknown kind of recording 'moon'"),
        ("- a\n- b\n", "must hold keys and values"),
        ("tunes: [a.json\n", "not a valid YAML file"),
        ("1: 2\n", "corpus.yaml"),
    ],
)
def test_mistakes_in_a_configuration_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "corpus.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_config(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml"):
        load_config(tmp_path / "nowhere.yaml")
    with pytest.raises(UserError, match=r"list of works .*nobody\.txt"):
        read_work_list(tmp_path / "nobody.txt")


def test_the_example_configurations_are_valid_and_agree() -> None:
    root = Path(__file__).parents[2]
    notes = ("notes", "notes_long", "notes_cqt", "notes_cqt_long")
    names = (
        *notes,
        "notes_invented",
        "notes_cqt_invented",
        "corpus",
        "first_weights",
        "second_weights",
        "invented",
    )
    names += ("fiddle_settings", "chorales")
    configs = {name: load_config(root / f"egs/opencorpus/{name}.yaml") for name in names}
    corpus = configs["corpus"]
    assert "data/demo/works.txt" in corpus.exclude
    assert corpus.features == ["crema_pcp-0.1.0"]
    assert corpus.hard_negatives > 0
    assert corpus.metre_changes > 0
    validation = {name for name, config in configs.items() if config.printed_settings}
    assert validation == {"fiddle_settings", "chorales"}
    for name in notes:
        assert "egs/opencorpus/held_out.txt" in configs[name].exclude
        assert "note_pcp" in configs[name].features
    for training in (corpus, configs["invented"], *(configs[name] for name in notes)):
        assert {Path(path).stem for path in training.exclude_corpora} == validation
    for config in configs.values():
        for path in (*config.exclude, *config.exclude_corpora):
            assert (root / path).is_file(), path
    assert "data/demo/works.txt" in configs["fiddle_settings"].exclude


def test_distractors_have_one_version_and_are_no_other_work(tmp_path: Path) -> None:
    save_tunes(TUNES, tmp_path / "tunes.json")
    config = CorpusConfig(
        tunes=[str(tmp_path / "tunes.json")],
        exclude_similar=None,
        works={"songs": 20, "reels": 2},
        distractors={"songs": 3, "reels": 1},
        versions=2,
    )
    plan = plan_corpus(config)
    works, distractors = ({t.work for t in part} for part in (plan.works, plan.distractors))
    assert not works & distractors
    assert sorted(work.split("/")[0] for work in distractors) == ["reels", *["songs"] * 3]
    assert sum(work.startswith("songs") for work in works) == 9
    counts = Counter(job.tune.work for job in plan.jobs)
    assert counts == {**dict.fromkeys(works, 2), **dict.fromkeys(distractors, 1)}
    # They stand evenly among the others, and stay when more works are asked for.
    places = [i for i, job in enumerate(plan.jobs) if job.tune.work in distractors]
    assert all(b - a > 3 for a, b in pairwise(places))
    more = plan_corpus(config.model_copy(update={"works": {"songs": 20, "reels": 5}}))
    assert more.distractors == plan.distractors
    # None of them is a work under another name.
    for tune in plan.distractors[:2]:
        (tmp_path / "same.json").write_text(
            json.dumps({"format": 1, "same_works": [[tune.work, plan.works[0].work]]})
        )
        same = config.model_copy(update={"same_works": str(tmp_path / "same.json")})
        assert tune.work not in {t.work for t in plan_corpus(same).distractors}
    with pytest.raises(UserError, match="no works of collection carols"):
        plan_corpus(config.model_copy(update={"distractors": {"carols": 1}}))


def test_similar_works_are_found_whatever_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    demo = [make_tune(f"songs/demo-{i}", seed=i + 70) for i in range(5)]
    same = [make_tune(f"reels/{i}", seed=i + 70, transposed=5) for i in range(5)]
    others = [make_tune(f"songs/{i}", seed=i + 200) for i in range(9)]
    expected = {tune.work for tune in same}
    assert similar_works(demo, [*others, *same], least=0.3) == expected
    monkeypatch.setattr(works_module, "_COMPARED_AT_ONCE", 2)
    assert similar_works(demo, [*others, *same], least=0.3) == expected
