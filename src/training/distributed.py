"""Training on several processes, one a device, as ``torchrun`` starts them."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from src.device import select_device

# The first process evaluates test sets while the others wait for it.
LONGEST_WAIT = timedelta(hours=24)


@dataclass(frozen=True)
class Team:
    """The processes that train one model together.

    Attributes:
        device: where this process computes.
        rank: number of this process, from 0.
        size: number of processes; with one, every method is local.
    """

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one process that writes files."""
        return self.rank == 0

    def total(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sums over the processes; all must give the same names."""
        if self.size == 1:
            return dict(values)
        names = sorted(values)
        sums = torch.tensor([values[name] for name in names], dtype=torch.float64)
        if self.device.type == "mps":
            raise RuntimeError("several processes need CPUs or CUDA devices")
        sums = sums.to(self.device)
        distributed.all_reduce(sums)
        return dict(zip(names, sums.tolist(), strict=True))

    def share_state(self, model: nn.Module) -> None:
        """Give all processes the buffers (running statistics) of the first."""
        if self.size > 1:
            for buffer in model.buffers():
                distributed.broadcast(buffer, 0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def join_team(device_name: str) -> Iterator[Team]:
    """The team of the ``torchrun`` that started this process; without one, a team of one.

    CUDA processes talk through NCCL, others through Gloo.

    Args:
        device_name: see :func:`src.device.select_device`; ``auto`` and ``cuda`` give every
            process the device of its local number.

    Raises:
        UserError: there is no such device.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    device = select_device(device_name)
    if size == 1 or "RANK" not in os.environ:
        yield Team(device)
        return
    if device.type == "cuda":
        device = select_device(f"{device.type}:{os.environ.get('LOCAL_RANK', '0')}")
        torch.cuda.set_device(device)
    elif device.type == "mps":
        device = select_device("cpu")  # one Apple GPU cannot be shared between processes
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    team = Team(device, distributed.get_rank(), distributed.get_world_size())
    if not team.leads:
        logging.getLogger("src").setLevel(logging.WARNING)  # everything would be said twice
    try:
        yield team
    finally:
        distributed.destroy_process_group()


class LossModule(nn.Module):
    """``model.compute_loss`` as a forward pass, which is what torch's wrappers wrap."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        return self.model.compute_loss(*batch)


def parallel(model: nn.Module, team: Team, *, compiled: bool = False) -> nn.Module:
    """The training form of ``model``: called with chunks and labels, returns the losses.

    With several processes the gradients are averaged over them. Batch statistics are those of
    all processes on CUDA; Gloo has no such batch norm, so on CPUs each process normalises by its
    own batch, and the first one's running statistics count.

    Args:
        model: has ``compute_loss``; its parameters stay the ones that are trained.
        team: the processes.
        compiled: run it through ``torch.compile``.
    """
    if team.size > 1 and team.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    module: nn.Module = LossModule(model)
    if compiled:
        module = torch.compile(module)
    if team.size > 1:
        devices = [team.device] if team.device.type == "cuda" else None
        # The centres have no gradient while their loss is switched off.
        module = nn.parallel.DistributedDataParallel(
            module, device_ids=devices, find_unused_parameters=True
        )
    return module
