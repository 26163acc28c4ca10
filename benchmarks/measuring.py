"""What the benchmarks share: clocks, repetitions, runs of a network, memory, processes, options."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from src.corpus.tune import Tune, load_tunes
from src.device import autocast

Clock = Callable[[], float]
Result = TypeVar("Result")

CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def timed(function: Callable[[], Result], *, runs: int = 1) -> tuple[Result, float, float]:
    """What the last run returned; least seconds and least processor time (all threads) of a run."""
    walls, processors = [], []
    for _ in range(runs):
        wall, processor = time.perf_counter(), time.process_time()
        result = function()
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    return result, min(walls), min(processors)


class Laps:
    """Seconds by part of a piece of work that is done many times.

    Attributes:
        spent: seconds of each part, in all turns but the first, which warms up.
    """

    def __init__(self, clock: Clock) -> None:
        self.spent: dict[str, float] = {}
        self._clock = clock
        self._turn = 0
        self._before = 0.0

    def turns(self, count: int) -> Iterator[int]:
        """Numbers of the turns, from 0 to ``count``; turn 0 is not measured."""
        for self._turn in range(count + 1):
            self._before = self._clock()
            yield self._turn

    def lap(self, part: str) -> None:
        """What was done since the last call, or since the turn began, was ``part``."""
        now = self._clock()
        if self._turn:
            self.spent[part] = self.spent.get(part, 0.0) + now - self._before
        self._before = now


def fastest(
    runs: dict[str, Callable[[], object]], repeats: int, clock: Clock
) -> dict[str, list[float]]:
    """Seconds of every run, best first; the first, unmeasured round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if turn:
                seconds[name].append(clock() - start)
    return {name: sorted(values) for name, values in seconds.items()}


def show(title: str, seconds: dict[str, list[float]], notes: dict[str, str]) -> None:
    """Print one table; the first row is the yardstick."""
    yardstick = next(iter(seconds.values()))[0]
    print(f"\n{title}")
    print(f"{'form':<16}{'best':>11}{'median':>11}{'ratio':>9}   note")
    for name, values in seconds.items():
        best, median = (f"{1000 * s:.1f} ms" for s in (values[0], statistics.median(values)))
        ratio = f"{yardstick / values[0]:.2f}x"
        print(f"{name:<16}{best:>11}{median:>11}{ratio:>9}   {notes.get(name, '')}")


def embedding_run(
    form: Callable[[nn.Module, Tensor], Tensor], model: nn.Module, x: Tensor, *, amp: bool
) -> Callable[[], Tensor]:
    """A function that embeds ``x`` and waits for the device; the model is in eval mode already."""

    def run() -> Tensor:
        with torch.no_grad(), autocast(x.device, enabled=amp):
            return form(model, x).cpu()

    return run


def training_run(
    model: nn.Module,
    loss: Callable[[], Tensor],
    *,
    device: torch.device,
    amp: bool,
    update: Callable[[], object] | None = None,
) -> Callable[[], None]:
    """A function that does a training step and waits for the device.

    Args:
        model: in training mode, on the device.
        loss: forward pass and loss; under ``amp`` in mixed precision.
        update: what follows the backward pass (clipping, the optimizer); None: nothing.
    """

    def run() -> None:
        model.zero_grad(set_to_none=True)
        with autocast(device, enabled=amp):
            value = loss()
        value.backward()
        if update is not None:
            update()
        value.detach().cpu()  # waits for all that was asked of the device before

    return run


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status")  # Linux
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    # On Linux this would count what the process held that started this one.
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def in_own_process(
    module: str, arguments: Iterable[object], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run ``python -m module arguments`` in a fresh process; what its last line says in JSON.

    Args:
        module: a benchmark.
        arguments: of its command line.
        environment: variables beside those of this process.

    Raises:
        subprocess.CalledProcessError: the process failed; its ``stderr`` says why.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    output = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **(environment or {})},
    ).stdout
    return json.loads(output.splitlines()[-1])


def network_parser(description: str) -> argparse.ArgumentParser:
    """The options of every benchmark of a network."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--only", choices=["embed", "train"], help="default: both")
    add("--batch", type=int, default=64, help="items of a training batch (default: 64)")
    add("--device", default="cpu", help="auto, cpu (default), cuda, cuda:N or mps")
    add("--threads", type=int, help="default: all cores")
    add("--clock", choices=sorted(CLOCKS), default="wall", help="cpu: time of all threads")
    return parser


def tunes_to_play(description: str, *, versions: int) -> tuple[list[Tune], argparse.Namespace]:
    """Read the command line of a benchmark that plays tunes; the tunes and its options.

    Args:
        description: of the benchmark.
        versions: how many are played unless the person says otherwise.

    Raises:
        UserError: there is no such file of tunes.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--tunes", required=True, help="file of tunes (JSON)")
    parser.add_argument("--versions", type=int, default=versions, help=f"default: {versions}")
    parser.add_argument("--clock", choices=sorted(CLOCKS), default="wall")
    options = parser.parse_args()
    return load_tunes(options.tunes)[: options.versions], options
