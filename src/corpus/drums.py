"""Drum patterns on the General MIDI percussion map, one bar at a time, for any metre."""

from src.corpus.bar import EIGHTH, Bar, Pattern
from src.corpus.melody import Event

KICK, RIM, SNARE, CLAP = 36, 37, 38, 39
CLOSED, PEDAL, OPEN = 42, 44, 46
LOW_TOM, MID_TOM, HIGH_TOM = 45, 47, 50
CRASH, RIDE, BELL, SPLASH = 49, 51, 53, 55
TAMBOURINE, COWBELL, SHAKER = 54, 56, 70
LOW_CONGA, OPEN_CONGA, MUTE_CONGA = 64, 63, 62
CLAVES, LOW_BONGO, HIGH_BONGO, TRIANGLE = 75, 61, 60, 81


def _hit(bar: Bar, out: list[Event], at: float, key: int, velocity: int) -> None:
    if bar.start - 1e-6 <= at < bar.end - 1e-6:
        out.append((at, 0.1, key, bar.velocity(velocity)))


def _backbeat(bar: Bar, out: list[Event], kick: int, snare: int, velocity: int = 88) -> None:
    """Kick on strong beats, snare on weak ones (in three: one against two and three)."""
    pulses = bar.pulses()
    for i, at in enumerate(pulses):
        strong = i == 0 if len(pulses) == 3 else i % 2 == 0
        if len(pulses) == 3 and i == 1 and bar.memory.setdefault("rest2", bar.dice.chance(0.5)):
            continue
        _hit(bar, out, at, kick if strong else snare, velocity)


def _fill(bar: Bar, out: list[Event]) -> bool:
    """The last bar of a section: toms on its last beat. True if it was played."""
    if not bar.fill or not bar.dice.chance(0.7):
        return False
    start = bar.end - bar.meter.pulse
    out[:] = [e for e in out if not (e[0] >= start - 0.01 and bar.start <= e[0])]
    step = EIGHTH / 2
    keys = bar.dice.pick(((SNARE, SNARE, HIGH_TOM, LOW_TOM), (HIGH_TOM, MID_TOM, LOW_TOM, LOW_TOM)))
    for i in range(round(bar.meter.pulse / step)):
        _hit(bar, out, start + i * step, keys[i * len(keys) // 6 % len(keys)], 84)
    return True


def _crash(bar: Bar, out: list[Event]) -> None:
    if bar.memory.pop("crash", False):
        _hit(bar, out, bar.start, CRASH, 84)
    if bar.fill:
        bar.memory["crash"] = True


def rock(bar: Bar, out: list[Event]) -> None:
    _crash(bar, out)
    _backbeat(bar, out, KICK, SNARE, 96)
    extra = bar.memory.setdefault(
        "kicks", [i for i in range(1, len(bar.eighths())) if i % 2 and bar.dice.chance(0.3)]
    )
    hat = bar.memory.setdefault("hat", bar.dice.pick((CLOSED, CLOSED, RIDE, OPEN)))
    for i, at in enumerate(bar.eighths()):
        _hit(bar, out, at, hat, 74 if i % 2 == 0 else 60)
        if i in extra:
            _hit(bar, out, at, KICK, 82)
    _fill(bar, out)


def ballad(bar: Bar, out: list[Event]) -> None:
    _backbeat(bar, out, KICK, RIM, 72)
    for i, at in enumerate(bar.eighths()):
        _hit(bar, out, at, CLOSED, 52 if i % 2 == 0 else 42)
    _fill(bar, out)


def swing(bar: Bar, out: list[Event]) -> None:
    for i, at in enumerate(bar.pulses()):
        _hit(bar, out, at, RIDE, 74)
        weak = i > 0 if bar.meter.pulses == 3 else i % 2 == 1
        if weak:
            _hit(bar, out, at + (1.0 if bar.meter.compound else EIGHTH), RIDE, 62)
            _hit(bar, out, at, PEDAL, 64)
        if bar.dice.chance(0.2):
            _hit(bar, out, at + EIGHTH, SNARE, 46)
        if bar.dice.chance(0.5):
            _hit(bar, out, at, KICK, 48)
    _fill(bar, out)


def brushes(bar: Bar, out: list[Event]) -> None:
    for i, at in enumerate(bar.pulses()):
        _hit(bar, out, at, SNARE, 40)
        _hit(bar, out, at + EIGHTH, SNARE, 30)
        if i % 2:
            _hit(bar, out, at, PEDAL, 56)
        elif bar.dice.chance(0.7):
            _hit(bar, out, at, KICK, 46)


def shuffle(bar: Bar, out: list[Event]) -> None:
    _crash(bar, out)
    _backbeat(bar, out, KICK, SNARE, 90)
    for at in bar.pulses():
        _hit(bar, out, at, CLOSED, 72)
        _hit(bar, out, at + (1.0 if bar.meter.compound else EIGHTH), CLOSED, 58)
    _fill(bar, out)


def waltz(bar: Bar, out: list[Event]) -> None:
    for i, at in enumerate(bar.pulses()):
        strong = i == 0 or (bar.meter.pulses == 4 and i == 2)
        _hit(bar, out, at, KICK if strong else bar.memory.setdefault("after", SNARE), 66)
        if not strong:
            _hit(bar, out, at, CLOSED, 56)


def bossa(bar: Bar, out: list[Event]) -> None:
    eighths = bar.eighths()
    for i, at in enumerate(eighths):
        _hit(bar, out, at, bar.memory.setdefault("hat", bar.dice.pick((CLOSED, SHAKER))), 54)
        if i % 4 == 0 or i % 4 == 3:
            _hit(bar, out, at, KICK, 60)
        if i in (((0, 3, 6), (2, 5))[bar.index % 2]):
            _hit(bar, out, at, RIM, 62)


def latin(bar: Bar, out: list[Event]) -> None:
    for i, at in enumerate(bar.eighths()):
        _hit(bar, out, at, SHAKER, 50 + 12 * (i % 2 == 0))
        key = (MUTE_CONGA, MUTE_CONGA, OPEN_CONGA, LOW_CONGA)[i % 4]
        if i % 2 == 0 or bar.dice.chance(0.5):
            _hit(bar, out, at, key, 66)
        if i in (((0, 3, 6), (2, 4))[bar.index % 2]):
            _hit(bar, out, at, CLAVES, 62)


def disco(bar: Bar, out: list[Event]) -> None:
    _crash(bar, out)
    for i, at in enumerate(bar.pulses()):
        _hit(bar, out, at, KICK, 98)
        if i % 2:
            _hit(bar, out, at, SNARE, 90)
            _hit(bar, out, at, CLAP, 70)
        _hit(bar, out, at, CLOSED, 66)
        _hit(bar, out, at + (1.0 if bar.meter.compound else EIGHTH), OPEN, 66)
    _fill(bar, out)


def four_on_floor(bar: Bar, out: list[Event]) -> None:
    for i, at in enumerate(bar.pulses()):
        _hit(bar, out, at, KICK, 104)
        if i % 2:
            _hit(bar, out, at, CLAP, 86)
        for k in range(4):
            _hit(bar, out, at + k * 0.25, CLOSED, 64 if k == 2 else 46)
    if bar.fill:
        for k in range(8):
            _hit(bar, out, bar.end - 1 + k * 0.125, SNARE, 60 + 4 * k)


def half_time(bar: Bar, out: list[Event]) -> None:
    """Trap-like: one slow backbeat in a bar over running hats."""
    pulses = bar.pulses()
    _hit(bar, out, pulses[0], KICK, 100)
    _hit(bar, out, pulses[len(pulses) // 2], SNARE, 96)
    if bar.dice.chance(0.6):
        _hit(bar, out, pulses[-1] + EIGHTH, KICK, 84)
    step = 0.25
    for i in range(round(bar.meter.bar / step)):
        if bar.dice.chance(0.85):
            _hit(bar, out, bar.start + i * step, CLOSED, 62 if i % 4 == 0 else 48)


def one_drop(bar: Bar, out: list[Event]) -> None:
    pulses = bar.pulses()
    drop = pulses[len(pulses) // 2]
    _hit(bar, out, drop, KICK, 92)
    _hit(bar, out, drop, RIM, 84)
    for i, at in enumerate(bar.eighths()):
        _hit(bar, out, at, CLOSED, 50 + 14 * (i % 2))
    _fill(bar, out)


def march(bar: Bar, out: list[Event]) -> None:
    for i, at in enumerate(bar.pulses()):
        if i % 2 == 0:
            _hit(bar, out, at, KICK, 86)
        _hit(bar, out, at, SNARE, 70)
        for k in (0.5, 0.75) if not bar.meter.compound else (0.5, 1.0):
            if bar.dice.chance(0.65):
                _hit(bar, out, at + k, SNARE, 56)
    _crash(bar, out)


def funk(bar: Bar, out: list[Event]) -> None:
    _backbeat(bar, out, KICK, SNARE, 96)
    count = round(bar.meter.bar / 0.25)
    grid = bar.memory.setdefault(
        "grid", [bar.dice.weighted({0: 0.65, KICK: 0.2, SNARE: 0.15}) for _ in range(count)]
    )
    for i in range(count):
        at = bar.start + i * 0.25
        _hit(bar, out, at, CLOSED, 66 if i % 4 == 0 else 50)
        if grid[i] and i % 4:
            _hit(bar, out, at, grid[i], 80 if grid[i] == KICK else 40)
    _fill(bar, out)


def frame(bar: Bar, out: list[Event]) -> None:
    """A frame drum for folk music: low on beats, light strokes between."""
    for i, at in enumerate(bar.eighths()):
        on_beat = abs((at - bar.start) / bar.meter.pulse % 1.0) < 0.01
        if on_beat:
            _hit(bar, out, at, LOW_TOM, 80 if i == 0 else 70)
        elif bar.dice.chance(0.75):
            _hit(bar, out, at, MID_TOM, 50)


def tambourine(bar: Bar, out: list[Event]) -> None:
    for i, at in enumerate(bar.eighths()):
        if i % 2 == 0 or bar.dice.chance(0.5):
            _hit(bar, out, at, TAMBOURINE, 62 if i % 2 == 0 else 46)
    for at in bar.pulses()[1::2]:
        _hit(bar, out, at, CLAP, 66)


DRUMS: dict[str, Pattern] = {
    p.__name__: p
    for p in (
        rock,
        ballad,
        swing,
        brushes,
        shuffle,
        waltz,
        bossa,
        latin,
        disco,
        four_on_floor,
        half_time,
        one_drop,
        march,
        funk,
        frame,
        tambourine,
    )
}
