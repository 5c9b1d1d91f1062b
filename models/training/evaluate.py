"""Rate–distortion with estimated bits, for use inside the training loop.

Symbols are rounded and priced by the integer tables they would be coded with, so the estimate
agrees with real files to within a percent (tested). Tables are learned when a run is exported:
until then symbols are priced by the Gaussian ones, 1 … 2% too dear. Published numbers come from
real files, by ``benchmarks``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from models.metrics.psnr import psnr
from models.metrics.ssimulacra2 import scales_of
from models.metrics.ssimulacra2 import ssimulacra2 as score
from models.trainable import SIZE_MULTIPLE, TrainableModel
from models.training.anchors import ANCHORS, decode_rgb, mean_curve
from models.training.data import read_files

QUALITIES = (0, 15, 30, 50, 70, 85, 100)


@dataclass
class Row:
    """Means over images at one quality and number of layers."""

    quality: float
    layers: int
    bpp: tuple[float, float, float]
    psnr: float
    ssimulacra2: float | None = None


@lru_cache(maxsize=2)
def validation_images(folder: Path, limit: int) -> list[np.ndarray]:
    """Images of a folder as uint8 H×W×3; ``limit`` 0: all. Kept between validations."""
    return [decode_rgb(data) for data in islice(read_files(folder), limit or None)]


@lru_cache(maxsize=8)
def anchor_curve(folder: Path, limit: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean bpp and PSNR of JPEG or JPEG 2000 on the validation images, computed once."""
    return mean_curve(validation_images(folder, limit), name)


@torch.no_grad()
def evaluate_estimated(
    model: TrainableModel,
    folder: Path,
    *,
    limit: int = 0,
    qualities: tuple[int, ...] = QUALITIES,
    layers: tuple[int, ...] = (1, 2, 3),
    ssimulacra2: bool = False,
) -> list[Row]:
    """Mean bpp per layer and mean PSNR of the images in ``folder``, and mean SSIMULACRA2 if asked
    (of as many of its scales as an image has)."""
    device = next(model.parameters()).device
    values: dict[tuple[int, int], list[tuple[float, ...]]] = {}
    for rgb in validation_images(folder, limit):
        h, w = rgb.shape[:2]
        image = torch.from_numpy(rgb).to(device).permute(2, 0, 1)[None].float() / 255
        padded = F.pad(image, (0, -w % SIZE_MULTIPLE, 0, -h % SIZE_MULTIPLE), mode="replicate")
        padded = padded.contiguous(memory_format=torch.channels_last)
        for quality in qualities:
            for count in layers:
                at = torch.tensor([float(quality)], device=device)
                kept = torch.tensor([sum(model.stages[:count])], device=device)
                result = model(padded, at, kept, noisy=False)
                shown = result.image[0, :, :h, :w].mul(255).round().clamp(0, 255)
                pixels = shown.to(torch.uint8).permute(1, 2, 0).cpu().numpy()
                parts = result.bits[0].split(list(model.stages))
                bpp = [float(part.sum()) / (h * w) for part in parts]
                figures = (*bpp, psnr(rgb, pixels))
                if ssimulacra2:
                    figures += (float(score(image, shown[None] / 255, scales=scales_of(h, w))),)
                values.setdefault((quality, count), []).append(figures)
    rows = []
    for (quality, count), measured in values.items():
        u, z1, z2, decibel, *points = np.mean(measured, axis=0).tolist()
        rows.append(Row(quality, count, (u, z1, z2), decibel, *points))
    return rows


def format_table(rows: list[Row], folder: Path, *, limit: int = 0) -> str:
    """One line per quality: bpp, PSNR of 1, 2, 3 layers, and the anchors' PSNR at that bpp;
    where it was measured, SSIMULACRA2 of 1, 2, 3 layers."""
    curves = {name: anchor_curve(folder, limit, name) for name in ANCHORS}
    lines = ["quality  bpp u/z1/z2            total  PSNR 1, 2, 3 layers   JPEG  JPEG 2000"]
    if any(r.ssimulacra2 is not None for r in rows):
        lines[0] += "  SSIMULACRA2 1, 2, 3"
    for quality in sorted({r.quality for r in rows}):
        mine = sorted((r for r in rows if r.quality == quality), key=lambda r: r.layers)
        bpp = mine[-1].bpp
        total = sum(bpp)
        rivals = [np.interp(total, *curve, left=np.nan, right=np.nan) for curve in curves.values()]
        lines.append(
            f"{quality:7d}  {bpp[0]:.4f} {bpp[1]:.4f} {bpp[2]:.4f}  {total:.4f}  "
            + "  ".join(f"{r.psnr:.2f}" for r in mine)
            + "".join(f"  {value:6.2f}" for value in rivals)
            + "".join(f"  {r.ssimulacra2:5.1f}" for r in mine if r.ssimulacra2 is not None)
        )
    return "\n".join(lines)


def main() -> None:
    """``python -m models.training.evaluate RUN FOLDER``: the table for a run's EMA weights, or for
    those of a weights file."""
    import argparse

    from models.training.export import load_ema

    parser = argparse.ArgumentParser(prog="python -m models.training.evaluate")
    parser.add_argument(
        "run", type=Path, help="folder of a training run, a checkpoint file, or a weights file"
    )
    parser.add_argument("folder", type=Path, help="validation images")
    parser.add_argument("--model", default="ssvae")
    parser.add_argument("--limit", type=int, default=0, help="only the first N images")
    options = parser.parse_args()
    checkpoint = options.run / "latest.pt" if options.run.is_dir() else options.run
    rows = evaluate_estimated(
        load_ema(checkpoint, options.model), options.folder, limit=options.limit
    )
    print(format_table(rows, options.folder, limit=options.limit))


if __name__ == "__main__":
    main()
