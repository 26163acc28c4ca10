"""Render a corpus of arranged versions from symbolic tunes.

python -m tools.render_corpus egs/opencorpus/corpus.yaml OUT_DIR --features-only --workers 8
"""

import argparse
import os
import signal
from pathlib import Path

from tqdm import tqdm

from src.corpus.build import Output, build, describe_corpus
from src.corpus.configuration import load_config
from src.corpus.features import NOTE_CQT, need_sound
from src.corpus.maker import MakerSettings, NoteMaker, VersionMaker
from src.corpus.note_cqt_bank import ready_banks
from src.corpus.plan import plan_corpus
from src.corpus.render import load_fluidsynth
from src.corpus.soundfonts import find_soundfonts
from src.errors import UserError, run_front


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="YAML file that describes the corpus")
    parser.add_argument("out_dir", type=Path, help="folder of the corpus; made or continued")
    parser.add_argument(
        "--features-only", action="store_true", help="keep the features, throw the audio away"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--limit", type=int, help="make only the first LIMIT versions of the plan")
    options = parser.parse_args(arguments)
    if options.workers < 0:
        raise UserError("--workers must be 0 (no extra process) or more")
    config = load_config(options.config)
    if options.features_only and not config.features:
        raise UserError(f"--features-only needs a list 'features' in {options.config}")
    # A terminated job stops as by Ctrl-C: running versions are finished, the manifest is written.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    sound = not options.features_only or need_sound(config.features)
    if sound:
        load_fluidsynth()
    composed = NOTE_CQT in config.features
    soundfonts = find_soundfonts(config.soundfonts) if sound or composed else {}
    banks = ready_banks(soundfonts) if composed else {}
    print("choosing works; comparing melodies with excluded ones takes a minute or two", flush=True)
    plan = plan_corpus(config)
    jobs = plan.jobs[: options.limit]
    audio = None if options.features_only else config.audio
    output = Output(options.out_dir, audio, tuple(config.features), banks)
    settings = MakerSettings(
        config.seed,
        config.duration,
        config.sample_rate,
        soundfonts,
        config.recordings,
        config.metre_changes,
    )
    maker = VersionMaker if sound else NoteMaker
    describe_corpus(options.out_dir, config, soundfonts, audio_kept=audio is not None)
    print(
        f"{len(plan.works)} works and {len(plan.distractors)} with one version, {len(jobs)} "
        f"versions, SoundFonts {', '.join(soundfonts) or 'not needed'}"
    )
    report = None
    with tqdm(total=len(jobs), unit="version", smoothing=0.05) as bar:
        for report in build(jobs, output, settings, workers=options.workers, maker=maker):
            bar.update(report.made + report.kept + len(report.failed) - bar.n)
    print(
        f"made {report.made} versions ({report.seconds / 3600:.2f} h), "
        f"{report.kept} were there, {len(report.failed)} failed"
    )
    for utt, reason in report.failed.items():
        print(f"  {utt}: {reason}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    run_front(main)
