"""Speed of chroma from notes on one core, by step: milliseconds a version, versions a second.

python -m benchmarks.note_chroma_speed --tunes data/tunes/openewld.json
"""

from collections import defaultdict

import torch
from threadpoolctl import threadpool_limits

from benchmarks.measuring import CLOCKS, Clock, tunes_to_play
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
    spent: dict[str, float] = defaultdict(float)
    seconds = 0.0
    for number in range(versions):
        start = clock()
        played = make(Job(f"u{number}", tunes[number % len(tunes)], number)).played
        arranged = clock()
        activity = torch.from_numpy(note_activity(played))[None]
        described = clock()
        with torch.inference_mode():
            logits = chroma.network(activity)[0].double().numpy()
        expected = clock()
        chroma.residual.draw(logits, generator(number))
        spent["arrange"] += arranged - start
        spent["activity"] += described - arranged
        spent["network"] += expected - described
        spent["noise"] += clock() - expected
        seconds += played.duration
    return dict(spent), seconds


if __name__ == "__main__":
    run_front(main)
