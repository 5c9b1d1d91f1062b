"""Latents of the toy models: Gaussians, and a number of objects between none and N.

The number n is what Attend-Infer-Repeat (Eslami et al. 2016) writes as presences 1, …, 1, 0, …, 0:
at each step the model goes on with some probability or stops for good. There are only N + 1 such
sequences, so expectations over n are sums, exact and with exact gradients, where the paper has to
sample and to estimate gradients.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Gaussian(NamedTuple):
    """Diagonal, B×Z each."""

    mean: Tensor
    log_scale: Tensor

    def sample(self, generator: torch.Generator | None) -> Tensor:
        """mean + scale · noise."""
        noise = torch.randn(self.mean.shape, generator=generator).to(self.mean)
        return self.mean + self.log_scale.exp() * noise

    def divergence(self) -> Tensor:
        """KL to the standard normal in nats, (B,)."""
        variance = (2 * self.log_scale).exp()
        return 0.5 * (variance + self.mean.square() - 1 - 2 * self.log_scale).sum(1)


class GaussianHead(nn.Module):
    """Features → a Gaussian that starts narrow, so that latents tell something from the start."""

    def __init__(self, inputs: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * latent)

    def forward(self, features: Tensor) -> Gaussian:
        mean, raw = self.linear(features).chunk(2, dim=1)
        return Gaussian(mean, (raw - 1.5).clamp(-7, 2))


class _Bounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, limit: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.limit = limit
        return x.clamp(-limit, limit)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,), (gradient,) = ctx.saved_tensors, gradients
        # A step goes against its gradient.
        outwards = (x.abs() > ctx.limit) & (x.sign() == -gradient.sign())
        return gradient.masked_fill(outwards, 0.0), None


def bounded(x: Tensor, limit: float) -> Tensor:
    """x within ±limit; beyond it gradients pass that lead back.

    While a model learns to draw, each object gains hundreds of nats and log-odds run away to where
    a logistic function has no slope. They never came back from there, whatever objects cost.
    """
    return _Bounded.apply(x, limit)


def log_counts(go_on: Tensor) -> Tensor:
    """log q(n) for n = 0…N from the log-odds of going on at each of N steps: B×N → B×(N+1)."""
    yes, no = F.logsigmoid(go_on), F.logsigmoid(-go_on)
    none = torch.zeros_like(go_on[:, :1])
    return torch.cat([none, yes.cumsum(1)], dim=1) + torch.cat([no, none], dim=1)


def log_geometric(steps: int, probability: float) -> Tensor:
    """log p(n) of going on with ``probability`` at each of N steps, (N+1,)."""
    odds = math.log(probability / (1 - probability))
    return log_counts(torch.full((1, steps), odds))[0]


def count_divergence(log_q: Tensor, log_p: Tensor) -> Tensor:
    """KL(q(n) ‖ p(n)) in nats, (B,)."""
    return (log_q.exp() * (log_q - log_p)).sum(1)
