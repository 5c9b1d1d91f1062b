"""``python -m models.studies.texture.training DATA --weights FILE --out RUN``: invented texture.

A copy of the ssVAE's synthesis learns to draw images with missing layers so that they look real
(:mod:`models.studies.texture.networks`, :mod:`models.studies.texture.loss`). Everything else is
frozen: files stay what they are. Four of five batches end in u or z1; the others have all layers
and the ordinary squared error, so that the picture of a whole file stays what it was.

A run is a folder with ``latest.pt`` and ``log.csv``; the same command continues it. What came of
it: docs/decisions/0015-texture-fill.md.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import os
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from models.exact.scales import scale_of
from models.exact.stage_prior import STEPS, StagePrior
from models.quantization import as_coded, walk
from models.ssvae.networks import SSVAE
from models.studies.texture.loss import (
    Discriminator,
    Look,
    Perception,
    TextureWeights,
    judge_loss,
    relative,
    texture_loss,
)
from models.studies.texture.networks import TextureSynthesis
from models.training.data import ImageSet
from models.training.optimizer import follow
from models.weights_file import WeightsError, load_trainable

#: Share of batches that end in layer 1, 2, 3.
KEPT_SHARE = (0.35, 0.45, 0.2)
#: Steps in which the discriminator learns alone.
JUDGE_FIRST = 100
#: Share of the steps at the end over which the rate falls to zero.
DECAY = 0.4
WARMUP_STEPS = 50
LOG_STEPS = 50


@dataclasses.dataclass(frozen=True)
class Stop:
    """An image with its later layers missing, as a decoder knows it."""

    coarse: Tensor
    """Features at 1/16 that u gives."""
    values: tuple[Tensor, Tensor]
    """z1, z2 or their prior means, divided by the gain."""
    spread: tuple[Tensor | None, Tensor | None]
    """The prior's standard deviations in the same unit; None where the layer is known."""
    smooth: Tensor
    """What the ordinary synthesis draws: the mean fill, B×3×H×W."""

    def noise(self, temperature: float = 1.0) -> tuple[Tensor | None, Tensor | None]:
        """A draw of what the synthesis is given beside the means."""
        a, b = (
            None if spread is None else temperature * spread * torch.randn_like(spread)
            for spread in self.spread
        )
        return a, b


def code(prior: StagePrior, context: Tensor, target: Tensor, kept: bool) -> tuple[Tensor, Tensor]:
    """The latent as coded, or where it is not ``kept`` the prior's mean, and standard deviations.

    All B×C×H×W in symbol units.
    """

    def fill(wanted: Tensor, mean: Tensor, raw: Tensor) -> Tensor:
        return mean

    latent, _, raws = walk(prior, context, target, as_coded if kept else fill)
    spread = torch.empty_like(target)
    for step, raw in enumerate(raws.chunk(STEPS, dim=1)):
        prior.scatter(step, scale_of(raw), spread)
    return latent, spread


@torch.no_grad()
def stop_at(model: SSVAE, image: Tensor, quality: Tensor, kept: int) -> Stop:
    """Code a batch of B×3×H×W in [0, 1] at (B,) quality, and forget the layers after ``kept``."""
    bottom_up = model.analysis(image, quality)[::-1]  # 1/32, 1/16, 1/8
    top_down: tuple[Tensor, ...] = ()
    context = model.prior.first_context(quality, *bottom_up[0].shape[-2:])
    values: list[Tensor] = []
    spreads: list[Tensor | None] = []
    coarse = smooth = image
    for i in range(3):
        gain = model.gain(i, quality)
        target = model.heads[i](bottom_up[i], *top_down) * gain
        with torch.autocast(image.device.type, enabled=False):
            latent, spread = code(model.prior.stage(i), context.float(), target, kept > i)
            if i < 2:
                context = model.prior.next_context(i, context.float(), latent)
        values.append(latent / gain)
        spreads.append(None if kept > i else spread / gain)
        top_down, smooth = model.synthesis.advance(i, top_down, values[i], quality)
        if i == 0:
            coarse = top_down[0]
    return Stop(coarse, (values[1], values[2]), (spreads[1], spreads[2]), smooth)


class TextureTrainer:
    """State of a run: the synthesis, its EMA, the discriminator, both optimizers, the step."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.device = torch.device(options.device)
        torch.manual_seed(options.seed)
        model = load_trainable(options.weights, options.model)
        if not isinstance(model, SSVAE):
            raise ValueError(f"{options.model} is no ssVAE: only their synthesis can be trained")
        self.model = model.to(self.device).eval().requires_grad_(False)
        self.synthesis = TextureSynthesis(model.config, model.synthesis).to(self.device)
        self.ema = copy.deepcopy(self.synthesis).requires_grad_(False)
        widths = model.config.widths[::-1]  # at 1/4, 1/8, 1/16, 1/32
        self.perception = Perception(model.analysis, widths[:3]).to(self.device)
        self.judge = Discriminator(widths).to(self.device)
        trained = [p for p in self.synthesis.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=options.learning_rate, betas=(0.5, 0.98))
        self.judge_optimizer = torch.optim.Adam(
            self.judge.parameters(), lr=2 * options.learning_rate, betas=(0.5, 0.98)
        )
        self.weights = TextureWeights(**{name: getattr(options, name) for name in _WEIGHTS})
        self.generator = torch.Generator().manual_seed(options.seed)
        self.step = self.skipped = 0

    def state(self) -> dict:
        parts = ("synthesis", "ema", "judge", "optimizer", "judge_optimizer", "perception")
        return {name: getattr(self, name).state_dict() for name in parts}

    def save(self, path: Path) -> None:
        """Write a checkpoint beside, then rename: an interrupted save leaves the old one."""
        counts = {"step": self.step, "skipped": self.skipped, "model": self.options.model}
        streams = {"crops": self.generator.get_state(), "torch": torch.get_rng_state()}
        beside = path.with_suffix(".partial")
        torch.save(self.state() | counts | streams, beside)
        os.replace(beside, path)

    def resume(self, path: Path) -> None:
        saved = torch.load(path, map_location=self.device, weights_only=True)
        for name in self.state():
            getattr(self, name).load_state_dict(saved[name])
        self.step, self.skipped = saved["step"], saved["skipped"]
        self.generator.set_state(saved["crops"].cpu())
        torch.set_rng_state(saved["torch"].cpu())

    def draw(self, images: ImageSet) -> Tensor:
        """The next batch, B×3×H×W in [0, 1]."""
        crops = images.crops(self.options.batch, self.options.crop, self.generator)
        image = crops.to(self.device).float().div_(255)
        return image.contiguous(memory_format=torch.channels_last)

    def train_step(self, image: Tensor) -> dict[str, float]:
        """One step; the figures of the log, those of the loss' parts by the layers kept."""
        count = len(image)
        if self.step == 0:
            self.perception.calibrate(image)
        strata = (torch.arange(count) + torch.rand(count)) / count
        quality = (strata[torch.randperm(count)] * 100).to(self.device)
        kept = 1 + int(torch.multinomial(torch.tensor(KEPT_SHARE), 1))
        self._set_rates()
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.options.bfloat16)
        with autocast:
            stop = stop_at(self.model, image, quality, kept)
            shown = self.synthesis(stop.coarse, stop.values, stop.noise(), quality)
        if kept == 3:
            total = relative(shown, stop.smooth, image)
            figures = {"whole": float(total.detach())}
        else:
            with autocast:
                seen = Look(shown, self.perception(shown))
                with torch.no_grad():
                    smooth = Look(stop.smooth, self.perception(stop.smooth))
                    true = Look(image, self.perception(image))
            judged, loss = self._train_judge(true, seen, smooth)
            logits = judged if self.step >= JUDGE_FIRST else None
            total, parts = texture_loss(seen, smooth, true, logits, self.weights)
            figures = {f"{name}_{kept}": float(part.detach()) for name, part in parts.items()}
            figures[f"judge_{kept}"] = loss
        self.optimizer.zero_grad()
        total.backward()
        norm = self._apply(self.synthesis, self.optimizer)
        follow(self.ema, self.synthesis, self.options.ema, self.step)
        self.step += 1
        return figures | {"norm": norm}

    def _train_judge(self, true: Look, seen: Look, smooth: Look) -> tuple[list[Tensor], float]:
        """A step of the discriminator; then its logits on ``seen``, for the synthesis."""
        self.judge.requires_grad_(True)
        fake = self.judge(seen.detached(), smooth)
        loss = judge_loss(self.judge(true, smooth), fake)
        self.judge_optimizer.zero_grad()
        loss.backward()
        self._apply(self.judge, self.judge_optimizer)
        self.judge.requires_grad_(False)
        return self.judge(seen, smooth), float(loss.detach())

    def _apply(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> float:
        """Take the step unless its gradient is not finite; the gradient's norm."""
        norm = nn.utils.clip_grad_norm_(network.parameters(), self.options.clip_norm)
        if bool(torch.isfinite(norm)):
            optimizer.step()
        else:
            self.skipped += 1
        return float(norm)

    def _set_rates(self) -> None:
        """Warm-up, constant, then linear decay to zero."""
        left = (self.options.steps - self.step) / (DECAY * self.options.steps)
        factor = min(1.0, (self.step + 1) / WARMUP_STEPS, max(0.0, left))
        for optimizer, scale in ((self.optimizer, 1.0), (self.judge_optimizer, 2.0)):
            for group in optimizer.param_groups:
                group["lr"] = self.options.learning_rate * scale * factor


_WEIGHTS = [field.name for field in dataclasses.fields(TextureWeights)]
_COLUMNS = [
    "step", "seconds", *(f"{n}_{k}" for n in (*_WEIGHTS, "judge") for k in (1, 2)),
    "whole", "norm", "skipped",
]  # fmt: skip


def log(path: Path, row: dict[str, float]) -> None:
    """A row of ``log.csv``, and the same as a line."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(" ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)


def train(options: argparse.Namespace, until: int | None = None) -> TextureTrainer:
    """Train, or continue the run in ``options.out``; stop at step ``until``, if given."""
    options.out.mkdir(parents=True, exist_ok=True)
    trainer = TextureTrainer(options)
    checkpoint = options.out / "latest.pt"
    if checkpoint.exists():
        trainer.resume(checkpoint)
        print(f"resumed at step {trainer.step}", flush=True)
    images = ImageSet(options.data, device=trainer.device, limit=options.limit)
    started = saved = time.monotonic()
    found: dict[str, list[float]] = {}
    while trainer.step < options.steps:
        for name, value in trainer.train_step(trainer.draw(images)).items():
            found.setdefault(name, []).append(value)
        now = time.monotonic()
        ended = trainer.step in (options.steps, until)
        ended |= bool(options.max_minutes) and now - started > 60 * options.max_minutes
        if trainer.step % LOG_STEPS == 0 or ended:
            means = {name: round(sum(v) / len(v), 5) for name, v in found.items()}
            times = {"step": trainer.step, "seconds": round(now - started, 1)}
            log(options.out / "log.csv", {**times, **means, "skipped": trainer.skipped})
            found = {}
        if now - saved > 60 * options.save_minutes or ended:
            trainer.save(checkpoint)
            saved = now
        if ended:
            break
    return trainer


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m models.studies.texture.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("data", type=Path, help="folder of images and tar shards")
    add("--weights", type=Path, required=True, help="weights file of the ordinary model")
    add("--model", default="ssvae", help="which network the weights are of")
    add("--out", type=Path, required=True, help="folder of the run")
    add("--steps", type=int, default=20_000, help="of the whole run, decay included")
    add("--max-minutes", type=float, default=0.0, help="stop after N minutes; 0: never")
    add("--save-minutes", type=float, default=3.0, help="between checkpoints")
    add("--batch", type=int, default=6, help="crops per step")
    add("--crop", type=int, default=128, help="side of the crops, a multiple of 64")
    add("--learning-rate", type=float, default=2.5e-4, help="the discriminator's is twice it")
    add("--clip-norm", type=float, default=1.0, help="largest norm of a step's gradient")
    add("--ema", type=float, default=0.998, help="decay of the averaged weights")
    add("--seed", type=int, default=0)
    add("--device", default="cpu", help="cpu or cuda")
    add("--bfloat16", action=argparse.BooleanOptionalAction, default=True)
    add("--limit", type=int, default=0, help="read the first N images; 0: all")
    for field in dataclasses.fields(TextureWeights):
        add(f"--{field.name}", type=float, default=field.default, help="weight in the loss")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    try:
        train(parse(arguments))
    except (ValueError, OSError, WeightsError) as error:
        sys.exit(f"texture: {error}")


if __name__ == "__main__":
    main()
