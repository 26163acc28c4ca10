"""What a corpus consists of: every version of every work, in the order in which they are made."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from src.corpus.configuration import Blocks, CorpusConfig
from src.corpus.contrafact import pick_model
from src.corpus.dice import generator
from src.corpus.tune import Tune
from src.corpus.works import choose_works, collection
from src.errors import UserError

_MOST_IMITATED = 3  # times


@dataclass(frozen=True, slots=True)
class Job:
    """One version to make.

    Attributes:
        setting: the printed setting to play, None lets it be drawn.
        printed: play the setting as it stands, in place of an arrangement.
        like: the version that is imitated (see :mod:`src.corpus.contrafact`), if any.
    """

    utt: str
    tune: Tune
    version: int
    setting: int | None = None
    printed: bool = False
    like: "Job | None" = None


@dataclass(frozen=True, slots=True)
class CorpusPlan:
    """``works`` with several versions, ``distractors`` with one, and the versions in order."""

    works: list[Tune]
    distractors: list[Tune]
    jobs: list[Job]


def plan_corpus(config: CorpusConfig) -> CorpusPlan:
    """Everything that a configuration asks for.

    Raises:
        UserError: see :func:`src.corpus.works.choose_works`.
    """
    works, distractors = choose_works(config)
    _check_names([*works, *distractors])
    if config.printed_settings:
        jobs = [job for tune in works for job in _printed_jobs(tune)]
        single = [_printed_jobs(tune)[0] for tune in distractors]
    else:
        jobs = plan_jobs(
            works,
            versions=config.versions,
            first_version=config.first_version,
            blocks=config.blocks,
        )
        jobs = with_hard_negatives(jobs, config.hard_negatives, seed=config.seed)
        single = plan_jobs(distractors, versions=1, first_version=config.first_version)
    return CorpusPlan(works, distractors, _spread(jobs, single))


def _printed_jobs(tune: Tune) -> list[Job]:
    """One version a printed setting, numbered as the settings are."""
    return [
        Job(utt_name(tune.work, number), tune, number, setting=number, printed=True)
        for number in range(len(tune.settings) + 1)
    ]


def _spread(jobs: Sequence[Job], single: Sequence[Job]) -> list[Job]:
    """Single versions evenly among the others, so that any beginning of the plan has its share."""
    placed = [
        ((i + 0.5) / len(part), part is single, i, j)
        for part in (jobs, single)
        for i, j in enumerate(part)
    ]
    return [job for *_, job in sorted(placed, key=lambda item: item[:3])]


def with_hard_negatives(jobs: Sequence[Job], share: float, *, seed: int) -> list[Job]:
    """Let a share of the versions imitate the version of the same number of another work.

    The other work is one that comes before in the same collection and is itself no imitation
    there: in any beginning of the plan the imitated version comes first, and neither more works
    nor more versions change what was planned. No version is imitated more than three times. Where
    nothing suits, the version stays as it was.
    """
    if not share:
        return list(jobs)
    models: dict[tuple[str, int], dict[str, Job]] = {}
    imitated: Counter[str] = Counter()
    result = []
    for job in jobs:
        before = models.setdefault((collection(job.tune.work), job.version), {})
        if generator(seed, "hard negative", job.tune.work, job.version).random() >= share:
            before[job.tune.work] = job
        else:
            tunes = [model.tune for model in before.values()]
            model = pick_model(job.tune, tunes, seed=seed, version=job.version)
            if model is not None:
                job = replace(job, like=before[model.work])
                imitated[job.like.utt] += 1
                if imitated[job.like.utt] == _MOST_IMITATED:
                    del before[model.work]
        result.append(job)
    return result


def plan_jobs(
    tunes: Sequence[Tune],
    *,
    versions: int,
    first_version: int = 0,
    blocks: Blocks | None = None,
) -> list[Job]:
    """All versions of all works, in an order of which any beginning is usable.

    Blocks of versions come first, in them blocks of works, in them one version of every work
    after the other.

    Raises:
        UserError: two works would share the names of their files.
    """
    blocks = blocks or Blocks()
    _check_names(tunes)
    jobs = []
    for first in range(0, versions, blocks.versions):
        for start in range(0, len(tunes), blocks.works):
            for version in range(first, min(first + blocks.versions, versions)):
                for tune in tunes[start : start + blocks.works]:
                    number = first_version + version
                    jobs.append(Job(utt_name(tune.work, number), tune, number))
    return jobs


def _check_names(tunes: Sequence[Tune]) -> None:
    names = [utt_name(tune.work, 0) for tune in tunes]
    if len(set(names)) != len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two works would both be called {double}; rename one")


def utt_name(work: str, version: int) -> str:
    """Name of one version's files: ``fiddle/erin-go-bragh`` -> ``fiddle_erin-go-bragh_v03``."""
    safe = "".join(c if (c.isalnum() and c.isascii()) or c in "-." else "_" for c in work)
    return f"{safe}_v{version:02d}"
