"""Rate–distortion loss with stages dropped: every prefix of the layers must be a good stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.metrics.eye import EYE_LOSSES
from models.trainable import TrainableModel, TrainingPass


@dataclass(frozen=True)
class LossConfig:
    """How the parts are weighed."""

    keep_probability: tuple[float, ...] = (0.15, 0.2, 0.65)
    """Share of images that end in layer 1, 2, 3."""
    layer_end: float = 0.6
    """Share of those that end with the last stage of that layer."""
    lambda_share: tuple[float, ...] = (0.02, 0.2, 1.0)
    """λ of an image with 1, 2, 3 layers relative to the full one. Rate grows about like √λ, so
    these ask for 10–15% of the bytes in u and 40–45% in u and z1."""
    first_share: float = 1 / 16
    """Before the first stage, relative to the first layer: stages within a layer divide the way
    from one layer's end to the next in equal factors."""
    sample_probability: float = 0.15
    """Share of dropped layers that are filled with a prior sample rather than its mean."""
    small: float = 1.0
    """Factor of the weights of the small pictures' errors, :attr:`TrainableModel.small_share`."""
    eye: float = 0.0
    """Share of the full-size picture's distortion that is measured as people see it."""
    eye_loss: str = "xyb-ssim"
    """… by which of :data:`EYE_LOSSES`."""

    def check(self, crop: int) -> None:
        """Refuse shares that are none, and an eye loss that cannot be had on crops of such a side.

        Raises:
            ValueError: a share outside [0, 1], an unknown loss, or crops too small for its scales.
        """
        if not all(0 <= share <= 1 for share in self.keep_probability):
            raise ValueError("the share of images with all layers is not between 0 and 1")
        if self.small < 0:
            raise ValueError(f"small {self.small} is negative")
        if not 0 <= self.eye <= 1:
            raise ValueError(f"eye {self.eye} is not between 0 and 1")
        if self.eye_loss not in EYE_LOSSES:
            names = ", ".join(EYE_LOSSES)
            raise ValueError(f"no eye loss {self.eye_loss!r}; there are: {names}")
        least = EYE_LOSSES[self.eye_loss].least_side
        if self.eye and crop < least:
            raise ValueError(f"the eye loss {self.eye_loss} needs --crop {least} or more")


def with_whole(share: float) -> tuple[float, float, float]:
    """``keep_probability`` where that share of the images has all three layers: three in seven of
    the others end in the first."""
    return 3 / 7 * (1 - share), 4 / 7 * (1 - share), share


def keep_probabilities(config: LossConfig, stages: Sequence[int]) -> list[float]:
    """Share of images trained with 1, 2, … stages. ``stages``: how many each layer has."""
    shares = []
    for probability, count in zip(config.keep_probability, stages, strict=True):
        before = [probability * (1 - config.layer_end) / max(1, count - 1)] * (count - 1)
        shares += [*before, probability - sum(before)]
    return shares


def lambda_shares(config: LossConfig, stages: Sequence[int]) -> list[float]:
    """λ of an image with 1, 2, … stages relative to the full one."""
    shares = []
    before = config.lambda_share[0] * config.first_share
    for share, count in zip(config.lambda_share, stages, strict=True):
        shares += [before * (share / before) ** (i / count) for i in range(1, count + 1)]
        before = share
    return shares


def draw_quality(count: int, generator: torch.Generator) -> Tensor:
    """Quality of each image of a batch, (count,): stratified over [0, 100], with a little extra
    weight on the two ends."""
    strata = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    return (strata[torch.randperm(count, generator=generator)] * 106 - 3).clamp(0, 100)


def draw_stages(count: int, config: LossConfig, stages: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Number of stages and fill temperature of each image of a batch, each (count,)."""
    shares = torch.tensor(keep_probabilities(config, stages))
    kept = torch.multinomial(shares, count, replacement=True) + 1
    sampled = torch.rand(count) < config.sample_probability
    return kept, torch.rand(count) * sampled


@dataclass
class Loss:
    """The scalar to minimize, and per-image figures for the log."""

    total: Tensor
    bpp: Tensor  # (B, S) per stage
    mse: Tensor  # (B,) of x


def rate_distortion_loss(
    model: TrainableModel,
    result: TrainingPass,
    image: Tensor,
    quality: Tensor,
    kept: Tensor,
    config: LossConfig,
) -> Loss:
    """Per image ``(bpp + λ_k MSE_x + Σ min(λ_k, a_j λ) MSE_yj) / sqrt(λ_k)``, averaged.

    λ_k is the image's λ times the share of its number of stages, a_j the model's ``small_share``
    times ``config.small``; the division keeps all qualities at a comparable weight. Errors of
    images that end in the first layer are multiplied by the model's ``first_layer_share``. With
    ``config.eye`` = m, (1 − m) MSE_x + m · unit · D_x stands for MSE_x, where D is the eye loss;
    ``Loss.mse`` stays the squared error.
    """

    def error(a: Tensor, b: Tensor) -> Tensor:
        return (a.float() - b).square().mean(dim=(1, 2, 3))

    def weighed(distortion: Tensor, factor: int) -> Tensor:
        share = model.first_layer_share.get(factor, 1.0)
        return torch.where(kept > model.stages[0], distortion, share * distortion)

    full = model.lagrangian(quality)
    shares = torch.tensor(lambda_shares(config, model.stages), device=full.device)
    lam = full * shares[kept - 1]
    mse = error(result.image, image)
    distortion = lam * mse
    if config.eye:
        eye = EYE_LOSSES[config.eye_loss]
        seen = eye.unit * eye.distance(image, result.image)
        distortion = lam * ((1 - config.eye) * mse + config.eye * seen)
    distortion = weighed(distortion, 1)
    for factor, picture in result.small.items():
        weight = torch.minimum(lam, full * model.small_share[factor] * config.small)
        small = weight * error(picture, model.small_target(image, factor))
        distortion = distortion + weighed(small, factor)
    bpp = result.bits / (image.shape[-1] * image.shape[-2])
    total = ((bpp.sum(1) + distortion) / lam.sqrt()).mean()
    return Loss(total, bpp, mse)
