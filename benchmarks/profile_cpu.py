"""``python -m benchmarks.profile_cpu``: the ten largest costs of encoding and of decoding.

Shares of the time of one 768×512 image on the CPU, by torch's profiler: operators by their own time
(what they call counts for itself). What is left is Python, numpy and the range coder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

import codec
from benchmarks.bench.speed import photograph


def top(work: Callable[[], object], count: int) -> list[tuple[str, float, int]]:
    """(operator, share of the wall time, calls) by falling share; last the time outside torch."""
    work()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        started = time.perf_counter()
        work()
        wall = time.perf_counter() - started
    events = sorted(recorded.key_averages(), key=lambda e: -e.self_cpu_time_total)
    rows = [(e.key, e.self_cpu_time_total / 1e6 / wall, e.count) for e in events]
    outside = 1 - sum(share for _, share, _ in rows)
    return [*rows[:count], ("outside torch", outside, 0)]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile_cpu", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--top", type=int, default=10)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rgb = photograph(0.393216)
    data = codec.encode(rgb, device="cpu")
    for name, work in (
        ("encode", lambda: codec.encode(rgb, device="cpu")),
        ("decode", lambda: codec.decode(data, device="cpu")),
    ):
        print(name)
        for operator, share, calls in top(work, options.top):
            print(
                f"  {share:6.1%}  {operator} ({calls} calls)"
                if calls
                else f"  {share:6.1%}  {operator}"
            )


if __name__ == "__main__":
    main()
