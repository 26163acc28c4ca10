"""Chorales: soprano, harmony of the four voices, phrases by fermatas."""

from pathlib import Path

import numpy as np
import pytest

from src.corpus.chorale import cut_at_fermatas, label_chord, read_chorale, read_chorales
from src.corpus.measures import Measure, sections_from_measures
from src.errors import UserError


def _note(step: str, octave: int, beats: float, *, fermata: bool = False) -> str:
    mark = "<notations><fermata/></notations>" if fermata else ""
    return (
        f"<note><pitch><step>{step}</step><octave>{octave}</octave></pitch>"
        f"<duration>{round(beats * 2)}</duration>{mark}</note>"
    )


def _score(path: Path, *, voices=("Soprano", "Alto", "Tenor", "Bass"), other: str = "") -> Path:
    """Four phrases of two bars in C, each begun by an upbeat: 9 measures of 1, 4, ..., 4, 3."""
    # A bar of each voice: C, F, G and C major.
    lines = {
        "Soprano": ("C5", "C5", "B4", "C5"),
        "Alto": ("G4", "A4", "G4", "G4"),
        "Tenor": ("E4", "F4", "D4", "E4"),
        "Bass": ("C3", "F3", "G3", "C3"),
    }
    parts = []
    for voice in (*([other] if other else []), *voices):
        beats = [(p[0], int(p[1])) for p in lines.get(voice, lines["Bass"])]
        measures = [_note(*beats[3], 1)]
        for bar in range(8):
            count = 3 if bar == 7 else 4
            held = 2 if bar % 2 else None
            measures.append("".join(_note(*beats[b], 1, fermata=b == held) for b in range(count)))
        head = (
            "<attributes><divisions>2</divisions><key><fifths>0</fifths></key>"
            "<time><beats>4</beats><beat-type>4</beat-type></time></attributes>"
        )
        body = "".join(
            f"<measure number='{i}'>{head if i == 0 else ''}{m}</measure>"
            for i, m in enumerate(measures)
        )
        parts.append((voice, body))
    names = "".join(
        f"<score-part id='P{i}'><part-name>{name}</part-name></score-part>"
        for i, (name, _) in enumerate(parts)
    )
    music = "".join(f"<part id='P{i}'>{body}</part>" for i, (_, body) in enumerate(parts))
    path.write_text(f"<score-partwise><part-list>{names}</part-list>{music}</score-partwise>")
    return path


def test_melody_harmony_and_phrases_are_read(tmp_path: Path) -> None:
    path = _score(tmp_path / "bwv269.xml", other="Horn 1")
    tune = read_chorale(path, titles={"269": "Aus meines Herzens Grunde"})
    assert tune.work == "chorale/aus-meines-herzens-grunde-bwv-269"
    assert (tune.meter.name, tune.tonic, tune.mode) == ("4/4", 7, "mixolydian")
    # Two phrases of two bars are one section; its fermata is in the middle of a bar.
    assert [section.bars for section in tune.sections] == [4, 4][: len(tune.sections)]
    assert len(tune.order) == 2
    first = tune.sections[0]
    assert (first.melody[0].onset, first.melody[0].pitch) == (-1.0, 72)
    assert first.melody[-1].onset + first.melody[-1].duration == 15.0
    assert [(c.root, c.quality, c.bass) for c in first.chords[:4]] == [
        (0, "maj", 0),
        (5, "maj", 5),
        (7, "maj", 7),
        (0, "maj", 0),
    ]
    assert [c.onset for c in first.chords[:4]] == [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("pitches", "bass", "expected"),
    [
        ({0: 2, 4: 1, 7: 1}, 4, (0, "maj", 4)),
        ({9: 2, 0: 1, 4: 1}, 9, (9, "min", 9)),
        ({7: 1, 11: 1, 2: 1, 5: 1}, 11, (7, "7", 11)),
        ({2: 1, 5: 1, 9: 1, 0: 1}, 2, (2, "m7", 2)),
        ({11: 2, 2: 1, 5: 1}, 2, (11, "dim", 2)),
        ({0: 2, 4: 1, 7: 0.5, 5: 0.125}, 0, (0, "maj", 0)),  # a passing note
        ({0: 3, 7: 1}, 0, (0, "maj", 0)),  # an empty fifth
    ],
)
def test_chords_are_named_by_what_sounds(pitches, bass, expected) -> None:
    for shift in range(12):
        weights = np.zeros(12)
        for pitch, weight in pitches.items():
            weights[(pitch + shift) % 12] = weight
        root, quality, low = label_chord(weights, (bass + shift) % 12)
        assert ((root - shift) % 12, quality, (low - shift) % 12) == expected


def _bars(count: int) -> list[Measure]:
    return [
        Measure(notes=[(float(b), 1.0, 60 + i + b, False) for b in range(4)], length=4.0)
        for i in range(count)
    ]


def test_cuts_keep_the_music_and_leave_repeats_alone() -> None:
    plain = cut_at_fermatas(_bars(12), [[3.0] if i % 4 == 3 else [] for i in range(12)], bar=4)
    sections, order = sections_from_measures(plain, bar=4.0)
    assert [sections[i].bars for i in order] == [4, 4, 4]
    assert sections[1].melody[0].onset == -1.0
    assert sum(len(sections[i].melody) for i in order) == 48

    repeated = _bars(12)
    repeated[7].repeat_end = True
    cut = cut_at_fermatas(repeated, [[4.0] if i == 3 else [] for i in range(12)], bar=4)
    sections, order = sections_from_measures(cut, bar=4.0)
    assert [sections[i].bars for i in order] == [8, 8, 4]

    short = cut_at_fermatas(_bars(8), [[4.0]] * 8, bar=4)
    sections, order = sections_from_measures(short, bar=4.0)
    assert [sections[i].bars for i in order] == [4, 4]


def test_what_is_not_in_four_voices_is_refused(tmp_path: Path) -> None:
    _score(tmp_path / "bwv1.xml", voices=("Soprano", "Alto", "Bass"))
    with pytest.raises(ValueError, match="no part called Tenor"):
        read_chorale(tmp_path / "bwv1.xml")
    with pytest.raises(UserError, match="no chorales"):
        read_chorales(tmp_path)


def test_a_folder_is_read_and_the_rest_named(tmp_path: Path) -> None:
    pytest.importorskip("music21")
    (tmp_path / "bach").mkdir()
    _score(tmp_path / "bach/bwv269.xml")
    (tmp_path / "bach/bwv2.xml").write_text("<score")
    tunes, skipped = read_chorales(tmp_path)
    assert [tune.title for tune in tunes] == ["Aus meines Herzens Grunde"]
    assert len(skipped) == 1
    assert skipped[0].startswith("bwv2.xml")
