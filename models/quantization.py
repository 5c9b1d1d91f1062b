"""Quantize and price latents, differentiably: what training sees of the range coder.

The quantization-aware posterior is a uniform of width 1 (Duan et al. 2023, QRes-VAE): additive
noise for the rate, straight-through rounding towards the synthesis.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.exact.scales import (
    SKIP_INDEX,
    Costs,
    gaussian_bits,
    gaussian_costs,
    scale_index_of,
    scale_of,
)
from models.exact.stage_prior import StagePrior


def round_through(x: Tensor) -> Tensor:
    """Round; the gradient passes."""
    return x + (torch.round(x) - x).detach()


#: (wanted, mean, raw scale) of a step's places → their values in the latent.
Settle = Callable[[Tensor, Tensor, Tensor], Tensor]


def walk(
    prior: StagePrior, context: Tensor, target: Tensor, settle: Settle
) -> tuple[Tensor, Tensor, Tensor]:
    """Walk the coding steps of one stage in the float face.

    Each step is computed at its own places alone, in the shape of
    :meth:`models.exact.stage_prior.StagePrior.gather`.

    Args:
        prior: float face.
        context: B×D×H×W, what the prior knows beforehand.
        target: posterior mean in symbol units, B×C×H×W float32.
        settle: what becomes of a step's places.

    Returns:
        The latent, B×C×H×W; residuals (target − mean) and raw scales of all places, both
        B×4C×(H/2)×(W/2), step after step.
    """
    known = torch.zeros_like(target)
    residuals, raws = [], []
    for step in range(len(prior.steps)):
        mean, raw = (x.float() for x in prior.predict(step, context, known))
        wanted = prior.gather(step, target)
        residuals.append(wanted - mean)
        raws.append(raw)
        placed = torch.zeros_like(target)
        prior.scatter(step, settle(wanted, mean, raw), placed)
        known = known + placed  # gradients need the sum before
    return known, torch.cat(residuals, dim=1), torch.cat(raws, dim=1)


def whole_steps(wanted: Tensor, mean: Tensor, raw: Tensor) -> Tensor:
    """The nearest value that is whole steps from the mean; the gradient passes straight through."""
    residual = wanted - mean
    return wanted + (torch.round(residual) - residual).detach()


def as_coded(wanted: Tensor, mean: Tensor, raw: Tensor) -> Tensor:
    """The same as a file has it: nothing is stored at the smallest scales."""
    residual = wanted - mean
    symbols = torch.round(residual) * (scale_index_of(raw) > SKIP_INDEX)
    return wanted + (symbols - residual).detach()


def filled(mean: Tensor, raw: Tensor, temperature: Tensor) -> Tensor:
    """What stands for a missing value: the prior's mean, or with a temperature a sample."""
    return mean + temperature * torch.randn_like(mean) * scale_of(raw).detach()


def priced(residual: Tensor, raw: Tensor, noisy: bool, costs: Costs | None = None) -> Tensor:
    """Bits of residuals, of whole symbols by ``costs`` (default: the Gaussian tables)."""
    if noisy:
        return gaussian_bits(residual + torch.rand_like(residual) - 0.5, scale_of(raw))
    return (costs or gaussian_costs()).bits(torch.round(residual), raw)


def quantize(
    prior: StagePrior,
    context: Tensor,
    target: Tensor,
    keep: Tensor,
    sample: Tensor,
    noisy: bool,
    costs: Costs | None = None,
) -> tuple[Tensor, Tensor]:
    """Quantize and price the latent of one stage.

    Args:
        prior: float face.
        context: B×D×H×W, what the prior knows beforehand.
        target: posterior mean in symbol units, B×C×H×W float32.
        keep: (B,) boolean; where false, the latent is missing and is filled from the prior.
        sample: (B,) temperature of the fill; 0 fills with the prior mean.
        noisy: price with additive uniform noise (training); else the rounded symbols, as coded.
        costs: of rounded symbols; default by the Gaussian tables.

    Returns:
        The latent as the decoder will know it, and bits per image (zero where not kept).
    """
    keep4, sample4 = keep[:, None, None, None], sample[:, None, None, None]
    rounded = whole_steps if noisy else as_coded

    def settle(wanted: Tensor, mean: Tensor, raw: Tensor) -> Tensor:
        return torch.where(keep4, rounded(wanted, mean, raw), filled(mean, raw, sample4))

    known, residual, raw = walk(prior, context, target, settle)
    return known, priced(residual, raw, noisy, costs).sum(dim=(1, 2, 3)) * keep
