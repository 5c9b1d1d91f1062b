"""What progressive decoding costs: time to the first frame, and all frames against one decode.

    python -m benchmarks.progressive [--megapixels 12] [--runs 3] [--out FILE.json]

The bundled photograph is enlarged to the size asked for, coded in three layers, and decoded both
ways in turn, the first frame also alone, more often. Times are medians; peak memory is that of a
process of its own, its import and a small decode taken off. Linux only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import time
from pathlib import Path

import torch
from PIL import Image

import codec
from benchmarks.bench.images import PHOTOGRAPH
from models.training.hardware import machine, seconds_of

QUALITY = 50


def make_file(megapixels: float) -> tuple[bytes, tuple[int, int]]:
    """A three-layer file of a 4:3 picture, and its width and height."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    size = width, round(width * 3 / 4)
    with Image.open(PHOTOGRAPH) as image:
        large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    return codec.encode(large, quality=QUALITY), size


def seconds_of_frames(data: bytes) -> list[float]:
    """Seconds until each frame, and until the end."""
    started = time.perf_counter()
    return [time.perf_counter() - started for _ in codec.progressive(data)]


def peak_megabytes(data: bytes, small: bytes, progressively: bool) -> float:
    """Peak memory that the decode adds. Runs in a process of its own."""
    codec.decode(small)
    before = _peak()
    for _ in codec.progressive(data) if progressively else [codec.decode(data)]:
        pass
    return _peak() - before


def _peak() -> float:
    """Largest resident size so far, MB. (getrusage would count the parent's on Linux.)"""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(megapixels: float, runs: int, threads: int) -> dict:
    """All figures; see the module's description."""
    torch.set_num_threads(threads)
    data, size = make_file(megapixels)
    small, _ = make_file(0.1)
    codec.decode(small)
    first = [seconds_of(lambda: next(codec.progressive(data))) for _ in range(4 * runs)]
    frames, full = [], []
    for _ in range(runs):
        frames.append(seconds_of_frames(data))
        full.append(seconds_of(lambda: codec.decode(data)))
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peaks = [pool.apply(peak_megabytes, (data, small, way)) for way in (True, False)]
    times = [statistics.median(column) for column in zip(*frames, strict=True)]
    return {
        "size": size,
        "bytes": len(data),
        "machine": machine(),
        "threads": threads,
        "runs": runs,
        "seconds_to_first_frame": round(statistics.median(first), 3),
        "seconds_to_first_frame_best": round(min(first), 3),
        "seconds_to_frame": {
            name: round(t, 3) for name, t in zip(("y1", "y2", "x"), times, strict=False)
        },
        "seconds_all_frames": round(times[-1], 3),
        "seconds_one_decode": round(statistics.median(full), 3),
        "time_ratio": round(times[-1] / statistics.median(full), 3),
        "peak_mb_all_frames": round(peaks[0]),
        "peak_mb_one_decode": round(peaks[1]),
        "memory_ratio": round(peaks[0] / max(peaks[1], 1.0), 3),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    options = parser.parse_args(arguments)
    text = json.dumps(measure(options.megapixels, options.runs, options.threads), indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
