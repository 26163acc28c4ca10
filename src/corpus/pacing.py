"""Tempo and form of a version, drawn together so that both fit the time there is."""

from dataclasses import asdict, replace

from src.corpus.dice import Dice
from src.corpus.structure import Item, natural_bars, plain_form, plan_form, total_bars
from src.corpus.styles import Style
from src.corpus.timing import TimingPlan
from src.corpus.tune import Tune


def plan_time(tune, style: Style, dice: Dice, target, choices) -> tuple[TimingPlan, list[Item]]:
    factor = max(0.7, min(1.4, 2 ** dice.normal(0.22) * style.tempo))
    pulse_rate = tune.tempo / tune.meter.pulse * factor
    tempo = max(42.0, min(210.0, pulse_rate)) * tune.meter.pulse
    bar_seconds = tune.meter.bar * 60 / tempo
    if target is None:
        natural = natural_bars(tune)
        least, most = natural * dice.uniform(0.7, 1.6), natural * 2.5
    else:
        low, high = target
        tail = min(2.0, 0.1 * (high - low) + 0.5)
        wanted = dice.uniform(low + 0.3, low + 0.75 * (high - low))
        least, most = wanted / bar_seconds, (high - tail) / bar_seconds
    items = plan_form(tune, dice, least=least, most=most, solos=0.35)
    if not style.layers:  # nobody plays where the melody rests
        kinds = {"intro": "theme", "interlude": "theme", "ending": "tag"}
        items = [replace(item, kind=kinds.get(item.kind, item.kind)) for item in items]
    if target is not None:
        # The last few percent by tempo, so that the form need not be cut in a phrase.
        tempo *= _seconds_over_wanted(items, bar_seconds, target)
    low_swing, high_swing = style.swing
    swing = dice.uniform(low_swing, high_swing)
    if style.family in ("folk", "band") and swing == 0.5 and dice.chance(0.15):
        swing = dice.uniform(0.53, 0.64)
    band_like = style.family in ("band", "electronic", "latin")
    rubato = style.rubato * dice.uniform(0, 2)
    plan = TimingPlan(
        tempo=round(tempo, 2),
        drift=0.0 if style.family == "electronic" else round(dice.uniform(0, 0.02), 4),
        rubato=0.0 if band_like else round(rubato, 4),
        phrase=dice.pick((2, 4, 4, 8)),
        swing=round(swing, 3),
        ritardando=round(dice.uniform(0.1, 0.4), 3) if dice.chance(0.45) else 0.0,
        trend=round(dice.normal(0.02), 4) if not band_like else 0.0,
        human=0.001 if style.family == "electronic" else round(dice.uniform(0.003, 0.014), 4),
    )
    _describe(tune, plan, items, choices)
    return plan, items


def plain_time(tune, style: Style, dice: Dice, target, choices) -> tuple[TimingPlan, list[Item]]:
    """The tune as its source plays it, as often as there is time, near its own tempo."""
    tempo = tune.tempo * max(0.85, min(1.18, 2 ** dice.normal(0.1)))
    tempo = max(42.0, min(210.0, tempo / tune.meter.pulse)) * tune.meter.pulse
    bar_seconds = tune.meter.bar * 60 / tempo
    low, high = target
    items = plain_form(tune, least=low / bar_seconds, most=(high - 1.2) / bar_seconds)
    tempo *= _seconds_over_wanted(items, bar_seconds, target)
    plan = TimingPlan(
        tempo=round(tempo, 2),
        drift=round(dice.uniform(0, 0.015), 4),
        rubato=round(style.rubato * dice.uniform(0, 1), 4),
        swing=round(dice.uniform(*style.swing), 3),
        ritardando=round(dice.uniform(0.1, 0.3), 3) if dice.chance(0.5) else 0.0,
        human=round(dice.uniform(0.003, 0.012), 4),
    )
    _describe(tune, plan, items, choices)
    return plan, items


def _seconds_over_wanted(items, bar_seconds: float, target: tuple[float, float]) -> float:
    """Factor for the tempo of a form that is a little too long or too short."""
    seconds = total_bars(items) * bar_seconds
    low, high = target
    return seconds / min(max(seconds, low + 0.8), high - 1.2)


def _describe(tune: Tune, plan: TimingPlan, items: list[Item], choices) -> None:
    choices["meter"] = tune.meter.name
    choices["tempo_bpm"] = round(plan.tempo / tune.meter.pulse, 2)
    choices["tempo_factor"] = round(plan.tempo / tune.tempo, 3)
    choices["timing"] = asdict(plan)
    choices["intro_bars"] = items[0].bars if items and items[0].kind == "intro" else 0


def lead_in(tune: Tune, items: list[Item]) -> float:
    """Room for a pickup before the first bar, in quarter notes."""
    first = items[0]
    if first.kind != "theme":
        return 0.0
    earliest = min((n.onset for n in tune.sections[first.section].melody), default=0.0)
    return max(0.0, -earliest)
