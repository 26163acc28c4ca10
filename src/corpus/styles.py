"""Accompaniment styles: who plays which pattern.

A style is data: layers of chords with the programs that may play them, the basses and drums
that belong to it (none, for intimate ones), a feel, and the leads that like it. ``Band`` draws one
line-up from a style and plays bars.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from src.corpus.bar import Bar
from src.corpus.bass import BASSES
from src.corpus.dice import Dice
from src.corpus.drums import DRUMS
from src.corpus.melody import Event
from src.corpus.patterns import COMPING
from src.corpus.style_table import STYLES, Style

__all__ = ["STYLES", "Band", "Player", "Style"]


@dataclass
class Player:
    """A player of the line-up: a pattern, a program, a memory of its own."""

    name: str
    pattern: str
    program: int
    is_drums: bool
    low: int
    memory: dict = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


@dataclass
class Band:
    """A line-up drawn from a style."""

    style: Style
    players: list[Player]

    @classmethod
    def draw(cls, style: Style, dice: Dice, *, tonic: int, program: int | None = None) -> "Band":
        """Choose the players.

        Args:
            tonic: sounding tonic, for drones and pedals.
            program: if given, the first layer plays it (solo piano: both hands alike).
        """
        players: list[Player] = []
        for number, layer in enumerate(style.layers):
            chosen = dice.pick(layer.programs)
            if number == 0 and program is not None:
                chosen = program
            pattern, low = dice.pick(layer.patterns), layer.low + dice.integer(-3, 3)
            if dice.chance(layer.chance):
                name = "chords" if number == 0 else f"chords {number + 1}"
                players.append(Player(name, pattern, chosen, False, low))
        if style.basses:
            pattern, chosen = dice.pick(style.basses), dice.pick(style.bass_programs)
            if dice.chance(style.bass_chance):
                players.append(Player("bass", pattern, chosen, False, 36))
        if style.drums:
            pattern = dice.pick(style.drums)
            if dice.chance(style.drum_chance):
                players.append(Player("drums", pattern, 0, True, 36))
        for player in players:
            player.memory["tonic"] = tonic
        return cls(style, players)

    def play(self, bar: Bar, silent: Sequence[str] = ()) -> None:
        """Every player not in ``silent`` plays one bar."""
        for player in self.players:
            if player.name in silent:
                continue
            bar.memory, bar.low = player.memory, player.low
            if player.is_drums:
                DRUMS[player.pattern](bar, player.events)
            elif player.name == "bass":
                BASSES[player.pattern](bar, player.events)
            else:
                COMPING[player.pattern](bar, player.events)
