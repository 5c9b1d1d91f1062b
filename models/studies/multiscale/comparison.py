"""``python -m models.studies.multiscale.comparison TRAIN VALIDATION --out DIR``: ConvDRAW with one
level or two, one canvas or two, own or shared steps, one rate or all.

Every variant is trained from nothing for the same processor time on one thread, with the same
images in the same order (:mod:`models.studies.equal_time`), then measured on the middles of the
validation images with estimated bits. Variants that serve all qualities are compared by their
curves; all of them at the λ that the annealed pixel variance ends with: bits per pixel, PSNR, and
the bound in bits per dimension under pixels of that variance. In ``DIR``: ``results.json``,
``table.md``, ``sheet.png``. What came of it: docs/decisions/0032-multiscale.md.

A folder of small images serves as well (CIFAR-10, ImageNet 32 or 64, CelebA as files): with
``--size`` their side, images are taken whole. ``--only`` trains some variants and stops; started
again, a comparison continues from its checkpoints.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.bench.images import Cell, contact_sheet, spread
from models.convdraw.networks import ConvDRAW, ConvDRAWConfig
from models.metrics.psnr import psnr
from models.studies.conditioning.comparison import middles, pixels
from models.studies.equal_time import (
    QUALITIES,
    Curve,
    kept_seconds,
    make_trainer,
    step_seconds,
    train,
    verdict,
    write_results,
)
from models.studies.multiscale.networks import (
    TWO_LEVELS,
    InterpolatingConvDRAW,
    SharedConvDRAW,
    TwoCanvasConvDRAW,
    enlarged,
)
from models.studies.multiscale.variance import (
    AT,
    AnnealingTrainer,
    OneRateConvDRAW,
    bits_per_dimension,
)
from models.trainable import TrainableModel
from models.training.data import ImageSet
from models.training.optimizer import OPTIMIZERS
from models.training.trainer import Trainer


@dataclass(frozen=True)
class Variant:
    """How one is built and trained."""

    build: Callable[[], ConvDRAW]
    trainer: type[Trainer] = Trainer
    all_qualities: bool = True


#: The first one is what the others are compared with.
VARIANTS = {
    "one-level": Variant(lambda: ConvDRAW(ConvDRAWConfig())),
    "one-level-shared-steps": Variant(lambda: SharedConvDRAW(ConvDRAWConfig())),
    "type-1-interpolation": Variant(lambda: InterpolatingConvDRAW(TWO_LEVELS)),
    "type-1-learned": Variant(lambda: ConvDRAW(TWO_LEVELS)),
    "type-2-two-canvases": Variant(lambda: TwoCanvasConvDRAW(TWO_LEVELS)),
    "constant-variance": Variant(lambda: OneRateConvDRAW(ConvDRAWConfig()), all_qualities=False),
    "annealed-variance": Variant(
        lambda: OneRateConvDRAW(ConvDRAWConfig()), AnnealingTrainer, all_qualities=False
    ),
}
LEARNING_RATE = 2.4e-3
#: Sides are multiples of this: the coarse level codes its latents in blocks of 2×2 positions of 16
#: pixels.
UNIT = 32
SHEET_PICTURES = 5
_AT_ONCE = 8
_LEAST_SIDE = 128


@torch.no_grad()
def measure(model: TrainableModel, pictures: Tensor, quality: float) -> dict[str, float]:
    """Bits per pixel, mean PSNR, and the mean squared error of what is drawn, before rounding.

    Args:
        pictures: N×3×S×S in [0, 1], multiples of 1/255.
    """
    bits, errors, decibels = 0.0, 0.0, []
    for part in pictures.split(_AT_ONCE):
        count = len(part)
        kept = torch.full((count,), sum(model.stages))
        result = model(part, torch.full((count,), float(quality)), kept, noisy=False)
        bits += float(result.bits.sum())
        errors += float((result.image.clamp(0, 1) - part).square().mean()) * count
        for true, drawn in zip(part.split(1), result.image.split(1), strict=True):
            decibels.append(psnr(pixels(true), pixels(drawn)))
    number, _, height, width = pictures.shape
    return {
        "bpp": bits / (number * height * width),
        "psnr": float(np.mean(decibels)),
        "mse": errors / number,
    }


def figures(trainer: Trainer, variant: Variant, pictures: Tensor) -> dict[str, Any]:
    """What the table tells of a trained variant."""
    model = trainer.ema
    at = measure(model, pictures, AT)
    curve = []
    for quality in QUALITIES if variant.all_qualities else ():
        point = measure(model, pictures, quality)
        curve.append((quality, round(point["bpp"], 5), round(point["psnr"], 3)))
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": trainer.step,
        "skipped": trainer.skipped,
        "curve": curve,
        "bpp": round(at["bpp"], 5),
        "psnr": round(at["psnr"], 3),
        "bits_per_dimension": round(bits_per_dimension(at["bpp"], at["mse"]), 4),
    }


def bits_against(curve: Curve, bpp: float, decibels: float) -> float | None:
    """Percent of bits more than a curve needs at a PSNR; None outside the curve."""
    points = sorted((p, r) for _, r, p in curve)
    psnrs, rates = [p for p, _ in points], [r for _, r in points]
    if not psnrs or not psnrs[0] <= decibels <= psnrs[-1]:
        return None
    return 100 * (bpp / float(np.exp(np.interp(decibels, psnrs, np.log(rates)))) - 1)


def compared(first: dict[str, Any], row: dict[str, Any]) -> str:
    """Bits at equal PSNR against the first variant: of curves, or of a point against its curve."""
    if row is first:
        return "0"
    if row["curve"]:
        return verdict(first["curve"], row["curve"])
    against = bits_against(first["curve"], row["bpp"], row["psnr"])
    return "no overlap" if against is None else f"{against:+.1f}%, at its rate"


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: one line per variant."""
    head = ["variant", "parameters", "seconds per step", "steps", "bits at equal PSNR"]
    head += ["bpp", "PSNR", "bits per dimension"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    first = next(iter(results.values()))
    for name, row in results.items():
        cells = [name, f"{row['parameters'] / 1e6:.2f} M", f"{row['seconds']:.3f}"]
        cells += [str(row["steps"]), compared(first, row)]
        cells += [f"{row['bpp']:.3f}", f"{row['psnr']:.2f}", f"{row['bits_per_dimension']:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


@torch.no_grad()
def draw_sheet(models: dict[str, TrainableModel], pictures: Sequence[Tensor], path: Path) -> None:
    """A row per picture: the original, each variant's at the common λ, and the canvases of two."""
    rows: list[list[Cell]] = []
    for picture in spread(pictures, SHEET_PICTURES):
        row: list[Cell] = [("original", _shown(picture))]
        for name, model in models.items():
            kept = torch.tensor([sum(model.stages)])
            result = model(picture, torch.tensor([AT]), kept, noisy=False)
            row.append((name, _shown(result.image)))
            if isinstance(model, TwoCanvasConvDRAW):
                low = enlarged(result.small[2])
                row.append(("its low canvas", _shown(low)))
                row.append(("its high canvas", _shown(result.image - low + 0.5)))
        rows.append(row)
    contact_sheet(rows).save(path)


def _shown(picture: Tensor) -> Image.Image:
    """Small pictures are enlarged: titles need room."""
    image = Image.fromarray(pixels(picture))
    zoom = -(-_LEAST_SIDE // image.width)
    return image.resize((zoom * image.width, zoom * image.height), Image.Resampling.NEAREST)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.multiscale.comparison", description=__doc__
    )
    parser.add_argument("data", type=Path, help="training images")
    parser.add_argument("validation", type=Path, help="validation images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=20.0, help="processor time per variant")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), help="train these and stop")
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="muon")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=128, help="side of the pictures")
    parser.add_argument("--limit", type=int, default=0, help="training images; 0: all")
    parser.add_argument("--images", type=int, default=0, help="validation images, 0: all")
    options = parser.parse_args(arguments)
    if options.size <= 0 or options.size % UNIT:
        parser.error(f"--size must be a multiple of {UNIT}, not {options.size}")
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    device = torch.device("cpu")
    try:
        shown = middles(options.validation, options.images, options.size)
        images = ImageSet(
            options.data, device=device, minimum=min(64, options.size), limit=options.limit
        )
    except ValueError as error:
        parser.error(str(error))
    changes = {"crop": options.size, "learning_rate": LEARNING_RATE}

    def timed() -> dict[str, float]:
        trainers = {
            name: make_trainer(v.build, options, kind=v.trainer, **changes)
            for name, v in VARIANTS.items()
        }
        return step_seconds(trainers, lambda t: t.draw(images), Trainer.train_step)

    seconds = kept_seconds(options, timed)
    results: dict[str, dict[str, Any]] = {}
    models: dict[str, TrainableModel] = {}
    for name in options.only or VARIANTS:
        variant = VARIANTS[name]
        steps = max(1, round(options.minutes * 60 / seconds[name]))
        print(f"== {name}: {seconds[name]:.3f} s a step, {steps} steps", flush=True)
        trainer = train(
            name, variant.build, steps, images, options, kind=variant.trainer, **changes
        )
        if not options.only:
            results[name] = figures(trainer, variant, torch.cat(shown)) | {"seconds": seconds[name]}
            models[name] = trainer.ema
    if options.only:
        return
    settings = {
        "size": options.size,
        "batch": options.batch,
        "minutes": options.minutes,
        "training_images": len(images),
        "validation_images": len(shown),
        "quality_of_the_common_rate": round(AT, 2),
    }
    draw_sheet(models, shown, options.out / "sheet.png")
    write_results(options.out, {"settings": settings, "variants": results}, table(results))


if __name__ == "__main__":
    main()
