"""The training loop: warm-up, constant, decay; EMA; checkpoints that resume exactly.

A run is a folder. ``latest.pt`` holds everything (weights, EMA, optimizer, random states, step);
``constant.pt`` is the last state before the decay began: later compute continues from there with a
larger ``steps``, as if the decay had not happened.
"""

from __future__ import annotations

import copy
import csv
import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.registry import BUILDERS
from models.training.data import ImageSet
from models.training.evaluate import evaluate_estimated, format_table
from models.training.losses import LossConfig, draw_settings, rate_distortion_loss
from models.weights import load_trainable


@dataclass(frozen=True)
class TrainConfig:
    """One run. The schedule counts steps, so that it does not depend on the machine's speed."""

    data: Path
    out: Path
    model: str = "ssvae"
    validation: Path | None = None
    steps: int = 40_000
    decay_steps: int = 8_000
    warmup_steps: int = 500
    batch: int = 8
    crop: int = 192
    learning_rate: float = 1.2e-3
    clip_norm: float = 1.0
    ema: float = 0.9995
    seed: int = 0
    device: str = "cpu"
    bfloat16: bool = True
    compile: bool = False
    start: Path | None = None
    """What a new run begins from: another run's checkpoint (its ``constant.pt``, say), or a weights
    file of the codec."""
    limit: int = 0
    max_minutes: float = 0.0
    save_minutes: float = 10.0
    validate_minutes: float = 15.0
    log_steps: int = 100


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Warm-up, constant, then linear decay to zero over the last ``decay_steps``."""
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    left = config.steps - step
    return warm * min(1.0, left / max(1, config.decay_steps))


class Trainer:
    """State of a run: model, EMA, optimizer, random generator, step."""

    def __init__(self, config: TrainConfig) -> None:
        self.config = config
        self.device = torch.device(config.device)
        torch.manual_seed(config.seed)
        self.model = BUILDERS[config.model]().to(self.device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.model).requires_grad_(False)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), fused=True
        )
        self.generator = torch.Generator().manual_seed(config.seed + 1)
        self.loss_config = LossConfig()
        self.step = 0
        self.seconds = 0.0
        self.skipped = 0
        self.forward: nn.Module = self.model
        if config.compile:
            self.forward = torch.compile(self.model)  # type: ignore[assignment]

    # -- checkpoints ---------------------------------------------------------------------------

    def state(self) -> dict:
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
            "step": self.step,
            "seconds": self.seconds,
            "skipped": self.skipped,
            "config": {k: str(v) for k, v in dataclasses.asdict(self.config).items()},
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        return state

    def save(self, name: str) -> None:
        """Write a checkpoint beside, then rename: an interrupted save leaves the old one."""
        path = self.config.out / name
        beside = path.with_suffix(".partial")
        torch.save(self.state(), beside)
        os.replace(beside, path)

    def begin_from(self, path: Path) -> None:
        """Start a new run: from a checkpoint, or at step 0 from a weights file of the codec."""
        if path.suffix != ".safetensors":
            self.resume(path)
            return
        state = load_trainable(path, self.config.model).state_dict()
        self.model.load_state_dict(state)
        self.ema.load_state_dict(state)

    def resume(self, path: Path) -> None:
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["torch_rng"].cpu())
        if "cuda_rng" in state and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.device)
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.skipped = state["skipped"]

    # -- one step ------------------------------------------------------------------------------

    def train_step(self, crops: Tensor) -> dict[str, Any]:
        config = self.config
        image = crops.to(self.device).float().div_(255)
        image = image.contiguous(memory_format=torch.channels_last)
        settings = draw_settings(config.batch, self.loss_config, self.generator)
        quality, layers, sample = (value.to(self.device) for value in settings)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_factor(self.step, config)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=config.bfloat16):
            result = self.forward(image, quality, layers, sample)
        loss = rate_distortion_loss(self.model, result, image, quality, layers, self.loss_config)
        self.optimizer.zero_grad(set_to_none=True)
        loss.total.mul(LOSS_UNIT).backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)
        finite = bool(torch.isfinite(norm)) and bool(torch.isfinite(loss.total))
        if finite:
            self.optimizer.step()
            self._update_ema()
        else:
            self.skipped += 1
        self.step += 1
        return {
            "loss": float(loss.total.detach()) * LOSS_UNIT,
            "norm": float(norm),
            "bpp": loss.bpp.detach().cpu(),
            "mse": loss.mse.detach().cpu(),
            "quality": quality.cpu(),
            "layers": layers.cpu(),
        }

    @torch.no_grad()
    def _update_ema(self) -> None:
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        shadow: list[Tensor] = list(self.ema.parameters())
        current = [p.detach() for p in self.model.parameters()]
        torch._foreach_lerp_(shadow, current, 1 - decay)


#: Images of the validation folder that the table inside the loop is made from.
VALIDATION_IMAGES = 12
#: Brings the loss to the order of one, so that clipping and logs read well.
LOSS_UNIT = 30.0


def _summary(records: list[dict]) -> dict[str, float]:
    """Mean loss, bpp per layer and PSNR per quality third over the full-layer images."""
    quality = torch.cat([r["quality"] for r in records])
    full = torch.cat([r["layers"] for r in records]) == 3
    bpp = torch.cat([r["bpp"] for r in records])
    psnr = -10 * torch.log10(torch.cat([r["mse"] for r in records]).clamp_min(1e-10))
    row = {
        "loss": sum(r["loss"] for r in records) / len(records),
        "norm": sum(r["norm"] for r in records) / len(records),
    }
    for name, value in zip(("u", "z1", "z2"), bpp[full].mean(0).tolist(), strict=True):
        row[f"bpp_{name}"] = value
    for band, low in (("low", 0), ("mid", 33.4), ("high", 66.7)):
        chosen = full & (quality >= low) & (quality < low + 33.4)
        row[f"bpp_{band}"] = float(bpp[chosen].sum(1).mean())
        row[f"psnr_{band}"] = float(psnr[chosen].mean())
    return row


def train(config: TrainConfig) -> Trainer:
    """Train, or continue the newest checkpoint in ``config.out``."""
    config.out.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(config)
    if (config.out / "latest.pt").exists():
        trainer.resume(config.out / "latest.pt")
        print(f"resumed at step {trainer.step}", flush=True)
    elif config.start:
        trainer.begin_from(config.start)
        print(f"started from {config.start} at step {trainer.step}", flush=True)
    images = ImageSet(config.data, device=trainer.device, minimum=64, limit=config.limit)
    print(f"{len(images)} images, {images.megapixels:.0f} megapixels", flush=True)
    started = saved = validated = time.monotonic()
    before = trainer.seconds
    records: list[dict] = []
    log_path = config.out / "log.csv"
    decay_start = config.steps - config.decay_steps
    while trainer.step < config.steps:
        if trainer.step == decay_start:
            trainer.save("constant.pt")
        crops = images.crops(config.batch, config.crop, trainer.generator)
        records.append(trainer.train_step(crops))
        now = time.monotonic()
        trainer.seconds = before + now - started
        if trainer.step % config.log_steps == 0 or trainer.step == config.steps:
            row = {"step": trainer.step, "seconds": round(trainer.seconds, 1)} | _summary(records)
            row["skipped"] = trainer.skipped
            _log(log_path, row)
            records = []
        if now - saved > config.save_minutes * 60:
            trainer.save("latest.pt")
            saved = now
        if config.validation and now - validated > config.validate_minutes * 60:
            with torch.random.fork_rng():  # a validation must not change the run
                rows = evaluate_estimated(trainer.ema, config.validation, limit=VALIDATION_IMAGES)
            print(format_table(rows, config.validation, limit=VALIDATION_IMAGES), flush=True)
            validated = time.monotonic()
        if config.max_minutes and now - started > config.max_minutes * 60:
            break
    trainer.save("latest.pt")
    return trainer


def _log(path: Path, row: dict[str, float]) -> None:
    """Append to the CSV log and print the progress line."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row.keys())
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(" ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
