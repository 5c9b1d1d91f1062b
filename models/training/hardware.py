"""Times, and the name of the machine they were measured on."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch


def machine() -> str:
    """Processor, number of cores, and GPU where there is one."""
    gpu = torch.cuda.is_available()
    return f"{processor()}, {torch.cuda.get_device_name()}" if gpu else processor()


def processor() -> str:
    """Processor and number of cores."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = [x for x in cpuinfo.read_text().splitlines() if x.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return f"{name}, {os.cpu_count()} cores"


def seconds_of(work: Callable[[], object], device: torch.device | None = None) -> float:
    """Wall time of one call, what it started on a GPU included."""
    started = time.perf_counter()
    work()
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
