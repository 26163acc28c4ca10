"""One version of a work: an independent arrangement drawn from (seed, work, version)."""

from src.corpus.accompany import accompany
from src.corpus.dice import Dice, generator
from src.corpus.keys import change_mode, transpose
from src.corpus.lines import melody_lines, pick_lead
from src.corpus.mix import mix, trim
from src.corpus.pacing import lead_in, plan_time
from src.corpus.performance import Performance
from src.corpus.structure import describe, total_bars
from src.corpus.styles import STYLES, Band
from src.corpus.timing import Clock
from src.corpus.tune import Tune
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


def arrange(
    tune: Tune,
    *,
    seed: int,
    version: int,
    target_duration: tuple[float, float] | None = None,
    setting: int | None = None,
) -> Performance:
    """Arrange a tune.

    Args:
        tune: the work; see ``src.corpus.tune``.
        seed: of the corpus.
        version: which version of the work; every version is drawn independently.
        target_duration: least and most seconds; None for one to three passes of the tune.
        setting: which notation of the work (0 is the tune itself); None to draw one.

    Returns:
        the performance; the same arguments always give the same one.
    """
    dice = Dice(generator(seed, tune.work, version))
    if setting is None:
        setting = dice.integer(0, len(tune.settings))
    tune = tune.setting(setting)
    style = STYLES[dice.weighted({name: STYLE_WEIGHTS.get(name, 1.0) for name in STYLES})]
    choices: dict = {
        "work": tune.work,
        "seed": seed,
        "version": version,
        "setting": setting,
        "source": tune.source,
        "style": style.name,
        "family": style.family,
    }
    tune = transpose(change_mode(tune, dice.split(), choices), dice, choices)
    timing, items = plan_time(tune, style, dice.split(), target_duration, choices)
    choices["structure"] = describe(items, tune)
    harmony = version_chords(tune, style, dice.split(), choices)
    offset = lead_in(tune, items)
    length = offset + total_bars(items) * tune.meter.bar

    lead = pick_lead(style, dice, choices)
    melody = melody_lines(tune, items, harmony, lead, style, offset, dice.split(), choices)
    program = lead.program if style.family == "solo" and lead.group in ("piano", "guitar") else None
    band = Band.draw(style, dice.split(), tonic=tune.tonic, program=program)
    accompany(band, tune, items, harmony, offset, dice.split(), choices)
    clock = Clock(timing, length=length, meter=tune.meter, dice=dice.split())
    tracks = mix(melody, band, clock, lead, style, dice.split(), choices)
    tuning = round(dice.normal(12.0), 1) if dice.chance(0.6) else 0.0
    tuning = max(-45.0, min(45.0, tuning))
    choices["tuning_cents"] = tuning
    tracks = trim(tracks)
    duration = max(note.end for track in tracks for note in track.notes)
    choices["duration"] = round(duration, 3)
    return Performance(tracks, tuning, duration, choices).validate()
