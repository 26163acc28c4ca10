"""Printed settings: played once each, as they stand, in sounds of their own."""

from dataclasses import replace

import pytest

from src.corpus.configuration import CorpusConfig
from src.corpus.plan import plan_corpus
from src.corpus.printed import play_printed
from src.corpus.tune import save_tunes
from src.errors import UserError
from tests.corpus.tunes import simple_tune

OTHERS = [
    simple_tune(steps=((0, 4, 2, 1, 3, 5, 2), (7, 5, 3, 4, 6, 2, 1))),
    simple_tune(steps=((0, 1, 2, 4, 3, 5, 2), (7, 6, 3, 4, 5, 2, 1))),
]
TUNE = simple_tune(settings=OTHERS)


@pytest.mark.parametrize("setting", range(3))
def test_the_notes_are_the_printed_ones(setting: int) -> None:
    performance = play_printed(TUNE, setting, seed=1, target_duration=(45, 75))
    assert performance == play_printed(TUNE, setting, seed=1, target_duration=(45, 75))
    assert 45 <= performance.duration <= 75
    choices = performance.choices
    assert (choices["setting"], choices["transposition"], choices["mode_changed"]) == (
        setting, 0, False,
    )  # fmt: skip
    assert {item.split()[0] for item in choices["structure"]} == {"theme"}
    assert {choices["harmony"], choices["harmony_later"]} <= {"given", "none"}
    assert 0.8 < choices["tempo_factor"] < 1.25
    assert {"melody 2", "second voice"}.isdisjoint(t.name for t in performance.tracks)
    (line,) = [t.notes for t in performance.tracks if t.name == "melody"]
    printed = [
        note.pitch % 12
        for item in choices["structure"]
        for section in TUNE.setting(setting).sections
        if item == f"theme {section.label}"
        for note in section.melody
    ]
    played = [note.pitch % 12 for note in line]
    assert played[: len(printed)] == printed[: len(played)]
    assert len(played) >= 0.9 * len(printed)


def test_settings_of_a_work_sound_differently() -> None:
    many = replace(TUNE, settings=tuple(OTHERS * 3))
    for seed in range(4):
        choices = [
            play_printed(many, k, seed=seed, target_duration=(30, 45)).choices for k in range(7)
        ]
        assert len({c["style"] for c in choices}) == 7
        assert len({c["lead"] for c in choices}) == 7


def test_a_corpus_of_settings_has_one_version_each_and_is_kept_from_training(tmp_path) -> None:
    several = [
        simple_tune(work=f"book/{k}", steps=((k, 4, 2, 1, 3, 5, 2), (7, 5, 3 - k, 4, 6, 2, 1)),
                    settings=OTHERS[: 1 + k % 2])
        for k in range(4)
    ]  # fmt: skip
    single = [simple_tune(work=f"book/single-{k}") for k in range(3)]
    save_tunes([*several, *single], tmp_path / "book.json")
    known = {"tunes": [str(tmp_path / "book.json")], "exclude_similar": None}
    config = CorpusConfig(
        **known, printed_settings=True, works={"book": 3}, distractors={"book": 2}
    )
    plan = plan_corpus(config)
    assert len(plan.works) == 3
    assert all(tune.settings for tune in plan.works)
    assert len(plan.distractors) == 2
    assert not any(tune.settings for tune in plan.distractors)
    settings = {(job.tune.work, job.setting) for job in plan.jobs}
    assert settings == {
        *((tune.work, k) for tune in plan.works for k in range(1 + len(tune.settings))),
        *((tune.work, 0) for tune in plan.distractors),
    }
    assert len(plan.jobs) == len(settings)
    assert all(job.printed for job in plan.jobs)

    (tmp_path / "kept.yaml").write_text(
        f"tunes: ['{tmp_path / 'book.json'}']\nexclude_similar: null\nprinted_settings: true\n"
        "works: {book: 3}\ndistractors: {book: 2}\n"
    )
    training = CorpusConfig(**known, exclude_corpora=[str(tmp_path / "kept.yaml")])
    chosen = {tune.work for tune in plan_corpus(training).works}
    taken = {tune.work for tune in (*plan.works, *plan.distractors)}
    assert chosen == {tune.work for tune in (*several, *single)} - taken
    (tmp_path / "kept.yaml").write_text(f"tunes: ['{tmp_path / 'lost.json'}']\n")
    with pytest.raises(UserError, match=r"lost\.json"):
        plan_corpus(training)
