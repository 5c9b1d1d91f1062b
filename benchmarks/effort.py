"""What encoder effort buys: size at equal PSNR, and time.

``python -m benchmarks.effort FOLDER`` encodes images at several qualities and efforts, decodes the
files, and prints the BD-rate of each effort against effort 1 and the median encoding time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import Progress

import codec
from benchmarks.bench.bands import bd_rate
from benchmarks.bench.curves import mean_curves
from benchmarks.bench.points import Point, rounded
from codec.options import DEFAULT_MODEL
from models.metrics.psnr import psnr
from models.training.data import IMAGE_SUFFIXES
from models.training.hardware import machine
from models.weights_file import weights_info

QUALITIES = (15, 40, 65, 90)
EFFORTS = (1, 2, 4, 6, 9)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.effort", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="write points and summary as JSON")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th image")
    parser.add_argument("--limit", type=int, default=0, help="and of these at most so many")
    parser.add_argument("--qualities", type=int, nargs="+", default=QUALITIES)
    parser.add_argument("--efforts", type=int, nargs="+", default=EFFORTS)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    files = sorted(p for p in options.folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    files = files[:: options.every][: options.limit or None]
    if not files:
        parser.error(f"{options.folder} holds no images")
    points: list[Point] = []
    seconds: dict[int, list[float]] = {effort: [] for effort in options.efforts}
    with Progress(transient=True) as progress:
        total = len(files) * len(options.qualities) * len(options.efforts)
        task = progress.add_task("encoding", total=total)
        for path in files:
            with Image.open(path) as image:
                rgb = np.array(image.convert("RGB"))
            megapixels = rgb.shape[0] * rgb.shape[1] / 1e6
            for quality in options.qualities:
                for effort in options.efforts:
                    begin = time.perf_counter()
                    result = codec.encode_detailed(
                        rgb, quality=quality, effort=effort, device=options.device
                    )
                    seconds[effort].append((time.perf_counter() - begin) / megapixels)
                    shown = np.array(codec.decode(result.data, device=options.device))
                    name = f"effort {effort}"
                    points.append(Point(path.name, name, quality, result.bpp, psnr(rgb, shown)))
                    progress.advance(task)
    table = mean_curves(points, "psnr")
    first = table[f"effort {options.efforts[0]}"]
    rows = []
    print(f"{len(files)} images, qualities {options.qualities}, {machine()}")
    print("effort  BD-rate   s per megapixel (median)")
    for effort in options.efforts:
        rate = bd_rate(first, table[f"effort {effort}"])
        percent = "      –" if rate is None else f"{rate:+6.1f}%"
        time_needed = statistics.median(seconds[effort])
        rows.append({"effort": effort, "bd_rate_percent": rate, "seconds_per_mpx": time_needed})
        print(f"{effort:6d}  {percent}   {time_needed:.2f}")
    if options.output:
        result_ = {
            "images": [path.name for path in files],
            "model": DEFAULT_MODEL,
            "weights": weights_info(DEFAULT_MODEL).fingerprint.hex(),
            "machine": machine(),
            "device": options.device,
            "efforts": rows,
            "points": [rounded(point) for point in points],
        }
        options.output.write_text(json.dumps(result_, indent=1) + "\n")


if __name__ == "__main__":
    main()
