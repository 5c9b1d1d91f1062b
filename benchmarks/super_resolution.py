"""Super-resolution beside interpolation: PSNR, SSIMULACRA2 and time.

``python -m benchmarks.super_resolution FOLDER…`` makes images smaller (the average of 2×2 or 4×4
pixels, or Pillow's bicubic and Lanczos reductions), enlarges them again, and compares with the
original. *Back-projection* is the first step of ours alone: what it gives without any model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from benchmarks.bench.images import image_files, piece, read_rgb
from benchmarks.bench.metrics import psnr, ssimulacra2
from codec.generation import FACTORS, upscale
from codec.generation.projection import enlarge
from models.training.hardware import machine

Methods = dict[str, Callable[[np.ndarray, int], np.ndarray]]

#: Reductions by name; the model's small pictures are averages.
REDUCTIONS = {
    "average": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Row:
    """One image, reduced and enlarged."""

    image: str
    factor: int
    reduction: str
    method: str
    psnr: float
    ssimulacra2: float
    seconds_per_mpx: float
    """Wall time per megapixel of the enlarged picture: means something on an idle machine only."""


def resized(rgb: np.ndarray, size: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    """The image at height × width."""
    return np.array(Image.fromarray(rgb).resize((size[1], size[0]), how))


def middle(rgb: np.ndarray, side: int) -> np.ndarray:
    """The middle of an image, with sides of at most ``side`` and multiples of 4."""
    height, width = (min(side, length) // 4 * 4 for length in rgb.shape[:2])
    return piece(rgb, height, width)


def back_projected(small: np.ndarray, factor: int) -> np.ndarray:
    """The enlargement that ours begins with."""
    pixels = torch.from_numpy(small).permute(2, 0, 1)
    return enlarge(pixels, factor, 5).permute(1, 2, 0).contiguous().numpy()


def enlargements(model: str, device: str) -> Methods:
    """Enlargements by name: small picture and factor → large picture, uint8 H×W×3."""

    def pillow(how: Image.Resampling) -> Callable[[np.ndarray, int], np.ndarray]:
        return lambda small, factor: resized(
            small, (small.shape[0] * factor, small.shape[1] * factor), how
        )

    def ours(small: np.ndarray, factor: int) -> np.ndarray:
        return np.array(upscale(small, factor=factor, model=model, device=device))

    return {
        "bicubic": pillow(Image.Resampling.BICUBIC),
        "Lanczos": pillow(Image.Resampling.LANCZOS),
        "back-projection": back_projected,
        model: ours,
    }


def measure(name: str, rgb: np.ndarray, factor: int, reduction: str, methods: Methods) -> list[Row]:
    """All methods on one image."""
    size = rgb.shape[0] // factor, rgb.shape[1] // factor
    small = resized(rgb, size, REDUCTIONS[reduction])
    rows = []
    for method, work in methods.items():
        started = time.perf_counter()
        large = work(small, factor)
        seconds = (time.perf_counter() - started) / (rgb.shape[0] * rgb.shape[1] / 1e6)
        quality = round(psnr(rgb, large), 3), round(ssimulacra2(rgb, large), 3)
        rows.append(Row(name, factor, reduction, method, *quality, round(seconds, 3)))
    return rows


def summary(rows: list[Row]) -> list[dict]:
    """Means over images, by factor, reduction and method, and how often bicubic is beaten."""
    groups: dict[tuple[int, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.factor, row.reduction, row.method), []).append(row)
    lines = []
    for (factor, reduction, method), members in groups.items():
        bicubic = groups[factor, reduction, "bicubic"]
        pairs = list(zip(members, bicubic, strict=True))
        lines.append(
            {
                "factor": factor,
                "reduction": reduction,
                "method": method,
                "psnr": round(statistics.fmean(row.psnr for row in members), 2),
                "ssimulacra2": round(statistics.fmean(row.ssimulacra2 for row in members), 2),
                "psnr_above_bicubic": sum(a.psnr > b.psnr for a, b in pairs),
                "ssimulacra2_above_bicubic": sum(a.ssimulacra2 > b.ssimulacra2 for a, b in pairs),
                "images": len(members),
                "seconds_per_mpx": round(statistics.median(r.seconds_per_mpx for r in members), 2),
            }
        )
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.super_resolution",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", type=image_files, nargs="+", metavar="FOLDER")
    parser.add_argument("-o", "--output", type=Path, help="write figures as JSON")
    parser.add_argument("--model", default="ssvae")
    parser.add_argument("--every", type=int, default=1, help="take every Nth image")
    parser.add_argument(
        "--side", type=int, default=512, help="of the middle that is cut out, at most"
    )
    parser.add_argument("--factors", type=int, nargs="+", choices=FACTORS, default=FACTORS)
    parser.add_argument(
        "--reductions", nargs="+", choices=list(REDUCTIONS), default=list(REDUCTIONS)
    )
    parser.add_argument("--device", default="auto")
    options = parser.parse_args(arguments)
    methods = enlargements(options.model, options.device)
    sets = {}
    for index, every in enumerate(options.folders):
        files = every if index else every[:: options.every]
        name = files[0].parent.name
        rows = []
        for path in track(files, description=name):
            rgb = middle(read_rgb(path), options.side)
            for factor in options.factors:
                for reduction in options.reductions:
                    rows += measure(path.name, rgb, factor, reduction, methods)
        sets[name] = {"summary": summary(rows), "rows": [asdict(row) for row in rows]}
        print(f"{name}: {len(files)} images")
        for line in sets[name]["summary"]:
            print(
                f"  ×{line['factor']} {line['reduction']:8} {line['method']:16}"
                f" {line['psnr']:6.2f} dB {line['ssimulacra2']:7.2f}"
                f" {line['seconds_per_mpx']:7.2f} s/Mpx"
            )
    if options.output:
        result = {"machine": machine(), "side": options.side, "sets": sets}
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
