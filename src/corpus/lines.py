"""The melody of one version from first bar to last: who plays it, and how."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from src.corpus.dice import Dice
from src.corpus.instruments import LEADS, Lead
from src.corpus.melody import (
    ORNAMENTS,
    Event,
    MelodyPlan,
    fit_register,
    fold,
    improvise,
    play,
    second_voice,
)
from src.corpus.styles import Style
from src.corpus.tune import MODE_SCALES, MelodyNote
from src.corpus.version_harmony import passage_chords


def pick_lead(style: Style, dice: Dice, choices) -> Lead:
    group = dice.weighted(style.leads)
    lead = dice.pick([lead for lead in LEADS if lead.group == group])
    choices["lead"], choices["lead_group"] = lead.name, lead.group
    return lead


@dataclass(frozen=True)
class Plans:
    """What is done to a melody: ``lasting`` for the whole version, ``live`` at every turn.

    Where the player is ``alone``, nobody takes turns or sings a second voice.
    """

    fidelity: str
    lasting: MelodyPlan
    live: MelodyPlan
    alone: bool = False

    def describe(self) -> dict[str, Any]:
        """For the manifest."""
        amounts = {
            name: {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(plan).items()}
            for name, plan in (("lasting", self.lasting), ("live", self.live))
        }
        return {"fidelity": self.fidelity, **amounts}


def draw_plans(style: Style, dice: Dice) -> Plans:
    """How freely the players of a version treat the melody."""
    fidelity = dice.weighted({"literal": 0.3, "free": 0.45, "strong": 0.25})
    scale = {"literal": 0.15, "free": 0.6, "strong": 1.3}[fidelity]
    leaning = {"jazz": "jazz", "folk": "folk", "classical": "baroque", "band": "vocal"}
    kind = leaning.get(style.family, "plain")
    if dice.chance(0.4):
        kind = dice.pick(list(ORNAMENTS))
    free = style.family in ("jazz", "band", "latin", "solo")
    lasting = MelodyPlan(
        simplify=scale * dice.uniform(0, 0.35) if dice.chance(0.5) else 0.0,
        alter=scale * dice.uniform(0, 0.16),
        omission=scale * dice.uniform(0, 0.08),
        articulation=1.0,
    )
    live = MelodyPlan(
        ornaments=kind,
        ornament=min(0.8, scale * dice.uniform(0, 0.45)),
        omission=scale * dice.uniform(0, 0.05),
        displacement=scale * dice.uniform(0, 0.1) if free else 0.0,
        anticipation=scale * dice.uniform(0, 0.4) if free and dice.chance(0.6) else 0.0,
        delay=scale * dice.uniform(0, 0.35) if free and dice.chance(0.5) else 0.0,
        split=scale * dice.uniform(0, 0.25) if dice.chance(0.4) else 0.0,
        alter=scale * dice.uniform(0, 0.05),
        articulation=dice.uniform(0.55, 1.0) if dice.chance(0.4) else dice.uniform(0.85, 1.0),
    )
    return Plans(fidelity, lasting, live)


def melody_lines(
    tune, items, harmony, lead, plans: Plans, offset, dice, choices
) -> dict[str, list[Event]]:
    """Lines by role: lead, second lead, second voice; times from the start of the performance."""
    meter = tune.meter
    choices["melody"] = plans.describe()
    scale = frozenset((tune.tonic + s) % 12 for s in MODE_SCALES[tune.mode])
    shift = fit_register([n.pitch for s in tune.sections for n in s.melody], lead.low, lead.high)
    choices["octave_shift"] = shift
    stable: dict[int, list[MelodyNote]] = {}
    for index, section in enumerate(tune.sections):
        events = play(
            section.melody,
            plans.lasting,
            meter=meter,
            scale=scale,
            chords=harmony[index, False],
            dice=dice,
        )
        stable[index] = [MelodyNote(on, length, pitch) for on, length, pitch, _ in events]
    two_leads = dice.chance(0.25) and not plans.alone
    trade = dice.pick(("turns", "sections", "solos"))
    voice_from = dice.integer(0, 1) if dice.chance(0.18) and not plans.alone else 99
    interval = dice.pick((2, 2, -5, -2, 7, -7))
    lines: dict[str, list[Event]] = {"lead": [], "second": [], "voice": []}
    now = offset
    themes = 0
    for item in items:
        chords = passage_chords(item, harmony, meter)
        low, high = item.first * meter.bar, (item.first + item.bars) * meter.bar
        line: list[Event] = []
        if item.kind in ("theme", "tag"):
            notes = [
                replace(n, onset=n.onset - low)
                for n in stable[item.section]
                if (n.onset >= low - 1e-6 or item.first == 0) and n.onset < high - 1e-6
            ]
            line = play(notes, plans.live, meter=meter, scale=scale, chords=chords, dice=dice)
            line = [(on, min(d, high - low - on + 0.5), p + shift, v) for on, d, p, v in line]
            themes += 1
        elif item.kind == "solo":
            line = improvise(
                chords,
                length=item.bars * meter.bar,
                meter=meter,
                scale=scale,
                low=lead.low,
                high=lead.high,
                dice=dice,
                density=dice.uniform(0.3, 0.9),
            )
        elif item.kind == "intro" and dice.chance(0.3):
            line = _intro_line(tune, item, stable, shift)
        if not line:
            now += item.bars * meter.bar
            continue
        line = [
            (
                on,
                d,
                p if lead.low - 5 <= p <= lead.high + 5 else fold(p, lead.low - 5, lead.high + 5),
                v,
            )
            for on, d, p, v in line
        ]
        second = two_leads and (
            (trade == "turns" and item.turn % 2 == 1)
            or (trade == "sections" and item.section % 2 == 1)
            or (trade == "solos" and item.kind == "solo")
        )
        placed = [(on + now, d, p, v) for on, d, p, v in line if on + now >= -1e-6]
        target = lines["second" if second else "lead"]
        first = min(e[0] for e in placed)
        for name in ("lead", "second", "voice"):  # a pickup cuts what sounds before it
            lines[name] = [
                (on, min(d, first - on), p, v) if on < now else (on, d, p, v)
                for on, d, p, v in lines[name]
                if on < first - 0.05
            ]
        target = lines["second" if second else "lead"]
        target += placed
        if item.kind == "theme" and item.turn >= voice_from:
            lines["voice"] += second_voice(placed, interval, scale)
        now += item.bars * meter.bar
    choices["two_leads"] = two_leads and bool(lines["second"])
    choices["second_voice"] = interval if lines["voice"] else 0
    choices["solos"] = sum(item.kind == "solo" for item in items)
    return lines


def _intro_line(tune, item, stable, shift) -> list[Event]:
    """The end of the tune as its introduction."""
    bar = tune.meter.bar
    section = tune.sections[item.section]
    start = max(0, section.bars - item.bars) * bar
    return [
        (n.onset - start, n.duration, n.pitch + shift, 84)
        for n in stable[item.section]
        if n.onset >= start and n.onset - start < item.bars * bar
    ]
