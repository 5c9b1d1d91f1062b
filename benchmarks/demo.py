"""``make demo``: one photograph, three layers, beside JPEG and JPEG 2000 of the same sizes."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

import codec
from benchmarks.anchors import jpeg2000_of_size, jpeg_of_size
from models.training.anchors import psnr

PHOTOGRAPH = Path(__file__).parent / "images" / "pier.png"


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
    table = Table("layers", "bytes", "bpp", "PSNR", "JPEG", "JPEG 2000", title=options.image.name)
    for layers in (1, 2, 3):
        data = codec.encode(rgb, layers=layers, quality=options.quality)
        (out / f"layers{layers}.cci").write_bytes(data)
        shown = codec.decode(data)
        shown.save(out / f"layers{layers}.png")
        row = [str(layers), str(len(data)), f"{8 * len(data) / pixels:.3f}"]
        row.append(f"{psnr(rgb, np.array(shown.convert('RGB'))):.2f} dB")
        rivals = {"jpg": jpeg_of_size(rgb, len(data)), "j2k": jpeg2000_of_size(rgb, len(data))}
        for suffix, coded in rivals.items():
            if coded is None:
                row.append("cannot be so small")
                continue
            (out / f"layers{layers}_same_size.{suffix}").write_bytes(coded)
            with Image.open(io.BytesIO(coded)) as rival:
                picture = rival.convert("RGB")
            picture.save(out / f"layers{layers}_same_size_{suffix}.png")
            row.append(f"{psnr(rgb, np.array(picture)):.2f} dB, {len(coded)} bytes")
        table.add_row(*row)
    Console().print(table)
    print(f"Pictures and files are in {out.resolve()}")


if __name__ == "__main__":
    main()
