"""The band of one version plays: bars, textures that come and go, the last chord."""

from dataclasses import replace

from src.corpus.bar import Bar
from src.corpus.bass import held
from src.corpus.dice import Dice, generator
from src.corpus.patterns import block
from src.corpus.structure import Item
from src.corpus.styles import Band
from src.corpus.tune import Chord
from src.corpus.version_harmony import passage_chords


def accompany(band: Band, tune, items, harmony, offset, dice: Dice, choices) -> None:
    """Let the band play every bar; players come and go by passages."""
    meter = tune.meter
    bars: list[tuple[Item, float, list[Chord], bool]] = []
    now = offset
    for item in items:
        chords = [replace(c, onset=c.onset + now) for c in passage_chords(item, harmony, meter)]
        for k in range(item.bars):
            start = now + k * meter.bar
            inside = [
                replace(
                    c,
                    onset=max(c.onset, start),
                    duration=min(c.end, start + meter.bar) - max(c.onset, start),
                )
                for c in chords
                if c.onset < start + meter.bar - 1e-3 and c.end > start + 1e-3
            ]
            bars.append((item, start, inside, k == item.bars - 1))
        now += item.bars * meter.bar
    names = [p.name for p in band.players]
    texture = dice.weighted({"full": 0.5, "build": 0.3, "vary": 0.2})
    choices["texture"] = texture
    choices["players"] = [
        {"name": p.name, "pattern": p.pattern, "program": p.program} for p in band.players
    ]
    silent: list[str] = []
    energy, last_item = 0.6, None
    for index, (item, start, chords, fill) in enumerate(bars):
        if item is not last_item:
            share = index / len(bars)
            energy = min(1.0, max(0.1, 0.45 + 0.4 * share + dice.normal(0.15)))
            silent = []
            keep = names[:1]
            if texture == "build" and share < 0.3:
                silent = [n for n in names if n not in keep and dice.chance(0.65)]
            elif texture == "vary":
                silent = [n for n in names if n not in keep and dice.chance(0.3)]
            if item.kind == "intro" and len(names) > 1 and dice.chance(0.5):
                silent = [n for n in names if n not in keep and dice.chance(0.6)]
            last_item = item
        if not chords:
            continue
        following = bars[index + 1][2] if index + 1 < len(bars) else chords
        band.play(
            Bar(
                start=start,
                meter=meter,
                chords=chords,
                following=(following or chords)[0],
                index=index,
                energy=energy,
                dice=dice,
                fill=fill,
            ),
            silent,
        )
    if band.players and items[-1].kind != "tag" and dice.chance(0.6):
        _final_chord(band, bars[-1], meter, choices)


def _final_chord(band: Band, last, meter, choices) -> None:
    """The last bar is struck once and held."""
    _, start, chords, _ = last
    choices["final_chord"] = True
    for player in band.players:
        player.events[:] = [e for e in player.events if e[0] < start - 1e-6]
        bar = Bar(start, meter, chords[:1], chords[0], 0, 0.8, Dice(generator("end")))
        bar.low = player.low
        bar.memory = player.memory
        if player.is_drums:
            player.events.append((start, 0.1, 49, 80))
        elif player.name == "bass":
            bar.chords = [replace(chords[0], duration=meter.bar)]
            held(bar, player.events)
        else:
            bar.chords = [replace(chords[0], duration=meter.bar)]
            block(bar, player.events)
