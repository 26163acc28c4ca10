"""The bundled demo: a few works, three very different versions of each, with their sources."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.corpus.build import Output
from src.corpus.maker import MakerSettings, draw_sound, play_job
from src.corpus.openewld import slug
from src.corpus.plan import Job
from src.corpus.recording import GENTLE_KINDS
from src.corpus.soundfonts import LICENCES
from src.corpus.tune import Tune
from src.data.manifest import read_manifest, write_manifest
from src.errors import UserError
from src.files import atomic_path

VERSIONS = 3
DURATION = (46.0, 58.0)
LARGEST_DEMO = 8_000_000  # bytes of audio in all
RECORDINGS = dict.fromkeys(GENTLE_KINDS, 1.0)
_TRIES = 400
_HARMONIES = {"given", "extended", "reduced", "substituted", "none"}


@dataclass(frozen=True, slots=True)
class _Draft:
    """What makes versions alike and different: drawn cheaply, before anything is rendered."""

    style: str
    lead: str
    transposition: int
    tempo: float
    kind: str
    themes: frozenset[str]  # letters of the sections that are played whole

    def suits(self, other: "_Draft", *, shared: int) -> bool:
        """Different in everything a cover changes, and yet the same part of the same song."""
        ratio = max(self.tempo, other.tempo) / min(self.tempo, other.tempo)
        return (
            self.style != other.style
            and self.lead != other.lead
            and self.transposition != other.transposition
            and 1.04 < ratio < 1.45
            and self.kind != other.kind
            and len(self.themes & other.themes) >= shared
        )


def plan_demo(tunes: Iterable[Tune], works: Sequence[str], settings: MakerSettings) -> list[Job]:
    """Choose three versions of every work that differ in all of style, lead, key, tempo, recording.

    Anybody should recognise the tune: two sections are shared by all, the melody is not strongly
    changed, and the harmony is the given one, extended, simplified or with some substitutes.
    Works with at least three printed settings play another one in every version.

    Raises:
        UserError: a work is not among the tunes, or no such versions were found.
    """
    by_work = {tune.work: tune for tune in tunes}
    jobs = []
    for work in works:
        if work not in by_work:
            raise UserError(f"the work {work} is not in the files of tunes")
        tune = by_work[work]
        several = len(tune.settings) >= VERSIONS - 1
        chosen: list[tuple[Job, _Draft]] = []
        for version in range(_TRIES):
            setting = len(chosen) if several else 0
            job = Job(f"{slug(tune.title)}_{len(chosen) + 1}", tune, version, setting)
            draft = _draft(settings, job)
            shared = min(2, len({section.label[0] for section in tune.sections}))
            if draft is not None and all(draft.suits(d, shared=shared) for _, d in chosen):
                chosen.append((job, draft))
            if len(chosen) == VERSIONS:
                break
        else:
            raise UserError(f"no {VERSIONS} different versions of {work} in {_TRIES} draws")
        jobs += [job for job, _ in chosen]
    return jobs


def _draft(settings: MakerSettings, job: Job) -> _Draft | None:
    """None where the version is unfit for a demo."""
    choices = play_job(settings, job).choices
    harmonies = {choices["harmony"], choices["harmony_later"]}
    themes = frozenset(
        item.split()[1][0]
        for item in choices["structure"]
        if item.startswith("theme ") and len(item.split()) == 2
    )
    if (
        choices["mode_changed"]
        or choices["melody"]["fidelity"] == "strong"
        or not harmonies <= _HARMONIES
        or len(themes) < min(2, len({s.label[0] for s in job.tune.sections}))
    ):
        return None
    _, recording = draw_sound(settings, job)
    return _Draft(
        choices["style"],
        choices["lead"],
        choices["transposition"],
        choices["tempo_bpm"],
        recording["kind"],
        themes,
    )


def install_demo(jobs: Sequence[Job], built: Output, folder: Path) -> list[dict[str, Any]]:
    """Copy the built audio to ``folder`` and write ``dataset.txt`` and ``SOURCES.md`` there.

    Returns:
        the rows of ``dataset.txt``.

    Raises:
        UserError: the audio is larger than the demo may be.
    """
    size = sum(built.audio_path(job).stat().st_size for job in jobs)
    if size > LARGEST_DEMO:
        raise UserError(
            f"the demo would take {size / 1e6:.2f} MB, more than {LARGEST_DEMO / 1e6:.0f} MB; "
            "compress it more"
        )
    made = {row["utt"]: row for row in read_manifest(built.folder / "dataset.txt")}
    for old in folder.glob("*.ogg"):
        if old.stem not in made:
            old.unlink()
    rows = []
    for job in jobs:
        target = folder / f"{job.utt}.ogg"
        with atomic_path(target) as temporary:
            shutil.copyfile(built.audio_path(job), temporary)
        rows.append(_row(job, made[job.utt], target))
    write_manifest(rows, folder / "dataset.txt")
    with atomic_path(folder / "SOURCES.md") as temporary:
        temporary.write_text(sources_text(rows), "utf-8")
    return rows


def _row(job: Job, made: Mapping[str, Any], target: Path) -> dict[str, Any]:
    tune = job.tune.setting(job.setting or 0)
    return {
        "utt": job.utt,
        "wav": target.as_posix(),
        "dur_s": made["dur_s"],
        "song": job.tune.work,
        "version": made["version"],
        "title": tune.title,
        "composer": tune.composer,
        "collection": tune.source,
        "setting": job.setting,
        "licence": tune.licence,
        "soundfont": made["choices"]["soundfont"],
        "choices": made["choices"],
    }


def sources_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The sources of the demo in Markdown, one line a version."""
    fonts = sorted({row["soundfont"] for row in rows})
    lines = [
        "# Sources of the demo",
        "",
        f"{len({row['song'] for row in rows})} works, {len(rows)} versions. Every recording was "
        "arranged and rendered by `src/corpus` from notation in the public domain; nobody played "
        "them. `python -m tools.make_demo` makes them again. `dataset.txt` records every choice.",
        "",
        "The arrangements and recordings are under the licence of this repository. SoundFonts "
        "(sounds only, not part of the repository): "
        + ", ".join(f"{font} ({LICENCES.get(font, 'see its author')})" for font in fonts)
        + ".",
        "",
        "| recording | title in the source | composer | collection | setting | style, lead | "
        "recording chain | SoundFont | licence of the notation |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        arrangement = row["choices"]["arrangement"]
        cells = (
            row["utt"],
            row["title"],
            row["composer"] or "unknown",
            row["collection"],
            row["setting"],
            f"{arrangement['style']}, {arrangement['lead']}",
            row["choices"]["recording"]["kind"],
            row["soundfont"],
            row["licence"],
        )
        lines.append("| " + " | ".join(str(c).replace("|", "/") for c in cells) + " |")
    return "\n".join(lines) + "\n"
