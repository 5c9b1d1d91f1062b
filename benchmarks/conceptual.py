"""What early stops look like, and what each stage is worth.

``python -m benchmarks.conceptual FOLDER --model convdraw -o sheet.webp --json stages.json`` draws
some images of a folder as files that end after a third, two thirds and all of the model's stages,
with what is missing filled by the prior's mean and by a sample of it (without and with the prior's
variance, as figures of Gregor et al. 2016 do), beside JPEG and JPEG 2000 of the same bytes. Files
are really written and decoded. The table gives the mean PSNR of all images after every stage.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from rich.progress import track

import codec
from benchmarks.bench.images import (
    Cell,
    contact_sheet,
    folder_parser,
    piece,
    read_rgb,
    save_sheet,
    spread,
)
from benchmarks.bench.sizes import RIVALS, rival
from models.metrics.psnr import psnr
from models.names import MODEL_IDS, stages_at
from models.training.anchors import decode_rgb
from models.training.hardware import machine

#: Side of the square shown of each image, in pixels.
_CROP = 256


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
    shown = {
        f"fill {fill}": (np.array(codec.decode(data, fill=fill, seed=1)), len(data))
        for fill in ("mean", "sample")
    }
    for name, title in RIVALS.items():
        coded, _ = rival(name, rgb, len(data))
        shown[title] = decode_rgb(coded), len(coded)
    return shown


def sheet(
    images: list[tuple[str, np.ndarray]], model: str, quality: int
) -> tuple[Image.Image, list[Stop]]:
    """One row per image and stop, the original at the left of the first."""
    count = sum(stages_at(model, quality))
    ends = sorted({max(1, round(count / 3)), max(1, round(2 * count / 3)), count})
    rows: list[list[Cell]] = []
    stops = []
    for name, rgb in track(images, description="drawing"):
        for stages in ends:
            data = codec.encode(rgb, model=model, quality=quality, stages=stages)
            shown = pictures(rgb, data)
            values = {heading: psnr(rgb, picture) for heading, (picture, _) in shown.items()}
            first = stages == ends[0]
            row: list[Cell] = [(name[:32], piece(rgb, _CROP, _CROP)) if first else ("", None)]
            for heading, (picture, size) in shown.items():
                what = f"{heading}, {stages}/{count}" if heading.startswith("fill") else heading
                title = f"{what}: {size} B, {values[heading]:.1f} dB"
                row.append((title, piece(picture, _CROP, _CROP)))
            rows.append(row)
            sizes = {h: size for h, (_, size) in shown.items() if not h.startswith("fill")}
            rounded = {heading: round(value, 2) for heading, value in values.items()}
            stops.append(Stop(name, stages, len(data), rounded, sizes))
    return contact_sheet(rows), stops


def stage_table(
    images: list[tuple[str, np.ndarray]], model: str, quality: int
) -> list[dict[str, float]]:
    """Mean PSNR after every stage, and the share of images that it improves."""
    counts = range(1, sum(stages_at(model, quality)) + 1)
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
    parser = folder_parser("conceptual", __doc__)
    parser.add_argument("--model", choices=list(MODEL_IDS), default="ssvae")
    parser.add_argument("--quality", type=int, default=30)
    parser.add_argument("--count", type=int, default=4, help="images on the sheet")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the sheet, .webp or .png")
    parser.add_argument("--json", type=Path, help="figures, with the table of stages")
    options = parser.parse_args(arguments)
    images = [(path.name, read_rgb(path)) for path in options.files]
    picture, stops = sheet(spread(images, options.count), options.model, options.quality)
    save_sheet(picture, options.output)
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
