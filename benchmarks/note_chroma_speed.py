"""Speed of chroma from notes on one core, by step: milliseconds a version, versions a second.

python -m benchmarks.note_chroma_speed --tunes data/tunes/openewld.json
"""

import torch
from threadpoolctl import threadpool_limits

from benchmarks.measuring import CLOCKS, Clock, Laps, tunes_to_play
from src.corpus.dice import generator
from src.corpus.maker import MakerSettings, NoteMaker
from src.corpus.note_activity import note_activity
from src.corpus.note_chroma import NoteChroma
from src.corpus.plan import Job
from src.corpus.tune import Tune
from src.errors import run_front


def main() -> None:
    tunes, options = tunes_to_play(__doc__.splitlines()[0], versions=48)
    versions = options.versions
    torch.set_num_threads(1)
    with threadpool_limits(1):
        spent, seconds = note_chroma(tunes, versions, CLOCKS[options.clock])
    total = sum(spent.values())
    print(f"{versions} versions of {seconds / versions:.0f} s on one core")
    for name, value in [*spent.items(), ("all", total)]:
        print(f"{name:<10}{1000 * value / versions:8.1f} ms")
    print(f"{versions / total:.1f} versions a second, {seconds / total:.0f} times real time")


def note_chroma(tunes: list[Tune], versions: int, clock: Clock) -> tuple[dict[str, float], float]:
    """Seconds spent on each part of making the versions, and how long the versions are."""
    make = NoteMaker(MakerSettings(1, (60.0, 110.0), 22050, {}, None))
    chroma = NoteChroma()
    laps, seconds = Laps(clock), 0.0
    for number in laps.turns(versions):
        played = make(Job(f"u{number}", tunes[number % len(tunes)], number)).played
        laps.lap("arrange")
        activity = torch.from_numpy(note_activity(played))[None]
        laps.lap("activity")
        with torch.inference_mode():
            logits = chroma.network(activity)[0].double().numpy()
        laps.lap("network")
        chroma.residual.draw(logits, generator(number))
        laps.lap("noise")
        seconds += played.duration if number else 0.0
    return laps.spent, seconds


if __name__ == "__main__":
    run_front(main)
