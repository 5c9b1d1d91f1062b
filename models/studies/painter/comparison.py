"""``python -m models.studies.painter.comparison --out DIR``: strokes, windows or objects.

Three recurrent generative models learn toy pictures (:mod:`models.studies.painter.pictures`) for
the same processor time on one thread: Painter draws strokes, T-DRAW writes through a window of
attention, T-AIR places objects and decides how many. Then all are measured on the same held-out
pictures: the bound and its terms in nats per picture, the squared error of the reconstruction from
the posterior's means, and how often the number of shapes is right. In ``DIR``: ``results.json``,
``table.md``, ``sheet.png`` with originals, reconstructions, their steps, and samples.

Started again, it goes on from its last checkpoint. What came of it: docs/decisions/0027-painter.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.bench.images import Cell, contact_sheet
from models.studies.equal_time import kept_seconds, step_seconds, write_results
from models.studies.painter.air import TAir, TAirConfig
from models.studies.painter.draw import TDraw, TDrawConfig
from models.studies.painter.model import ToyModel
from models.studies.painter.painter import Painter, PainterConfig
from models.studies.painter.pictures import MOST, Pictures, draw_pictures
from models.training.optimizer import ADAM_BETAS, follow

MODELS: dict[str, Callable[[], ToyModel]] = {
    "Painter": lambda: Painter(PainterConfig()),
    "T-DRAW": lambda: TDraw(TDrawConfig()),
    "T-AIR": lambda: TAir(TAirConfig()),
}
RATE = 1e-3
WARM_UP_STEPS = 100
EMA = 0.998
#: Between checkpoints.
SAVE_STEPS = 200
SHEET_ROWS = 8
_ZOOM = 2
_AT_ONCE = 100


class Trainer:
    """Adam; the weight of the KL terms rises from 0.1 to 1 over the first third, which keeps
    latents in use, that of a penalty from 0 to 1 over the second; the rate falls to zero over the
    last 60%. Steps that are not finite are skipped.
    """

    def __init__(self, model: ToyModel, steps: int, batch: int) -> None:
        self.model, self.steps, self.batch = model, steps, batch
        self.ema = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=ADAM_BETAS, fused=True)
        self.generator = torch.Generator().manual_seed(2)
        self.step = self.skipped = 0
        self.seconds = 0.0
        """Processor time of the steps so far."""

    def train_step(self, images: Tensor) -> float:
        """One step on a batch of uint8 ``images``; the negative bound in nats per picture."""
        done = self.step / self.steps
        rate = min(1.0, (self.step + 1) / min(WARM_UP_STEPS, self.steps), (1 - done) / 0.6)
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * rate
        chosen = torch.randint(len(images), (self.batch,), generator=self.generator)
        terms = self.model.terms(images[chosen].float() / 255, self.generator)
        weight = min(1.0, 0.1 + 0.9 * 3 * done)
        price = min(1.0, max(0.0, 3 * done - 1))
        loss = (weight * terms.divergence + price * terms.penalty - terms.reconstruction).mean()
        self.optimizer.zero_grad()
        loss.backward()
        # Likelihoods are hundreds of nats, and so are gradients.
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 300.0)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            follow(self.ema, self.model, EMA, self.step)
        else:
            self.skipped += 1
        self.step += 1
        return float((terms.divergence - terms.reconstruction).detach().mean())

    def state(self) -> dict[str, Any]:
        """All that a run needs to go on."""
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "numbers": (self.step, self.skipped, self.seconds),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.step, self.skipped, self.seconds = state["numbers"]

    def run(self, images: Tensor, label: str, checkpoint: Path) -> None:
        """All steps that are left, from the checkpoint if there is one."""
        if checkpoint.exists():
            self.resume(torch.load(checkpoint, weights_only=True))
        begin, total, since = time.process_time(), 0.0, 0
        while self.step < self.steps:
            total += self.train_step(images)
            since += 1
            if self.step % SAVE_STEPS == 0 or self.step == self.steps:
                self.seconds += time.process_time() - begin
                begin = time.process_time()
                print(f"{label} step {self.step}: {total / since:.1f} nats", flush=True)
                total, since = 0.0, 0
                torch.save(self.state(), checkpoint)


@torch.no_grad()
def measure(model: ToyModel, held_out: Pictures) -> dict[str, Any]:
    """Means over the pictures, with the share of right counts by the true number."""
    generator = torch.Generator().manual_seed(4)
    sums = {"bound": 0.0, "divergence": 0.0, "mse": 0.0}
    right: dict[int, list[bool]] = {number: [] for number in range(MOST + 1)}
    pairs = zip(held_out.images.split(_AT_ONCE), held_out.counts.split(_AT_ONCE), strict=True)
    for images, counts in pairs:
        image = images.float() / 255
        terms = model.terms(image, generator)
        sums["bound"] += float((terms.divergence - terms.reconstruction).sum())
        sums["divergence"] += float(terms.divergence.sum())
        means = model.terms(image, noisy=False)
        sums["mse"] += float((means.picture - image).square().flatten(1).mean(1).sum())
        if means.counts is not None:
            for true, said in zip(counts.tolist(), means.counts.tolist(), strict=True):
                right[true].append(said == true)
    n = len(held_out.images)
    result: dict[str, Any] = {name: value / n for name, value in sums.items()}
    every = [hit for hits in right.values() for hit in hits]
    result["count_accuracy"] = sum(every) / len(every) if every else None
    result["count_accuracy_by_number"] = [
        sum(hits) / len(hits) if hits else None for hits in right.values()
    ]
    return result


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: one line per model."""
    head = ["model", "parameters", "steps of drawing", "seconds per step of training", "steps"]
    head += ["seconds", "−ELBO, nats", "KL, nats", "MSE × 1000", "PSNR, dB", "counts right"]
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    for row in rows:
        accuracy = row["count_accuracy"]
        cells = [row["model"], f"{row['parameters'] / 1e6:.2f} M", str(row["drawing_steps"])]
        cells += [f"{row['step_seconds']:.3f}", str(row["steps"]), f"{row['seconds']:.0f}"]
        cells += [f"{row['bound']:.1f}", f"{row['divergence']:.1f}", f"{1e3 * row['mse']:.2f}"]
        cells += [f"{-10 * math.log10(row['mse']):.1f}"]
        cells += ["does not count" if accuracy is None else f"{accuracy:.1%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(picture: Tensor) -> Image.Image:
    """3×H×W in [0, 1] → an enlarged picture."""
    pixels = picture.mul(255).round().clamp(0, 255).to(torch.uint8)
    image = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
    return image.resize((_ZOOM * image.width, _ZOOM * image.height), Image.Resampling.NEAREST)


@torch.no_grad()
def draw_sheet(models: dict[str, ToyModel], held_out: Pictures, path: Path) -> None:
    """Per held-out picture (the first ones, no selection) the original, then each model's
    reconstruction and steps; below, a row of samples of each model."""
    images = held_out.images[:SHEET_ROWS].float() / 255
    passes = {name: model.terms(images, noisy=False) for name, model in models.items()}
    rows: list[list[Cell]] = []
    for index, image in enumerate(images):
        row: list[Cell] = [(f"true: {int(held_out.counts[index])}", _shown(image))]
        for name, terms in passes.items():
            said = "" if terms.counts is None else f": {int(terms.counts[index])}"
            row.append((f"{name}{said}", _shown(terms.picture[index])))
            steps = enumerate(terms.canvases, start=1 - (len(terms.canvases) > models[name].steps))
            row += [(str(step), _shown(canvas[index])) for step, canvas in steps]
        rows.append(row)
    for name, model in models.items():
        drawn = model.sample(len(rows[0]), torch.Generator().manual_seed(5))
        titles = [f"{name} draws"] + [""] * (len(drawn) - 1)
        rows.append([(t, _shown(p)) for t, p in zip(titles, drawn, strict=True)])
    contact_sheet(rows).save(path)


def one(name: str, seconds: float, data: tuple[Pictures, Pictures], options: Any) -> dict:
    """Train and measure one model; its weights and figures go to ``DIR``."""
    steps = max(1, round(options.minutes * 60 / seconds))
    stem = options.out / f"{name}-{steps}"
    if stem.with_suffix(".json").exists():
        return json.loads(stem.with_suffix(".json").read_text())
    training, held_out = data
    torch.manual_seed(0)
    trainer = Trainer(MODELS[name](), steps, options.batch)
    print(f"== {name}: {seconds:.3f} s a step, {steps} steps", flush=True)
    trainer.run(training.images, name, stem.with_suffix(".run"))
    torch.save(trainer.ema.state_dict(), stem.with_suffix(".pt"))
    result = {
        "model": name,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "drawing_steps": trainer.model.steps,
        "step_seconds": seconds,
        "steps": steps,
        "skipped": trainer.skipped,
        "seconds": round(trainer.seconds, 1),
        **measure(trainer.ema, held_out),
    }
    stem.with_suffix(".json").write_text(json.dumps(result))
    return result


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.painter.comparison", description=__doc__
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=8.0, help="processor time per model")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--pictures", type=int, default=30_000, help="for training")
    parser.add_argument("--held-out", type=int, default=1000, help="pictures of the measurement")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    data = draw_pictures(options.pictures, seed=0), draw_pictures(options.held_out, seed=1)

    def timed() -> dict[str, float]:
        trainers = {n: Trainer(build(), 10**6, options.batch) for n, build in MODELS.items()}
        return step_seconds(trainers, lambda _: data[0].images, Trainer.train_step)

    seconds = kept_seconds(options, timed)
    rows, models = [], {}
    for name, build in MODELS.items():
        rows.append(one(name, seconds[name], data, options))
        models[name] = build()
        weights = options.out / f"{name}-{rows[-1]['steps']}.pt"
        models[name].load_state_dict(torch.load(weights, weights_only=True))
    settings = {
        "minutes": options.minutes,
        "batch": options.batch,
        "training_pictures": options.pictures,
        "held_out": options.held_out,
    }
    draw_sheet(models, data[1], options.out / "sheet.png")
    write_results(options.out, {"settings": settings, "models": rows}, table(rows))


if __name__ == "__main__":
    main()
