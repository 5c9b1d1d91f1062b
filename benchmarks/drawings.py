"""What the layers of ``ssvae-sketch`` show.

``python -m benchmarks.drawings FOLDER -o sheet.webp`` codes some images of a folder and draws,
one row for each: the original; the drawing that u holds (a quarter of the size, enlarged); the
picture that the prior's mean, then a sample of it, makes of that drawing; u and z1; all layers.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

import codec
from models.metrics.psnr import psnr
from models.training.anchors import decode_rgb
from models.training.data import IMAGE_SUFFIXES

MODEL = "ssvae-sketch"
_CELL, _LINE = 384, 16


def row(rgb: np.ndarray, quality: int) -> list[tuple[str, Image.Image]]:
    """The pictures of one image with their titles."""
    data = codec.encode(rgb, model=MODEL, quality=quality)
    ends = [layer.end for layer in codec.info(data).layers]
    drawing = codec.decode(data, layers=1, scale=4)
    height, width = rgb.shape[:2]
    shown = [
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
        shown.append((f"{title}: {figures}", picture))
    return shown


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drawings",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", type=int, default=60)
    parser.add_argument("--count", type=int, default=4, help="images on the sheet")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the sheet, .webp or .png")
    options = parser.parse_args(arguments)
    files = sorted(p for p in options.folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    chosen = np.linspace(0, len(files) - 1, min(options.count, len(files))).astype(int)
    canvas = Image.new("RGB", (6 * _CELL, len(chosen) * (_CELL + _LINE)), "white")
    draw = ImageDraw.Draw(canvas)
    for index, number in enumerate(chosen):
        rgb = decode_rgb(files[number].read_bytes())
        top = index * (_CELL + _LINE)
        for column, (title, picture) in enumerate(row(rgb, options.quality)):
            picture.thumbnail((_CELL, _CELL), Image.Resampling.LANCZOS)
            canvas.paste(picture, (column * _CELL, top + _LINE))
            draw.text((column * _CELL + 3, top + 2), title, fill="black")
    buffer = io.BytesIO()
    form = "WEBP" if options.output.suffix == ".webp" else "PNG"
    canvas.save(buffer, form, **({"quality": 80, "method": 6} if form == "WEBP" else {}))
    options.output.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
