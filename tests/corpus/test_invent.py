"""Invented works: always the same, whole, arrangeable, and nobody's copies."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from src.corpus.arrange import arrange
from src.corpus.dice import generator
from src.corpus.identity import similarity_pairs
from src.corpus.invent import invent_tunes
from src.corpus.repertoire import degree_of, learn_styles
from src.corpus.tune import (
    QUALITIES,
    Chord,
    MelodyNote,
    Meter,
    Section,
    Tune,
    load_tunes,
    save_tunes,
)
from src.errors import UserError
from tests.corpus.tunes import simple_tune
from tools import make_tunes

METERS = ((4, 4), (3, 4), (6, 8))
FORMS = (((8, 8), (0, 0, 1)), ((8, 8, 8), (0, 1, 2)), ((4, 8), (0, 1)), ((12,), (0,)))


def source(collection: str, number: int) -> Tune:
    """A random walk that begins its bars on the chord; songs have chords, reels have none."""
    rng = generator("source", collection, number)
    meter = Meter(*METERS[number % 3])
    bars, order = FORMS[number % 4]
    scale = (0, 2, 4, 5, 7, 9, 11)
    sections = []
    for label, length in zip("ABC", bars, strict=False):
        roots = [0, *rng.choice([0, 2, 5, 7, 9], length - 2).tolist(), 0]
        chords = tuple(
            Chord(
                i * meter.bar,
                meter.bar,
                (7 + r) % 12,
                "min" if r in (2, 9) else "maj",
                (7 + r) % 12,
            )
            for i, r in enumerate(roots)
        )
        notes, degree = [], 7
        for chord in chords:
            onset = 0.0
            while onset < meter.bar - 1e-9:
                duration = min(float(rng.choice([0.5, 1.0, 1.5])), meter.bar - onset)
                degree = int(np.clip(degree + rng.integers(-3, 4), 0, 14))
                while onset == 0 and (7 + scale[degree % 7]) % 12 not in chord.pitch_classes:
                    degree = (degree + 1) % 15
                pitch = 55 + 12 * (degree // 7) + scale[degree % 7]
                notes.append(MelodyNote(chord.onset + onset, duration, pitch))
                onset += duration
        sections.append(
            Section(label, length, tuple(notes), chords if collection == "songs" else None)
        )
    work = f"{collection}/{number}"
    return Tune(
        work, work, "nobody", "test", "none", meter, 7, "major", 120.0, tuple(sections), order
    ).check()


@pytest.fixture(scope="module")
def sources() -> list[Tune]:
    return [source(name, number) for name in ("songs", "reels") for number in range(24)]


@pytest.fixture(scope="module")
def invented(sources) -> list[Tune]:
    return list(invent_tunes(sources, seed=3, count=60))


def test_more_works_begin_with_the_fewer(sources, invented) -> None:
    assert list(invent_tunes(sources[::-1], seed=3, count=5)) == invented[:5]
    assert [t.work for t in invented[:2]] == ["invented/3-0", "invented/3-1"]
    others = list(invent_tunes(sources, seed=4, count=5))
    assert not {t.sections for t in others} & {t.sections for t in invented}


def test_every_work_is_whole(invented) -> None:
    for tune in invented:
        bar = tune.meter.bar
        assert set(tune.order) == set(range(len(tune.sections)))
        for section in tune.sections:
            end = section.bars * bar
            assert section.chords[0].onset == 0
            assert section.chords[-1].end == pytest.approx(end)
            for one, following in pairwise(section.chords):
                assert one.end == pytest.approx(following.onset)
                assert _name(one) != _name(following)
            assert all(c.quality in QUALITIES and c.duration > 0 for c in section.chords)
            assert {c.onset % tune.meter.pulse for c in section.chords} == {0.0}
            for one, following in pairwise(section.melody):
                assert one.onset + one.duration <= following.onset + 1e-3
            last = section.melody[-1]
            assert last.duration > 0
            assert last.onset + last.duration <= end + 1e-3
            assert section.melody[0].onset >= -bar
            assert last.onset >= end - 2 * bar


def _name(chord: Chord) -> tuple[int, str, int]:
    return chord.root, chord.quality, chord.bass


def test_melodies_keep_to_range_key_and_chords(invented) -> None:
    on_chord, downbeats = 0, 0
    for tune in invented:
        pitches = [n.pitch for s in tune.sections for n in s.melody]
        assert max(pitches) - min(pitches) <= 20  # a twelfth, and an altered note at its edge
        final = tune.sections[tune.order[-1]]
        assert final.melody[-1].pitch % 12 == tune.tonic
        assert final.chords[-1].root == tune.tonic
        for section in tune.sections:
            for note in section.melody:
                if note.onset >= 0 and note.onset % tune.meter.bar == 0:
                    chord = [c for c in section.chords if c.onset <= note.onset][-1]
                    downbeats += 1
                    on_chord += note.pitch % 12 in chord.pitch_classes
    assert on_chord / downbeats > 0.8
    steps = Counter(
        min(abs(degree_of(b.pitch, t.tonic, t.mode) - degree_of(a.pitch, t.tonic, t.mode)), 5)
        for t in invented
        for s in t.sections
        for a, b in pairwise(s.melody)
    )
    assert steps[1] > steps[4] + steps[5]
    again = [
        len(set(bars)) < len(bars)
        for t in invented
        for s in t.sections
        for bars in [[_bar(s, t.meter.bar, k) for k in range(s.bars)]]
    ]
    assert sum(again) > 0.5 * len(again)  # phrases answer one another


def _bar(section: Section, bar: float, index: int) -> tuple:
    return tuple(
        (round(n.onset - index * bar, 3), n.pitch)
        for n in section.melody
        if index * bar <= n.onset < (index + 1) * bar
    )


def test_forms_metres_and_styles_are_those_of_the_sources(sources, invented) -> None:
    forms = {(tuple(s.bars for s in t.sections), t.order, t.meter) for t in sources}
    found = {(tuple(s.bars for s in t.sections), t.order, t.meter) for t in invented}
    assert found <= forms
    assert len(found) > len(forms) / 2
    assert {t.source for t in invented} == {"invented after songs", "invented after reels"}


def test_nobody_s_copies(sources, invented) -> None:
    together = [*sources, *invented]
    near = similarity_pairs(together, least=0.3)
    assert not [pair for pair in near if pair[1] >= len(sources)]
    copy = Tune(**{f: getattr(invented[0], f) for f in Tune.__slots__} | {"work": "a/copy"})
    assert similarity_pairs([*together, copy], least=0.3)  # the measure would see one


def test_a_known_melody_is_drawn_again(sources, invented) -> None:
    known = invented[0]
    again = next(invent_tunes([*sources, known], seed=3, count=1, exclude={known.work}))
    assert again.work == known.work
    assert again.sections != known.sections


def test_excluded_works_teach_nothing(sources) -> None:
    exclude = {t.work for t in sources if t.work.startswith("songs")}
    some = list(invent_tunes(sources, seed=3, count=10, exclude=exclude))
    assert {t.source for t in some} == {"invented after reels"}


def test_the_arranger_takes_them(invented) -> None:
    for tune in invented[:12]:
        for version in (0, 1):
            performance = arrange(tune, seed=1, version=version, target_duration=(20, 30))
            assert 15 <= performance.duration <= 36


def test_few_tunes_are_enough() -> None:
    tune = next(invent_tunes([simple_tune()], seed=0, count=1))
    assert tune.meter == Meter(4, 4)
    minor = [Tune(**{f: getattr(simple_tune(), f) for f in Tune.__slots__} | {"mode": "dorian"})]
    assert next(invent_tunes(minor, seed=0, count=1)).mode == "dorian"


def test_a_minor_song_with_the_major_key_is_learnt_as_minor() -> None:
    tune = simple_tune()
    ends = tuple(
        Chord(4.0 * k, 4.0, root, "min", root) for k, root in enumerate([9, 2] * 3 + [4, 9])
    )
    sections = tuple(Section(s.label, s.bars, s.melody, ends) for s in tune.sections)
    tune = Tune(**{f: getattr(tune, f) for f in Tune.__slots__} | {"sections": sections})
    (style,) = learn_styles([tune])
    assert (style.heads[0].tonic, style.heads[0].mode) == (9, "minor")


def test_degrees() -> None:
    assert [degree_of(p, 9, "minor") for p in (57, 58, 59, 60, 69)] == [28, 28, 29, 30, 35]


def test_bad_input_is_told() -> None:
    with pytest.raises(UserError, match="no tunes to learn from"):
        next(invent_tunes([], seed=1, count=3))
    with pytest.raises(UserError, match="must be 1 or more, not 0"):
        next(invent_tunes([simple_tune()], seed=1, count=0))


def test_the_front(sources, tmp_path, capsys) -> None:
    path = tmp_path / "songs.json"
    save_tunes(sources, path)
    out = tmp_path / "out"
    words = ["invented", str(out), "--seed", "3", "--from", str(path)]
    make_tunes.main([*words, "--count", "4"])
    assert "invented.json: 4 works" in capsys.readouterr().out
    assert [t.work for t in load_tunes(out / "invented.json")] == [
        f"invented/3-{number}" for number in range(4)
    ]
    before = (out / "invented.json").read_bytes()
    with pytest.raises(UserError, match="must be 1 or more"):
        make_tunes.main([*words, "--count", "0"])
    with pytest.raises(UserError, match="cannot read"):
        make_tunes.main(["invented", str(out), "--from", str(tmp_path / "missing.json")])
    assert (out / "invented.json").read_bytes() == before
    everything = tmp_path / "everything.txt"
    everything.write_text("\n".join(t.work for t in sources))
    with pytest.raises(UserError, match="no tunes to learn from"):
        make_tunes.main([*words, "--exclude", str(everything)])
