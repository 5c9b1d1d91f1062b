"""Fills of missing layers side by side: mean, sample, and the texture of a training run.

``python -m models.studies.texture.measure FOLDER --run RUN --sheet sheet.png --json figures.json``
codes each image with one and two layers in at most ``--bpp`` bits per pixel, and at ``--quality``
cut after u and after z1. All fills draw the same file. Whole files are drawn by both syntheses.
What came of it: docs/decisions/0015-texture-fill.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import codec
from benchmarks.bench.images import contact_sheet, image_files, piece, read_rgb, spread
from benchmarks.bench.metrics import ssimulacra2
from codec.errors import TargetError
from models.metrics.psnr import psnr
from models.ssvae.networks import SSVAE
from models.studies.texture.networks import TextureSynthesis
from models.studies.texture.training import stop_at
from models.weights_file import WEIGHTS_FOLDER, load_trainable

FILLS = ("mean", "sample", "texture")
#: What is enlarged on the sheet.
_CELL, _ZOOM = 224, 2

Pictures = dict[str, np.ndarray]


def middle(rgb: np.ndarray, side: int) -> np.ndarray:
    """The central square, its side a multiple of 64."""
    side = min(side, *rgb.shape[:2]) // 64 * 64
    return piece(rgb, side, side)


class Drawer:
    """The networks that draw."""

    def __init__(self, run: Path, weights: Path) -> None:
        checkpoint = run / "latest.pt" if run.is_dir() else run
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
        model = load_trainable(weights, saved["model"])
        assert isinstance(model, SSVAE)
        self.name = saved["model"]
        self.model = model.eval()
        self.synthesis = TextureSynthesis(model.config, model.synthesis)
        self.synthesis.load_state_dict(saved["ema"])

    @torch.no_grad()
    def __call__(self, rgb: np.ndarray, quality: float, kept: int, temperature: float) -> Pictures:
        """Mean fill and texture of one image, uint8 H×W×3."""
        torch.manual_seed(1)
        image = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        at = torch.tensor([float(quality)])
        stop = stop_at(self.model, image, at, kept)
        drawn = self.synthesis(stop.coarse, stop.values, stop.noise(temperature), at)
        shown = {"mean": stop.smooth, "texture": drawn}
        return {
            name: x[0].mul(255).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
            for name, x in shown.items()
        }


def cuts(rgb: np.ndarray, options: argparse.Namespace, model: str) -> list[tuple[str, float, int]]:
    """Name, quality and layers of the files that are compared."""
    files = []
    for layers in (1, 2):
        try:
            coded = codec.encode_detailed(
                rgb, model=model, layers=layers, target_bpp=options.bpp, device="cpu"
            )
        except TargetError:
            continue
        files.append((f"{options.bpp} bpp, {layers}", coded.quality, layers))
    files += [(f"quality {options.quality}, {n}", options.quality, n) for n in (1, 2, 3)]
    return files


def enlarged(rgb: np.ndarray) -> Image.Image:
    """What the sheet shows of a picture."""
    side = _CELL * _ZOOM
    cut = Image.fromarray(piece(rgb, _CELL, _CELL))
    return cut.resize((side, side), Image.Resampling.BICUBIC)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.texture.measure", description=__doc__
    )
    parser.add_argument("files", type=image_files, metavar="FOLDER")
    parser.add_argument(
        "--run", type=Path, required=True, help="of models.studies.texture.training"
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS_FOLDER / "ssvae.safetensors")
    parser.add_argument("--bpp", type=float, default=0.1)
    parser.add_argument("--quality", type=int, default=50)
    parser.add_argument("--temperature", type=float, default=1.0, help="of the texture's noise")
    parser.add_argument("--side", type=int, default=512, help="of the central square")
    parser.add_argument("--limit", type=int, default=12, help="images of the folder")
    parser.add_argument("--sheet", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args(arguments)
    drawer = Drawer(options.run, options.weights)
    figures, rows = [], []
    for path in spread(options.files, options.limit):
        rgb = middle(read_rgb(path), options.side)
        for cut, quality, layers in cuts(rgb, options, drawer.name):
            data = codec.encode(rgb, quality=quality, layers=layers, model=drawer.name)
            shown = drawer(rgb, quality, layers, options.temperature)
            if layers < 3:
                shown["sample"] = np.array(codec.decode(data, fill="sample", seed=1))
            row = {"image": path.name, "cut": cut, "quality": quality, "bytes": len(data)}
            for fill in FILLS:
                if fill in shown:
                    score = ssimulacra2(rgb, shown[fill])
                    row[fill] = (round(psnr(rgb, shown[fill]), 3), round(score, 2))
            figures.append(row)
            if layers < 3:
                cells = [("original", rgb), *((fill, shown[fill]) for fill in FILLS)]
                title = f"{path.stem[:14]} {cut}, {len(data)} B"
                rows.append([(f"{title} {name}", enlarged(x)) for name, x in cells])
    options.json.write_text(json.dumps(figures, indent=1) + "\n")
    contact_sheet(rows).save(options.sheet)
    for cut in dict.fromkeys(row["cut"] for row in figures):
        own = [row for row in figures if row["cut"] == cut]
        line = f"{cut:16} {len(own):3} images {np.mean([r['bytes'] for r in own]):8.0f} bytes"
        for fill in FILLS:
            if all(fill in row for row in own):
                decibel, score = np.mean([row[fill] for row in own], axis=0)
                line += f"   {fill} {decibel:.2f} dB {score:7.2f}"
        print(line)


if __name__ == "__main__":
    main()
