"""Tunes, their cache, and what printed measures become."""

import pytest

from src.corpus.measures import Measure, sections_from_measures
from src.corpus.tune import Meter, load_tunes, normalise_meter, save_tunes
from src.errors import UserError
from tests.corpus.tunes import simple_tune


def test_tunes_come_back_as_they_were(tmp_path):
    tunes = [
        simple_tune(settings=[simple_tune((6, 8), chords=False)]),
        simple_tune((3, 4), work="test/é"),
    ]
    save_tunes(tunes, tmp_path / "tunes.json")
    assert load_tunes(tmp_path / "tunes.json") == tunes


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"format": 0, "tunes": []}', '{"format": 1, "tunes": [{}]}']
)
def test_what_is_no_cache_is_named(tmp_path, content):
    path = tmp_path / "tunes.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"tunes\.json"):
        load_tunes(path)


@pytest.mark.parametrize(
    ("written", "meter", "scale"),
    [
        ((4, 4), Meter(4, 4), 1.0),
        ((2, 2), Meter(2, 4), 0.5),
        ((3, 8), Meter(3, 4), 2.0),
        ((6, 8), Meter(6, 8), 1.0),
        ((6, 16), Meter(6, 8), 2.0),
        ((3, 2), Meter(3, 4), 0.5),
        ((6, 4), Meter(6, 4), 1.0),
    ],
)
def test_meters_are_normalised(written, meter, scale):
    assert normalise_meter(*written) == (meter, scale)


def measure(*pitches, length=4.0, **options):
    step = length / len(pitches)
    notes = [(i * step, step, p, False) for i, p in enumerate(pitches)]
    return Measure(notes=notes, length=length, **options)


def test_repeats_endings_and_pickups():
    body = [measure(60 + k, 62 + k, 64 + k, 65 + k) for k in range(6)]
    printed = [
        measure(55, length=1.0),
        *body,
        measure(67, ending=1, length=3.0, repeat_end=True),
        measure(72, ending=2, double_end=True),
        measure(48, 50, 52, 53, repeat_start=True),
        *[measure(72 - k, 71 - k) for k in range(6)],
        measure(60, repeat_end=True),
    ]
    sections, order = sections_from_measures(printed, bar=4.0)
    assert [s.label for s in sections] == ["A", "A2", "B"]
    assert order == (0, 1, 2, 2)
    first, second, third = sections
    assert (first.bars, third.bars) == (7, 8)
    assert first.melody[0].onset == -1.0
    assert first.melody[0].pitch == 55
    assert first.melody[-1].pitch == 67
    assert second.melody[-1].pitch == 72
    assert third.melody[0].onset == 0.0


def test_ties_join_and_long_parts_are_cut_into_phrases():
    printed = [measure(60, 62, 64, 65) for _ in range(16)]
    printed[3].notes[-1] = (3.0, 1.0, 70, False)
    printed[4].notes[0] = (0.0, 1.0, 70, True)
    printed[0].chords.append((0.0, 0, "maj", 0))
    printed[10].chords.append((2.0, 7, "7", 7))
    sections, order = sections_from_measures(printed, bar=4.0)
    assert [s.bars for s in sections] == [8, 8]
    assert order == (0, 1)
    assert any(n.onset == 15.0 and n.duration == 2.0 for n in sections[0].melody)
    # The chord of the first phrase sounds on in the second.
    assert [(c.onset, c.duration, c.root) for c in sections[1].chords] == [(0, 10, 0), (10, 22, 7)]


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_scaling_scales_everything(scale):
    printed = [measure(60, 62, 64, 65) for _ in range(8)]
    printed[0].chords.append((0.0, 0, "maj", 0))
    (section,), _ = sections_from_measures(printed, bar=4.0, scale=scale)
    assert section.melody[1].onset == scale
    assert section.chords[0].duration == 32 * scale
