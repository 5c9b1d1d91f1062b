"""What encoder effort buys: size at equal SSIMULACRA2 (or PSNR, by the tuning), and time.

``python -m benchmarks.effort FOLDER`` encodes images at several qualities and efforts, decodes the
files, and prints the BD-rate of each effort against effort 1 and the median encoding time.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from rich.progress import track

from benchmarks.bench.bands import bd_rate
from benchmarks.bench.codecs import Ours
from benchmarks.bench.curves import mean_curves
from benchmarks.bench.images import image_files, read_rgb
from benchmarks.bench.measuring import code_ours
from benchmarks.bench.metrics import ssimulacra2
from benchmarks.bench.points import Point, rounded
from codec.installed import resolve_device
from codec.options import DEFAULT_MODEL
from models.metrics.psnr import psnr
from models.names import MODEL_IDS, tuning_of
from models.training.hardware import machine
from models.weights_file import weights_info

QUALITIES = (15, 40, 65, 90)
EFFORTS = (1, 2, 4, 6, 9)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.effort", description=__doc__)
    parser.add_argument("files", type=image_files, metavar="FOLDER")
    parser.add_argument("-o", "--output", type=Path, help="write points and summary as JSON")
    parser.add_argument("--every", type=int, default=1, help="take every Nth image")
    parser.add_argument("--limit", type=int, default=0, help="and of these the first N")
    parser.add_argument("--qualities", type=int, nargs="+", default=QUALITIES)
    parser.add_argument("--efforts", type=int, nargs="+", default=EFFORTS)
    parser.add_argument("--model", choices=list(MODEL_IDS), default=DEFAULT_MODEL)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    files = options.files[:: options.every][: options.limit or None]
    device = str(resolve_device(options.device))
    measure = "ssimulacra2" if tuning_of(options.model) == "eye" else "psnr"
    points: list[Point] = []
    seconds: dict[int, list[float]] = {effort: [] for effort in options.efforts}
    for path in track(files, "encoding", transient=True):
        rgb = read_rgb(path)
        pixels = rgb.shape[0] * rgb.shape[1]
        for quality in options.qualities:
            for effort in options.efforts:
                ours = Ours(options.model, effort)
                for _, data, (whole,) in code_ours(rgb, ours, [quality], device, cuts=False):
                    seconds[effort].append(whole.encode_seconds / pixels * 1e6)
                    figures = [8 * len(data) / pixels, psnr(rgb, whole.decoded)]
                    if measure == "ssimulacra2":
                        figures.append(ssimulacra2(rgb, whole.decoded))
                    points.append(Point(path.name, f"effort {effort}", quality, *figures))
    table = mean_curves(points, measure)
    first = table[f"effort {options.efforts[0]}"]
    rows = []
    print(f"{len(files)} images, qualities {options.qualities}, {machine()}")
    print(f"effort  BD-rate ({measure})   s per megapixel (median)")
    for effort in options.efforts:
        rate = bd_rate(first, table[f"effort {effort}"])
        percent = "      –" if rate is None else f"{rate:+6.1f}%"
        median = statistics.median(seconds[effort])
        rows.append({"effort": effort, "bd_rate_percent": rate, "seconds_per_mpx": median})
        print(f"{effort:6d}  {percent}   {median:.2f}")
    if options.output:
        result = {
            "images": [path.name for path in files],
            "model": options.model,
            "measure": measure,
            "weights": weights_info(options.model).fingerprint.hex(),
            "machine": machine(),
            "device": options.device,
            "efforts": rows,
            "points": [rounded(point) for point in points],
        }
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
