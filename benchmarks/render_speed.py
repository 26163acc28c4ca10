"""Speed of rendering and recording on one core, as a table.

python -m benchmarks.render_speed --tunes data/tunes/openewld.json
"""

from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.measuring import CLOCKS, Clock, Laps, tunes_to_play
from src.corpus.maker import MakerSettings, draw_sound, play_job
from src.corpus.plan import Job
from src.corpus.recording import apply_recording
from src.corpus.render import Renderer
from src.corpus.soundfonts import find_soundfonts
from src.corpus.tune import Tune
from src.errors import run_front


def main() -> None:
    tunes, options = tunes_to_play(__doc__.splitlines()[0], versions=24)
    clock = CLOCKS[options.clock]
    fonts = find_soundfonts()
    print(f"times real time on one core ({options.clock} time), {options.versions} versions")
    print(f"{'rate':>6} {'arrange':>8} {'play':>8} {'record':>8} {'all':>8}")
    with threadpool_limits(1):
        for rate in (22050, 44100):
            spent, seconds = render(tunes, fonts, rate, options.versions, clock)
            parts = [*spent.values(), sum(spent.values())]
            print(f"{rate:>6} " + " ".join(f"{seconds / part:8.0f}" for part in parts))


def render(
    tunes: list[Tune], fonts: dict[str, Path], rate: int, versions: int, clock: Clock
) -> tuple[dict[str, float], float]:
    """Seconds spent on each part of making the versions, and how long the versions are."""
    settings = MakerSettings(1, (60.0, 110.0), rate, fonts, None)
    renderers = {name: Renderer(path, sample_rate=rate) for name, path in fonts.items()}
    laps, seconds = Laps(clock), 0.0
    for number in laps.turns(versions):
        job = Job("x", tunes[number % len(tunes)], number)
        performance = play_job(settings, job)
        laps.lap("arrange")
        font, recording = draw_sound(settings, job)
        stereo = renderers[font].render(performance)
        laps.lap("play")
        signal, _ = apply_recording(stereo, rate, recording)
        laps.lap("record")
        seconds += len(signal) / rate if number else 0.0
    for renderer in renderers.values():
        renderer.close()
    return laps.spent, seconds


if __name__ == "__main__":
    run_front(main)
