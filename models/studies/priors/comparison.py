"""``python -m models.studies.priors.comparison TRAIN VALIDATION --out DIR``: what a prior is worth.

A small VAE is trained with a standard normal prior first. From there it goes on with each prior of
:mod:`models.studies.priors.latent_priors`, networks and prior together: as many steps, the same
crops in the same order, the same noise. Then all are measured on the same crops of the validation
images, in bits per dimension (a dimension is one colour of one pixel):

* ELBO, and its two terms: reconstruction −log p(x|u), and KL, log q(u|x) − log p(u);
* the importance-weighted bound with 64 samples, which is closer to −log p(x);
* differences from the first prior crop by crop, with their standard error over crops.

Crops are reduced by 4, so that 32×32 pixels show more than a plain surface. In ``DIR``:
``results.json``, ``table.md`` and ``samples.png``. Started again, it goes on after the last prior
that is complete. What came of it: docs/decisions/0014-priors.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import re
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from benchmarks.bench.images import Cell, contact_sheet
from codec.generation.grid import grid
from models.studies.equal_time import kept_seconds, step_seconds, write_results
from models.studies.priors.latent_priors import StandardNormal
from models.studies.priors.registry import PRIORS, available, missing
from models.studies.priors.small_vae import (
    SmallVAE,
    SmallVAEConfig,
    importance_weighted,
    latent_shape,
)
from models.training.data import ImageSet
from models.training.optimizer import ADAM_BETAS, follow

#: Photographs are reduced by this (ImageSet.crops reduces half of the crops by up to 2 more).
REDUCTION = 4
VAE_RATE = 1e-3
#: Learning rates of the priors' own parameters. Components of a mixture are few numbers that share
#: what all positions say; couplings are deep.
FLOW_RATE = 1e-3
PRIOR_RATES = {"mixture of Gaussians": 3e-3}
WARM_UP_STEPS = 100
#: A step with more bits per dimension is skipped like one that is not finite. Uniform pixels cost
#: 8; a batch that goes wrong can cost ten thousand and undo what was learned.
MOST_BITS = 100.0
EMA = 0.998
IMPORTANCE_SAMPLES = 64
TEMPERATURES = (1.0, 0.7)
SHEET_COLUMNS = 16
_ZOOM = 2
_CROPS_AT_ONCE = 8


def build(name: str, size: int) -> SmallVAE:
    """The VAE with one of the priors; the same weights whatever the prior is."""
    config = SmallVAEConfig()
    torch.manual_seed(0)
    model = SmallVAE(config, StandardNormal(latent_shape(config, size)))
    torch.manual_seed(1)
    model.prior = PRIORS[name](latent_shape(config, size))
    return model


def draw_crops(images: ImageSet, count: int, size: int, seed: int) -> Tensor:
    """Random crops reduced by :data:`REDUCTION`: uint8 count×3×size×size."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for start in range(0, count, 500):
        large = images.crops(min(500, count - start), REDUCTION * size, generator)
        found.append(F.avg_pool2d(large.float(), REDUCTION).round().to(torch.uint8))
    return torch.cat(found)


class Trainer:
    """One run: Adam with a learning rate of its own for the prior, EMA, steps that fail skipped.

    Args:
        steps: of the whole run. KL and learning rate follow from the share that is done.
        first: the run before the priors part: the weight of the KL term rises from 0.1 to 1 over
            its first third, which keeps u in use, and the learning rate stays; in the later runs it
            falls to zero over the last 60%.
    """

    def __init__(self, name: str, model: SmallVAE, steps: int, *, batch: int, first: bool) -> None:
        self.model, self.steps, self.batch, self.first = model, steps, batch, first
        self.ema = copy.deepcopy(model).requires_grad_(False)
        own = list(model.prior.parameters())
        networks = [*model.encoder.parameters(), *model.decoder.parameters()]
        groups = [{"params": networks, "start": VAE_RATE}]
        if own:
            groups.append({"params": own, "start": PRIOR_RATES.get(name, FLOW_RATE)})
        self.optimizer = torch.optim.Adam(groups, lr=VAE_RATE, betas=ADAM_BETAS, fused=True)
        self.generator = torch.Generator().manual_seed(2 if first else 3)
        self.step, self.skipped = 0, 0

    def train_step(self, crops: Tensor) -> tuple[float, float]:
        """One step on a batch of ``crops``; reconstruction and KL in bits per dimension."""
        done = self.step / self.steps
        rate = min(1.0, (self.step + 1) / min(WARM_UP_STEPS, self.steps))
        weight = 1.0
        if self.first:
            weight = min(1.0, 0.1 + 0.9 * 3 * done)
        else:
            rate *= min(1.0, (1 - done) / 0.6)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["start"]
        chosen = torch.randint(len(crops), (self.batch,), generator=self.generator)
        noise = torch.randn(self.batch, *self.model.prior.shape, generator=self.generator)
        image = crops[chosen]
        terms = self.model.terms(image, self.model.posterior(image), noise)
        bits = image[0].numel() * math.log(2)
        reconstruction = -terms.reconstruction.mean() / bits
        divergence = terms.divergence.mean() / bits
        self.optimizer.zero_grad()
        (reconstruction + weight * divergence).backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if bool(torch.isfinite(norm)) and float(reconstruction.detach()) < MOST_BITS:
            self.optimizer.step()
            follow(self.ema, self.model, EMA, self.step)
        else:
            self.skipped += 1
        self.step += 1
        return float(reconstruction.detach()), float(divergence.detach())

    def run(self, crops: Tensor, label: str) -> float:
        """All steps; returns the processor time in seconds."""
        begin = time.process_time()
        sums, since = torch.zeros(2), 0
        while self.step < self.steps:
            sums += torch.tensor(self.train_step(crops))
            since += 1
            if self.step % 100 == 0 or self.step == self.steps:
                a, b = (sums / since).tolist()
                total = f"{a:.3f} + {b:.3f} = {a + b:.3f}"
                print(f"{label} step {self.step}: {total} bits/dim", flush=True)
                sums, since = torch.zeros(2), 0
        return time.process_time() - begin


def time_steps(crops: Tensor, options: argparse.Namespace) -> dict[str, float]:
    """Processor time of a step with each prior."""
    trainers = {
        name: Trainer(name, build(name, options.size), 10**6, batch=options.batch, first=False)
        for name in available()
    }
    return step_seconds(trainers, lambda _: crops, Trainer.train_step)


@torch.no_grad()
def measure(model: SmallVAE, crops: Tensor, samples: int) -> dict[str, list[float]]:
    """Bits per dimension of each crop: both terms and the importance-weighted bound.

    Each crop gets as many samples of u as ``samples`` says, from the same noise for every model.
    The terms are means over the samples, so that for each crop ELBO ≥ the weighted bound (in bits:
    less is better).
    """
    generator = torch.Generator().manual_seed(4)
    found: dict[str, list[float]] = {"reconstruction": [], "kl": [], "weighted": []}
    bits = crops[0].numel() * math.log(2)
    for images in crops.split(_CROPS_AT_ONCE):
        repeated = images.repeat_interleave(samples, 0)
        posterior = model.posterior(images)
        posterior = type(posterior)(*(p.repeat_interleave(samples, 0) for p in posterior))
        noise = torch.randn(posterior.mean.shape, generator=generator)
        terms = model.terms(repeated, posterior, noise)
        reconstruction = terms.reconstruction.unflatten(0, (-1, samples))
        divergence = terms.divergence.unflatten(0, (-1, samples))
        weighted = importance_weighted(reconstruction - divergence)
        found["reconstruction"] += (-reconstruction.mean(1) / bits).tolist()
        found["kl"] += (divergence.mean(1) / bits).tolist()
        found["weighted"] += (-weighted / bits).tolist()
    return found


@torch.no_grad()
def sampling_milliseconds(model: SmallVAE, draws: int = 40) -> tuple[float, float]:
    """Median processor time of one draw of u, and of one picture, u included; one at a time."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(draws):
        for found, draw in zip(times, (model.prior.sample, model.sample), strict=True):
            begin = time.process_time()
            draw(1)
            found.append(1e3 * (time.process_time() - begin))
    of_u, of_picture = (statistics.median(found[3:]) for found in times)
    return of_u, of_picture


def train_and_measure(
    name: str, start: dict, steps: int, data: tuple[Tensor, Tensor], options: argparse.Namespace
) -> dict:
    """Everything about one prior; its weights go to ``DIR``."""
    model = build(name, options.size)
    model.encoder.load_state_dict(start["encoder"])
    model.decoder.load_state_dict(start["decoder"])
    trainer = Trainer(name, model, steps, batch=options.batch, first=False)
    seconds = trainer.run(data[0], name)
    torch.save(trainer.ema.state_dict(), weights_path(options.out, name, steps))
    of_u, of_picture = sampling_milliseconds(trainer.ema)
    return {
        "prior": name,
        "prior_parameters": sum(p.numel() for p in model.prior.parameters()),
        "steps": steps,
        "skipped": trainer.skipped,
        "training_seconds": round(seconds, 1),
        "sampling_milliseconds": {"u": round(of_u, 3), "picture": round(of_picture, 3)},
        "crops": measure(trainer.ema, data[1], options.samples),
    }


def weights_path(folder: Path, name: str, steps: int) -> Path:
    return folder / f"{re.sub('[^A-Za-z0-9]+', '-', name)}-{steps}.pt"


def summary(results: list[dict]) -> list[dict]:
    """Means over crops instead of single ones, with differences from the first prior."""

    def columns(result: dict) -> dict[str, Tensor]:
        values = {key: torch.tensor(v, dtype=torch.float64) for key, v in result["crops"].items()}
        elbo = values["reconstruction"] + values["kl"]
        return {"elbo": elbo, **values}

    first = columns(results[0])
    found = []
    for result in results:
        own = columns(result)
        means = {key: round(float(v.mean()), 4) for key, v in own.items()}
        saved = own["weighted"] - first["weighted"]
        error = float(saved.std()) / math.sqrt(len(saved)) if len(saved) > 1 else 0.0
        difference = {"mean": round(float(saved.mean()), 4), "standard_error": round(error, 4)}
        rest = {key: value for key, value in result.items() if key != "crops"}
        found.append({**rest, "bits_per_dimension": means, "weighted_difference": difference})
    return found


def table(rows: list[dict], samples: int) -> str:
    """Markdown: one line per prior."""
    lines = [
        f"| p(u) | parameters | ELBO | IW, {samples} samples | difference | reconstruction | KL "
        "| training | sampling u | a picture |",
        "| --- |" + " ---: |" * 9,
    ]
    for row in rows:
        bits, times = row["bits_per_dimension"], row["sampling_milliseconds"]
        difference = row["weighted_difference"]
        lines.append(
            f"| {row['prior']} | {row['prior_parameters'] / 1e6:.3f} M | {bits['elbo']:.3f} "
            f"| {bits['weighted']:.3f} "
            f"| {difference['mean']:+.3f} ± {difference['standard_error']:.3f} "
            f"| {bits['reconstruction']:.3f} | {bits['kl']:.3f} "
            f"| {row['training_seconds']:.0f} s | {times['u']:.2f} ms | {times['picture']:.2f} ms |"
        )
    return "\n".join(lines)


def picture_row(title: str, pictures: Tensor) -> list[Cell]:
    """A row of a sheet: uint8 N×3×H×W side by side, enlarged."""
    images = (Image.fromarray(p.permute(1, 2, 0).contiguous().numpy()) for p in pictures)
    side = _ZOOM * pictures.shape[-1], _ZOOM * pictures.shape[-2]
    shown = [image.resize(side, Image.Resampling.NEAREST) for image in images]
    return [(title, grid(shown, columns=len(shown)))]


@torch.no_grad()
def draw_sheet(models: dict[str, SmallVAE], crops: Tensor, path: Path) -> None:
    """Held-out crops, then for each prior a row of samples per temperature; no selection."""
    rows = [picture_row("held-out crops", crops[:SHEET_COLUMNS])]
    for name, model in models.items():
        for temperature in TEMPERATURES:
            generator = torch.Generator().manual_seed(5)
            pictures = model.sample(SHEET_COLUMNS, generator, temperature)
            rows.append(picture_row(f"{name}, temperature {temperature:g}", pictures))
    contact_sheet(rows).save(path)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.priors.comparison", description=__doc__
    )
    parser.add_argument("data", type=Path, help="training images")
    parser.add_argument("validation", type=Path, help="validation images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--minutes", type=float, default=8.0, help="processor time per prior, mean over priors"
    )
    parser.add_argument(
        "--shared-minutes", type=float, default=10.0, help="of the run before the priors part"
    )
    parser.add_argument("--size", type=int, default=32, help="side of the crops, multiple of 8")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--crops", type=int, default=24_000, help="for training")
    parser.add_argument("--held-out", type=int, default=256, help="crops for the measurement")
    parser.add_argument("--samples", type=int, default=IMPORTANCE_SAMPLES, help="of u per crop")
    parser.add_argument("--limit", type=int, default=0, help="training images; 0: all")
    options = parser.parse_args(arguments)
    try:
        latent_shape(SmallVAEConfig(), options.size)
    except ValueError as error:
        parser.error(str(error))
    for name in PRIORS:
        if lacks := missing(name):
            print(f"left out: {name}; it needs {lacks}", file=sys.stderr)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    device = torch.device("cpu")
    images = ImageSet(options.data, device=device, limit=options.limit)
    crops = draw_crops(images, options.crops, options.size, seed=0)
    images = ImageSet(options.validation, device=device)
    held_out = draw_crops(images, options.held_out, options.size, seed=1)
    seconds = kept_seconds(options, lambda: time_steps(crops, options))
    first, *_ = names = available()
    steps = round(options.minutes * 60 / statistics.mean(seconds.values()))
    shared_steps = round(options.shared_minutes * 60 / seconds[first])
    print(f"== {shared_steps} steps together, then {steps} with each prior", flush=True)
    shared = options.out / f"shared-{shared_steps}.pt"
    if not shared.exists():
        model = build(first, options.size)
        trainer = Trainer(first, model, shared_steps, batch=options.batch, first=True)
        trainer.run(crops, "shared")
        parts = {"encoder": trainer.ema.encoder, "decoder": trainer.ema.decoder}
        torch.save({name: part.state_dict() for name, part in parts.items()}, shared)
    start = torch.load(shared, weights_only=True)
    results, models = [], {}
    for name in names:
        weights = weights_path(options.out, name, steps)
        path = weights.with_suffix(".json")
        if not path.exists():
            found = train_and_measure(name, start, steps, (crops, held_out), options)
            path.write_text(json.dumps(found))
        results.append(json.loads(path.read_text()))
        models[name] = build(name, options.size)
        models[name].load_state_dict(torch.load(weights, weights_only=True))
    rows = summary(results)
    settings = {
        "size": options.size,
        "batch": options.batch,
        "training_crops": len(crops),
        "held_out_crops": len(held_out),
        "importance_samples": options.samples,
        "shared_steps": shared_steps,
        # A standard normal has none of its own.
        "vae_parameters": sum(p.numel() for p in models[first].parameters()),
    }
    draw_sheet(models, held_out, options.out / "samples.png")
    figures = {"settings": settings, "priors": rows}
    write_results(options.out, figures, table(rows, options.samples))


if __name__ == "__main__":
    main()
