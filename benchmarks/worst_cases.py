"""Where are we worst against JPEG?

``python -m benchmarks.worst_cases RESULTS.json`` reads the points of ``benchmarks.rate_distortion``
and compares, image by image and quality by quality, the bits of ours with those of a JPEG of equal
PSNR. With ``--images FOLDER --sheet OUT.png`` the worst images are drawn, each at its worst
quality: the original, ours, and JPEG at about the same PSNR.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import codec
from benchmarks.bench.checks import Comparison, against_jpeg, worst_of_images
from benchmarks.bench.crops import SIDE, busiest
from benchmarks.bench.images import Cell, contact_sheet, read_rgb
from benchmarks.bench.records import read_points
from models.metrics.psnr import psnr
from models.training.anchors import decode_rgb, encode_jpeg


def _jpeg_of_psnr(rgb: np.ndarray, decibel: float) -> tuple[np.ndarray, int]:
    """The smallest JPEG that reaches a PSNR, and its bytes."""
    for quality in range(5, 101):
        data = encode_jpeg(rgb, quality)
        shown = decode_rgb(data)
        if psnr(rgb, shown) >= decibel:
            break
    return shown, len(data)


def sheet(cases: list[Comparison], folder: Path) -> Image.Image:
    """One row per case: original, ours, JPEG of equal PSNR, with bytes and PSNR."""
    rows = []
    for case in cases:
        rgb = read_rgb(folder / case.image)
        data = codec.encode(rgb, quality=case.quality)
        rival, size = _jpeg_of_psnr(rgb, case.psnr)
        ours = f"ours, quality {case.quality}: {len(data)} bytes, {case.psnr:.1f} dB"
        top, left = busiest(rgb)
        row: list[Cell] = []
        for title, pixels in (
            (case.image, rgb),
            (ours, np.array(codec.decode(data))),
            (f"JPEG of equal PSNR: {size} bytes", rival),
        ):
            cut = pixels[top : top + SIDE, left : left + SIDE]
            row.append((title, cut.repeat(2, axis=0).repeat(2, axis=1)))
        rows.append(row)
    return contact_sheet(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worst_cases", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--images", type=Path, help="folder of the images measured")
    parser.add_argument("--sheet", type=Path, help="write a picture of the worst cases")
    options = parser.parse_args(arguments)
    ranking = worst_of_images(against_jpeg(read_points(options.results)))
    over = sum(case.excess > 0.1 for case in ranking)
    print(f"{over} of {len(ranking)} images are more than 10% larger than JPEG at some quality")
    for case in ranking[: options.count]:
        print(
            f"{case.image}: {case.excess:+.1%} at quality {case.quality} "
            f"({case.bpp:.3f} bpp, {case.psnr:.2f} dB)"
        )
    if options.sheet:
        if options.images is None:
            parser.error("--sheet needs --images")
        picture = sheet(ranking[: options.count], options.images)
        picture.save(options.sheet, lossless=True)  # heeded by WebP


if __name__ == "__main__":
    main()
