"""``python -m models.studies.attention.comparison TRAIN VALIDATION --out DIR``: what attention is
worth.

DRAW with attention and a convolutional DRAW of as many parameters are trained on crops of 64×64
pixels for the same processor time on one thread, as :mod:`models.studies.equal_time` says, then
measured on the same crops of the validation images with estimated bits. In ``DIR``:
``results.json``, the crops, and ``sheet.png`` with pictures of both models and the windows in which
attention drew. What came of it: models/weights/convdraw.md, "Attention".

An interrupted comparison continues from its checkpoints when started again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.bench.images import Cell, contact_sheet, spread
from models.registry import build_convdraw
from models.studies.attention.networks import AttentiveDRAW, AttentiveDRAWConfig
from models.studies.attention.windows import Window
from models.studies.equal_time import (
    QUALITIES,
    bits_at_equal_psnr,
    kept_seconds,
    make_trainer,
    step_seconds,
    train,
    verdict,
)
from models.trainable import TrainableModel
from models.training.data import ImageSet
from models.training.evaluate import evaluate_estimated, validation_images
from models.training.optimizer import OPTIMIZERS
from models.training.trainer import Trainer

#: The first one is what the other is compared with.
MODELS: dict[str, Callable[[], TrainableModel]] = {
    "convdraw": build_convdraw,
    "draw-attention": lambda: AttentiveDRAW(AttentiveDRAWConfig()),
}
SIDE = 64
#: Validation images are reduced by this before the crop: 64 pixels of a photograph show little.
REDUCTION = 2
SHEET_CROPS = 8
SHEET_STEPS = 4
_ZOOM = 3


def time_steps(images: ImageSet, options: argparse.Namespace) -> dict[str, float]:
    """Processor time of a step of each model."""
    trainers = {name: make_trainer(build, options, crop=SIDE) for name, build in MODELS.items()}
    return step_seconds(trainers, lambda trainer: trainer.draw(images), Trainer.train_step)


def write_crops(validation: Path, folder: Path, limit: int) -> None:
    """The central 64×64 pixels of each reduced validation image, as PNG files in ``folder``.

    Raises:
        ValueError: no image is large enough.
    """
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    count = 0
    for rgb in validation_images(validation, limit):
        reduced = Image.fromarray(rgb).reduce(REDUCTION)
        left, top = ((length - SIDE) // 2 for length in reduced.size)
        if min(left, top) >= 0:
            reduced.crop((left, top, left + SIDE, top + SIDE)).save(folder / f"{count:04d}.png")
            count += 1
    if count == 0:
        raise ValueError(f"{validation}: no image with sides of {REDUCTION * SIDE} pixels")


@torch.no_grad()
def kmac_per_pixel(model: TrainableModel) -> float:
    """Thousands of multiply-accumulates per pixel of one pass: encoding and drawing."""
    counter = FlopCounterMode(display=False)
    with counter:
        image = torch.zeros(1, 3, SIDE, SIDE)
        model(image, torch.tensor([50.0]), torch.tensor([sum(model.stages)]), noisy=False)
    return counter.get_total_flops() / 2 / SIDE**2 / 1e3


def measure(trainer: Trainer, crops: Path) -> dict:
    """What the table tells of a trained model."""
    rows = evaluate_estimated(trainer.ema, crops, qualities=QUALITIES, layers=(3,))
    return {
        "model": trainer.config.model,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "kmac_per_pixel": round(kmac_per_pixel(trainer.ema), 2),
        "steps": trainer.step,
        "skipped": trainer.skipped,
        "curve": [(row.quality, round(sum(row.bpp), 5), round(row.psnr, 3)) for row in rows],
    }


def table(results: Sequence[dict]) -> str:
    """Markdown: one column per model."""
    lines = [
        ["", *(r["model"] for r in results)],
        ["---", *("---:" for _ in results)],
        ["parameters", *(f"{r['parameters'] / 1e6:.2f} M" for r in results)],
        ["kMAC/pixel", *(f"{r['kmac_per_pixel']:.1f}" for r in results)],
        ["seconds per step", *(f"{r['seconds']:.3f}" for r in results)],
        ["steps", *(str(r["steps"]) for r in results)],
    ]
    for points in zip(*(r["curve"] for r in results), strict=True):
        cells = (f"{bpp:.3f} bpp, {psnr:.2f} dB" for _, bpp, psnr in points)
        lines.append([f"quality {points[0][0]}", *cells])
    lines.append(["bits at equal PSNR", "0", verdict(*(r["curve"] for r in results))])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _shown(image: Tensor) -> Image.Image:
    """1×3×64×64 in [0, 1] → an enlarged picture."""
    pixels = image[0].float().mul(255).round().clamp(0, 255).to(torch.uint8)
    picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    return picture.resize((_ZOOM * SIDE, _ZOOM * SIDE), Image.Resampling.NEAREST)


def _frame(picture: Image.Image, target: Window) -> None:
    """Draw the rectangle through the outer points of a grid."""
    # The middle of pixel 1 is half a pixel from the edge.
    x, y = ((places[0].float() - 0.5) * _ZOOM for places in (target.columns, target.rows))
    box = [float(v) for v in (x[0], y[0], x[-1], y[-1])]
    ImageDraw.Draw(picture).rectangle(box, outline=(255, 32, 32), width=2)


@torch.no_grad()
def draw_sheet(models: Sequence[TrainableModel], crops: Path, path: Path, quality: float) -> None:
    """One row per crop: original, each model's picture, and the canvas of attention with its write
    window after each of the last steps."""
    at = torch.tensor([float(quality)])
    rows: list[list[Cell]] = []
    for rgb in spread(validation_images(crops, 0), SHEET_CROPS):
        image = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
        row: list[Cell] = [("original", _shown(image))]
        for name, model in zip(MODELS, models, strict=True):
            kept = torch.tensor([sum(model.stages)])
            row.append((name, _shown(model(image, at, kept, noisy=False).image)))
            if isinstance(model, AttentiveDRAW):
                steps = list(enumerate(model.unroll(image, at, kept, noisy=False), start=1))
                for number, step in steps[-SHEET_STEPS:]:
                    picture = _shown(step.canvas + 0.5)
                    _frame(picture, step.target)
                    row.append((f"step {number}", picture))
        rows.append(row)
    contact_sheet(rows).save(path)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.attention.comparison", description=__doc__
    )
    parser.add_argument("data", type=Path, help="training images")
    parser.add_argument("validation", type=Path, help="validation images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=60.0, help="processor time per model")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="muon")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--limit", type=int, default=0, help="training images; 0: all")
    parser.add_argument("--images", type=int, default=0, help="validation images, 0: all")
    parser.add_argument("--sheet-quality", type=int, default=50, help="of the pictures shown")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    crops = options.out / "crops"
    write_crops(options.validation, crops, options.images)
    images = ImageSet(options.data, device=torch.device("cpu"), limit=options.limit)
    seconds = kept_seconds(options, lambda: time_steps(images, options))
    results, models = [], []
    for name in MODELS:
        steps = round(options.minutes * 60 / seconds[name])
        print(f"== {name}: {seconds[name]:.3f} s a step, {steps} steps", flush=True)
        trainer = train(name, MODELS[name], steps, images, options, crop=SIDE, model=name)
        results.append({**measure(trainer, crops), "seconds": seconds[name]})
        models.append(trainer.ema)
    rate = bits_at_equal_psnr(*(result["curve"] for result in results))
    (options.out / "results.json").write_text(
        json.dumps({"models": results, "bd_rate": rate}, indent=1)
    )
    draw_sheet(models, crops, options.out / "sheet.png", options.sheet_quality)
    print(table(results))


if __name__ == "__main__":
    main()
