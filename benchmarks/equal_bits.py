"""Very few bits: first layers of our models beside JPEG and JPEG 2000 of the same bytes.

``python -m benchmarks.equal_bits FOLDER -o sheet.webp --json figures.json`` codes each image of a
folder in at most ``--bpp`` bits per pixel with one and two layers of each model, fills what is
missing by the prior's mean and by samples of it, and compares by SSIMULACRA2 and PSNR with the
best JPEG and JPEG 2000 of at most those bytes. Where even the smallest JPEG is larger, that one is
taken. The sheet shows some of the photographs, and 64×64 images reduced from them in
``--small-bpp``.
"""

from __future__ import annotations

import argparse
import io
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from rich.progress import track

import codec
from benchmarks.bench.metrics import ssimulacra2
from benchmarks.conceptual import rival
from codec.errors import TargetError
from models.metrics.psnr import psnr
from models.training.anchors import decode_rgb
from models.training.data import IMAGE_SUFFIXES
from models.training.hardware import machine

#: Fills that are compared: option ``fill`` and ``temperature`` of :func:`codec.decode`.
FILLS = {"mean": ("mean", 1.0), "sample 0.5": ("sample", 0.5), "sample": ("sample", 1.0)}
RIVALS = {"JPEG": "jpeg", "JPEG 2000": "jpeg2000"}
_CELL, _LINE = 256, 16


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


def compare(rgb: np.ndarray, name: str, *, models: list[str], bpp: float) -> Compared:
    """Code one image in every way. Rivals get the bytes of the largest of our files."""
    height, width = rgb.shape[:2]
    found = Compared(name, width, height)
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
                found.add(title, rgb, np.array(picture), len(data))
    for title, coder in RIVALS.items():
        data = rival(coder, rgb, largest)
        found.add(title, rgb, decode_rgb(data), len(data))
    return found


def summary(compared: list[Compared]) -> dict[str, dict[str, float]]:
    """Per way of ours: how many images it reached, means, and the share that beats each rival.

    Images whose bits did not suffice for it count as lost.
    """
    names = sorted({n for c in compared for n in c.pictures if n not in RIVALS})
    rows = {}
    for name in [*names, *RIVALS]:
        own = [c.pictures[name] for c in compared if name in c.pictures]
        row = {
            "images": float(len(own)),
            "bytes": float(np.mean([s.bytes for s in own])),
            "psnr": float(np.mean([s.psnr for s in own])),
            "ssimulacra2": float(np.mean([s.ssimulacra2 for s in own])),
        }
        for other in RIVALS:
            if name not in RIVALS:
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
    names = [*ours, *RIVALS]
    size = ((1 + len(names)) * _CELL, len(photographs) * (_CELL + _LINE))
    canvas = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(canvas)

    def place(row: int, column: int, rgb: np.ndarray, text: str) -> None:
        top, left = (max(0, (n - _CELL) // 2) for n in rgb.shape[:2])
        cut = Image.fromarray(rgb[top : top + _CELL, left : left + _CELL].copy())
        if max(cut.size) < _CELL:
            cut = cut.resize((_CELL, _CELL), Image.Resampling.NEAREST)
        canvas.paste(cut, (column * _CELL, row * (_CELL + _LINE) + _LINE))
        draw.text((column * _CELL + 3, row * (_CELL + _LINE) + 2), text, fill="black")

    for row, (rgb, compared) in enumerate(photographs):
        place(row, 0, rgb, compared.image[:36])
        for column, name in enumerate(names, start=1):
            if (shown := compared.pictures.get(name)) is not None:
                bits = f"{8 * shown.bytes} bits, {shown.ssimulacra2:.0f}"
                place(row, column, shown.pixels, f"{name}: {bits}")
    return canvas


def _compare_named(item: tuple[str, np.ndarray], *, models: list[str], bpp: float) -> Compared:
    torch.set_num_threads(1)
    return compare(item[1], item[0], models=models, bpp=bpp)


def compare_all(
    images: list[tuple[str, np.ndarray]], models: list[str], bpp: float, workers: int
) -> list[Compared]:
    work = partial(_compare_named, models=models, bpp=bpp)
    with ProcessPoolExecutor(workers) as pool:
        return list(track(pool.map(work, images), total=len(images), description=f"{bpp} bpp"))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.equal_bits",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=["ssvae", "convdraw"])
    parser.add_argument("--bpp", type=float, default=0.1, help="of photographs")
    parser.add_argument("--small-bpp", type=float, default=1.0, help="of 64×64 images")
    parser.add_argument("--count", type=int, default=4, help="images of each kind on the sheet")
    parser.add_argument("--limit", type=int, default=0, help="only so many images; 0: all")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the sheet, .webp or .png")
    parser.add_argument("--json", type=Path, required=True, help="figures")
    options = parser.parse_args(arguments)
    files = sorted(p for p in options.folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    images = [(path.name, decode_rgb(path.read_bytes())) for path in files]
    images = images[: options.limit or None]
    small = [(f"{name} 64×64", reduced(rgb)) for name, rgb in images]
    result: dict = {"machine": machine(), "models": options.models}
    rows = []
    for kind, those, bpp in (
        ("photographs", images, options.bpp),
        ("64×64", small, options.small_bpp),
    ):
        compared = compare_all(those, options.models, bpp, options.workers)
        table = summary(compared)
        print_table(f"{kind}, at most {bpp} bpp", table)
        every = [c.figures() for c in compared]
        result[kind] = {"bpp": bpp, "summary": table, "images": every}
        chosen = np.linspace(0, len(those) - 1, min(options.count, len(those))).astype(int)
        rows += [(those[i][1], compared[i]) for i in chosen]
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    buffer = io.BytesIO()
    form = "WEBP" if options.output.suffix == ".webp" else "PNG"
    picture = sheet(rows, options.models)
    picture.save(buffer, form, **({"quality": 88, "method": 6} if form == "WEBP" else {}))
    options.output.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
