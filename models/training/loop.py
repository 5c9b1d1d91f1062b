"""The training loop: progress, log, validation, and when to save and stop.

A run is a folder. ``latest.pt`` holds everything (weights, EMA, optimizer, random states, step);
``constant.pt`` is the last state before the decay began: later compute continues from there with a
larger ``steps``, as if the decay had not happened.
"""

from __future__ import annotations

import csv
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from models.names import LAYER_NAMES
from models.training.arithmetic import keep_freed_memory
from models.training.config import TrainConfig
from models.training.data import ImageSet
from models.training.evaluate import evaluate_estimated, format_table
from models.training.hardware import machine
from models.training.trainer import Record, Trainer

#: Images of the validation folder that the table inside the loop is made from.
VALIDATION_IMAGES = 12
#: How often the clock is looked at, in steps.
CLOCK_STEPS = 10


def summarize(records: list[Record], stages: Sequence[int]) -> dict[str, float]:
    """Mean loss, bpp per layer and PSNR per quality third over the images with all stages.

    ``stages`` tells how many there are in each layer.
    """
    quality, bpp, mse = (
        torch.cat([getattr(r, name) for r in records]).cpu() for name in ("quality", "bpp", "mse")
    )
    full = torch.cat([r.kept for r in records]).cpu() == sum(stages)
    layers = torch.stack([part.sum(1) for part in bpp.split(list(stages), dim=1)], dim=1)
    psnr = -10 * torch.log10(mse.clamp_min(1e-10))
    row = {
        "loss": float(torch.stack([r.loss for r in records]).mean()),
        "norm": float(torch.stack([r.norm for r in records]).mean()),
    }
    for name, value in zip(LAYER_NAMES, layers[full].mean(0).tolist(), strict=True):
        row[f"bpp_{name}"] = value
    for band, low in (("low", 0), ("mid", 33.4), ("high", 66.7)):
        inside = full & (quality >= low) & (quality < low + 33.4)
        row[f"bpp_{band}"] = float(bpp[inside].sum(1).mean())
        row[f"psnr_{band}"] = float(psnr[inside].mean())
    return row


def train(config: TrainConfig) -> Trainer:
    """Train, or continue the newest checkpoint in ``config.out``.

    Under ``torchrun`` every process calls this; the first one writes checkpoints and the log.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    trainer = Trainer(config)
    if (config.out / "latest.pt").exists():
        trainer.resume(config.out / "latest.pt")
        _say(trainer, f"resumed at step {trainer.step}")
    elif config.init:
        trainer.begin_from(config.init)
        _say(trainer, f"started from {config.init} at step {trainer.step}")
    images = ImageSet(
        config.data,
        device=trainer.device,
        limit=config.limit,
        pages=config.pages,
        recolour=config.recolour,
        enlarge=config.enlarge,
        seed=config.seed,
    )
    _say(trainer, f"{len(images)} images, {images.megapixels:.0f} megapixels")
    _note_run(trainer, images)
    clock = Clock(config, trainer.seconds)
    records: list[Record] = []
    batch = trainer.draw(images)
    if line := trainer.choose_arithmetic(batch):
        _say(trainer, line)
    with stop_on_signals() as stopping:
        while trainer.step < config.steps:
            if trainer.step == config.steps - config.decay_steps:
                trainer.save("constant.pt")
            record, batch = trainer.train_step(batch, images)
            records.append(record)
            ended = trainer.step == config.steps
            if trainer.step % config.log_steps == 0 or ended:
                trainer.seconds = clock.seconds
                _log(trainer, summarize(records, trainer.model.stages), len(records) / clock.lap())
                records = []
            if trainer.step % CLOCK_STEPS and not ended:
                continue
            wanted = clock.due() | (STOP if stopping() else 0)
            due = trainer.processes.agree(wanted, trainer.device)
            if due & SAVE or due & STOP or ended:
                trainer.seconds = clock.seconds
                trainer.save("latest.pt")
            if due & VALIDATE or ended:
                _validate(trainer)
            if due & STOP:
                break
    trainer.processes.leave()
    return trainer


SAVE, VALIDATE, STOP = 1, 2, 4


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
    """SIGTERM and Ctrl-C ask a run to stop with a checkpoint; a second one ends it at once.

    Yields a function that tells whether one has come. Only the main thread can listen.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: object) -> None:
        asked.set()
        restore()

    before = {n: signal.signal(n, ask) for n in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        yield asked.is_set
    finally:
        restore()


class Clock:
    """Tells by the wall clock when to save, validate and stop."""

    def __init__(self, config: TrainConfig, before: float) -> None:
        self._config, self._before = config, before
        self._started = self._saved = self._validated = self._lap = time.monotonic()

    @property
    def seconds(self) -> float:
        """Training time of the whole run, earlier sittings included."""
        return self._before + time.monotonic() - self._started

    def lap(self) -> float:
        """Seconds since the last call."""
        before, self._lap = self._lap, time.monotonic()
        return max(1e-9, self._lap - before)

    def due(self) -> int:
        """SAVE, VALIDATE and STOP, combined; each comes once per interval."""
        config, now, due = self._config, time.monotonic(), 0
        if now - self._saved > config.save_minutes * 60:
            self._saved, due = now, SAVE
        if config.validation and now - self._validated > config.validate_minutes * 60:
            self._validated, due = now, due | VALIDATE
        if config.max_minutes and now - self._started > config.max_minutes * 60:
            due |= STOP
        return due


def _say(trainer: Trainer, line: str) -> None:
    if trainer.processes.first:
        print(line, flush=True)


def _log(trainer: Trainer, figures: dict[str, float], speed: float) -> None:
    """The progress line, and the same as a row of ``log.csv``."""
    if not trainer.processes.first:
        return
    row: dict[str, Any] = {"step": trainer.step, "seconds": round(trainer.seconds, 1)}
    row |= {"steps_per_s": round(speed, 3)} | figures | {"skipped": trainer.skipped}
    path = trainer.config.out / "log.csv"
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row.keys())
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(" ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)


def _validate(trainer: Trainer) -> None:
    """Print the table of the EMA weights on a part of the validation images, and keep the last."""
    folder = trainer.config.validation
    if folder is None or not trainer.processes.first:
        return
    with torch.random.fork_rng():  # a validation must not change the run
        seen = trainer.config.eye > 0
        rows = evaluate_estimated(trainer.ema, folder, limit=VALIDATION_IMAGES, ssimulacra2=seen)
    table = format_table(rows, folder, limit=VALIDATION_IMAGES)
    print(table, flush=True)
    (trainer.config.out / "validation.txt").write_text(f"step {trainer.step}\n{table}\n")


def _note_run(trainer: Trainer, images: ImageSet) -> None:
    """Add this run to the history of the weights, unless it was resumed."""
    config, history = trainer.config, trainer.history
    if trainer.step and history and history[-1]["run"] == config.out.name:
        return
    history.append(
        {
            "run": config.out.name,
            "images": len(images),
            "megapixels": round(images.megapixels),
            "pages": config.pages,
            "recolour": config.recolour,
            "whole": config.whole,
            "small": config.small,
            "enlarge": config.enlarge,
            "eye": config.eye,
            "eye_loss": config.eye_loss if config.eye else None,
            "first_step": trainer.step,
            "first_minute": round(trainer.seconds / 60, 1),
            "batch": config.batch * trainer.processes.count,
            "crop": config.crop,
            "optimizer": config.optimizer,
            "learning_rate": config.learning_rate,
            "decay_steps": config.decay_steps,
            "ema": config.ema,
            "hardware": machine(),
        }
    )
