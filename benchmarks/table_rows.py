"""The rows of :mod:`benchmarks.table`: what each measures, with the functions of its neighbours.

A row imports what it needs when it is measured, so that its peak memory is its own.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from benchmarks.measuring import fastest, timed, training_run
from src.corpus.tune import Tune, load_tunes
from src.device import low_precision
from src.errors import UserError

CREMA_VERSION = "0.2.0"  # that of the shipped Re-MOVE models
SAMPLE_RATE = 22050  # of rendered versions
VERSIONS_A_WORK = 3  # as in egs/opencorpus
COVERHUNTER_WIDTH, COVERHUNTER_BLOCKS = 128, 6  # as shipped
AVERAGED_FRAMES = 5  # by the shipped MOVE


@dataclass(frozen=True)
class Sizes:
    """How much of everything is measured; the table names what it measured.

    Attributes:
        rendered, noted: versions of the corpus, with sound and without.
        seconds: length of a recording that is described, embedded or aligned.
        files, file_seconds: of the collection that cremaPCP is extracted from.
        batch, frames, long_frames: of a training step; the latter where frames are averaged.
        repeats: of what is repeated; the fastest counts.
        pairs: that Qmax compares.
        references, queries: of the search.
    """

    rendered: int = 24
    noted: int = 48
    seconds: int = 240
    files: int = 8
    file_seconds: int = 60
    batch: int = 64
    frames: int = 450
    long_frames: int = 1200
    repeats: int = 3
    pairs: int = 40
    references: int = 100_000
    queries: int = 100


QUICK = Sizes(
    rendered=1,
    noted=2,
    seconds=45,
    files=2,
    file_seconds=3,
    batch=4,
    frames=420,
    long_frames=420,
    repeats=1,
    pairs=3,
    references=2000,
    queries=10,
)


@dataclass(frozen=True)
class Setting:
    """Where and how much is measured.

    Attributes:
        device: of the rows that may use an accelerator.
        threads: of the row.
        tunes: file of tunes for the corpus.
        works: classes of a training step, and works of an epoch.
        sizes: of everything else.
    """

    device: torch.device
    threads: int
    tunes: Path
    works: int
    sizes: Sizes = field(default_factory=Sizes)

    @property
    def files(self) -> int:
        """Enough to give every thread one."""
        return max(self.sizes.files, self.threads)


# Seconds of what the row names, and its figure with a unit.
Measured = tuple[float, str]


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        what: is measured; sizes stand in braces.
        measure: does it.
        on_device: uses the accelerator, where there is one.
        one_thread: runs on one thread, not on all.
        epoch: the model whose epoch follows from the seconds; empty: none does.
    """

    what: str
    measure: Callable[[Setting], Measured]
    on_device: bool = True
    one_thread: bool = False
    epoch: str = ""

    def title(self, setting: Setting) -> str:
        """What is measured, with the sizes."""
        bits = str(low_precision(setting.device)).removeprefix("torch.")
        values = {**asdict(setting.sizes), "files": setting.files, "bits": bits}
        return self.what.format(**values, rate=SAMPLE_RATE, crema=CREMA_VERSION)


def best(run: Callable[[], object], setting: Setting) -> float:
    """Seconds of the fastest repetition, after one to warm up."""
    return fastest({"": run}, setting.sizes.repeats, time.perf_counter)[""][0]


def times_real_time(seconds_of_sound: float, seconds: float) -> str:
    return f"{seconds_of_sound / seconds:,.0f} x real time"


def tunes_for(versions: int, setting: Setting) -> list[Tune]:
    """Tunes enough for so many versions of different works.

    Raises:
        UserError: there is no file of tunes.
    """
    if not setting.tunes.is_file():
        raise UserError(
            f"there is no file of tunes {setting.tunes}; make it with tools.make_tunes, or name one"
        )
    return load_tunes(setting.tunes)[:versions]


def rendering(setting: Setting) -> Measured:
    from benchmarks.render_speed import render
    from src.corpus.soundfonts import find_soundfonts

    versions = setting.sizes.rendered
    tunes = tunes_for(versions, setting)
    fonts = find_soundfonts()
    spent, sound = render(tunes, fonts, SAMPLE_RATE, versions, time.perf_counter)
    total = sum(spent.values())
    return total / versions, times_real_time(sound, total)


def notes(setting: Setting) -> Measured:
    from benchmarks.note_chroma_speed import note_chroma

    versions = setting.sizes.noted
    tunes = tunes_for(versions, setting)
    spent, _ = note_chroma(tunes, versions, time.perf_counter)
    total = sum(spent.values())
    return total / versions, f"{versions / total:.1f} versions/s"


def crema(setting: Setting) -> Measured:
    from benchmarks.crema_speed import files_to_features, write_recordings
    from src.audio.crema import File2CremaPCP

    length = setting.sizes.file_seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = write_recordings(folder, setting.files, length)
        File2CremaPCP(CREMA_VERSION, setting.device)(paths[0])  # the first use of a device is slow
        run = files_to_features(
            folder, version=CREMA_VERSION, device=setting.device, threads=setting.threads
        )
        _, seconds, _ = timed(run)
    return seconds, times_real_time(setting.files * length, seconds)


def cqt(setting: Setting) -> Measured:
    from benchmarks.cqt_speed import recording, transform

    length = setting.sizes.seconds
    seconds = best(transform(recording(length), setting.device), setting)
    return seconds, times_real_time(length, seconds)


def move_step(setting: Setting, *, amp: bool, mean_frames: int = 1) -> Measured:
    from benchmarks.move_speed import chroma
    from src.config import remove_config
    from src.training.experiments import Baseline
    from src.training.loop import make_optimizer

    require_precision(setting, amp)
    sizes, device = setting.sizes, setting.device
    options = {"loss": 4, "optimizer": 1, "learning_rate": 0.001, "mean_frames": mean_frames}
    config = remove_config("baseline", options)
    torch.manual_seed(0)
    experiment = Baseline(config, setting.works).to(device).train()
    optimizer = make_optimizer(config, experiment.parameter_groups())
    x = chroma(sizes.batch, sizes.frames if mean_frames == 1 else sizes.long_frames, device)
    labels = torch.arange(sizes.batch, device=device) // 4 % setting.works
    run = training_run(
        experiment,
        lambda: experiment(x, labels),
        device=device,
        amp=amp,
        update=optimizer.step,
    )
    return step_figures(run, setting)


def coverhunter_step(setting: Setting, *, amp: bool) -> Measured:
    from benchmarks.coverhunter_speed import cqt as random_cqt
    from benchmarks.coverhunter_speed import hparams
    from src.models.coverhunter import CoverHunter
    from src.training.coverhunter_loop import CLIP_NORM

    require_precision(setting, amp)
    sizes, device = setting.sizes, setting.device
    torch.manual_seed(0)
    settings = hparams(COVERHUNTER_WIDTH, COVERHUNTER_BLOCKS, setting.works)
    model = CoverHunter(settings).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0006)
    x = random_cqt(sizes.batch, sizes.frames, device)
    labels = torch.arange(sizes.batch, device=device) // 2 % setting.works

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()

    run = training_run(
        model, lambda: model.compute_loss(x, labels)[0], device=device, amp=amp, update=update
    )
    return step_figures(run, setting)


def require_precision(setting: Setting, amp: bool) -> None:
    """Refuse what the trainers refuse."""
    if amp and setting.device.type == "mps":
        raise UserError("mixed precision is for CUDA and CPUs")


def step_figures(run: Callable[[], None], setting: Setting) -> Measured:
    seconds = best(run, setting)
    return seconds, f"{setting.sizes.batch / seconds:,.1f} patches/s"


def embedding(setting: Setting, *, coverhunter: bool) -> Measured:
    from benchmarks.coverhunter_speed import cqt as random_cqt
    from benchmarks.move_speed import chroma
    from src.retrieval.recording_windows import LoadedRecording, Recording2Windows
    from src.training.paths import DEFAULT_COVERHUNTER, DEFAULT_MODEL

    path = DEFAULT_COVERHUNTER if coverhunter else DEFAULT_MODEL
    embed = Recording2Windows(path, device=setting.device)
    frames = round(setting.sizes.seconds * embed.network.frames_per_second)
    torch.manual_seed(0)
    cpu = torch.device("cpu")
    features = random_cqt(1, frames, cpu)[0] if coverhunter else chroma(1, frames, cpu)[0, 0, :12].T
    level = torch.zeros(frames).numpy()
    loaded = LoadedRecording(path, features.numpy(), level, setting.sizes.seconds)
    seconds = best(lambda: embed.embed(loaded), setting)
    return seconds, f"{1 / seconds:,.1f} recordings/s"


def qmax(setting: Setting) -> Measured:
    from benchmarks import qmax_speed

    qmax_speed.timed(qmax_speed.qmax, [qmax_speed.short_pair()])  # compiles
    pairs = qmax_speed.random_pairs(setting.sizes.seconds / 60, setting.sizes.pairs)
    _, (seconds, _, _) = qmax_speed.timed(qmax_speed.qmax, pairs)
    return seconds, f"{1 / seconds:,.0f} pairs/s"


def search(setting: Setting) -> Measured:
    from benchmarks import search_speed

    search_speed.faiss_library().omp_set_num_threads(setting.threads)
    sizes = setting.sizes
    references, queries = search_speed.collection(sizes.references, sizes.queries)
    index = search_speed.WindowIndex.build(references, "cosine")
    run = best(lambda: search_speed.search(index, queries, at_once=1), setting)
    seconds = run / len(queries)
    return seconds, f"{1 / seconds:,.0f} queries/s"


CREMA = "cremaPCP {crema} of {files} Ogg files of {file_seconds} s"
CQT = "CQT of {seconds} s of sound"
STEP = "{batch} patches of {frames} frames"
LONG_STEP = "{batch} patches of {long_frames:,} frames"
EMBEDDING = "embedding a recording of {seconds} s, float32"

ROWS: dict[str, Row] = {
    "render": Row(
        "rendering a version at {rate:,} Hz", rendering, on_device=False, one_thread=True
    ),
    "notes": Row(
        "a version's notes to chroma, without sound", notes, on_device=False, one_thread=True
    ),
    "crema": Row(CREMA, crema, one_thread=True),
    "crema-threads": Row(CREMA, crema),
    "cqt": Row(CQT, cqt, one_thread=True),
    "cqt-threads": Row(CQT, cqt),
    "move-step": Row(
        f"MOVE, training step of {STEP}, float32",
        lambda setting: move_step(setting, amp=False),
        epoch="MOVE",
    ),
    "move-step-16": Row(
        f"MOVE, training step of {STEP}, {{bits}}",
        lambda setting: move_step(setting, amp=True),
        epoch="MOVE",
    ),
    "move-mean-step": Row(
        f"MOVE averaging {AVERAGED_FRAMES} frames, training step of {LONG_STEP}, float32",
        lambda setting: move_step(setting, amp=False, mean_frames=AVERAGED_FRAMES),
        epoch="MOVE",
    ),
    "move-mean-step-16": Row(
        f"MOVE averaging {AVERAGED_FRAMES} frames, training step of {LONG_STEP}, {{bits}}",
        lambda setting: move_step(setting, amp=True, mean_frames=AVERAGED_FRAMES),
        epoch="MOVE",
    ),
    "coverhunter-step": Row(
        f"CoverHunter, training step of {STEP}, float32",
        lambda setting: coverhunter_step(setting, amp=False),
        epoch="CoverHunter",
    ),
    "coverhunter-step-16": Row(
        f"CoverHunter, training step of {STEP}, {{bits}}",
        lambda setting: coverhunter_step(setting, amp=True),
        epoch="CoverHunter",
    ),
    "move-embed": Row(
        f"Re-MOVE lsr, {EMBEDDING}", lambda setting: embedding(setting, coverhunter=False)
    ),
    "coverhunter-embed": Row(
        f"CoverHunter, {EMBEDDING}", lambda setting: embedding(setting, coverhunter=True)
    ),
    "qmax": Row("Qmax of two recordings of {seconds} s", qmax, on_device=False, one_thread=True),
    "search": Row("search of one query in {references:,} embeddings", search, on_device=False),
}
