"""Very few bits: first layers of our models beside JPEG and JPEG 2000 of the same bytes.

``python -m benchmarks.equal_bits FOLDER -o sheet.webp --json figures.json`` codes each image of a
folder in at most ``--bpp`` bits per pixel with one and two layers of each model, fills what is
missing by the prior's mean and by samples of it, and compares by SSIMULACRA2 and PSNR with the
best JPEG and JPEG 2000 of at most those bytes. Where even the smallest JPEG is larger, that one is
taken. The sheet shows some of the photographs, and 64×64 images reduced from them in
``--small-bpp``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

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
from benchmarks.bench.metrics import ssimulacra2
from benchmarks.bench.runner import in_processes
from benchmarks.bench.sizes import RIVALS, rival
from codec.errors import TargetError
from models.metrics.psnr import psnr
from models.training.anchors import decode_rgb
from models.training.hardware import machine

#: Fills that are compared: option ``fill`` and ``temperature`` of :func:`codec.decode`.
FILLS = {"mean": ("mean", 1.0), "sample 0.5": ("sample", 0.5), "sample": ("sample", 1.0)}
_CELL = 256


@dataclass
class Shown:
    """One picture of one image."""

    pixels: np.ndarray
    bytes: int
    psnr: float
    ssimulacra2: float


@dataclass
class Compared:
    """All pictures of one image, by the name of what made them."""

    image: str
    width: int
    height: int
    pictures: dict[str, Shown] = field(default_factory=dict)

    def add(self, name: str, rgb: np.ndarray, pixels: np.ndarray, size: int) -> None:
        score = ssimulacra2(rgb, pixels)
        self.pictures[name] = Shown(pixels, size, psnr(rgb, pixels), score)

    def figures(self) -> dict:
        """What is kept of it: bytes, PSNR, SSIMULACRA2 of each picture."""
        return {
            "image": self.image,
            "pixels": self.width * self.height,
            "pictures": {
                name: {
                    "bytes": shown.bytes,
                    "psnr": round(shown.psnr, 2),
                    "ssimulacra2": round(shown.ssimulacra2, 2),
                }
                for name, shown in self.pictures.items()
            },
        }


def compare(image: tuple[str, np.ndarray], *, models: list[str], bpp: float) -> Compared:
    """Code one image in every way. Rivals get the bytes of the largest of our files."""
    name, rgb = image
    height, width = rgb.shape[:2]
    compared = Compared(name, width, height)
    largest = 0
    for model in models:
        for layers in (1, 2):
            try:
                data = codec.encode(rgb, model=model, layers=layers, target_bpp=bpp)
            except TargetError:
                continue  # not so few bits: other numbers of layers may do
            largest = max(largest, len(data))
            for fill, (kind, temperature) in FILLS.items():
                picture = codec.decode(data, fill=kind, temperature=temperature, seed=1)
                title = f"{model} u{'+z1' * (layers - 1)} {fill}"
                compared.add(title, rgb, np.array(picture), len(data))
    for rival_name, title in RIVALS.items():
        data, _ = rival(rival_name, rgb, largest)
        compared.add(title, rgb, decode_rgb(data), len(data))
    return compared


def summary(compared: list[Compared]) -> dict[str, dict[str, float]]:
    """Per way of ours: how many images it reached, means, and the share that beats each rival.

    Images whose bits did not suffice for it count as lost.
    """
    rivals = list(RIVALS.values())
    names = sorted({n for c in compared for n in c.pictures if n not in rivals})
    rows = {}
    for name in [*names, *rivals]:
        own = [c.pictures[name] for c in compared if name in c.pictures]
        row = {
            "images": float(len(own)),
            "bytes": float(np.mean([s.bytes for s in own])),
            "psnr": float(np.mean([s.psnr for s in own])),
            "ssimulacra2": float(np.mean([s.ssimulacra2 for s in own])),
        }
        for other in rivals:
            if name not in rivals:
                wins = sum(
                    c.pictures[name].ssimulacra2 > c.pictures[other].ssimulacra2
                    for c in compared
                    if name in c.pictures
                )
                row[f"beats {other}"] = wins / len(compared)
        rows[name] = {key: round(value, 3) for key, value in row.items()}
    return rows


def print_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    print(f"\n{title}")
    columns = ("images", "bytes", "psnr", "ssimulacra2", "beats JPEG", "beats JPEG 2000")
    print(f"{'':28}" + "".join(f"{c:>16}" for c in columns))
    for name, row in rows.items():
        cells = (f"{row[c]:16.2f}" if c in row else " " * 16 for c in columns)
        print(f"{name:28}" + "".join(cells))


def reduced(rgb: np.ndarray, side: int = 64) -> np.ndarray:
    """The middle square of an image, reduced to ``side`` pixels."""
    length = min(rgb.shape[:2])
    top, left = ((n - length) // 2 for n in rgb.shape[:2])
    square = Image.fromarray(rgb[top : top + length, left : left + length])
    return np.array(square.resize((side, side), Image.Resampling.BOX))


def sheet(photographs: list[tuple[np.ndarray, Compared]], models: list[str]) -> Image.Image:
    """One row per image: the original, then u and u+z1 of each model, then the rivals."""
    fills = ("mean", "sample")
    ours = [f"{m} {part} {fill}" for m in models for part in ("u", "u+z1") for fill in fills]

    def shown(rgb: np.ndarray) -> Image.Image:
        cut = Image.fromarray(piece(rgb, _CELL, _CELL))
        if max(cut.size) < _CELL:
            cut = cut.resize((_CELL, _CELL), Image.Resampling.NEAREST)
        return cut

    rows: list[list[Cell]] = []
    for rgb, compared in photographs:
        row: list[Cell] = [(compared.image[:36], shown(rgb))]
        for name in [*ours, *RIVALS.values()]:
            picture = compared.pictures.get(name)
            if picture is None:
                row.append(("", None))
            else:
                bits = f"{8 * picture.bytes} bits, {picture.ssimulacra2:.0f}"
                row.append((f"{name}: {bits}", shown(picture.pixels)))
        rows.append(row)
    return contact_sheet(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = folder_parser("equal_bits", __doc__)
    parser.add_argument("--models", nargs="+", default=["ssvae", "convdraw"])
    parser.add_argument("--bpp", type=float, default=0.1, help="of photographs")
    parser.add_argument("--small-bpp", type=float, default=1.0, help="of 64×64 images")
    parser.add_argument("--count", type=int, default=4, help="images of each kind on the sheet")
    parser.add_argument("--limit", type=int, default=0, help="only the first N images; 0: all")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the sheet, .webp or .png")
    parser.add_argument("--json", type=Path, required=True, help="figures")
    options = parser.parse_args(arguments)
    files = options.files[: options.limit or None]
    images = [(path.name, read_rgb(path)) for path in files]
    small = [(f"{name} 64×64", reduced(rgb)) for name, rgb in images]
    result: dict = {"machine": machine(), "models": options.models}
    rows = []
    for kind, those, bpp in (
        ("photographs", images, options.bpp),
        ("64×64", small, options.small_bpp),
    ):
        work = partial(compare, models=options.models, bpp=bpp)
        compared = list(in_processes(work, those, options.workers, f"{bpp} bpp"))
        table = summary(compared)
        print_table(f"{kind}, at most {bpp} bpp", table)
        every = [c.figures() for c in compared]
        result[kind] = {"bpp": bpp, "summary": table, "images": every}
        pairs = [(rgb, own) for (_, rgb), own in zip(those, compared, strict=True)]
        rows += spread(pairs, options.count)
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    save_sheet(sheet(rows, options.models), options.output, quality=88)


if __name__ == "__main__":
    main()
