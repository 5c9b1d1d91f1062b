"""Small pictures in 153, 307, 460, 612 and 1228 bits, after *Towards Conceptual Compression*.

``python -m benchmarks.few_bits FOLDER -o sheet.webp --json figures.json`` reduces the middle
squares of photographs to 32×32 and 64×64 pixels and codes each within these bits with both model
families. What is not stored is completed by the prior's mean (without its variance) and by a sample
of it at temperature 1 (with its variance), as in figures of Gregor et al. 2016. For each number of
stages the highest quality that fits is found; of these files the one with the highest PSNR is
shown.

Counted are payloads: of ours the range-coded layers, with the two bytes of each that check its
symbols; of JPEG the entropy-coded segment; of JPEG 2000 the packets. JPEG has the Huffman tables of
the standard: optimized ones would hold a part of the picture that is not counted. Whole files, of
which headers are the larger part at these sizes, are given in ``--json``. Where even the smallest
payload of JPEG or JPEG 2000 is larger, that one is taken; the number of bits above it says so.
"""

from __future__ import annotations

import io
import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

import codec
from benchmarks.bench.images import Cell, contact_sheet, folder_parser, read_rgb, save_sheet, spread
from benchmarks.bench.runner import in_processes
from benchmarks.bench.sizes import RIVALS
from benchmarks.equal_bits import reduced
from codec.options import FILLS
from models.metrics.psnr import psnr
from models.names import stages_at
from models.training.anchors import decode_rgb, encode_jpeg2000
from models.training.hardware import machine
from models.weights_file import weights_info

#: Of the published figure.
BITS = (153, 307, 460, 612, 1228)
SIDES = (32, 64)
_CELL = 128
_SOS, _EOI, _SOD = b"\xff\xda", b"\xff\xd9", b"\xff\x93"


@dataclass
class Shown:
    """One picture in so many bits."""

    budget: int
    """Bits of payload it may have."""
    bits: int
    """That it has; more than the budget where no file of that kind is so small."""
    bytes: int
    """Of the whole file."""
    psnr: float
    pixels: np.ndarray
    setting: str = ""
    """Stages and quality of a file of ours."""


Pictures = dict[str, list[Shown]]
"""By what made them, one per budget."""


def layer_bits(data: bytes) -> int:
    """Bits of the layers' payloads in a .cci file."""
    return 8 * sum(layer.bytes for layer in codec.info(data).layers)


def jpeg_bits(data: bytes) -> int:
    """Bits of the entropy-coded segment of a JPEG file of one scan."""
    start = data.index(_SOS)
    start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    return 8 * (data.rindex(_EOI) - start)


def jpeg2000_bits(data: bytes) -> int:
    """Bits of the packets of a JPEG 2000 codestream of one tile."""
    return 8 * (data.rindex(_EOI) - data.index(_SOD) - 2)


_PAYLOADS: dict[str, Callable[[bytes], int]] = {"jpeg": jpeg_bits, "jpeg2000": jpeg2000_bits}


def encode_jpeg(rgb: np.ndarray, quality: int) -> bytes:
    """JPEG 4:2:0 with the standard's Huffman tables."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def best_within(rgb: np.ndarray, model: str, budget: int) -> tuple[bytes, str] | None:
    """The file of at most ``budget`` bits of payload with the highest PSNR, and its setting.

    Missing layers are the prior's mean. None where no file is so small.
    """
    best: tuple[float, bytes, str] | None = None
    for stages in range(1, sum(stages_at(model, 0)) + 1):

        @cache
        def encode(quality: int, stages: int = stages) -> bytes:
            return codec.encode(
                rgb, model=model, quality=quality, stages=stages, filter=False, graphics=False
            )

        if layer_bits(encode(0)) > budget:
            break  # more stages are no fewer bits
        low, high = 0, 101
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if layer_bits(encode(middle)) <= budget else (low, middle)
        data = encode(low)
        value = psnr(rgb, np.array(codec.decode(data)))
        if best is None or value > best[0]:
            best = value, data, f"{stages} stages, quality {low}"
    return None if best is None else best[1:]


def rivals_within(rgb: np.ndarray, name: str) -> list[bytes]:
    """For each of :data:`BITS` the JPEG or JPEG 2000 of the highest PSNR within it, or of the
    smallest payload."""
    if name == "jpeg":
        files = [encode_jpeg(rgb, quality) for quality in range(1, 101)]
    else:
        files = [encode_jpeg2000(rgb, bpp) for bpp in np.geomspace(0.02, 16, 150)]
    bits = [_PAYLOADS[name](data) for data in files]
    values = [psnr(rgb, decode_rgb(data)) for data in files]
    chosen = []
    for budget in BITS:
        fitting = [i for i, size in enumerate(bits) if size <= budget]
        chosen.append(
            max(fitting, key=values.__getitem__)
            if fitting
            else min(range(len(files)), key=bits.__getitem__)
        )
    return [files[i] for i in chosen]


def pictures_of(rgb: np.ndarray, models: Iterable[str]) -> Pictures:
    """Everything that one small picture becomes."""
    found: Pictures = {}
    for model in models:
        for budget in BITS:
            file = best_within(rgb, model, budget)
            if file is None:
                continue
            data, setting = file
            for fill in FILLS:
                pixels = np.array(codec.decode(data, fill=fill, temperature=1.0, seed=1))
                shown = Shown(
                    budget, layer_bits(data), len(data), psnr(rgb, pixels), pixels, setting
                )
                found.setdefault(f"{model} {fill}", []).append(shown)
    for name, title in RIVALS.items():
        for budget, data in zip(BITS, rivals_within(rgb, name), strict=True):
            pixels = decode_rgb(data)
            bits = _PAYLOADS[name](data)
            shown = Shown(budget, bits, len(data), psnr(rgb, pixels), pixels)
            found.setdefault(title, []).append(shown)
    return found


@dataclass(frozen=True)
class Work:
    """:func:`pictures_of` for a process of its own."""

    models: tuple[str, ...]

    def __call__(self, rgb: np.ndarray) -> Pictures:
        return pictures_of(rgb, self.models)


def summary(pictures: list[Pictures]) -> list[dict]:
    """Means over pictures by what made them and budget."""
    rows = []
    for name in dict.fromkeys(name for found in pictures for name in found):
        for budget in BITS:
            own = [s for found in pictures for s in found.get(name, []) if s.budget == budget]
            if own:
                rows.append(
                    {
                        "name": name,
                        "budget": budget,
                        "pictures": len(own),
                        "within": sum(s.bits <= budget for s in own),
                        "bits": round(statistics.mean(s.bits for s in own), 1),
                        "file_bytes": round(statistics.mean(s.bytes for s in own), 1),
                        "psnr": round(statistics.mean(s.psnr for s in own), 2),
                    }
                )
    return rows


def _cell(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels).resize((_CELL, _CELL), Image.Resampling.NEAREST)


def sheet(photographs: list[list[tuple[np.ndarray, Pictures]]]) -> Image.Image:
    """Per photograph one row for each way of coding; its sizes beside each other, each with the
    original first and then the budgets from left to right."""
    rows: list[list[Cell]] = []
    for sizes in photographs:
        for name in sizes[0][1]:
            row: list[Cell] = []
            for rgb, found in sizes:
                row.append((name, _cell(rgb)))
                by_budget = {shown.budget: shown for shown in found.get(name, [])}
                for budget in BITS:
                    shown = by_budget.get(budget)
                    if shown is None:
                        row.append((f"none in {budget} bits", None))
                    else:
                        title = f"{shown.bits} bits, {shown.psnr:.1f} dB"
                        row.append((title, _cell(shown.pixels)))
            rows.append(row)
    return contact_sheet(rows)


def main(arguments: list[str] | None = None) -> None:
    parser = folder_parser("few_bits", __doc__)
    parser.add_argument("--models", nargs="+", default=["convdraw", "ssvae"])
    parser.add_argument("--images", type=int, default=8, help="photographs that are measured")
    parser.add_argument("--count", type=int, default=3, help="photographs on the sheet")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the sheet, .webp or .png")
    parser.add_argument("--json", type=Path, required=True, help="figures")
    options = parser.parse_args(arguments)
    files = spread(options.files, options.images)
    work = Work(tuple(options.models))
    result: dict = {
        "machine": machine(),
        "weights": {name: weights_info(name).fingerprint.hex() for name in options.models},
        "bits": BITS,
        "images": [path.name for path in files],
        "sides": {},
    }
    columns = []
    for side in SIDES:
        small = [reduced(read_rgb(path), side) for path in files]
        found = list(in_processes(work, small, options.workers, f"{side}×{side}"))
        columns.append(list(zip(small, found, strict=True)))
        result["sides"][str(side)] = rows = summary(found)
        print(f"\n{side}×{side}")
        for row in rows:
            print(
                f"{row['name']:18}{row['budget']:6} bits: {row['bits']:7.1f}, "
                f"file of {row['file_bytes']:6.1f} bytes, {row['psnr']:.2f} dB"
            )
    options.json.write_text(json.dumps(result, indent=1) + "\n")
    photographs = [list(sizes) for sizes in zip(*columns, strict=True)]
    save_sheet(sheet(spread(photographs, options.count)), options.output, quality=88)


if __name__ == "__main__":
    main()
