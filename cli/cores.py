"""How many threads a command takes where nobody says: no more than there are cores to be had.

The threads of one operation wait for each other. Two on a machine whose cores are busy took 11 s
for what one did in 1.8.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_STATISTICS = Path("/proc/stat")
#: Looks at the machine, so that what runs for a moment counts for nothing, and seconds between.
_LOOKS, _PAUSE = 4, 0.005


def sensible_threads() -> int | None:
    """Cores that nothing else is using now, at least one; None: leave it to torch, since all are
    free, the environment says how many, or the system does not tell (only Linux does)."""
    if "OMP_NUM_THREADS" in os.environ or not _STATISTICS.exists():
        return None
    others = min(_running() for _ in range(_LOOKS)) - 1  # without this process
    mine = len(os.sched_getaffinity(0))
    free = max(1, min(mine, (os.cpu_count() or 1) - others))
    return free if free < mine else None


def _running() -> int:
    """Processes and threads that run or could."""
    time.sleep(_PAUSE)
    for line in _STATISTICS.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "procs_running":
            return int(value)
    return 1
