"""``python -m models.studies.network.u_prior TRAIN VALIDATION``: which prior for u?

The posterior means of u of a trained model are computed once; then several priors are trained on
them for the same processor time and compared by the bits that the rounded symbols cost:

* factorized: mean and scale per channel, functions of quality;
* steps: the quadtree prior of :mod:`models.exact.stage_prior` with 2 or 4 steps;
* flow: an integer discrete flow (Hoogeboom et al. 2019): additive couplings with rounding map u to
  integers that a factorized prior then describes; the codable form of RealNVP;
* flow and steps: the same with the 4-step prior after the flow.

What came of it: docs/decisions/0006-network-search.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from models.exact.arithmetic import ExactBlock, ExactLeakyReLU, ExactPointwise, ExactQualityCurve
from models.exact.scales import gaussian_bits, scale_of
from models.exact.stage_prior import StagePrior
from models.quantization import round_through, walk, whole_steps
from models.ssvae.networks import SSVAE
from models.studies.network.two_steps import TwoStepPrior
from models.training.data import ImageSet
from models.weights_file import load_trainable, weights_info

KNOTS = 11
VALIDATION_QUALITIES = (10.0, 30.0, 50.0, 70.0, 90.0)


class UPrior(nn.Module):
    """A prior of u on its own."""

    def bits(self, u: Tensor, quality: Tensor) -> Tensor:
        """Bits of all of ``u``, B×C×H×W in symbol units, once rounded; quality is (B,)."""
        raise NotImplementedError


class Factorized(UPrior):
    """Mean and scale of each channel from quality alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = ExactQualityCurve(channels, knots=KNOTS)
        self.raw = ExactQualityCurve(channels, knots=KNOTS)

    def bits(self, u: Tensor, quality: Tensor) -> Tensor:
        residual = round_through(u - self.mean(quality))
        return gaussian_bits(residual, scale_of(self.raw(quality)).expand_as(u)).sum()


class Steps(UPrior):
    """The codec's own prior: quadtree steps, symbols relative to predicted means."""

    def __init__(self, channels: int, width: int, kind: type[StagePrior] = StagePrior) -> None:
        super().__init__()
        self.quality = ExactQualityCurve(width, knots=KNOTS)
        self.stage = kind(channels, width)

    def bits(self, u: Tensor, quality: Tensor) -> Tensor:
        context = self.quality(quality).expand(-1, -1, *u.shape[-2:])
        _, residual, raw = walk(self.stage, context, u, whole_steps)
        return gaussian_bits(round_through(residual), scale_of(raw)).sum()


class Coupling(nn.Module):
    """b ← b + round(t(a, quality)); invertible on integers whatever t is."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.enter = ExactPointwise(channels // 2, width)
        self.quality = ExactQualityCurve(width, knots=KNOTS)
        self.block = ExactBlock(width)
        self.activation = ExactLeakyReLU()
        self.leave = ExactPointwise(width, channels // 2, gain=0.1)

    def shift(self, a: Tensor, quality: Tensor) -> Tensor:
        x = self.block(self.enter(a) + self.quality(quality))
        return round_through(self.leave(self.activation(x)))


class Flow(UPrior):
    """Couplings with fixed permutations of the channels, then another prior."""

    def __init__(self, channels: int, width: int, couplings: int, base: UPrior) -> None:
        super().__init__()
        chain = [Coupling(channels, width) for _ in range(couplings)]
        self.couplings = nn.ModuleList(chain)
        generator = torch.Generator().manual_seed(7)
        orders = [torch.randperm(channels, generator=generator) for _ in range(couplings)]
        self._pairs = list(zip(chain, orders, strict=True))
        self.base = base

    def forward(self, u: Tensor, quality: Tensor) -> Tensor:
        """Integers → integers of the same shape, without loss."""
        for coupling, order in self._pairs:
            a, b = u[:, order].chunk(2, dim=1)
            u = torch.cat([a, b + coupling.shift(a, quality)], dim=1)
        return u

    def inverse(self, v: Tensor, quality: Tensor) -> Tensor:
        """Undo :meth:`forward`."""
        for coupling, order in reversed(self._pairs):
            a, b = v.chunk(2, dim=1)
            joined = torch.cat([a, b - coupling.shift(a, quality)], dim=1)
            v = torch.empty_like(joined)
            v[:, order] = joined
        return v

    def bits(self, u: Tensor, quality: Tensor) -> Tensor:
        return self.base.bits(self.forward(torch.round(u), quality), quality)


def candidates(channels: int) -> dict[str, Callable[[], UPrior]]:
    """Priors of about equal cost: 0.2 M multiplications a position, but for the factorized one."""
    return {
        "factorized": lambda: Factorized(channels),
        "2 steps": lambda: Steps(channels, 176, TwoStepPrior),
        "4 steps (shipped)": lambda: Steps(channels, 128),
        "integer flow, factorized": lambda: Flow(channels, 96, 8, Factorized(channels)),
        "integer flow, 4 steps": lambda: Flow(channels, 64, 4, Steps(channels, 96)),
    }


@torch.no_grad()
def posterior_means(model: SSVAE, crops: Tensor, quality: Tensor) -> Tensor:
    """u in symbol units for uint8 crops, one by one."""
    found = []
    for crop, q in zip(crops, quality, strict=True):
        features = model.analysis(crop[None].float() / 255, q[None])[2]
        found.append(model.heads[0](features) * model.gain(0, q[None]))
    return torch.cat(found)


def fit(
    prior: UPrior, u: Tensor, quality: Tensor, spent: Callable[[int], float], batch: int = 16
) -> int:
    """Train until ``spent(step)``, the share of the budget that is gone, reaches 1.

    The learning rate falls linearly with it. Returns the number of steps.
    """
    optimizer = torch.optim.Adam(prior.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(1)
    steps = 0
    while (share := spent(steps)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - share)
        chosen = torch.randint(len(u), (batch,), generator=generator)
        bits = prior.bits(u[chosen], quality[chosen]) / u[chosen].numel()
        optimizer.zero_grad()
        bits.backward()
        nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m models.studies.network.u_prior")
    parser.add_argument("data", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--model", default="ssvae")
    parser.add_argument("--crops", type=int, default=800)
    parser.add_argument("--crop", type=int, default=384)
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--minutes", type=float, default=2.0, help="processor time per prior")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device("cpu")
    model = load_trainable(weights_info(options.model).path, options.model).requires_grad_(False)
    if not isinstance(model, SSVAE):
        parser.error(f"{options.model} is no ssVAE")
    generator = torch.Generator().manual_seed(0)
    images = ImageSet(options.data, device=device, limit=options.limit)
    crops = images.crops(options.crops, options.crop, generator)
    quality = torch.rand(options.crops, generator=generator) * 100
    u = posterior_means(model, crops, quality)
    held_out = ImageSet(options.validation, device=device)
    test = held_out.crops(48, options.crop, generator)
    tests = {
        q: posterior_means(model, test, torch.full((len(test),), q)) for q in VALIDATION_QUALITIES
    }
    pixels = options.crop**2 * len(test)
    print("| prior of u | steps | " + " | ".join(f"q {q:g}" for q in tests) + " |")
    print("| --- | ---: |" + " ---: |" * len(tests))
    for name, build in candidates(u.shape[1]).items():
        torch.manual_seed(0)
        prior = build()
        begin = time.process_time()

        def spent(_: int, begin: float = begin) -> float:
            return (time.process_time() - begin) / (60 * options.minutes)

        steps = fit(prior, u, quality, spent)
        with torch.no_grad():
            rates = [
                float(prior.bits(v, torch.full((len(v),), q))) / pixels for q, v in tests.items()
            ]
        print(f"| {name} | {steps} | " + " | ".join(f"{r:.4f}" for r in rates) + " |", flush=True)


if __name__ == "__main__":
    main()
