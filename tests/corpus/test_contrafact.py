"""Hard negatives: another melody over the chords of a version, and all the rest like it."""

from dataclasses import replace

import numpy as np
import pytest

from src.corpus.arrange import arrange
from src.corpus.configuration import Blocks
from src.corpus.contrafact import clashes, fit_to_chords, lay_over, pick_model, play_contrafact
from src.corpus.keys import transposed
from src.corpus.performance import Performance
from src.corpus.plan import Job, plan_jobs, with_hard_negatives
from src.corpus.tune import MODE_SCALES, Chord, MelodyNote, Meter, Section
from tests.corpus.tunes import simple_tune

FOUR = Meter(4, 4)
C_MAJOR = frozenset(MODE_SCALES["major"])
STEPS = ((4, 3, 1, 2, 0, 1, 4, 6), (2, 0, 1, 3, 5, 4, 2, 7, 6))
MODEL = simple_tune(work="test/model")
OTHER = transposed(simple_tune(work="test/other", steps=STEPS), 3)
LIKE = {"seed": 2, "target_duration": (40.0, 60.0)}


def chord(root: int, quality: str = "maj", onset: float = 0.0, duration: float = 4.0) -> Chord:
    return Chord(onset, duration, root, quality, root)


def test_notes_that_clash_are_heard_against_the_chord_only() -> None:
    melody = [
        MelodyNote(-0.5, 0.5, 65),  # a pickup
        MelodyNote(0.0, 1.0, 65),  # F over C: on the beat
        MelodyNote(1.0, 0.5, 64),
        MelodyNote(1.5, 0.5, 65),  # passing
        MelodyNote(2.0, 2.0, 62),  # a ninth is no clash
    ]
    fitted = fit_to_chords(melody, [chord(0)], meter=FOUR, scale=C_MAJOR)
    assert [n.pitch for n in fitted.melody] == [65, 64, 64, 65, 62]
    assert [n.onset for n in fitted.melody] == [n.onset for n in melody]
    assert fitted.moved == pytest.approx(1.0 / 4.5)


def test_the_line_keeps_its_direction() -> None:
    rising = [MelodyNote(0.0, 1.0, 64), MelodyNote(1.0, 1.0, 65), MelodyNote(2.0, 1.0, 67)]
    fitted = fit_to_chords(rising, [chord(0)], meter=FOUR, scale=C_MAJOR)
    assert [n.pitch for n in fitted.melody] == [64, 67, 67]
    repeated = [MelodyNote(float(i), 1.0, 65) for i in range(3)]
    fitted = fit_to_chords(repeated, [chord(0)], meter=FOUR, scale=C_MAJOR)
    assert len({n.pitch for n in fitted.melody}) == 1


@pytest.mark.parametrize(
    ("pitch", "quality", "wrong"),
    [(63, "maj", True), (64, "min", True), (65, "maj", True), (66, "maj", False), (70, "7", False),
     (71, "7", True), (69, "m7", False), (62, "min", False), (60, "5", False)],
)  # fmt: skip
def test_clashes_are_those_that_musicians_avoid(pitch: int, quality: str, wrong: bool) -> None:
    assert clashes(pitch, chord(0, quality)) is wrong


def test_the_form_and_chords_are_the_models_and_the_melody_is_not() -> None:
    hybrid, moved = lay_over(OTHER, MODEL, None)
    assert [s.bars for s in hybrid.sections] == [s.bars for s in MODEL.sections]
    assert [s.chords for s in hybrid.sections] == [s.chords for s in MODEL.sections]
    assert (hybrid.work, hybrid.tonic, hybrid.order) == ("test/other", 0, MODEL.order)
    kept = total = 0
    for new, old in zip(hybrid.sections, transposed(OTHER, -3).sections, strict=True):
        assert [n.onset for n in new.melody] == [n.onset for n in old.melody]
        kept += sum(a.pitch == b.pitch for a, b in zip(new.melody, old.melody, strict=True))
        total += len(new.melody)
    assert 0 < moved < 0.5
    assert 0.5 < kept / total < 1
    for section in hybrid.sections:
        for note in section.melody:
            under = next((c for c in section.chords if c.onset <= note.onset < c.end), None)
            if under is not None and note.onset % 1 == 0:
                assert not clashes(note.pitch, under)


def test_phrases_of_other_lengths_are_joined_or_cut_at_their_ends() -> None:
    one = OTHER.sections[0]
    long = replace(OTHER, sections=(Section("A", 8, one.melody, None),), order=(0,))
    short = tuple(
        replace(s, bars=4, melody=tuple(n for n in s.melody if n.onset < 16))
        for s in OTHER.sections
    )
    for own in (long, replace(OTHER, sections=short)):
        hybrid, _ = lay_over(own, MODEL, None)
        for section in hybrid.sections:
            last = max(n.onset + n.duration for n in section.melody)
            assert last == pytest.approx(32.0)
            ordered = sorted(section.melody, key=lambda n: n.onset)
            assert list(section.melody) == ordered
    odd = replace(OTHER, sections=(replace(one, bars=7),), order=(0,))
    with pytest.raises(ValueError, match="do not fill a section of 8 bars"):
        lay_over(odd, MODEL, None)
    assert pick_model(odd, [MODEL], seed=0, version=0) is None


@pytest.mark.parametrize("version", range(6))
def test_a_contrafact_is_arranged_like_its_model(version: int) -> None:
    model = arrange(MODEL, version=version, **LIKE)
    played = play_contrafact(OTHER, MODEL, version=version, model_version=version, **LIKE)
    a, b = played.choices, model.choices
    for name in ("style", "lead", "key", "meter", "tempo_bpm", "structure", "timing", "players"):
        assert a[name] == b[name], name
    assert (a["work"], a["source"], a["version"]) == ("test/other", "tests", version)
    assert a["transposition"] % 12 == (a["key"] - OTHER.tonic) % 12
    assert a["like"]["work"] == "test/model"
    assert a["like"]["harmony"] == b["harmony"]
    assert a["harmony"] == "borrowed"
    assert played.duration == pytest.approx(model.duration, abs=4.5)
    assert played == play_contrafact(OTHER, MODEL, version=version, model_version=version, **LIKE)
    # Who listens to the accompaniment alone takes one for the other.
    heard = [accompaniment(p) for p in (played, model)]
    if heard[0].any():
        assert np.corrcoef(heard[0].ravel(), heard[1].ravel())[0, 1] > 0.8
    # The hands are others: nothing is copied note by note.
    lines = [
        [n.onset for t in p.tracks for n in t.notes if not t.is_drums] for p in (played, model)
    ]
    assert lines[0] != lines[1]


def accompaniment(performance: Performance) -> np.ndarray:
    """(12, 16): how much of each pitch class the band plays in sixteen parts of the time."""
    heard = np.zeros((12, 16))
    for track in performance.tracks:
        if not track.is_drums and not track.name.startswith(("melody", "second voice")):
            for note in track.notes:
                heard[note.pitch % 12, int(15.99 * note.onset / performance.duration)] += 1
    return heard


def jobs_of(count: int, share: float, versions: int = 2) -> list[Job]:
    tunes = [
        simple_tune(
            work=f"test/{k}", steps=(tuple((k * i) % 7 for i in range(1, 12)), STEPS[k % 2])
        )
        for k in range(1, count + 1)
    ]
    jobs = plan_jobs(tunes, versions=versions, blocks=Blocks(works=5, versions=2))
    return with_hard_negatives(jobs, share, seed=3)


def test_hard_negatives_are_planned_among_what_comes_before() -> None:
    jobs = jobs_of(12, 0.4)
    places = {job.utt: place for place, job in enumerate(jobs)}
    imitations = [job for job in jobs if job.like is not None]
    assert 0.1 * len(jobs) <= len(imitations) <= 0.5 * len(jobs)
    imitated: dict[str, int] = {}
    for job in imitations:
        assert places[job.like.utt] < places[job.utt]
        assert job.like.like is None
        assert job.like.version == job.version
        assert job.like.tune.song != job.tune.song
        imitated[job.like.utt] = imitated.get(job.like.utt, 0) + 1
    assert max(imitated.values()) <= 3
    assert [replace(job, like=None) for job in jobs] == jobs_of(12, 0.0)
    # More works and more versions leave what was planned.
    later = {job.utt: job for job in jobs_of(14, 0.4, versions=3)}
    assert all(later[job.utt] == job for job in jobs)


def test_other_metres_modes_and_the_same_song_are_no_models() -> None:
    assert pick_model(OTHER, [MODEL], seed=0, version=1) == MODEL
    family = [replace(tune, family="test/one") for tune in (OTHER, MODEL)]
    unlike = (replace(MODEL, mode="minor"), simple_tune((3, 4)), replace(MODEL, tempo=40.0))
    assert pick_model(family[0], [family[1]], seed=0, version=1) is None
    for model in unlike:
        assert pick_model(OTHER, [model], seed=0, version=1) is None
