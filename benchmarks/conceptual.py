"""What early stops look like, and what each stage is worth.

``python -m benchmarks.conceptual FOLDER --model convdraw -o sheet.webp --json stages.json`` draws
some images of a folder as files that end after a third, two thirds and all of the model's stages,
with what is missing filled by the prior's mean and by a sample of it (without and with the prior's
variance, as figures of Gregor et al. 2016 do), beside JPEG and JPEG 2000 of the same bytes. Files
are really written and decoded. The table gives the mean PSNR of all images after every stage.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.progress import track

import codec
from models.metrics.psnr import psnr
from models.names import MODEL_IDS, STAGES
from models.training.anchors import ANCHORS, decode_rgb
from models.training.data import IMAGE_SUFFIXES
from models.training.hardware import machine

#: Side of the square shown of each image, in pixels.
_CROP = 256
_LINE = 16
_HEADINGS = ("fill mean", "fill sample", "JPEG", "JPEG 2000")


def largest_within(limit: int, coder: Callable[[float], bytes], settings: list[float]) -> bytes:
    """The coded image of the last setting whose size does not exceed ``limit``.

    ``settings`` come with rising size; where even the first exceeds the limit, that one.
    """
    low, high = 0, len(settings)
    best = coder(settings[0])
    while high - low > 1:
        middle = (low + high) // 2
        data = coder(settings[middle])
        if len(data) <= limit:
            low, best = middle, data
        else:
            high = middle
    return best


def rival(name: str, rgb: np.ndarray, limit: int) -> bytes:
    """JPEG or JPEG 2000 of at most so many bytes (or the smallest there is)."""
    coder, _ = ANCHORS[name]
    pixels = rgb.shape[0] * rgb.shape[1]
    settings: list[float] = list(range(1, 101))
    if name == "jpeg2000":
        settings = [8 * limit / pixels * share for share in np.linspace(0.5, 1.05, 56)]
    return largest_within(limit, lambda setting: coder(rgb, setting), settings)


@dataclass
class Stop:
    """One image after some of its stages: bytes, and bytes and PSNR of each picture beside it."""

    image: str
    stages: int
    bytes: int
    psnr: dict[str, float]
    rival_bytes: dict[str, int]


def pictures(rgb: np.ndarray, data: bytes) -> dict[str, tuple[np.ndarray, int]]:
    """The four pictures of one stop with their bytes, by heading."""
    limit = len(data)
    coded = {"JPEG": rival("jpeg", rgb, limit), "JPEG 2000": rival("jpeg2000", rgb, limit)}
    found = {
        f"fill {fill}": (np.array(codec.decode(data, fill=fill, seed=1)), limit)
        for fill in ("mean", "sample")
    }
    return found | {name: (decode_rgb(other), len(other)) for name, other in coded.items()}


def sheet(
    images: list[tuple[str, np.ndarray]], model: str, quality: int
) -> tuple[Image.Image, list[Stop]]:
    """One row per image and stop, the original at the left of the first."""
    count = sum(STAGES[model])
    stops = sorted({max(1, round(count / 3)), max(1, round(2 * count / 3)), count})
    rows = len(images) * len(stops)
    canvas = Image.new("RGB", (5 * _CROP, rows * (_CROP + _LINE)), "white")
    draw = ImageDraw.Draw(canvas)
    found = []

    def place(row: int, column: int, rgb: np.ndarray, text: str) -> None:
        top, left = ((length - _CROP) // 2 for length in rgb.shape[:2])
        cut = rgb[max(0, top) : top + _CROP, max(0, left) : left + _CROP]
        corner = column * _CROP, row * (_CROP + _LINE)
        canvas.paste(Image.fromarray(np.ascontiguousarray(cut)), (corner[0], corner[1] + _LINE))
        draw.text((corner[0] + 3, corner[1] + 2), text, fill="black")

    for index, (name, rgb) in enumerate(track(images, description="drawing")):
        for step, stages in enumerate(stops):
            row = index * len(stops) + step
            data = codec.encode(rgb, model=model, quality=quality, stages=stages)
            shown = pictures(rgb, data)
            if step == 0:
                place(row, 0, rgb, f"{name[:32]}")
            for column, heading in enumerate(_HEADINGS, start=1):
                picture, size = shown[heading]
                decibel = psnr(rgb, picture)
                what = f"{heading}, {stages}/{count}" if column < 3 else heading
                place(row, column, picture, f"{what}: {size} B, {decibel:.1f} dB")
            values = {h: round(psnr(rgb, p), 2) for h, (p, _) in shown.items()}
            sizes = {h: size for h, (_, size) in shown.items() if not h.startswith("fill")}
            found.append(Stop(name, stages, len(data), values, sizes))
    return canvas, found


def stage_table(
    images: list[tuple[str, np.ndarray]], model: str, quality: int
) -> list[dict[str, float]]:
    """Mean PSNR after every stage, and the share of images that it improves."""
    counts = range(1, sum(STAGES[model]) + 1)
    values = np.zeros((len(images), len(counts)))
    for row, (_, rgb) in enumerate(track(images, description="measuring")):
        data = codec.encode(rgb, model=model, quality=quality)
        for column, stages in enumerate(counts):
            values[row, column] = psnr(rgb, np.array(codec.decode(data, stages=stages)))
    rising = np.diff(values, axis=1, prepend=0) > 0
    return [
        {
            "stages": stages,
            "psnr": round(float(values[:, i].mean()), 3),
            "improved": round(float(rising[:, i].mean()), 3),
        }
        for i, stages in enumerate(counts)
    ]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conceptual",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=list(MODEL_IDS), default="ssvae")
    parser.add_argument("--quality", type=int, default=30)
    parser.add_argument("--count", type=int, default=4, help="images on the sheet")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the sheet, .webp or .png")
    parser.add_argument("--json", type=Path, help="figures, with the table of stages")
    options = parser.parse_args(arguments)
    files = sorted(p for p in options.folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    images = [(path.name, decode_rgb(path.read_bytes())) for path in files]
    chosen = [images[i] for i in np.linspace(0, len(images) - 1, options.count).astype(int)]
    picture, stops = sheet(chosen, options.model, options.quality)
    buffer = io.BytesIO()
    form = "WEBP" if options.output.suffix == ".webp" else "PNG"
    picture.save(buffer, form, **({"quality": 90, "method": 6} if form == "WEBP" else {}))
    options.output.write_bytes(buffer.getvalue())
    if options.json is None:
        return
    table = stage_table(images, options.model, options.quality)
    for row in table:
        print(f"stage {row['stages']}: {row['psnr']:.2f} dB, better on {row['improved']:.0%}")
    result = {
        "model": options.model,
        "quality": options.quality,
        "images": len(images),
        "machine": machine(),
        "stages": table,
        "sheet": [vars(stop) for stop in stops],
    }
    options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
