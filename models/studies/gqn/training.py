"""``python -m models.studies.gqn.training --out DIR``: train a scene network, then measure it.

Scenes are made by :mod:`models.studies.gqn.scenes`; nothing else is needed. In ``DIR``:
``model.pt``, ``results.json`` and ``sheet.png``: unseen scenes with their context views, the true
view, and the view predicted from one to five contexts. The error must fall with contexts, and is
set beside that of the prior (no context). Started again, it goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.bench.images import Cell, contact_sheet
from models.studies.gqn.networks import (
    GQN,
    GQNConfig,
    deviation,
    from_uint8,
    log_likelihood,
    mean_square,
    prefixes,
    to_picture,
)
from models.studies.gqn.scenes import views
from models.training.hardware import machine
from models.training.optimizer import ADAM_BETAS, follow

VIEWS = 6
"""Of each scene: five contexts at most, and one to predict."""
RATE = 7e-4
WARM_UP_STEPS = 200
EMA = 0.999
_SAVE_MINUTES = 5.0
_ZOOM = 3
#: Draws from the prior whose mean is a prediction.
SAMPLES = 8


class Trainer:
    """State of a run: networks, averaged weights, optimizer, step."""

    def __init__(self, steps: int, batch: int, config: GQNConfig | None = None) -> None:
        torch.manual_seed(0)
        self.model = GQN(config or GQNConfig())
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=RATE, betas=ADAM_BETAS, fused=True
        )
        self.steps, self.batch = steps, batch
        self.generator = torch.Generator().manual_seed(1)
        self.step = self.skipped = 0
        self.seconds = 0.0

    def state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "counts": [self.step, self.skipped, self.steps],
            "seconds": self.seconds,
        }

    def load(self, path: Path) -> None:
        """Go on from a checkpoint. Raises ValueError for one of another length."""
        state = torch.load(path, weights_only=True)
        if state["counts"][2] != self.steps:
            raise ValueError(
                f"{path} is of a run of {state['counts'][2]} steps; name another --out"
            )
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.step, self.skipped, _ = state["counts"]
        self.seconds = state["seconds"]

    def train_step(self, images: Tensor, poses: Tensor) -> tuple[float, float]:
        """One step on random scenes, each with 0 … 5 contexts; nats of both terms per image."""
        left = 1 - self.step / self.steps
        rate = RATE * min(1.0, (self.step + 1) / WARM_UP_STEPS, left / 0.5)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        chosen = torch.randint(len(images), (self.batch,), generator=self.generator)
        order = torch.rand(self.batch, VIEWS, generator=self.generator).argsort(1)
        rows = torch.arange(self.batch)[:, None]
        seen = from_uint8(images[chosen][rows, order])
        posed = poses[chosen][rows, order]
        # One number of contexts for a batch, so that views lie in one tensor.
        count = int(torch.randint(VIEWS, (), generator=self.generator))
        scene = self.model.represent(seen[:, 1 : 1 + count], posed[:, 1 : 1 + count])
        drawn = self.model(scene, posed[:, 0], seen[:, 0], generator=self.generator)
        scale = deviation(self.step, self.steps)
        reconstruction = -log_likelihood(seen[:, 0], drawn.picture, scale).mean()
        spent = drawn.divergence.mean()
        self.optimizer.zero_grad()
        ((reconstruction + spent) / seen[0, 0].numel()).backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            follow(self.ema, self.model, EMA, self.step)
        else:
            self.skipped += 1
        self.step += 1
        return float(reconstruction.detach()), float(spent.detach())


def train(trainer: Trainer, images: Tensor, poses: Tensor, path: Path) -> None:
    """All remaining steps, with checkpoints."""
    saved, sums = time.monotonic(), np.zeros(2)
    begin = time.process_time() - trainer.seconds
    while trainer.step < trainer.steps:
        sums += trainer.train_step(images, poses)
        trainer.seconds = time.process_time() - begin
        if trainer.step % 100 == 0:
            a, b = sums / 100
            print(f"step {trainer.step}: −log p {a:.1f}, KL {b:.1f} nats", flush=True)
            sums = np.zeros(2)
        if time.monotonic() - saved > 60 * _SAVE_MINUTES or trainer.step == trainer.steps:
            beside = path.with_suffix(".partial")
            torch.save(trainer.state(), beside)
            beside.replace(path)
            saved = time.monotonic()


@torch.no_grad()
def predicted(model: GQN, scene: Tensor, pose: Tensor, samples: int = SAMPLES) -> Tensor:
    """Mean of draws from the prior, B×3×H×W around 0."""
    generator = torch.Generator().manual_seed(3)
    draws = [model(scene, pose, generator=generator).picture for _ in range(samples)]
    return torch.stack(draws).mean(0)


@torch.no_grad()
def measure(model: GQN, images: Tensor, poses: Tensor) -> list[dict[str, float]]:
    """Error of the last view of each scene, predicted from its first 0 … 5."""
    seen, rows = from_uint8(images), []
    for count, known, posed in prefixes(seen, poses, range(VIEWS)):
        errors = []
        for part in torch.arange(len(seen)).split(32):
            scene = model.represent(known[part], posed[part])
            drawn = predicted(model, scene, poses[part, -1])
            errors.append(mean_square(seen[part, -1], drawn))
        error = torch.cat(errors)
        rows.append(
            {
                "contexts": count,
                "mse": round(float(error.mean()), 6),
                "standard_error": round(float(error.std()) / math.sqrt(len(error)), 6),
                "psnr": round(float((-10 * torch.log10(error)).mean()), 3),
            }
        )
    return rows


@torch.no_grad()
def draw_sheet(model: GQN, images: Tensor, poses: Tensor, path: Path) -> None:
    """A row per scene: five contexts, the true view, and the views predicted from 0 … 5."""

    def shown(pixels: Tensor) -> Image.Image:
        picture = Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())
        side = _ZOOM * picture.width, _ZOOM * picture.height
        return picture.resize(side, Image.Resampling.NEAREST)

    seen, rows = from_uint8(images), []
    for index in range(len(images)):
        row: list[Cell] = [(f"view {k + 1}", shown(images[index, k])) for k in range(VIEWS - 1)]
        row.append(("asked for", shown(images[index, -1])))
        one, at = seen[index : index + 1], poses[index : index + 1]
        for count, known, posed in prefixes(one, at, range(VIEWS)):
            drawn = predicted(model, model.represent(known, posed), at[:, -1])
            row.append((f"from {count}", shown(to_picture(drawn)[0])))
        rows.append(row)
    contact_sheet(rows).save(path)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m models.studies.gqn.training")
    parser.description = __doc__
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--steps", type=int, default=16_000)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--scenes", type=int, default=6000, help="for training")
    parser.add_argument("--held-out", type=int, default=256, help="scenes for the measurement")
    parser.add_argument("--side", type=int, default=32, help="of the views, a multiple of 4")
    parser.add_argument("--sheet", type=int, default=8, help="scenes on the sheet")
    options = parser.parse_args(arguments)
    if options.side % 4 or options.side < 8:
        parser.error(f"--side must be a multiple of 4 from 8 on, not {options.side}")
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    trainer = Trainer(options.steps, options.batch)
    checkpoint = options.out / "model.pt"
    try:
        if checkpoint.exists():
            trainer.load(checkpoint)
    except ValueError as error:
        parser.error(str(error))
    if trainer.step < trainer.steps:
        images, poses = map(torch.from_numpy, views(options.scenes, VIEWS, options.side, seed=0))
        train(trainer, images, poses, checkpoint)
    images, poses = map(torch.from_numpy, views(options.held_out, VIEWS, options.side, seed=10**6))
    rows = measure(trainer.ema, images, poses)
    result = {
        "machine": machine(),
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "steps": trainer.step,
        "skipped": trainer.skipped,
        "batch": options.batch,
        "scenes": options.scenes,
        "held_out": options.held_out,
        "side": options.side,
        "training_seconds": round(trainer.seconds),
        "errors": rows,
    }
    (options.out / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    draw_sheet(
        trainer.ema, images[: options.sheet], poses[: options.sheet], options.out / "sheet.png"
    )
    for row in rows:
        print(f"{row['contexts']} contexts: {row['psnr']:.2f} dB, squared error {row['mse']:.5f}")


if __name__ == "__main__":
    main()
