"""``python -m benchmarks.training_step``: how fast a training step is, in megapixels per second.

Compared in turns, each in a process of its own with one thread: *plain* (bfloat16 throughout,
``torch.optim.Muon``, priors computed at all places in every coding step, memory as the C library
handles it, 6 crops), and what training does, for several batches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from models.exact.stage_prior import StagePrior
from models.registry import BUILDERS
from models.training.arithmetic import keep_freed_memory
from models.training.config import TrainConfig
from models.training.hardware import machine, seconds_of
from models.training.optimizer import ModelOptimizer
from models.training.trainer import Batch, Trainer


class _LibraryMuon(torch.optim.Optimizer):
    """``torch.optim.Muon``, which takes 2-D tensors only, on views of the weights' memory."""

    def __init__(self, parameters: list[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})
        self._parameters = parameters
        self._views = [nn.Parameter(p.data.view(p.shape[:2])) for p in parameters]
        self._library = torch.optim.Muon(
            self._views, lr=lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw"
        )

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for view, parameter in zip(self._views, self._parameters, strict=True):
            view.grad = None if parameter.grad is None else parameter.grad.view(view.shape)
        self._library.step()


def _replace_muon(optimizer: ModelOptimizer) -> None:
    own = optimizer.muon
    assert own is not None
    parameters = own.param_groups[0]["params"]
    optimizer._parts[-1] = _LibraryMuon(parameters, own.param_groups[0]["lr"])


def _predict_everywhere(model: nn.Module) -> None:
    """Every coding step predicts all places, of which it needs a quarter."""

    def predict(prior: StagePrior, step: int, *known: Tensor) -> tuple[Tensor, ...]:
        return tuple(prior.gather(step, x) for x in prior.steps[step](*known))

    for module in model.modules():
        if isinstance(module, StagePrior):
            module.predict = partial(predict, module)  # type: ignore[assignment, method-assign]


def measure(kind: str, model: str, batch: int, crop: int, steps: int) -> float:
    """Median megapixels per second of this process."""
    torch.set_num_threads(1)
    if kind == "fast":
        keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        precision = "auto" if kind == "fast" else "bfloat16"
        config = TrainConfig(
            data=out, out=out, model=model, batch=batch, crop=crop, precision=precision
        )
        trainer = Trainer(config)
        crops = torch.randint(0, 256, (batch, 3, crop, crop), dtype=torch.uint8)
        work = Batch(crops, torch.linspace(0, 100, batch))
        if kind == "fast":
            print(trainer.choose_arithmetic(work), file=sys.stderr, flush=True)
        else:
            _replace_muon(trainer.optimizer)
            _predict_everywhere(trainer.model)
        times = [seconds_of(lambda: trainer.train_step(work)) for _ in range(steps + 1)]
    return batch * crop**2 / 1e6 / statistics.median(times[1:])


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_step", description=__doc__)
    parser.add_argument("--model", default="ssvae", choices=list(BUILDERS))
    parser.add_argument("--batches", type=int, nargs="*", default=[6, 12, 24])
    parser.add_argument("--crop", type=int, default=192, help="side of the crops in pixels")
    parser.add_argument("--steps", type=int, default=4, help="timed in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--only", nargs=2, metavar=("KIND", "BATCH"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        kind, batch = options.only
        print(measure(kind, options.model, int(batch), options.crop, options.steps))
        return
    kinds = [("plain", 6), *(("fast", batch) for batch in options.batches)]
    speeds: dict[tuple[str, int], list[float]] = {kind: [] for kind in kinds}
    for _ in range(options.rounds):
        for kind, batch in kinds:
            command = [sys.executable, "-m", "benchmarks.training_step", "--model", options.model]
            command += ["--crop", str(options.crop), "--steps", str(options.steps)]
            command += ["--only", kind, str(batch)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            speeds[kind, batch].append(float(done.stdout))
    plain = statistics.median(speeds["plain", 6])
    rows = []
    print(f"{machine()}, one thread, {options.model}, crops of {options.crop}²")
    for (kind, batch), values in speeds.items():
        middle = statistics.median(values)
        rows.append({"kind": kind, "batch": batch, "megapixels_per_s": round(middle, 4)})
        spread = f"{min(values):.3f} … {max(values):.3f}"
        print(f"{kind:5s} batch {batch:2d}  {middle:.3f} Mpx/s ({spread})  {middle / plain:.2f}×")
    if options.output:
        result = {"machine": machine(), "model": options.model, "rows": rows}
        options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
