"""Quantize and price latents, differentiably: what training sees of the range coder.

The quantization-aware posterior is a uniform of width 1 (Duan et al. 2023, QRes-VAE): additive
noise for the rate, straight-through rounding towards the synthesis.
"""

from __future__ import annotations

import torch
from torch import Tensor

from models.prior import LayerPrior
from models.scales import SKIP_INDEX, coded_bits, gaussian_bits, scale_index_of, scale_of


def round_through(x: Tensor) -> Tensor:
    """Round; the gradient passes."""
    return x + (torch.round(x) - x).detach()


def quantize(
    prior: LayerPrior,
    context: Tensor,
    target: Tensor,
    keep: Tensor,
    sample: Tensor,
    noisy: bool,
) -> tuple[Tensor, Tensor]:
    """Walk the coding steps of one prior.

    Args:
        prior: float face.
        context: B×D×H×W, what the prior knows beforehand.
        target: posterior mean in symbol units, B×C×H×W float32.
        keep: (B,) boolean; where false, the latent is missing and is filled from the prior.
        sample: (B,) temperature of the fill; 0 fills with the prior mean.
        noisy: price with additive uniform noise (training); else the rounded symbols, as coded.

    Returns:
        The latent as the decoder will know it, and bits per image (zero where not kept).
    """
    h, w = target.shape[-2:]
    keep4, sample4 = keep[:, None, None, None], sample[:, None, None, None]
    known = torch.zeros_like(target)
    means, raws = torch.zeros_like(target), torch.zeros_like(target)
    for step, mask in enumerate(prior.masks(h, w)):
        mean, raw = prior.predict(step, context, known)
        mean = mean.float()
        symbols = torch.round(target - mean)
        if not noisy:  # as coded: nothing is stored at the smallest scales
            symbols = symbols * (scale_index_of(raw.float()) > SKIP_INDEX)
        rounded = target + (symbols - (target - mean)).detach()
        fill = mean + sample4 * torch.randn_like(mean) * scale_of(raw.float()).detach()
        known = torch.where(mask, torch.where(keep4, rounded, fill), known)
        means, raws = torch.where(mask, mean, means), torch.where(mask, raw.float(), raws)
    residual = target - means
    if noisy:
        bits = gaussian_bits(residual + torch.rand_like(residual) - 0.5, scale_of(raws))
    else:
        bits = coded_bits(torch.round(residual), raws)  # zero where nothing is stored
    return known, bits.sum(dim=(1, 2, 3)) * keep
