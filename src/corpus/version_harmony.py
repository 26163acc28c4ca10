"""The chords of one version: a treatment for the first turn of a section, maybe another later."""

from dataclasses import replace

from src.corpus.dice import Dice
from src.corpus.harmony import harmonise, treat, with_chords
from src.corpus.structure import Item
from src.corpus.styles import Style
from src.corpus.tune import Chord, Tune

TREATMENT_WEIGHTS = {
    "given": 0.34,
    "extended": 0.14,
    "reduced": 0.14,
    "substituted": 0.16,
    "reharmonised": 0.13,
    "power": 0.04,
    "pedal": 0.05,
}


def version_chords(tune: Tune, style: Style, dice: Dice, choices) -> dict[tuple[int, bool], tuple]:
    """Chords of every section, for first and for later turns."""
    weights = dict(TREATMENT_WEIGHTS)
    if style.name == "rock":
        weights["power"] = 0.25
    if style.family == "jazz":
        weights["extended"], weights["substituted"] = 0.3, 0.3
    treatment = dice.weighted(weights)
    if style.name in ("unaccompanied", "drone"):
        treatment = "given"
    later = treatment
    if dice.chance(0.15) and style.family != "solo":
        later = dice.weighted(weights)
    amount = dice.uniform(0.2, 0.8)
    accompanied = style.name != "unaccompanied"
    choices["harmony"] = treatment if accompanied else "none"
    choices["harmony_later"] = later if accompanied else "none"
    choices["harmony_amount"] = round(amount, 3)
    choices["chords_source"] = "given" if tune.sections[0].chords else "harmonised"
    result: dict[tuple[int, bool], tuple] = {}
    for index, section in enumerate(tune.sections):
        known = {"meter": tune.meter, "tonic": tune.tonic, "mode": tune.mode}
        section = with_chords(section, **known)
        for again, kind in ((False, treatment), (True, later)):
            if again and later == treatment:
                result[index, True] = result[index, False]
                continue
            chords = treat(
                section.chords,
                kind,
                melody=section.melody,
                bars=section.bars,
                dice=dice,
                amount=amount,
                **known,
            )
            result[index, again] = chords or harmonise(section.melody, bars=section.bars, **known)
    return result


def plain_chords(tune: Tune, style: Style, choices) -> dict[tuple[int, bool], tuple]:
    """The chords that the source gives, or the plainest ones, at every turn."""
    accompanied = style.name != "unaccompanied"
    choices["harmony"] = choices["harmony_later"] = "given" if accompanied else "none"
    choices["harmony_amount"] = 0.0
    choices["chords_source"] = "given" if tune.sections[0].chords else "harmonised"
    result: dict[tuple[int, bool], tuple] = {}
    for index, section in enumerate(tune.sections):
        section = with_chords(section, meter=tune.meter, tonic=tune.tonic, mode=tune.mode)
        result[index, False] = result[index, True] = section.chords
    return result


def passage_chords(item: Item, harmony, meter) -> list[Chord]:
    """Chords of a passage, onsets from its start, covering all of it."""
    low, high = item.first * meter.bar, (item.first + item.bars) * meter.bar
    source = harmony[item.section, item.turn > 0]
    span = max(c.end for c in source)
    chords: list[Chord] = []
    shift = 0.0
    while shift < high - 1e-6:  # a passage longer than its section goes round again
        for c in source:
            onset, end = max(c.onset + shift, low), min(c.end + shift, high)
            if end - onset > 1e-3:
                chords.append(replace(c, onset=onset - low, duration=end - onset))
        shift += max(span, meter.bar)
    if chords and chords[0].onset > 0:
        first = chords[0]
        chords[0] = replace(first, onset=0.0, duration=first.end)
    return chords
