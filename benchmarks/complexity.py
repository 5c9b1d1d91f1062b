"""``python -m benchmarks.complexity``: parameters and multiply-accumulates per pixel of a model."""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from models.exact.arithmetic import ExactDepthwise, ExactPointwise
from models.registry import BUILDERS
from models.trainable import TrainableModel

SIDE = 256
#: Parts of the names of modules that only an encoder runs; the rest draws, but for the prior.
_ENCODER = {"analysis", "heads", "take", "features", "read", "encoder_quality", "encoder", "head"}


def part_of(name: str) -> str:
    """``analysis``, ``prior`` or ``synthesis``, by a module's dotted name."""
    words = name.split(".")
    if words[0] == "prior":
        return "prior"
    # The last drawing of ConvDRAW has a head too, which is no posterior's.
    return "analysis" if words[0] != "final" and _ENCODER.intersection(words) else "synthesis"


def _products(module: nn.Module) -> int:
    """Multiply-accumulates per output value."""
    if isinstance(module, nn.Conv2d | ExactDepthwise | ExactPointwise):
        weight = module.weight
        return weight[0].numel()
    return 0


def measure(model: TrainableModel, quality: float = 100.0) -> dict[str, tuple[float, float]]:
    """Per part: millions of parameters, kMAC/pixel of one pass over a SIDE² image."""
    work: dict[str, float] = defaultdict(float)
    parts = {module: part_of(name) for name, module in model.named_modules()}

    def count(module: nn.Module, _: Any, out: Tensor) -> None:
        work[parts[module]] += out.numel() * _products(module) / SIDE**2 / 1e3

    def some(self: ExactPointwise, x: Tensor, *channels: slice) -> Tensor:
        out = compute_some(self, x, *channels)  # no forward call, so no hook sees it
        count(self, None, out)
        return out

    compute_some = ExactPointwise.some
    hooks = [module.register_forward_hook(count) for module in parts if _products(module)]
    with torch.no_grad(), patch.object(ExactPointwise, "some", some):
        kept = torch.tensor([sum(model.stages)])
        model(torch.rand(1, 3, SIDE, SIDE), torch.tensor([quality]), kept)
    for hook in hooks:
        hook.remove()
    sizes: dict[str, float] = defaultdict(float)
    for name, parameter in model.named_parameters():
        sizes[part_of(name)] += parameter.numel() / 1e6
    return {part: (sizes[part], work[part]) for part in ("analysis", "synthesis", "prior")}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.complexity", description=__doc__)
    parser.add_argument("--model", default="ssvae", choices=sorted(BUILDERS))
    model = BUILDERS[parser.parse_args(arguments).model]()
    parts = measure(model)
    for name, (parameters, kmac) in parts.items():
        print(f"{name:10s} {parameters:6.2f} M parameters  {kmac:6.2f} kMAC/pixel")
    upper = parts["synthesis"][1] + parts["prior"][1]
    total = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"all        {total:6.2f} M parameters")
    print(f"decode     {upper:6.2f} kMAC/pixel (synthesis, prior)")
    print(f"encode     {parts['analysis'][1] + upper:6.2f} kMAC/pixel at most (all parts)")


if __name__ == "__main__":
    main()
