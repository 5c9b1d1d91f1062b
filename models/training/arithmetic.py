"""In which number format a step is computed, and which is the fastest on the machine at hand.

On CPUs the order differs: 1×1 convolutions are about twice as fast in bfloat16 where the processor
has instructions for it, depthwise ones often slower, and elsewhere float32 wins throughout.
Likelihoods and the exact priors are float32 in every case.
"""

from __future__ import annotations

import copy
import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
from torch import nn

from models.blocks import Depthwise
from models.training.hardware import seconds_of
from models.training.muon import Muon

TIMED_STEPS = 3


@dataclass(frozen=True)
class Arithmetic:
    """Number formats of one step."""

    bfloat16: bool
    """Autocast analysis and synthesis."""
    depthwise_float32: bool = False
    """… but for their depthwise convolutions."""

    def apply(self, model: nn.Module) -> None:
        """Prepare a model's layers for it."""
        for module in model.modules():
            if isinstance(module, Depthwise):
                module.float32 = self.depthwise_float32


ARITHMETICS = {
    "float32": Arithmetic(bfloat16=False),
    "bfloat16": Arithmetic(bfloat16=True),
    "mixed": Arithmetic(bfloat16=True, depthwise_float32=True),
}


def default_arithmetic(precision: str, device: torch.device) -> Arithmetic:
    """Of a precision's name; ``auto`` is a guess until :func:`fastest` has measured.

    Raises:
        ValueError: no such name.
    """
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" else "mixed"
    if precision not in ARITHMETICS:
        names = ", ".join(("auto", *ARITHMETICS))
        raise ValueError(f"precision {precision!r} is unknown; use one of {names}")
    return ARITHMETICS[precision]


def fastest(candidates: dict[str, Callable[[], object]]) -> tuple[str, dict[str, float]]:
    """The name of the fastest of some pieces of work, and the median seconds of all.

    They run in turns, after one round that does not count: a machine that slows down slows all.
    """
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(1 + TIMED_STEPS):
        for name, work in candidates.items():
            times[name].append(seconds_of(work))
    medians = {name: median(values[1:]) for name, values in times.items()}
    return min(medians, key=medians.__getitem__), medians


#: Formats of the optimizer's matrix products.
MUON_FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def fastest_muon(optimizer: Muon) -> str:
    """Name of the format in which the optimizer's matrix products are fastest here."""
    trial = copy.deepcopy(optimizer)
    for group in trial.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.randn_like(parameter)

    def step(dtype: torch.dtype) -> None:
        trial.dtype = dtype
        trial.step()

    return fastest({name: partial(step, dtype) for name, dtype in MUON_FORMATS.items()})[0]


def keep_freed_memory() -> None:
    """Let the C library keep what is freed (Linux with glibc; elsewhere nothing happens).

    It gives large blocks back to the system at once and gets them again as pages to be cleared,
    which costs a sixth of a step.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        trim_threshold, top_pad, mmap_max = -1, -2, -4
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)
        libc.mallopt(top_pad, 2**28)
