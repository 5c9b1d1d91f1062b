"""``python -m models.studies.likelihood.comparison TRAIN VALIDATION --out DIR``: bits per dimension
of a VAE and of self-supervised VAEs of two and three levels, each with three priors of u.

All are trained for the same processor time on the same crops, then measured on the same held-out
crops: the bound and its terms (RE of x and of the smaller pictures, KL of the z and of u) and the
importance-weighted bound, all in bits per dimension of x. In ``DIR``: ``results.json``,
``table.md``, ``samples.png``. Started again, it goes on after the last model that is complete.

Photographs are reduced by 4 and cropped; with ``--whole`` every image of the folders is taken as it
is and must have sides of ``--size`` (CIFAR-10, ImageNet 32 or 64, CelebA as files): then the table
speaks of that data set.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.bench.images import contact_sheet
from models.studies.equal_time import kept_seconds, step_seconds, write_results
from models.studies.likelihood.networks import LevelsConfig, LevelsVAE, latent_shape
from models.studies.priors.comparison import draw_crops, picture_row
from models.studies.priors.registry import PRIORS, missing
from models.studies.priors.small_vae import importance_weighted
from models.training.data import ImageSet
from models.training.optimizer import ADAM_BETAS, follow

PRIORS_OF_U = ("standard normal", "mixture of Gaussians", "RealNVP")
LEVELS = (1, 2, 3)
RATE = 1e-3
WARM_UP_STEPS = 100
EMA = 0.998
#: A batch that costs more bits per dimension than eight times a uniform pixel is skipped.
MOST_BITS = 64.0
SHEET_COLUMNS = 12
_AT_ONCE = 512


def config_of(levels: int) -> LevelsConfig:
    """Networks whose steps take about as long: 0.6 … 1.4 M parameters, the prior of u included."""
    if levels == 1:
        return LevelsConfig(1, first_stride=8, width=144, depth=5)
    return LevelsConfig(levels, width=112 if levels == 2 else 80)


def build(levels: int, prior: str, size: int) -> LevelsVAE:
    config = config_of(levels)
    torch.manual_seed(0)
    return LevelsVAE(config, PRIORS[prior](latent_shape(config, size)))


def whole_images(folder: Path, size: int, count: int, seed: int) -> Tensor:
    """``count`` images of a folder as they are, in random order: uint8 N×3×size×size.

    Raises:
        ValueError: none, or one of another size.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    order = torch.randperm(len(files), generator=torch.Generator().manual_seed(seed)).tolist()
    found = []
    for index in order[:count]:
        with Image.open(files[index]) as image:
            if image.size != (size, size):
                raise ValueError(
                    f"{files[index]}: {image.width}×{image.height}, not {size}×{size}; "
                    "without --whole, crops are taken"
                )
            found.append(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
    if not found:
        raise ValueError(f"{folder}: holds no PNG or JPEG images")
    return torch.stack(found)


class Trainer:
    """Adam; the weight of the KL terms rises from 0.1 to 1 over the first third, which keeps u in
    use; the rate falls to zero over the last 60%."""

    def __init__(self, model: LevelsVAE, steps: int, batch: int) -> None:
        self.model, self.steps, self.batch = model, steps, batch
        self.ema = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=ADAM_BETAS, fused=True)
        self.generator = torch.Generator().manual_seed(2)
        self.step = self.skipped = 0

    def train_step(self, crops: Tensor) -> float:
        """One step on a batch of ``crops``; the bound in bits per dimension."""
        done = self.step / self.steps
        rate = min(1.0, (self.step + 1) / min(WARM_UP_STEPS, self.steps), (1 - done) / 0.6)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * rate
        chosen = torch.randint(len(crops), (self.batch,), generator=self.generator)
        image = crops[chosen]
        terms = self.model.terms(image, self.generator)
        bits = image[0].numel() * math.log(2)
        reconstruction = -torch.stack(terms.reconstruction).sum(0).mean() / bits
        divergence = torch.stack(terms.divergence).sum(0).mean() / bits
        weight = min(1.0, 0.1 + 0.9 * 3 * done)
        self.optimizer.zero_grad()
        (reconstruction + weight * divergence).backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        total = float((reconstruction + divergence).detach())
        if bool(torch.isfinite(norm)) and total < MOST_BITS:
            self.optimizer.step()
            follow(self.ema, self.model, EMA, self.step)
        else:
            self.skipped += 1
        self.step += 1
        return total

    def run(self, crops: Tensor, label: str) -> float:
        """All steps; returns the processor time in seconds."""
        begin, values = time.process_time(), []
        while self.step < self.steps:
            values.append(self.train_step(crops))
            if self.step % 100 == 0 or self.step == self.steps:
                print(
                    f"{label} step {self.step}: {statistics.mean(values):.3f} bits/dim", flush=True
                )
                values = []
        return time.process_time() - begin


@torch.no_grad()
def measure(model: LevelsVAE, crops: Tensor, samples: int) -> dict[str, list[float]]:
    """Bits per dimension of each crop: the bound, its terms and the importance-weighted bound.

    The terms are means over the samples of the weighted bound, so that for each crop ELBO ≥ the
    weighted bound (in bits: less is better).
    """
    generator = torch.Generator().manual_seed(4)
    bits = crops[0].numel() * math.log(2)
    names = ("elbo", "weighted", "re_x", "re_y", "kl_z", "kl_u")
    found: dict[str, list[float]] = {name: [] for name in names}
    for image in crops:
        parts = []
        for start in range(0, samples, _AT_ONCE):
            count = min(_AT_ONCE, samples - start)
            parts.append(model.terms(image.expand(count, *image.shape), generator))
        weights = torch.cat([part.total() for part in parts])

        found["elbo"].append(-float(weights.mean()) / bits)
        found["weighted"].append(-float(importance_weighted(weights[None])) / bits)
        re, kl = (
            torch.cat([torch.stack(getattr(part, field)) for part in parts], dim=1).mean(1) / bits
            for field in ("reconstruction", "divergence")
        )  # per level
        found["re_x"].append(-float(re[-1]))
        found["re_y"].append(-float(re[:-1].sum()))
        found["kl_u"].append(float(kl[0]))
        found["kl_z"].append(float(kl[1:].sum()))
    return found


def table(rows: list[dict[str, Any]], samples: int) -> str:
    """Markdown: one line per model."""
    head = ["model", "p(u)", "parameters", "steps", f"IW, {samples} samples", "ELBO"]
    head += ["RE x", "RE y", "KL z", "KL u"]
    lines = ["| " + " | ".join(head) + " |", "| --- | --- |" + " ---: |" * (len(head) - 2)]
    names = {1: "VAE", 2: "ssVAE, two levels", 3: "ssVAE, three levels"}
    for row in rows:
        bits = row["bits_per_dimension"]
        cells = [names[row["levels"]], row["prior"], f"{row['parameters'] / 1e6:.2f} M"]
        cells += [str(row["steps"])]
        cells += [f"{bits[k]:.3f}" for k in ("weighted", "elbo", "re_x", "re_y", "kl_z", "kl_u")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


@torch.no_grad()
def draw_sheet(models: dict[str, LevelsVAE], crops: Tensor, path: Path) -> None:
    """Held-out crops, then a row of samples of each model; no selection."""
    rows = [picture_row("held-out crops", crops[:SHEET_COLUMNS])]
    for name, model in models.items():
        pictures = model.sample(SHEET_COLUMNS, torch.Generator().manual_seed(5))
        rows.append(picture_row(name, pictures[-1]))
    contact_sheet(rows).save(path)


def one(levels: int, prior: str, steps: int, crops: Tensor, held_out: Tensor, options: Any) -> dict:
    """Train and measure one model; its weights and figures go to ``DIR``."""
    stem = options.out / f"{levels}-{prior.replace(' ', '-')}-{steps}"
    if stem.with_suffix(".json").exists():
        return json.loads(stem.with_suffix(".json").read_text())
    trainer = Trainer(build(levels, prior, options.size), steps, options.batch)
    seconds = trainer.run(crops, f"{levels} level(s), {prior}")
    torch.save(trainer.ema.state_dict(), stem.with_suffix(".pt"))
    values = measure(trainer.ema, held_out, options.samples)
    weighted = torch.tensor(values["weighted"])
    result = {
        "levels": levels,
        "prior": prior,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "steps": steps,
        "skipped": trainer.skipped,
        "training_seconds": round(seconds, 1),
        "bits_per_dimension": {k: round(statistics.mean(v), 4) for k, v in values.items()},
        "standard_error": round(float(weighted.std()) / math.sqrt(len(weighted)), 4),
    }
    stem.with_suffix(".json").write_text(json.dumps(result))
    return result


def _crops(options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    counts = (options.crops, options.held_out)
    if options.whole:
        folders = (options.data, options.validation)
        pairs = zip(folders, counts, strict=True)
        training, held_out = (whole_images(f, options.size, n, seed=0) for f, n in pairs)
        return training, held_out
    cpu = torch.device("cpu")
    images = ImageSet(options.data, device=cpu, limit=options.limit)
    training = draw_crops(images, counts[0], options.size, seed=0)
    return training, draw_crops(
        ImageSet(options.validation, device=cpu), counts[1], options.size, 1
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.likelihood.comparison", description=__doc__
    )
    parser.add_argument("data", type=Path, help="training images")
    parser.add_argument("validation", type=Path, help="validation images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=12.0, help="processor time per model")
    parser.add_argument("--size", type=int, default=32, help="side of the pictures")
    parser.add_argument("--whole", action="store_true", help="images have that size: no crops")
    parser.add_argument("--levels", type=int, nargs="+", choices=LEVELS, default=list(LEVELS))
    parser.add_argument("--priors", nargs="+", choices=list(PRIORS), default=list(PRIORS_OF_U))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--crops", type=int, default=24_000, help="for training")
    parser.add_argument("--held-out", type=int, default=128, help="pictures for the measurement")
    parser.add_argument("--samples", type=int, default=512, help="of the latents per picture")
    parser.add_argument("--limit", type=int, default=0, help="training images; 0: all")
    options = parser.parse_args(arguments)
    for prior in options.priors:
        if lacks := missing(prior):
            parser.error(f"{prior} needs {lacks}")
    try:
        for levels in options.levels:
            latent_shape(config_of(levels), options.size)
        options.out.mkdir(parents=True, exist_ok=True)
        torch.set_num_threads(1)
        crops, held_out = _crops(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    pairs = [(levels, prior) for levels in options.levels for prior in options.priors]

    def timed() -> dict[str, float]:
        trainers = {
            f"{n} {p}": Trainer(build(n, p, options.size), 10**6, options.batch) for n, p in pairs
        }
        return step_seconds(trainers, lambda _: crops, Trainer.train_step)

    seconds = kept_seconds(options, timed)
    rows, models = [], {}
    for levels, prior in pairs:
        steps = max(1, round(options.minutes * 60 / seconds[f"{levels} {prior}"]))
        rows.append(one(levels, prior, steps, crops, held_out, options))
        model = build(levels, prior, options.size)
        stem = options.out / f"{levels}-{prior.replace(' ', '-')}-{steps}.pt"
        model.load_state_dict(torch.load(stem, weights_only=True))
        models[f"{levels} level(s), {prior}"] = model
    settings = {
        "size": options.size,
        "whole": options.whole,
        "training_crops": len(crops),
        "held_out": len(held_out),
        "samples": options.samples,
        "batch": options.batch,
        "minutes": options.minutes,
    }
    draw_sheet(models, held_out, options.out / "samples.png")
    figures = {"settings": settings, "models": rows}
    write_results(options.out, figures, table(rows, options.samples))


if __name__ == "__main__":
    main()
