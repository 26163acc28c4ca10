"""What cannot be played is refused."""

import pytest

from src.corpus.performance import Performance, PlayedNote, Track

NOTE = PlayedNote(0.0, 1.0, 60, 90)


def performance(notes=(NOTE,), *, duration=10.0, tuning=0.0, choices=None, **track):
    player = Track("melody", track.pop("program", 0), False, tuple(notes), **track)
    return Performance((player,), tuning, duration, choices or {})


def test_a_sound_performance_is_returned():
    whole = performance()
    assert whole.validate() is whole
    assert NOTE.end == 1.0
    assert list(whole.notes()) == [NOTE]
    assert list(whole.notes(drums=True)) == []


@pytest.mark.parametrize(
    "broken",
    [
        performance([]),
        performance([PlayedNote(-0.1, 1.0, 60, 90)]),
        performance([PlayedNote(float("nan"), 1.0, 60, 90)]),
        performance([PlayedNote(0.0, 0.0, 60, 90)]),
        performance([PlayedNote(0.0, 1.0, 128, 90)]),
        performance([PlayedNote(0.0, 1.0, 60, 0)]),
        performance([PlayedNote(1.0, 1.0, 60, 90), NOTE]),
        performance([PlayedNote(9.5, 1.0, 60, 90)]),
        performance(program=128),
        performance(gain=1.5),
        performance(pan=-2.0),
        performance(tuning=500.0),
        performance(duration=0.0),
        performance(choices={"array": {1, 2}}),
        performance(choices={"value": float("inf")}),
    ],
)
def test_what_cannot_be_played_is_refused(broken):
    with pytest.raises(ValueError):
        broken.validate()
