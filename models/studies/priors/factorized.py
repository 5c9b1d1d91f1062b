"""The factorized prior of learned codecs: CompressAI's ``EntropyBottleneck`` as p(u)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.bench.peers import compressai
from models.studies.priors.latent_priors import LatentPrior, Shape


class EntropyBottleneckPrior(LatentPrior):
    """For each channel a density of its own shape, the same at all positions (Ballé et al. 2018).

    The cumulative of a channel is σ(f(u)), f a small network that can only rise. A symbol costs the
    mass of its cell, of the symbols u / step::

        P(u) = ∏ σ(f_c(u/step + ½)) − σ(f_c(u/step − ½))

    What neighbours and channels have to say about each other is left out. In a codec the step is
    one symbol; here it is that of the integer flow's grid, so that the two compare.

    Args:
        step: of the grid.

    Raises:
        codec.errors.ModelError: CompressAI is not installed.
    """

    step: float

    def __init__(self, shape: Shape, *, step: float) -> None:
        super().__init__(shape, step=step)
        # f starts as about u / scale: a logistic of the standard normal's deviation.
        scale = math.sqrt(3) / math.pi / step
        self.bottleneck = compressai().entropy_models.EntropyBottleneck(shape[0], init_scale=scale)
        del self.bottleneck.quantiles  # of its coding tables

    def logits(self, symbols: Tensor) -> Tensor:
        """f of real numbers, in units of the step: C×1×N → C×1×N."""
        return self.bottleneck._logits_cumulative(symbols, stop_gradient=False)

    def log_prob(self, u: Tensor) -> Tensor:
        symbols = u.transpose(0, 1).flatten(1)[:, None] / self.step  # (C, 1, B H W)
        lower, upper = self.logits(symbols - 0.5), self.logits(symbols + 0.5)
        # σ(upper) − σ(lower), with its digits kept where both are next to 1 or to 0; far out, f can
        # rise by less than floats tell apart.
        inside = torch.expm1(lower - upper).neg().clamp_min(1e-9)
        mass = F.logsigmoid(upper) + F.logsigmoid(-lower) + inside.log()
        return mass.unflatten(2, (len(u), -1)).sum((0, 1, 3))

    @torch.no_grad()
    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        """``n`` draws; ``temperature`` narrows the logistic that f is mapped to."""
        c, h, w = self.shape
        uniform = torch.rand(c, 1, n * h * w, generator=generator).clamp(1e-7, 1 - 1e-7)
        wanted = temperature * torch.logit(uniform)
        low, high = (
            torch.full_like(wanted, -64 / self.step),
            torch.full_like(wanted, 64 / self.step),
        )
        for _ in range(24):  # to less than a thousandth of a step, if that is 1/64
            middle = (low + high) / 2
            below = self.logits(middle) < wanted
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        u = self.step * torch.round(high)
        return u[:, 0].unflatten(1, (n, h, w)).transpose(0, 1)
