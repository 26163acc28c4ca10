"""One version of a work: an independent arrangement drawn from (seed, work, version)."""

from dataclasses import dataclass
from typing import Any

from src.corpus.accompany import accompany
from src.corpus.dice import Dice, generator
from src.corpus.instruments import Lead
from src.corpus.keys import change_mode, transpose
from src.corpus.lines import Plans, draw_plans, melody_lines, pick_lead
from src.corpus.metre import MetreChange, draw_metre_change, in_metre
from src.corpus.mix import mix, trim
from src.corpus.pacing import lead_in, plan_time
from src.corpus.performance import Performance
from src.corpus.structure import Item, describe, total_bars
from src.corpus.styles import STYLES, Band, Style
from src.corpus.timing import Clock, TimingPlan
from src.corpus.tune import Chord, Tune
from src.corpus.version_harmony import version_chords

STYLE_WEIGHTS = {
    "rock": 1.4,
    "pop": 2.2,
    "ballad": 1.4,
    "swing": 1.2,
    "piano solo": 1.3,
    "unaccompanied": 0.7,
    "a cappella": 0.4,
    "drone": 0.4,
    "organ": 0.5,
    "salsa": 0.6,
    "tango": 0.6,
    "ambient": 0.6,
}


@dataclass(slots=True)
class Draft:
    """What is settled before anybody plays.

    Attributes:
        tune: in the setting, metre, mode and key of the version.
        metre_change: how the tune came into its metre, None where it always was.
        items: the form.
        harmony: chords by section, for its first and for later turns.
        choices: what was decided so far; playing adds to it.
    """

    tune: Tune
    style: Style
    timing: TimingPlan
    items: list[Item]
    harmony: dict[tuple[int, bool], tuple[Chord, ...]]
    lead: Lead
    band: Band
    choices: dict[str, Any]
    metre_change: MetreChange | None = None


def arrange(
    tune: Tune,
    *,
    seed: int,
    version: int,
    target_duration: tuple[float, float] | None = None,
    setting: int | None = None,
    metre_changes: float = 0.0,
) -> Performance:
    """Arrange a tune.

    Args:
        tune: the work; see ``src.corpus.tune``.
        seed: of the corpus.
        version: which version of the work; every version is drawn independently.
        target_duration: least and most seconds; None for one to three passes of the tune.
        setting: which notation of the work (0 is the tune itself); None to draw one.
        metre_changes: share of the versions that are in another metre (see ``src.corpus.metre``).
            It changes nothing about the others.

    Returns:
        the performance; the same arguments always give the same one.
    """
    dice = Dice(generator(seed, tune.work, version))
    draft, hand = draw_draft(
        tune,
        dice,
        seed=seed,
        version=version,
        target_duration=target_duration,
        setting=setting,
        metre_changes=metre_changes,
    )
    return perform(draft, hand, dice)


def draw_setting(tune: Tune, dice: Dice) -> int:
    """The printed setting that a version plays: the first thing that is drawn of it."""
    return dice.integer(0, len(tune.settings))


def draw_style(dice: Dice) -> Style:
    """How a version is accompanied: the second thing that is drawn of it."""
    return STYLES[dice.weighted({name: STYLE_WEIGHTS.get(name, 1.0) for name in STYLES})]


def draw_draft(
    tune: Tune,
    dice: Dice,
    *,
    seed: int,
    version: int,
    target_duration: tuple[float, float] | None,
    setting: int | None = None,
    metre_changes: float = 0.0,
) -> tuple[Draft, Dice]:
    """Everything about a version but the playing; see :func:`arrange`.

    Returns:
        the draft, and the chance of whoever plays the melody.
    """
    if setting is None:
        setting = draw_setting(tune, dice)
    tune = tune.setting(setting)
    style = draw_style(dice)
    choices: dict[str, Any] = {
        "work": tune.work,
        "seed": seed,
        "version": version,
        "setting": setting,
        "source": tune.source,
        "style": style.name,
        "family": style.family,
    }
    own = Dice(generator(seed, "metre", tune.work, version))
    change = draw_metre_change(tune, own, metre_changes)
    choices["metre_change"] = None if change is None else change.name
    if change is not None:
        tune = in_metre(tune, change)
    tune = transpose(change_mode(tune, dice.split(), choices), dice, choices)
    timing, items = plan_time(tune, style, dice.split(), target_duration, choices)
    choices["structure"] = describe(items, tune)
    harmony = version_chords(tune, style, dice.split(), choices)
    lead = pick_lead(style, dice, choices)
    hand = dice.split()
    band = Band.draw(style, dice.split(), tonic=tune.tonic, program=both_hands(style, lead))
    return Draft(tune, style, timing, items, harmony, lead, band, choices, change), hand


def both_hands(style: Style, lead: Lead) -> int | None:
    """The program of a soloist who plays melody and accompaniment."""
    return lead.program if style.family == "solo" and lead.group in ("piano", "guitar") else None


def perform(draft: Draft, hand: Dice, dice: Dice, plans: Plans | None = None) -> Performance:
    """Play a draft.

    Args:
        hand: chance of the melody.
        dice: chance of all the rest.
        plans: what is done to the melody; None draws it.
    """
    tune, items, choices = draft.tune, draft.items, draft.choices
    offset = lead_in(tune, items)
    length = offset + total_bars(items) * tune.meter.bar
    if plans is None:
        plans = draw_plans(draft.style, hand)
    melody = melody_lines(tune, items, draft.harmony, draft.lead, plans, offset, hand, choices)
    accompany(draft.band, tune, items, draft.harmony, offset, dice.split(), choices)
    clock = Clock(draft.timing, length=length, meter=tune.meter, dice=dice.split())
    tracks = mix(melody, draft.band, clock, draft.lead, draft.style, dice.split(), choices)
    tuning = round(dice.normal(12.0), 1) if dice.chance(0.6) else 0.0
    tuning = max(-45.0, min(45.0, tuning))
    choices["tuning_cents"] = tuning
    tracks = trim(tracks)
    duration = max(note.end for track in tracks for note in track.notes)
    choices["duration"] = round(duration, 3)
    return Performance(tracks, tuning, duration, choices).validate()
