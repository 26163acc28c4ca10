"""Speed of rendering and recording on one core, as a table.

python -m benchmarks.render_speed --tunes data/tunes/openewld.json
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from src.corpus.maker import MakerSettings, draw_sound, play_job
from src.corpus.plan import Job
from src.corpus.recording import apply_recording
from src.corpus.render import Renderer
from src.corpus.soundfonts import find_soundfonts
from src.corpus.tune import load_tunes
from src.errors import run_front


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tunes", required=True, help="file of tunes (JSON)")
    parser.add_argument("--versions", type=int, default=24)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    options = parser.parse_args()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    tunes = load_tunes(options.tunes)[: options.versions]
    fonts = find_soundfonts()
    print(f"times real time on one core ({options.clock} time), {options.versions} versions")
    print(f"{'rate':>6} {'arrange':>8} {'play':>8} {'record':>8} {'all':>8}")
    with threadpool_limits(1):
        for rate in (22050, 44100):
            print(f"{rate:>6} " + _measure(tunes, fonts, rate, options.versions, clock))


def _measure(tunes: list, fonts: dict[str, Path], rate: int, versions: int, clock) -> str:
    settings = MakerSettings(1, (60.0, 110.0), rate, fonts, None)
    renderers = {name: Renderer(path, sample_rate=rate) for name, path in fonts.items()}
    spent: dict[str, float] = defaultdict(float)
    seconds = 0.0
    for number in range(versions):
        job = Job("x", tunes[number % len(tunes)], number)
        start = clock()
        performance = play_job(settings, job)
        arranged = clock()
        font, recording = draw_sound(settings, job)
        stereo = renderers[font].render(performance)
        played = clock()
        signal, _ = apply_recording(stereo, rate, recording)
        spent["arrange"] += arranged - start
        spent["play"] += played - arranged
        spent["record"] += clock() - played
        seconds += len(signal) / rate
    for renderer in renderers.values():
        renderer.close()
    parts = [*spent.values(), float(np.sum(list(spent.values())))]
    return " ".join(f"{seconds / part:8.0f}" for part in parts)


if __name__ == "__main__":
    run_front(main)
