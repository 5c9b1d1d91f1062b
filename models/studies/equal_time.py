"""What comparisons at equal processor time share: how long a step takes, the schedule, the verdict.

So that a busy machine does not disturb a comparison, the time of a step is measured first, for all
models in turns, and gives each its number of steps.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from filelock import FileLock

from benchmarks.bench.bands import bd_rate
from models.trainable import TrainableModel
from models.training.config import TrainConfig
from models.training.data import ImageSet
from models.training.trainer import Trainer

#: Qualities of the measurement; enough for a curve of six points.
QUALITIES = (5, 20, 35, 50, 70, 95)
_TIMED_STEPS = 7
#: Options of a comparison that make its steps and checkpoints others.
_SETTINGS = frozenset(
    [
        "data",
        "limit",
        "crops",
        "pictures",
        "model",
        "optimizer",
        "peer_rate",
        "batch",
        "crop",
        "size",
        "whole",
    ]
)

Curve = Sequence[Sequence[float]]
"""Points of quality, bpp, PSNR."""
AnyTrainer = TypeVar("AnyTrainer")
Kind = Callable[[TrainConfig, Callable[[], TrainableModel]], Trainer]
"""What makes a trainer of a configuration and networks."""


def make_trainer(
    build: Callable[[], TrainableModel],
    options: argparse.Namespace,
    steps: int = 10**6,
    *,
    kind: Kind = Trainer,
    **changes: Any,
) -> Trainer:
    """A fresh run of ``steps`` steps, with changes of its configuration; ``kind`` makes it."""
    config = TrainConfig(
        data=options.data,
        out=options.out,
        optimizer=options.optimizer,
        steps=steps,
        decay_steps=round(0.6 * steps),
        warmup_steps=min(200, steps // 5),
        batch=options.batch,
        device="cpu",
        ema=0.998,
    )
    return kind(dataclasses.replace(config, **changes), build)


def train(
    name: str,
    build: Callable[[], TrainableModel],
    steps: int,
    images: ImageSet,
    options: argparse.Namespace,
    *,
    kind: Kind = Trainer,
    fastest: bool = False,
    **changes: Any,
) -> Trainer:
    """Train one model, from its checkpoint in ``options.out`` if there is one.

    Args:
        kind: as of :func:`make_trainer`.
        fastest: in the number formats that are fastest here, which are tried first.
        changes: as of :func:`make_trainer`.
    """
    trainer = make_trainer(build, options, steps, kind=kind, **changes)
    checkpoint = options.out / f"{name}-{steps}.pt"  # of another length: another schedule
    with FileLock(f"{checkpoint}.lock"):  # another process may be at it, and have it done
        if checkpoint.exists():
            trainer.resume(checkpoint)
        _train(trainer, name, checkpoint.name, images, fastest=fastest)
    return trainer


def _train(
    trainer: Trainer, name: str, checkpoint: str, images: ImageSet, *, fastest: bool
) -> None:
    steps, saved = trainer.config.steps, time.monotonic()
    batch = trainer.draw(images)
    if fastest and trainer.step < steps:
        print(f"{name}: {trainer.choose_arithmetic(batch)}", flush=True)
    while trainer.step < steps:
        record, batch = trainer.train_step(batch, images)
        if trainer.step % 100 == 0:
            print(f"{name} step {trainer.step} loss {float(record.loss):.3f}", flush=True)
        if time.monotonic() - saved > 60 * trainer.config.save_minutes or trainer.step == steps:
            trainer.save(checkpoint)
            saved = time.monotonic()


def step_seconds(
    trainers: Mapping[str, AnyTrainer],
    prepare: Callable[[AnyTrainer], Any],
    step: Callable[[AnyTrainer, Any], Any],
) -> dict[str, float]:
    """Median processor time of a step of each, taken in turns: a machine that slows down for a
    while slows all. What ``prepare`` takes is not counted; its result goes to ``step``."""
    times: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(_TIMED_STEPS):
        for name, trainer in trainers.items():
            work = prepare(trainer)
            begin = time.process_time()
            step(trainer, work)
            times[name].append(time.process_time() - begin)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def kept_seconds(
    options: argparse.Namespace, measure: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """What ``measure`` gives, of the first call with ``options.out``: kept there, so that a
    comparison that goes on keeps its numbers of steps.

    Ends the program where the folder is of other settings: its times and checkpoints are too.
    """
    timing = options.out / "step_seconds.json"
    given = {name: value for name, value in vars(options).items() if name in _SETTINGS}
    settings = {n: str(v.resolve() if isinstance(v, Path) else v) for n, v in given.items()}
    if not timing.exists():
        kept = {"settings": settings, "seconds": measure()}
        timing.write_text(json.dumps(kept, indent=1))
    kept = json.loads(timing.read_text())
    if kept.get("settings") != settings:
        raise SystemExit(
            f"{timing}: was measured with {kept.get('settings')}, not {settings}; name another "
            "folder with --out"
        )
    return kept["seconds"]


def write_results(out: Path, figures: Mapping[str, Any], written: str) -> None:
    """``results.json`` and ``table.md`` of a comparison; the table is printed too."""
    (out / "results.json").write_text(json.dumps(figures, indent=1) + "\n")
    (out / "table.md").write_text(written + "\n")
    print(written)


def bits_at_equal_psnr(anchor: Curve, other: Curve) -> float | None:
    """BD-rate in percent over the PSNR that both curves reach; None where they do not overlap."""
    rates = [np.array(sorted(curve, key=lambda point: point[1])) for curve in (anchor, other)]
    return bd_rate(*rates)


def verdict(anchor: Curve, other: Curve) -> str:
    """:func:`bits_at_equal_psnr` for a table."""
    rate = bits_at_equal_psnr(anchor, other)
    return "no overlap" if rate is None else f"{rate:+.1f}%"
