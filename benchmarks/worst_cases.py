"""Where are we worst against JPEG?

``python -m benchmarks.worst_cases RESULTS.json`` reads the points of ``benchmarks.rate_distortion``
and compares, image by image and quality by quality, the bits of ours with those of a JPEG of equal
PSNR. With ``--images FOLDER --sheet OUT.png`` the worst images are drawn, each at its worst
quality: the original, ours, and JPEG at about the same PSNR.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import codec
from models.metrics.psnr import psnr
from models.training.anchors import ANCHORS, decode_rgb

#: Side of the square cut out of each image for the sheet; shown twice as large.
_CROP = 224


@dataclass(frozen=True)
class Comparison:
    """Bits of ours relative to a JPEG of equal PSNR, minus 1."""

    image: str
    quality: int
    psnr: float
    bpp: float
    excess: float


def compare(points: list[dict]) -> list[Comparison]:
    """All images and qualities whose PSNR lies within the range of the image's JPEGs."""
    by_image: dict[str, dict[str, list[tuple[float, float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for p in points:
        by_image[p["image"]][p["codec"]].append((p["psnr"], p["bpp"], p["setting"]))
    found = []
    for image, codecs in by_image.items():
        jpeg = np.array(sorted(codecs["jpeg"]))
        for decibel, bpp, setting in codecs["ours"]:
            if jpeg[0, 0] <= decibel <= jpeg[-1, 0]:
                rival = np.exp(np.interp(decibel, jpeg[:, 0], np.log(jpeg[:, 1])))
                found.append(Comparison(image, int(setting), decibel, bpp, bpp / rival - 1))
    return found


def worst(found: list[Comparison]) -> list[Comparison]:
    """Each image at its worst quality, the worst image first."""
    per_image: dict[str, Comparison] = {}
    for c in found:
        if c.image not in per_image or c.excess > per_image[c.image].excess:
            per_image[c.image] = c
    return sorted(per_image.values(), key=lambda c: -c.excess)


def _jpeg_of_psnr(image: Image.Image, decibel: float) -> tuple[Image.Image, int]:
    """The smallest JPEG that reaches a PSNR, and its bytes."""
    coder, _ = ANCHORS["jpeg"]
    rgb = np.asarray(image)
    for quality in range(5, 101):
        data = coder(rgb, quality)
        shown = decode_rgb(data)
        if psnr(rgb, shown) >= decibel:
            break
    return Image.fromarray(shown), len(data)


def _busiest(image: Image.Image) -> tuple[int, int, int, int]:
    """The square of side ``_CROP`` with the strongest gradients."""
    grey = np.asarray(image.convert("L"), dtype=np.float64)
    energy = np.abs(np.diff(grey, axis=0))[:, :-1] + np.abs(np.diff(grey, axis=1))[:-1]
    corners = [
        (top, left)
        for top in range(0, max(1, grey.shape[0] - _CROP), 32)
        for left in range(0, max(1, grey.shape[1] - _CROP), 32)
    ]
    top, left = max(corners, key=lambda c: energy[c[0] : c[0] + _CROP, c[1] : c[1] + _CROP].sum())
    return left, top, left + _CROP, top + _CROP


def sheet(cases: list[Comparison], folder: Path) -> Image.Image:
    """One row per case: original, ours, JPEG of equal PSNR, with bytes and PSNR."""
    side, line = 2 * _CROP, 22
    canvas = Image.new("RGB", (3 * side, len(cases) * (side + line)), "white")
    draw = ImageDraw.Draw(canvas)
    for row, case in enumerate(cases):
        with Image.open(folder / case.image) as file:
            image = file.convert("RGB")
        data = codec.encode(np.asarray(image), quality=case.quality)
        rival, size = _jpeg_of_psnr(image, case.psnr)
        shown = (
            (image, case.image),
            (
                codec.decode(data),
                f"ours, quality {case.quality}: {len(data)} bytes, {case.psnr:.1f} dB",
            ),
            (rival, f"JPEG of equal PSNR: {size} bytes"),
        )
        for column, (picture, text) in enumerate(shown):
            cut = picture.crop(_busiest(image)).resize((side, side), Image.Resampling.NEAREST)
            canvas.paste(cut, (column * side, row * (side + line) + line))
            draw.text((column * side + 4, row * (side + line) + 4), text, fill="black")
    return canvas


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worst_cases", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--images", type=Path, help="folder of the images measured")
    parser.add_argument("--sheet", type=Path, help="write a picture of the worst cases")
    options = parser.parse_args(arguments)
    found = compare(json.loads(options.results.read_text())["points"])
    ranking = worst(found)
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
