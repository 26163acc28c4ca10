"""A printed setting as it stands: what people really wrote down, played without our own changes.

Fiddle books print the same tune differently, Bach harmonised the same hymn several times. Such
settings are real variants, which no arranger of ours invented: good for validation. So nothing is
added to the notes, the harmony, the key or the form: no ornaments, no substitutes, no solos, and
the chords are the printed ones, or the plainest where none are printed. Only what every performance
has of its own differs: style and instruments, the tempo a little, hands, and the recording. No two
settings of a work share style or lead, so that the sound is no clue.
"""

from typing import Any

from src.corpus.arrange import Draft, both_hands, perform
from src.corpus.dice import Dice, generator
from src.corpus.instruments import Lead
from src.corpus.lines import Plans, pick_lead
from src.corpus.melody import MelodyPlan
from src.corpus.pacing import plain_time
from src.corpus.performance import Performance
from src.corpus.structure import describe
from src.corpus.styles import STYLES, Band, Style
from src.corpus.tune import Tune
from src.corpus.version_harmony import plain_chords

# Ways to accompany a tune that leave it as it is.
PLAIN_STYLES = (
    "piano solo",
    "guitar solo",
    "unaccompanied",
    "a cappella",
    "folk strum",
    "fingerpicking",
    "ceilidh",
    "march",
    "oom-pah",
    "chamber",
    "strings",
    "hymn",
    "organ",
)
_TRIES = 50


def play_printed(
    tune: Tune, setting: int, *, seed: int, target_duration: tuple[float, float]
) -> Performance:
    """Play one printed setting of a tune.

    Args:
        tune: the work.
        setting: 0 is the tune itself, 1 and on are its other settings.
        seed: of the corpus.
        target_duration: least and most seconds; the tune goes round as often as there is time.
    """
    style, lead = _line_up(tune, setting, seed)
    played = tune.setting(setting)
    dice = Dice(generator(seed, "printed", tune.work, setting))
    choices: dict[str, Any] = {
        "work": tune.work,
        "seed": seed,
        "version": setting,
        "setting": setting,
        "printed": True,
        "source": played.source,
        "style": style.name,
        "family": style.family,
        "mode": played.mode,
        "mode_changed": False,
        "transposition": 0,
        "key": played.tonic,
        "lead": lead.name,
        "lead_group": lead.group,
    }
    timing, items = plain_time(played, style, dice.split(), target_duration, choices)
    choices["structure"] = describe(items, played)
    harmony = plain_chords(played, style, choices)
    band = Band.draw(style, dice.split(), tonic=played.tonic, program=both_hands(style, lead))
    draft = Draft(played, style, timing, items, harmony, lead, band, choices)
    legato = MelodyPlan(articulation=1.0)
    live = MelodyPlan(articulation=dice.uniform(0.85, 1.0))
    plans = Plans("printed", legato, live, alone=True)
    return perform(draft, dice.split(), dice, plans)


def _line_up(tune: Tune, setting: int, seed: int) -> tuple[Style, Lead]:
    """Style and lead of a setting: others than those of the settings before."""
    rng = generator(seed, "printed", tune.work)
    styles = [PLAIN_STYLES[i] for i in rng.permutation(len(PLAIN_STYLES))]
    dice = Dice(rng)
    taken: set[str] = set()
    for number in range(setting + 1):
        style = STYLES[styles[number % len(styles)]]
        for _ in range(_TRIES):
            lead = pick_lead(style, dice, {})
            if lead.name not in taken:
                break
        taken.add(lead.name)
    return style, lead
