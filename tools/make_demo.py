"""Make the bundled demo again: 20 works, three versions of each, below data/demo.

python -m tools.make_demo --tunes data/tunes/openewld.json data/tunes/fiddle.json

The same seed gives the same sound to the last sample; only the random serial numbers of Ogg differ.
"""

import argparse
import os
import tempfile
from pathlib import Path

from tqdm import tqdm

from src.corpus.build import Output, build
from src.corpus.configuration import AudioFormat
from src.corpus.demo import DURATION, RECORDINGS, install_demo, plan_demo
from src.corpus.maker import MakerSettings
from src.corpus.render import load_fluidsynth
from src.corpus.soundfonts import find_soundfonts
from src.corpus.tune import load_tunes
from src.corpus.works import read_work_list
from src.errors import UserError, run_front

# TimGM6mb is left out: the sounds of a bundled file should come from permissive licences.
SOUNDFONTS = ["FluidR3_GM", "MuseScore_General"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tunes", nargs="+", required=True, help="files of tunes (JSON)")
    parser.add_argument("--works", default="data/demo/works.txt", help="identities of the works")
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder of the demo")
    parser.add_argument("--seed", type=int, default=2020)
    parser.add_argument("--soundfonts", nargs="+", default=SOUNDFONTS, help="names or paths")
    parser.add_argument(
        "--compression", type=float, default=0.95, help="of Opus; 0.9 is 31 kbit/s, 0.95 is 19"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--build-dir", type=Path, help="keep the intermediate files there, and continue from them"
    )
    options = parser.parse_args(arguments)
    load_fluidsynth()
    settings = MakerSettings(
        options.seed, DURATION, 44100, find_soundfonts(options.soundfonts), RECORDINGS
    )
    tunes = [tune for path in options.tunes for tune in load_tunes(path)]
    jobs = plan_demo(tunes, read_work_list(options.works), settings)
    audio = AudioFormat(codec="opus", compression=options.compression, sample_rate=24000)
    with tempfile.TemporaryDirectory() as temporary:
        output = Output(options.build_dir or Path(temporary), audio)
        with tqdm(total=len(jobs), unit="version") as bar:
            for report in build(jobs, output, settings, workers=options.workers):
                bar.update(report.made + report.kept + len(report.failed) - bar.n)
        if report.failed:
            raise UserError(f"versions failed: {report.failed}")
        rows = install_demo(jobs, output, options.out)
    size = sum(Path(row["wav"]).stat().st_size for row in rows)
    print(f"{len(rows)} versions, {size / 1e6:.2f} MB, in {options.out}")
    return 0


if __name__ == "__main__":
    run_front(main)
