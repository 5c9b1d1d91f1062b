"""``python -m models.studies.conditioning.comparison TRAIN VALIDATION --out DIR``: what it costs to
pass on pictures instead of features, and what it gives.

The ssVAE and the one of :mod:`models.studies.conditioning.networks` are trained from nothing for
the same processor time on one thread, then measured on the validation images: estimated bits and
PSNR of all layers and of early stops, and pictures completed from their half or quarter. In
``DIR``: ``results.json``, ``table.md`` and ``sheet.png``. An interrupted comparison continues from
its checkpoints when started again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from benchmarks.bench.images import Cell, contact_sheet, spread
from models.metrics.psnr import psnr
from models.ssvae.networks import SSVAE, SSVAEConfig
from models.studies.conditioning.networks import PictureSSVAE, complete
from models.studies.equal_time import (
    QUALITIES,
    bits_at_equal_psnr,
    kept_seconds,
    make_trainer,
    step_seconds,
    train,
    verdict,
    write_results,
)
from models.trainable import TrainableModel
from models.training.data import ImageSet
from models.training.evaluate import evaluate_estimated, validation_images
from models.training.trainer import Trainer

#: The first one is what the other is compared with. Neither has a fine stage: it is the same in
#: both, and starts from a trained model.
MODELS: dict[str, Callable[[], TrainableModel]] = {
    "features": lambda: SSVAE(SSVAEConfig(fine=0)),
    "pictures": lambda: PictureSSVAE(SSVAEConfig(fine=0)),
}
SHEET_CROPS, SHEET_SIDE = 5, 192
FACTORS = (2, 4)
#: Quality at which a picture is completed, by factor, as in :mod:`codec.generation.upscaling`.
COMPLETED_AT = {2: 65, 4: 30}


def middles(folder: Path, limit: int, side: int) -> list[Tensor]:
    """Middles of the validation images, 1×3×side×side in [0, 1].

    Raises:
        ValueError: no image is that large.
    """
    found = []
    for rgb in validation_images(folder, limit):
        top, left = ((length - side) // 2 for length in rgb.shape[:2])
        if min(top, left) >= 0:
            part = np.ascontiguousarray(rgb[top : top + side, left : left + side])
            found.append(torch.from_numpy(part).permute(2, 0, 1)[None].float() / 255)
    if not found:
        raise ValueError(f"{folder}: no image with sides of {side} pixels")
    return found


def pixels(image: Tensor) -> np.ndarray:
    """1×3×H×W in [0, 1] → uint8 H×W×3."""
    return image[0].mul(255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()


def enlarged(model: TrainableModel, small: Tensor, factor: int) -> Tensor:
    """By either model; one that passes on features can only take the enlarged picture for x."""
    quality = COMPLETED_AT[factor]
    if isinstance(model, PictureSSVAE):
        return complete(model, small, factor, quality)
    bicubic = F.interpolate(small, scale_factor=factor, mode="bicubic").clamp(0, 1)
    kept = torch.tensor([2 if factor == 2 else 1])
    with torch.no_grad():
        return model(bicubic, torch.tensor([float(quality)]), kept, noisy=False).image


def completion(model: TrainableModel, images: list[Tensor]) -> dict[str, float]:
    """Mean PSNR of pictures completed from their half and quarter, and of bicubic ones."""
    found: dict[str, list[float]] = {}
    for image in images:
        for factor in FACTORS:
            small = F.avg_pool2d(image, factor)
            bicubic = F.interpolate(small, scale_factor=factor, mode="bicubic")
            for name, drawn in (("model", enlarged(model, small, factor)), ("bicubic", bicubic)):
                value = psnr(pixels(image), pixels(drawn))
                found.setdefault(f"{name} x{factor}", []).append(value)
    return {name: round(float(np.mean(values)), 3) for name, values in found.items()}


def measure(trainer: Trainer, images: list[Tensor], options: argparse.Namespace) -> dict[str, Any]:
    """What the table tells of a trained model."""
    rows = evaluate_estimated(
        trainer.ema, options.validation, limit=options.images, qualities=QUALITIES
    )
    curves = {
        str(count): [
            (r.quality, round(sum(r.bpp[:count]), 5), round(r.psnr, 3))
            for r in rows
            if r.layers == count
        ]
        for count in (1, 2, 3)
    }
    return {
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "steps": trainer.step,
        "skipped": trainer.skipped,
        "curves": curves,
        "completion": completion(trainer.ema, images),
    }


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: one column per model."""
    first, second = results.values()
    lines = [["", *results], ["---", *("---:" for _ in results)]]
    lines.append(["parameters", *(f"{r['parameters'] / 1e6:.2f} M" for r in results.values())])
    lines.append(["steps", *(str(r["steps"]) for r in results.values())])
    for count, name in (("3", "all layers"), ("2", "u and z1"), ("1", "u")):
        both = (r["curves"][count] for r in (first, second))
        lines.append([f"bits at equal PSNR, {name}", "0", verdict(*both)])
    for key in first["completion"]:
        cells = (f"{r['completion'][key]:.2f} dB" for r in results.values())
        lines.append([f"completed, {key}", *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@torch.no_grad()
def draw_sheet(models: dict[str, TrainableModel], images: list[Tensor], path: Path) -> None:
    """A row per picture: the original, then from its quarter: bicubic, each model's mean, and the
    picture model's samples."""
    rows: list[list[Cell]] = []
    for image in spread(images, SHEET_CROPS):
        small = F.avg_pool2d(image, 4)
        bicubic = F.interpolate(small, scale_factor=4, mode="bicubic")
        row: list[Cell] = [
            ("original", Image.fromarray(pixels(image))),
            ("quarter, bicubic", Image.fromarray(pixels(bicubic))),
        ]
        for name, model in models.items():
            row.append((f"{name}, mean", Image.fromarray(pixels(enlarged(model, small, 4)))))
        last = models["pictures"]
        assert isinstance(last, PictureSSVAE)
        for seed in (1, 2):
            torch.manual_seed(seed)
            drawn = complete(last, small, 4, COMPLETED_AT[4], temperature=0.7)
            row.append((f"pictures, sample {seed}", Image.fromarray(pixels(drawn))))
        rows.append(row)
    contact_sheet(rows).save(path)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.conditioning.comparison", description=__doc__
    )
    parser.add_argument("data", type=Path, help="training images")
    parser.add_argument("validation", type=Path, help="validation images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=60.0, help="processor time per model")
    parser.add_argument("--optimizer", default="muon")
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--limit", type=int, default=0, help="training images; 0: all")
    parser.add_argument("--images", type=int, default=0, help="validation images, 0: all")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    try:
        shown = middles(options.validation, options.images, SHEET_SIDE)
    except ValueError as error:
        parser.error(str(error))
    images = ImageSet(options.data, device=torch.device("cpu"), limit=options.limit)

    def timed() -> dict[str, float]:
        trainers = {n: make_trainer(b, options, crop=options.crop) for n, b in MODELS.items()}
        return step_seconds(trainers, lambda t: t.draw(images), Trainer.train_step)

    seconds = kept_seconds(options, timed)
    results: dict[str, dict[str, Any]] = {}
    models: dict[str, TrainableModel] = {}
    for name in MODELS:
        steps = max(1, round(options.minutes * 60 / seconds[name]))
        print(f"== {name}: {seconds[name]:.3f} s a step, {steps} steps", flush=True)
        trainer = train(
            name, MODELS[name], steps, images, options, model="ssvae", crop=options.crop
        )
        results[name] = {**measure(trainer, shown, options), "seconds": seconds[name]}
        models[name] = trainer.ema
    first, second = results.values()
    rates = {k: bits_at_equal_psnr(first["curves"][k], second["curves"][k]) for k in "123"}
    draw_sheet(models, shown, options.out / "sheet.png")
    figures = {"models": results, "bd_rate_by_layers": rates}
    write_results(options.out, figures, table(results))


if __name__ == "__main__":
    main()
