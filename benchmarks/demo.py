"""``make demo``: one photograph, three layers, beside JPEG and JPEG 2000 of the same sizes."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

import codec
from benchmarks.bench.images import PHOTOGRAPH, Cell, contact_sheet, piece, read_rgb, save_sheet
from benchmarks.bench.sizes import RIVALS, rival
from models.metrics.psnr import psnr
from models.training.anchors import decode_rgb

_SUFFIXES = {"jpeg": "jpg", "jpeg2000": "j2k"}
#: What is stored after 1, 2 and 3 layers.
_STORED = ("u", "u + z1", "u + z1 + z2")
#: The part of the pictures that the sheet shows: its middle and its size, in shares.
_MIDDLE, _PART = (0.4685, 0.6045), (0.417, 0.469)


def _part(rgb: np.ndarray) -> np.ndarray:
    width, height = (int(share * n) for share, n in zip(_PART, rgb.shape[1::-1], strict=True))
    return piece(rgb, height, width, x=_MIDDLE[0], y=_MIDDLE[1])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument("image", nargs="?", type=Path, default=PHOTOGRAPH)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo_output"))
    parser.add_argument("-q", "--quality", type=int, default=50)
    options = parser.parse_args(arguments)
    out = options.output
    out.mkdir(parents=True, exist_ok=True)
    rgb = read_rgb(options.image)
    pixels = rgb.shape[0] * rgb.shape[1]
    Image.fromarray(rgb).save(out / "original.png")
    ours: list[Cell] = []
    beside: list[Cell] = []
    table = Table("layers", "bytes", "bpp", "PSNR", "JPEG", "JPEG 2000", title=options.image.name)
    for layers in (1, 2, 3):
        data = codec.encode(rgb, layers=layers, quality=options.quality)
        (out / f"layers{layers}.cci").write_bytes(data)
        shown = np.array(codec.decode(data).convert("RGB"))
        Image.fromarray(shown).save(out / f"layers{layers}.png")
        row = [str(layers), str(len(data)), f"{8 * len(data) / pixels:.3f}"]
        row.append(f"{psnr(rgb, shown):.2f} dB")
        ours.append((f"{_STORED[layers - 1]}: {len(data)} bytes", _part(shown)))
        for name, title in RIVALS.items():
            coded, fits = rival(name, rgb, len(data))
            if fits:
                path = out / f"layers{layers}_same_size.{_SUFFIXES[name]}"
                path.write_bytes(coded)
                picture = decode_rgb(coded)
                Image.fromarray(picture).save(out / f"{path.stem}_{_SUFFIXES[name]}.png")
                row.append(f"{psnr(rgb, picture):.2f} dB, {len(coded)} bytes")
                cell: Cell = (f"{title}: {len(coded)} bytes", _part(picture))
            else:
                row.append("cannot be so small")
                grey = np.full_like(_part(rgb), 0xDD)
                cell = (f"{title}: cannot be so small", grey)
            beside += [cell] if name == "jpeg" else []
        table.add_row(*row)
    save_sheet(contact_sheet([ours, beside], line=21), out / "layers.webp", quality=92)
    Console().print(table)
    print(f"Pictures and files are in {out.resolve()}")


if __name__ == "__main__":
    main()
