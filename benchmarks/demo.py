"""``make demo``: one photograph, three layers, beside JPEG and JPEG 2000 of the same sizes."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.table import Table

import codec
from benchmarks.anchors import jpeg2000_of_size, jpeg_of_size
from models.metrics.psnr import psnr

PHOTOGRAPH = Path(__file__).parent / "images" / "pier.png"


_NAMES = {"jpg": "JPEG", "j2k": "JPEG 2000"}
#: What is stored after so many layers.
_STORED = ("u", "u + z1", "u + z1 + z2")
#: Where the part of the pictures that the sheet shows begins, and its size, in shares of the
#: picture; the height of a line of text.
_BEGIN, _PART, _LINE = (0.26, 0.37), (0.417, 0.469), 24


def sheet(columns: list[tuple[tuple[str, Image.Image | None], ...]]) -> Image.Image:
    """A part of the pictures side by side, their captions above: after each layer, and below it the
    rival of as many bytes, grey where there is none."""
    first = columns[0][0][1]
    assert first is not None
    left, top = (int(share * side) for share, side in zip(_BEGIN, first.size, strict=True))
    width, height = (int(share * side) for share, side in zip(_PART, first.size, strict=True))
    rows = max(map(len, columns))
    canvas = Image.new("RGB", (len(columns) * width, rows * (height + _LINE)), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for x, column in enumerate(columns):
        for y, (caption, picture) in enumerate(column):
            place = x * width, y * (height + _LINE)
            draw.text((place[0] + 4, place[1] + 4), caption, fill="black", font=font)
            shown = Image.new("RGB", (width, height), "#dddddd")
            if picture is not None:
                shown = picture.crop((left, top, left + width, top + height))
            canvas.paste(shown, (place[0], place[1] + _LINE))
    return canvas


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument("image", nargs="?", type=Path, default=PHOTOGRAPH)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo_output"))
    parser.add_argument("-q", "--quality", type=int, default=50)
    options = parser.parse_args(arguments)
    out = options.output
    out.mkdir(parents=True, exist_ok=True)
    with Image.open(options.image) as image:
        rgb = np.array(image.convert("RGB"))
    pixels = rgb.shape[0] * rgb.shape[1]
    Image.fromarray(rgb).save(out / "original.png")
    columns: list[tuple[tuple[str, Image.Image | None], ...]] = []
    table = Table("layers", "bytes", "bpp", "PSNR", "JPEG", "JPEG 2000", title=options.image.name)
    for layers in (1, 2, 3):
        data = codec.encode(rgb, layers=layers, quality=options.quality)
        (out / f"layers{layers}.cci").write_bytes(data)
        shown = codec.decode(data)
        shown.save(out / f"layers{layers}.png")
        row = [str(layers), str(len(data)), f"{8 * len(data) / pixels:.3f}"]
        row.append(f"{psnr(rgb, np.array(shown.convert('RGB'))):.2f} dB")
        rivals = {"jpg": jpeg_of_size(rgb, len(data)), "j2k": jpeg2000_of_size(rgb, len(data))}
        column: list[tuple[str, Image.Image | None]] = []
        column.append((f"{_STORED[layers - 1]}: {len(data)} bytes", shown.convert("RGB")))
        for suffix, coded in rivals.items():
            if coded is None:
                row.append("cannot be so small")
                column.append((f"{_NAMES[suffix]}: cannot be so small", None))
                continue
            (out / f"layers{layers}_same_size.{suffix}").write_bytes(coded)
            with Image.open(io.BytesIO(coded)) as rival:
                picture = rival.convert("RGB")
            picture.save(out / f"layers{layers}_same_size_{suffix}.png")
            column.append((f"{_NAMES[suffix]}: {len(coded)} bytes", picture))
            row.append(f"{psnr(rgb, np.array(picture)):.2f} dB, {len(coded)} bytes")
        table.add_row(*row)
        columns.append(tuple(column[:2]))
    sheet(columns).save(out / "layers.webp", quality=92, method=6)
    Console().print(table)
    print(f"Pictures and files are in {out.resolve()}")


if __name__ == "__main__":
    main()
