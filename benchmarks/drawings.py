"""What the layers of ``ssvae-sketch`` show.

``python -m benchmarks.drawings FOLDER -o sheet.webp`` codes some images of a folder and draws,
one row for each: the original; the drawing that u holds (a quarter of the size, enlarged); the
picture that the prior's mean, then a sample of it, makes of that drawing; u and z1; all layers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

import codec
from benchmarks.bench.images import (
    Cell,
    contact_sheet,
    folder_parser,
    read_rgb,
    save_sheet,
    spread,
)
from models.metrics.psnr import psnr

MODEL = "ssvae-sketch"
_CELL = 384


def row(rgb: np.ndarray, quality: int) -> list[Cell]:
    """The pictures of one image with their titles."""
    data = codec.encode(rgb, model=MODEL, quality=quality)
    ends = [layer.end for layer in codec.info(data).layers]
    drawing = codec.decode(data, layers=1, scale=4)
    height, width = rgb.shape[:2]
    pictures = [
        ("original", Image.fromarray(rgb)),
        (f"drawing in u: {ends[0]} B", drawing.resize((width, height), Image.Resampling.BICUBIC)),
    ]
    for title, layers, fill in (
        ("u, mean", 1, "mean"),
        ("u, sample", 1, "sample"),
        ("u + z1", 2, "mean"),
        ("all layers", 3, "mean"),
    ):
        picture = codec.decode(data, layers=layers, fill=fill, temperature=0.7, seed=2)
        figures = f"{ends[layers - 1]} B, {psnr(rgb, np.array(picture)):.1f} dB"
        pictures.append((f"{title}: {figures}", picture))
    for _, picture in pictures:
        picture.thumbnail((_CELL, _CELL), Image.Resampling.LANCZOS)
    return list(pictures)


def main(arguments: list[str] | None = None) -> None:
    parser = folder_parser("drawings", __doc__)
    parser.add_argument("--quality", type=int, default=60)
    parser.add_argument("--count", type=int, default=4, help="images on the sheet")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the sheet, .webp or .png")
    options = parser.parse_args(arguments)
    rows = [row(read_rgb(path), options.quality) for path in spread(options.files, options.count)]
    save_sheet(contact_sheet(rows), options.output, quality=80)


if __name__ == "__main__":
    main()
