"""How much of a training step goes into data.

``python -m benchmarks.data_loading FOLDER`` reads the folder as training does and prints images per
second while decoding into memory, crops per second, and the share of a step that is spent before
the next batch is ready. On a GPU crops are drawn while the device still works on the step before;
the share is what remains of it, measured by leaving the drawing out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from models.training.config import TrainConfig
from models.training.data import ImageSet
from models.training.hardware import machine, seconds_of
from models.training.trainer import Trainer


def _median(work: Callable[[], object], count: int, device: torch.device) -> float:
    """Median seconds of ``work`` after two calls that do not count."""
    return statistics.median([seconds_of(work, device) for _ in range(count + 2)][2:])


def measure(config: TrainConfig, steps: int) -> dict[str, float]:
    """Figures of one folder, model and device."""
    device = torch.device(config.device)
    begin = time.perf_counter()
    images = ImageSet(config.data, device=device, limit=config.limit)
    reading = time.perf_counter() - begin
    trainer = Trainer(config)
    crops = trainer.draw(images)
    drawing = _median(lambda: trainer.draw(images), steps, device)
    # Alternating, so that a machine that slows down slows both.
    with_data, without = [], []
    for _ in range(4):
        with_data.append(_median(lambda: trainer.train_step(crops, images), steps // 4, device))
        without.append(_median(lambda: trainer.train_step(crops), steps // 4, device))
    step, bare = statistics.median(with_data), statistics.median(without)
    return {
        "images_per_s": len(images) / reading,
        "megapixels_per_s": images.megapixels / reading,
        "crops_per_s": config.batch / drawing,
        "step_s": step,
        "drawing_share": drawing / step,
        "lost_share": max(0.0, step - bare) / step,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data_loading", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--model", default="ssvae")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, default=6)
    parser.add_argument("--crop", type=int, default=192)
    parser.add_argument("--limit", type=int, default=200, help="read the first N images")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as out:
        config = TrainConfig(
            data=options.folder,
            out=Path(out),
            model=options.model,
            batch=options.batch,
            crop=options.crop,
            device=options.device,
            limit=options.limit,
        )
        figures = measure(config, options.steps)
    print(f"{machine()}, {options.batch} crops of {options.crop}² a step")
    print("reading {images_per_s:.1f} images/s, {megapixels_per_s:.1f} Mpx/s".format(**figures))
    print(f"drawing {figures['crops_per_s']:.0f} crops/s")
    print(f"a step {figures['step_s'] * 1e3:.0f} ms; drawing its crops", end=" ")
    print("{drawing_share:.1%} of that, lost to it {lost_share:.1%}".format(**figures))
    if options.output:
        rounded = {key: float(f"{value:.4g}") for key, value in figures.items()}
        options.output.write_text(json.dumps({"machine": machine()} | rounded, indent=1) + "\n")


if __name__ == "__main__":
    main()
