"""Rate–distortion loss with layer dropping: every prefix of the layers must be a good stop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.refinement import SMALL_SHARE
from models.ssvae import SSVAE, TrainingPass, area_targets


@dataclass(frozen=True)
class LossConfig:
    """How the parts are weighed."""

    keep_probability: tuple[float, float, float] = (0.15, 0.2, 0.65)
    """Share of images trained with 1, 2, 3 layers."""
    lambda_share: tuple[float, float, float] = (0.02, 0.2, 1.0)
    """λ of an image with 1, 2, 3 layers relative to the full one. Rate grows about like √λ, so
    these ask for 10–15% of the bytes in u and 40–45% in u and z1."""
    small_share: tuple[float, float] = SMALL_SHARE
    """Weight of the error of y1 and y2, relative to λ."""
    sample_probability: float = 0.15
    """Share of dropped layers that are filled with a prior sample rather than its mean."""


def draw_settings(count: int, config: LossConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Quality, number of layers, fill temperature of each image of a batch, each (count,).

    Quality is stratified over [0, 100], with a little extra weight on the two ends.
    """
    strata = (torch.arange(count) + torch.rand(count)) / count
    quality = (strata[torch.randperm(count)] * 106 - 3).clamp(0, 100)
    shares = torch.tensor(config.keep_probability)
    layers = torch.multinomial(shares, count, replacement=True) + 1
    sampled = torch.rand(count) < config.sample_probability
    temperature = torch.rand(count) * sampled
    return quality, layers, temperature


@dataclass
class Loss:
    """The scalar to minimize, and per-image figures for the log."""

    total: Tensor
    bpp: Tensor  # (B, 3) per layer
    mse: Tensor  # (B,) of x


def rate_distortion_loss(
    model: SSVAE,
    result: TrainingPass,
    image: Tensor,
    quality: Tensor,
    layers: Tensor,
    config: LossConfig,
) -> Loss:
    """Per image ``(bpp + λ_k MSE_x + Σ min(λ_k, a_j λ) MSE_yj) / sqrt(λ_k)``, averaged.

    λ_k is the image's λ times ``lambda_share`` of its number of layers; the division keeps all
    qualities at a comparable weight.
    """
    y1, y2 = area_targets(image)

    def error(a: Tensor, b: Tensor) -> Tensor:
        return (a.float() - b).square().mean(dim=(1, 2, 3))

    full = model.lagrangian(quality)
    share = torch.tensor(config.lambda_share, device=full.device)[layers - 1]
    lam = full * share
    mse = error(result.image, image)
    distortion = lam * mse
    for shown, target, weight in (
        (result.y1, y1, config.small_share[0]),
        (result.y2, y2, config.small_share[1]),
    ):
        distortion = distortion + torch.minimum(lam, full * weight) * error(shown, target)
    bpp = result.bits / (image.shape[-1] * image.shape[-2])
    total = ((bpp.sum(1) + distortion) / lam.sqrt()).mean()
    return Loss(total, bpp, mse)
