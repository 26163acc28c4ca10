"""Speed and memory of everything, in one Markdown table.

    python -m benchmarks.table --tunes data/tunes/openewld.json
    python -m benchmarks.table --only cqt cqt-threads
    python -m benchmarks.table --quick                # small sizes, to see that all of it works

Every row is measured in a fresh process, so its peak memory is its own; Python and torch take some
hundreds of MiB of each. Seconds are those of the thing that the row names, the fastest repetition
where it is repeated. An epoch is computed from the seconds of a training step (loss and optimizer
included): it leaves out reading batches and validation. Embedding begins with the features, whose
extraction has its own rows. A row whose programs or files are missing says so.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import in_own_process, peak_bytes
from benchmarks.table_rows import QUICK, ROWS, VERSIONS_A_WORK, Row, Setting, Sizes
from src.device import select_device
from src.errors import UserError, run_front

COLUMNS = ("what", "figure", "seconds", "peak memory (MiB)", "device", "threads")
MIB = 2**20
TUNES = Path("data/tunes/openewld.json")
WORKS = 1400  # those behind the shipped CoverHunter
THREADS_VARIABLE = "OMP_NUM_THREADS"


def processor_name() -> str:
    """What the system calls its processor."""
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        found = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        if found:
            return found
    return platform.processor() or platform.machine()


def head(device: torch.device) -> str:
    """The machine, in one line."""
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count()
    parts = [processor_name(), f"{cores} cores"]
    if device.type == "cuda":
        parts.append(torch.cuda.get_device_name(device))
    today = datetime.datetime.now(datetime.timezone.utc).date()
    return ", ".join([*parts, f"torch {torch.__version__}", today.isoformat()])


def setting_of(row: Row, setting: Setting) -> Setting:
    """Device and threads as the row wants them."""
    return replace(
        setting,
        device=setting.device if row.on_device else select_device("cpu"),
        threads=1 if row.one_thread else setting.threads,
    )


def measured(row: Row, setting: Setting) -> dict[str, Any]:
    """Measure a row in this process: its seconds, figure and memory, or why it was left out."""
    device = setting.device
    torch.set_num_threads(setting.threads)
    try:
        seconds, figure = row.measure(setting)
    except UserError as error:
        return {"left_out": str(error)}
    found = {"seconds": seconds, "figure": figure, "bytes": peak_bytes()}
    if device.type == "cuda":
        found["device_bytes"] = torch.cuda.max_memory_allocated(device)
    return found


def in_fresh_process(name: str, setting: Setting, *, quick: bool) -> dict[str, Any]:
    """Measure a row in a process of its own; a failure is an answer too."""
    arguments = ["--row", name, "--device", setting.device, "--threads", setting.threads]
    arguments += ["--tunes", setting.tunes, "--works", setting.works, *["--quick"] * quick]
    # Libraries that are loaded later than torch ask the environment.
    environment = {THREADS_VARIABLE: str(setting.threads)}
    try:
        return in_own_process("benchmarks.table", arguments, environment)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()
        return {"failed": said[-1] if said else f"exit code {error.returncode}"}


def lines(row: Row, setting: Setting, found: dict[str, Any]) -> Iterator[list[str]]:
    """Cells of a row, and of the epoch that follows from it."""
    place = [str(setting.device), str(setting.threads)]
    for problem in ("left_out", "failed"):
        if problem in found:
            reason = f"{problem.replace('_', ' ')}: {found[problem]}"
            yield [row.title(setting), reason, "", "", *place]
            return
    memory = f"{found['bytes'] / MIB:,.0f}"
    if "device_bytes" in found:
        memory += f" + {found['device_bytes'] / MIB:,.0f} on the GPU"
    seconds = found["seconds"]
    yield [row.title(setting), found["figure"], number(seconds), memory, *place]
    if row.epoch:
        steps = max(1, setting.works * VERSIONS_A_WORK // setting.sizes.batch)
        what = (
            f"{row.epoch}, epoch of {setting.works:,} works with {VERSIONS_A_WORK} versions: "
            f"{steps:,} such steps (computed)"
        )
        whole = steps * seconds
        yield [what, f"{whole / 60:,.1f} min", number(whole), "", *place]


def number(seconds: float) -> str:
    """Three digits, or all before the point."""
    return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:#.3g}"


def markdown(cells: list[str] | tuple[str, ...]) -> str:
    """One line of the table."""
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return value


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add("--only", nargs="+", choices=ROWS, metavar="NAME", help="of " + ", ".join(ROWS))
    add("--quick", action="store_true", help="small sizes; the figures mean nothing")
    add("--threads", type=positive, help="of the rows for all threads (default: all cores)")
    add("--tunes", type=Path, default=TUNES, help=f"file of tunes (default: {TUNES})")
    add("--works", type=positive, default=WORKS, help=f"of an epoch (default: {WORKS})")
    add("--row", choices=ROWS, help=argparse.SUPPRESS)  # measured here, printed as JSON
    arguments = parser.parse_args(argv)
    setting = Setting(
        device=select_device(arguments.device),
        threads=arguments.threads or torch.get_num_threads(),
        tunes=arguments.tunes,
        works=arguments.works,
        sizes=QUICK if arguments.quick else Sizes(),
    )
    if arguments.row:
        row = ROWS[arguments.row]
        print(json.dumps(measured(row, setting_of(row, setting))))
        return 0
    print(f"{head(setting.device)}\n\n{markdown(COLUMNS)}")
    print("| --- | ---: | ---: | ---: | --- | ---: |", flush=True)
    failed = False
    for name in arguments.only or ROWS:
        row = ROWS[name]
        own = setting_of(row, setting)
        found = in_fresh_process(name, own, quick=arguments.quick)
        failed |= "failed" in found
        for cells in lines(row, own, found):
            print(markdown(cells), flush=True)
    return int(failed)


if __name__ == "__main__":
    run_front(main)
