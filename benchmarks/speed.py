"""Encode and decode times on this machine.

``python -m benchmarks.speed`` prints medians after start-up in one process, and the whole command.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import codec
from benchmarks.demo import PHOTOGRAPH
from models.names import MODEL_IDS
from models.training.hardware import machine


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """Median wall time over ``runs`` calls after one warm-up."""
    work()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", choices=list(MODEL_IDS), default="ssvae")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with Image.open(PHOTOGRAPH) as image:
        rgb = np.array(image.convert("RGB"))
    device, model = options.device, options.model
    data = codec.encode(rgb, device=device, model=model)
    result = {
        "machine": machine(),
        "size": f"{rgb.shape[1]}x{rgb.shape[0]}",
        "threads": options.threads,
        "device": device,
        "model": model,
        "encode_seconds": median_seconds(
            lambda: codec.encode(rgb, device=device, model=model), options.runs
        ),
        "decode_seconds": median_seconds(lambda: codec.decode(data, device=device), options.runs),
    }
    with tempfile.TemporaryDirectory() as folder:
        coded = Path(folder) / "a.cci"
        coded.write_bytes(data)
        command = [sys.executable, "-m", "cli.main", "decode", str(coded), "-o", f"{folder}/a.png"]
        result["decode_command_seconds"] = median_seconds(
            lambda: subprocess.run(command, check=True, capture_output=True),
            max(3, options.runs // 3),
        )
    print(json.dumps(result, indent=1))
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
