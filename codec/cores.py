"""What of the machine this process may use, told without importing torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cores_allowed() -> int:
    """How many cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def has_gpu() -> bool:
    """Whether there seems to be a GPU. The system is asked where that is quick: importing torch
    takes as long as starting a process."""
    if sys.platform == "linux":
        return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
    import torch

    return torch.cuda.is_available()
