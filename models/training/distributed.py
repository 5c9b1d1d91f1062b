"""Several processes, one model: what ``torchrun`` sets up.

Each process draws its own crops (``--batch`` of them) from its own random stream; gradients are
averaged by DistributedDataParallel, so that all processes hold the same weights at all times: they
begin with the first one's, and compute in the number formats that are fastest for it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Processes:
    """This process among its peers. A run without ``torchrun`` is the first of one."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls, device: str) -> tuple[Processes, torch.device]:
        """Meet the other processes if ``torchrun`` started us; returns our device as well."""
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if "WORLD_SIZE" not in os.environ:
            return cls(), torch.device(device)
        cuda = device.startswith("cuda")
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(place)
        if not dist.is_initialized():
            dist.init_process_group("nccl" if cuda else "gloo")
        return cls(dist.get_rank(), dist.get_world_size()), place

    @property
    def first(self) -> bool:
        """Whether this process writes the files and the log."""
        return self.rank == 0

    def agree(self, value: int, device: torch.device) -> int:
        """The first process's value: clocks differ, but all must save and stop together."""
        if self.count == 1:
            return value
        box = torch.tensor([value], device=device)
        dist.broadcast(box, 0)
        return int(box)

    def choose(self, names: Sequence[str], name: str, device: torch.device) -> str:
        """Which of the names the first process has chosen."""
        return names[self.agree(names.index(name), device)]

    def share(self, module: nn.Module) -> None:
        """Give a module the first process's parameters and buffers."""
        if self.count > 1:
            for value in module.state_dict().values():
                box = value.contiguous()  # others than these are not sent
                dist.broadcast(box, 0)
                value.copy_(box)

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        dist.all_gather_object(values, value)
        return values

    def leave(self) -> None:
        """Part from the others at the end of a run."""
        if self.count > 1:
            dist.barrier()
            dist.destroy_process_group()
