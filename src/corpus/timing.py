"""From quarter notes to seconds: tempo, drift, rubato, swing, and hands that are not machines."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from src.corpus.dice import Dice
from src.corpus.melody import Event
from src.corpus.performance import PlayedNote
from src.corpus.tune import Meter


@dataclass(frozen=True)
class TimingPlan:
    """How time passes in one performance.

    Attributes:
        tempo: quarter notes a minute.
        drift: standard deviation of the slow wandering of the tempo (0.02 is 2 percent).
        rubato: depth of the arch of tempo over a phrase; ``phrase`` is its length in bars.
        swing: share of a beat taken by its first eighth: 0.5 straight, 0.67 triplets.
        ritardando: how much slower the last bar ends (0.3: tempo times 0.7).
        trend: relative change of tempo from start to end.
        human: standard deviation of onsets in seconds.
    """

    tempo: float
    drift: float = 0.0
    rubato: float = 0.0
    phrase: int = 4
    swing: float = 0.5
    ritardando: float = 0.0
    trend: float = 0.0
    human: float = 0.008


class Clock:
    """Maps quarter notes to seconds for one performance."""

    def __init__(self, plan: TimingPlan, *, length: float, meter: Meter, dice: Dice):
        """``length``: quarter notes of the whole performance."""
        self.plan = plan
        self.meter = meter
        step = meter.pulse
        count = int(np.ceil(length / step)) + 5
        noise = np.array([dice.normal() for _ in range(count)])
        width = max(1, 4 * meter.pulses)
        kernel = np.hanning(2 * width + 1)
        kernel /= np.sqrt((kernel**2).sum())
        wander = np.convolve(np.pad(noise, width, mode="wrap"), kernel, mode="valid")[:count]
        position = np.arange(count) * step
        tempo = plan.tempo * (1 + plan.drift * wander)
        phase = (position / (plan.phrase * meter.bar)) % 1.0
        tempo = tempo * (1 + plan.rubato * (np.sin(np.pi * phase) - 0.6))
        tempo = tempo * (1 + plan.trend * (position / max(length, 1.0) - 0.5))
        ending = np.clip((position - (length - 1.5 * meter.bar)) / (1.5 * meter.bar), 0, 1)
        tempo = np.clip(tempo * (1 - plan.ritardando * ending), 15, 500)
        seconds = np.concatenate([[0.0], np.cumsum(step * 60 / tempo)])
        # One pulse before zero, for a pickup without an introduction.
        self._step = step
        self._seconds = seconds.tolist()

    def swing(self, onset: float) -> float:
        """Place of an onset after swing; only eighths (and shorter) of simple beats move."""
        amount = self.plan.swing
        if amount == 0.5 or self.meter.compound:
            return onset
        beat = onset // 1.0
        inside = onset - beat
        if inside <= 0.5:
            return beat + inside * 2 * amount
        return beat + amount + (inside - 0.5) * 2 * (1 - amount)

    def seconds(self, onset: float) -> float:
        """Time in seconds of a place in quarter notes (0 at the least)."""
        at = max(0.0, self.swing(onset)) / self._step
        index = min(int(at), len(self._seconds) - 2)
        here = self._seconds[index]
        return here + (at - index) * (self._seconds[index + 1] - here)


def humanise(
    events: Sequence[Event],
    clock: Clock,
    dice: Dice,
    *,
    start: float = 0.0,
    lag: float = 0.0,
    spread: float | None = None,
    velocity_spread: float = 6.0,
    monophonic: bool = False,
) -> tuple[PlayedNote, ...]:
    """Events in quarter notes to notes in seconds, sorted.

    Args:
        start: seconds before the first beat.
        lag: seconds that this player is behind the beat (negative: ahead).
        spread: standard deviation of onsets in seconds (default: the clock's plan).
        monophonic: a note ends where the next one begins.
    """
    spread = clock.plan.human if spread is None else spread
    notes: list[list] = []
    for onset, duration, pitch, velocity in events:
        begin = clock.seconds(onset)
        end = clock.seconds(onset + duration)
        begin_played = max(0.0, start + begin + lag + dice.normal(spread))
        loud = int(velocity + dice.normal(velocity_spread))
        loud = 1 if loud < 1 else min(loud, 127)
        notes.append([begin_played, max(0.03, end - begin), int(pitch), loud])
    notes.sort(key=lambda n: n[0])
    if monophonic:
        for note, following in pairwise(notes):
            if note[0] + note[1] > following[0]:
                note[1] = max(0.02, following[0] - note[0])
    return tuple(
        PlayedNote(round(on, 5), round(length, 5), pitch, velocity)
        for on, length, pitch, velocity in notes
    )


def drop_collisions(events: Sequence[Event]) -> list[Event]:
    """Shorten notes that would be struck again on the same key while they sound."""
    last: dict[int, int] = {}
    result: list[Event] = []
    for event in sorted(events):
        onset, _, pitch, _ = event
        before = last.get(pitch)
        if before is not None:
            b_on, b_len, b_pitch, b_vel = result[before]
            if b_on + b_len > onset - 1e-6:
                if onset - b_on < 0.03:
                    continue
                result[before] = (b_on, onset - b_on - 0.01, b_pitch, b_vel)
        last[pitch] = len(result)
        result.append(event)
    return result


def chord_at(onsets: Sequence[float], at: float) -> int:
    """Index of the last onset that is not after ``at``."""
    return max(0, bisect_right(onsets, at + 1e-6) - 1)
