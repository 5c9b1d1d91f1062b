"""Rate–distortion on a folder, from files really written and really decoded.

``python -m benchmarks.rate_distortion FOLDER -o results.json`` prints mean bpp and PSNR (RGB, mean
over images) of each codec and setting, and BD-rates against JPEG and JPEG 2000. Needs the extra
``bench``.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import bjontegaard
import numpy as np
import torch
from PIL import Image
from rich.progress import track

import codec
from benchmarks.bench.curves import rising
from models.names import MODEL_IDS
from models.training.anchors import ANCHORS, decode_rgb, psnr
from models.training.data import IMAGE_SUFFIXES
from models.training.hardware import machine

OUR_QUALITIES = (0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100)


@dataclass(frozen=True)
class Point:
    """One image, codec and setting. ``psnr`` in dB, one entry per number of layers for ours."""

    image: str
    codec: str
    setting: float
    bpp: float
    psnr: float


def measure_ours(
    name: str, rgb: np.ndarray, qualities: tuple[int, ...], model: str, device: str
) -> list[Point]:
    """Files at each quality; the three-layer file also decoded from its first 1 and 2 layers."""
    points = []
    pixels = rgb.shape[0] * rgb.shape[1]
    for quality in qualities:
        data = codec.encode(rgb, quality=quality, model=model, device=device)
        ends = [layer.end for layer in codec.info(data).layers]
        for count, end in enumerate(ends, start=1):
            shown = np.array(codec.decode(data[:end], device=device).convert("RGB"))
            label = "ours" if count == len(ends) else f"ours, first {count}"
            points.append(Point(name, label, quality, 8 * end / pixels, psnr(rgb, shown)))
    return points


def measure_anchors(name: str, rgb: np.ndarray) -> list[Point]:
    """JPEG and JPEG 2000 at their settings."""
    points = []
    pixels = rgb.shape[0] * rgb.shape[1]
    for label, (coder, settings) in ANCHORS.items():
        for setting in settings:
            data = coder(rgb, setting)
            quality = psnr(rgb, decode_rgb(data))
            points.append(Point(name, label, setting, 8 * len(data) / pixels, quality))
    return points


def measure_file(path: Path, *, qualities: tuple[int, ...], model: str, device: str) -> list[Point]:
    """All points of one image."""
    with Image.open(path) as image:
        rgb = np.array(image.convert("RGB"))
    return [
        *measure_ours(path.name, rgb, qualities, model, device),
        *measure_anchors(path.name, rgb),
    ]


def curves(points: list[Point]) -> dict[str, np.ndarray]:
    """Per codec the mean curve over images: rows (setting, bpp, psnr), by increasing setting."""
    sums: dict[tuple[str, float], list[tuple[float, float]]] = defaultdict(list)
    for point in points:
        sums[point.codec, point.setting].append((point.bpp, point.psnr))
    table: dict[str, list] = defaultdict(list)
    for (name, setting), values in sorted(sums.items()):
        table[name].append((setting, *np.mean(values, axis=0)))
    return {name: np.array(rows) for name, rows in table.items()}


def bd_rate(anchor: np.ndarray, test: np.ndarray) -> float:
    """BD-rate in percent (Akima interpolation) over the common PSNR range of two mean curves.

    A setting that gave the same files as the one before (:mod:`codec.ceiling`) counts once.
    """
    anchor, test = rising(anchor), rising(test)
    return float(
        bjontegaard.bd_rate(
            anchor[:, 1],
            anchor[:, 2],
            test[:, 1],
            test[:, 2],
            method="akima",
            min_overlap=0,
            require_matching_points=False,
        )
    )


def checks(points: list[Point]) -> dict[str, float]:
    """Share of images whose layers rise strictly in PSNR, per quality."""
    by_image: dict[tuple[str, float], dict[str, float]] = defaultdict(dict)
    for point in points:
        by_image[point.image, point.setting][point.codec] = point.psnr
    rising: dict[float, list[bool]] = defaultdict(list)
    for (_, setting), values in by_image.items():
        if "ours" in values:
            steps = [values["ours, first 1"], values["ours, first 2"], values["ours"]]
            rising[setting].append(steps[0] < steps[1] < steps[2])
    return {f"quality {s:g}": float(np.mean(v)) for s, v in sorted(rising.items())}


def rounded(point: Point) -> dict[str, object]:
    """A point with as many digits as mean something."""
    return asdict(point) | {"bpp": round(point.bpp, 5), "psnr": round(point.psnr, 3)}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate_distortion")
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="write all points and curves as JSON")
    parser.add_argument("--model", choices=list(MODEL_IDS), default="ssvae")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=2, help="images measured at a time")
    parser.add_argument("--limit", type=int, default=0, help="only the first so many images")
    parser.add_argument("--qualities", type=int, nargs="*", default=OUR_QUALITIES)
    options = parser.parse_args(arguments)
    if not options.folder.is_dir():
        parser.error(f"{options.folder} is not a folder")
    files = sorted(p for p in options.folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    files = files[: options.limit] if options.limit else files
    if not files:
        parser.error(f"{options.folder} holds no images")
    qualities = tuple(options.qualities)
    points: list[Point] = []
    work = partial(measure_file, qualities=qualities, model=options.model, device=options.device)
    # Processes of one thread each do more in the same time than one of several threads.
    with ProcessPoolExecutor(
        options.workers, get_context("spawn"), torch.set_num_threads, (1,)
    ) as pool:
        for found in track(pool.map(work, files), "measuring", len(files)):
            points += found
    table = curves(points)
    for name, rows in table.items():
        print(f"\n{name}: setting, bpp, PSNR")
        for row in rows:
            print(f"  {row[0]:6g}  {row[1]:.4f}  {row[2]:.2f}")
    bd = {name: bd_rate(table[name], table["ours"]) for name in ANCHORS}
    print()
    for name, value in bd.items():
        print(f"BD-rate (PSNR) of ours against {name}: {value:+.1f}%")
    rising = checks(points)
    print("share of images whose PSNR rises strictly with each layer:", rising)
    if options.output:
        result = {
            "images": len(files),
            "model": options.model,
            "machine": machine(),
            "device": options.device,
            "bd_rate_percent": bd,
            "rising_layers": rising,
            "curves": {name: rows.round(5).tolist() for name, rows in table.items()},
        }
        lines = ",\n".join("  " + json.dumps(rounded(p)) for p in points)  # one line a point
        text = json.dumps(result, indent=1).removesuffix("\n}")
        options.output.write_text(f'{text},\n "points": [\n{lines}\n ]\n}}\n')


if __name__ == "__main__":
    main()
