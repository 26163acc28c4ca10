"""The form of a version: which sections, how often, what before, between and after."""

from collections.abc import Sequence
from dataclasses import dataclass

from src.corpus.dice import Dice
from src.corpus.tune import Tune


@dataclass(frozen=True)
class Item:
    """A passage of the version.

    Attributes:
        kind: intro, theme, solo, interlude, tag or ending. Only theme and tag carry the melody.
        section: index of the section whose chords (and melody) it uses.
        first, bars: which bars of the section (a theme is whole unless it had to be cut).
        turn: how often this section was heard before.
    """

    kind: str
    section: int
    first: int
    bars: int
    turn: int = 0


def natural_bars(tune: Tune) -> int:
    """Bars of one pass through the source's order."""
    return sum(tune.sections[i].bars for i in tune.order)


def plan_form(
    tune: Tune, dice: Dice, *, least: float, most: float, solos: float = 0.3
) -> list[Item]:
    """Draw a form of ``least`` to ``most`` bars (a cut inside a section only if nothing else fits).

    At least one section is played whole wherever it fits into ``most``.
    """
    sections = tune.sections
    most_bars = max(2, int(most))
    least_bars = min(max(1, round(least)), most_bars)
    shortest = min(sections[i].bars for i in tune.order)
    spare = most_bars - shortest
    items: list[Item] = []
    used = 0

    order = _bend_order(list(tune.order), dice)
    start = 0
    if len(order) > 1 and dice.chance(0.25):
        start = dice.integer(1, len(order) - 1)
    fitting = [i for i in range(len(order)) if sections[order[i]].bars <= most_bars]
    if fitting and sections[order[start]].bars > most_bars:
        start = dice.pick(fitting)

    intro = dice.weighted({0: 0.35, 1: 0.04, 2: 0.21, 4: 0.3, 8: 0.1})
    ending = dice.weighted({0: 0.35, 1: 0.25, 2: 0.25, 4: 0.15})
    if intro and intro <= min(spare, least_bars // 3):
        items.append(Item("intro", order[start], 0, intro))
        used += intro
    if not ending <= min(spare - used, least_bars // 3):
        ending = 0
    budget = most_bars - ending
    heard: dict[int, int] = {}
    place, passes, wants_solo = start, 0, dice.chance(solos)
    themes = 0
    rounds = 0
    while used < least_bars - ending and rounds < 400:
        rounds += 1
        index = order[place % len(order)]
        bars = sections[index].bars
        turn = heard.get(index, 0)
        room = budget - used
        if bars > room:
            other = [
                i
                for i in dict.fromkeys(order)
                if sections[i].bars <= room and used + sections[i].bars >= least_bars - ending - 2
            ]
            if other:
                index = dice.pick(other)
                bars, turn = sections[index].bars, heard.get(index, 0)
            else:
                cut = room if room < 4 else room - room % 2
                if cut < 1:
                    break
                bars = min(cut, bars)
        kind = "theme"
        if themes and turn and wants_solo and dice.chance(0.45):
            kind = "solo"
        elif (
            themes and place % len(order) == 0 and passes and room >= bars + 4 and dice.chance(0.25)
        ):
            length = min(sections[index].bars, dice.pick((2, 4)))
            items.append(Item("interlude", index, 0, length))
            used += length
            continue_budget = budget - used
            if bars > continue_budget:
                break
        items.append(Item(kind, index, 0, bars, turn))
        heard[index] = turn + 1
        themes += kind == "theme"
        used += bars
        place += 1
        passes += place % len(order) == 0
    if ending and items:
        last = next((i for i in reversed(items) if i.kind in ("theme", "solo")), items[-1])
        total = sections[last.section].bars
        length = min(ending, total)
        kind = "tag" if dice.chance(0.5) else "ending"
        items.append(Item(kind, last.section, total - length, length, 9))
    return items


def plain_form(tune: Tune, *, least: float, most: float) -> list[Item]:
    """The sections in the order of the source, from the start again until there are enough bars.

    Ends after a whole section, wherever one ends between ``least`` and ``most`` bars.
    """
    items: list[Item] = []
    heard: dict[int, int] = {}
    used, place = 0, 0
    while used < least:
        index = tune.order[place % len(tune.order)]
        bars = min(tune.sections[index].bars, max(1, int(most) - used))
        items.append(Item("theme", index, 0, bars, heard.get(index, 0)))
        heard[index] = heard.get(index, 0) + 1
        used += bars
        place += 1
        if used >= int(most):
            break
    return items


def _bend_order(order: list[int], dice: Dice) -> list[int]:
    """Repeats left out or added, sections left out, as performers do."""
    way = dice.weighted(
        {"given": 0.5, "no repeats": 0.15, "doubled": 0.1, "cut": 0.15, "shuffle": 0.1}
    )
    if way == "no repeats":
        bent = [s for i, s in enumerate(order) if not i or order[i - 1] != s]
    elif way == "doubled":
        bent = [s for s in order for _ in range(2)] if len(order) <= 4 else order
    elif way == "cut" and len(order) > 2:
        gone = dice.integer(0, len(order) - 1)
        bent = order[:gone] + order[gone + 1 :]
    elif way == "shuffle" and len(order) > 2:
        turn = dice.integer(1, len(order) - 1)
        bent = order[turn:] + order[:turn]
    else:
        bent = order
    return bent


def total_bars(items: Sequence[Item]) -> int:
    """Bars of a form."""
    return sum(item.bars for item in items)


def describe(items: Sequence[Item], tune: Tune) -> list[str]:
    """A form in words for the manifest: ``theme A``, ``solo B``, ``intro 4`` ..."""
    words = []
    for item in items:
        section = tune.sections[item.section]
        whole = item.first == 0 and item.bars == section.bars
        name = f"{item.kind} {section.label}"
        words.append(name if whole else f"{name} {item.first + 1}-{item.first + item.bars}")
    return words
