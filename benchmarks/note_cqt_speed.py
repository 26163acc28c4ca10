"""Speed of the CQT from notes on one core, by step: milliseconds a version, versions a second.

python -m benchmarks.note_cqt_speed --tunes data/tunes/openewld.json
"""

from threadpoolctl import threadpool_limits

from benchmarks.measuring import CLOCKS, Clock, Laps, tunes_to_play
from src.corpus.dice import generator
from src.corpus.maker import MakerSettings, NoteMaker
from src.corpus.note_cqt import NoteCqt
from src.corpus.note_cqt_bank import ready_banks
from src.corpus.plan import Job
from src.corpus.soundfonts import find_soundfonts
from src.corpus.tune import Tune
from src.data.cqt_features import encode_cqt
from src.errors import run_front


def main() -> None:
    tunes, options = tunes_to_play(__doc__.splitlines()[0], versions=48)
    versions = options.versions
    with threadpool_limits(1):
        spent, seconds, frames = note_cqt(tunes, versions, CLOCKS[options.clock])
    total = sum(spent.values())
    print(f"{versions} versions of {seconds / versions:.0f} s on one core")
    for name, value in [*spent.items(), ("all", total)]:
        print(f"{name:<10}{1000 * value / versions:8.1f} ms")
    print(f"{versions / total:.1f} versions a second, {seconds / total:.0f} times real time")
    print(f"{frames / versions * NoteCqt.spec.bins / 1000:.0f} kB a version")


def note_cqt(tunes: list[Tune], versions: int, clock: Clock) -> tuple[dict[str, float], float, int]:
    """Seconds spent on each part of making the versions, how long they are, and their frames."""
    fonts = find_soundfonts()
    make = NoteMaker(MakerSettings(1, (60.0, 110.0), 22050, fonts, None))
    cqt = NoteCqt(ready_banks(fonts))
    for number in range(2 * len(fonts)):  # loads the notes
        cqt(make(Job(f"u{number}", tunes[0], number)).played)
    laps, seconds, frames = Laps(clock), 0.0, 0
    for number in laps.turns(versions):
        played = make(Job(f"u{number}", tunes[number % len(tunes)], number)).played
        laps.lap("arrange")
        rng = generator("note cqt", number)
        power = cqt.powers(played, rng)
        laps.lap("notes")
        decibels = cqt.record(power, played, rng)
        laps.lap("recording")
        encode_cqt(decibels)
        laps.lap("encode")
        seconds += played.duration if number else 0.0
        frames += len(decibels) if number else 0
    return laps.spent, seconds, frames


if __name__ == "__main__":
    run_front(main)
