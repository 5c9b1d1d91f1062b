"""``python -m benchmarks.complexity``: parameters and multiply-accumulates per pixel of a model."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.registry import BUILDERS
from models.ssvae import LAYER_STRIDES, SSVAE

SIDE = 256


def kmac_per_pixel(work: Callable[[], object]) -> float:
    """Thousands of multiply-accumulates per image pixel that ``work`` does on one SIDE² image."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() / 2 / SIDE**2 / 1e3


def measure(model: SSVAE) -> dict[str, tuple[float, float]]:
    """Per part: millions of parameters, kMAC/pixel."""
    quality = torch.tensor([50.0])
    image = torch.rand(1, 3, SIDE, SIDE)
    channels = model.config.latents
    latents = [
        torch.zeros(1, c, SIDE // s, SIDE // s)
        for c, s in zip(channels, LAYER_STRIDES, strict=True)
    ]
    synthesis, prior = model.synthesis, model.prior

    def draw() -> None:
        features = synthesis.coarse(latents[0], quality)
        synthesis.fine(synthesis.middle(features, latents[1], quality), latents[2], quality)

    def predict() -> None:
        context = prior.first_context(quality, *latents[0].shape[-2:])
        for i, latent in enumerate(latents):
            layer = prior.layer(i)
            for step, _ in enumerate(layer.masks(*latent.shape[-2:])):
                layer.predict(step, context, latent)
            if i < 2:
                context = prior.next_context(i, context, latent)

    def analyse() -> None:
        features = model.analysis(image, quality)[::-1]
        widths = [f.shape for f in features]
        for i, feature in enumerate(features):
            model.heads[i](feature, *([torch.zeros(widths[i])] if i else []))

    def size(*parts: nn.Module) -> float:
        return sum(p.numel() for part in parts for p in part.parameters()) / 1e6

    return {
        "analysis": (size(model.analysis, model.heads), kmac_per_pixel(analyse)),
        "synthesis": (size(synthesis), kmac_per_pixel(draw)),
        "prior": (size(prior), kmac_per_pixel(predict)),
    }


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
