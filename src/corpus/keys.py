"""Key and mode of a version."""

from dataclasses import replace

from src.corpus.dice import Dice
from src.corpus.tune import Section, Tune


def change_mode(tune: Tune, dice: Dice, choices: dict) -> Tune:
    """Now and then a version in the parallel mode, as real covers do."""
    choices["mode"] = tune.mode
    choices["mode_changed"] = False
    if tune.mode not in ("major", "minor") or not dice.chance(0.025):
        return tune
    tune = in_parallel_mode(tune)
    choices["mode"], choices["mode_changed"] = tune.mode, True
    return tune


def in_parallel_mode(tune: Tune) -> Tune:
    """A tune in major brought to minor, or the other way; without chords, which must be new."""
    mode = "minor" if tune.mode == "major" else "major"
    shifts = {4: -1, 9: -1, 11: -1} if mode == "minor" else {3: 1, 8: 1, 10: 1}
    if mode == "minor":
        shifts.pop(11)  # the leading note stays
    sections = tuple(
        replace(
            s,
            melody=tuple(
                replace(n, pitch=n.pitch + shifts.get((n.pitch - tune.tonic) % 12, 0))
                for n in s.melody
            ),
            chords=None,
        )
        for s in tune.sections
    )
    return replace(tune, mode=mode, sections=sections)


def transpose(tune: Tune, dice: Dice, choices: dict) -> Tune:
    """The tune in a key that is drawn."""
    by = dice.integer(-6, 5)
    choices["transposition"] = by
    choices["key"] = (tune.tonic + by) % 12
    return transposed(tune, by)


def transposed(tune: Tune, by: int) -> Tune:
    """The tune so many semitones higher."""
    sections = tuple(
        Section(
            s.label,
            s.bars,
            tuple(replace(n, pitch=n.pitch + by) for n in s.melody),
            None
            if s.chords is None
            else tuple(
                replace(c, root=(c.root + by) % 12, bass=(c.bass + by) % 12) for c in s.chords
            ),
        )
        for s in tune.sections
    )
    return replace(tune, tonic=(tune.tonic + by) % 12, sections=sections)
