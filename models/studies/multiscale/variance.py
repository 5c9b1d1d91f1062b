"""A Gaussian likelihood of pixels, its deviation annealed, in the place of λ by quality.

DRAW as published is trained for one rate: the bound is the bits of the latents plus
−log N(x | picture, σ²). Eslami et al. 2018 start with a large σ and let it fall, from 2.0 to 0.7,
so that latents are cheap to leave alone while the picture is still bad. With pixels in [0, 1], in
bits per pixel of three colours::

    bits + 3 MSE / (2 σ² ln 2) + constant        so that λ = 3 / (2 ln 2 σ²)

Their numbers are taken in units of a tenth of the range, as in
:mod:`models.studies.gqn.networks`: λ goes from 54 to 442, which is quality 16 to 46 of
:data:`models.trainable.LAMBDA_RANGE`. In units of the range itself it would end at λ = 4, a quarter
of that of quality 0.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from models.convdraw.networks import ConvDRAW, ConvDRAWConfig
from models.studies.gqn.networks import deviation
from models.trainable import LAMBDA_RANGE, TrainingPass
from models.training.data import ImageSet
from models.training.trainer import Batch, Record, Trainer

#: Deviation that the annealing ends with, of pixels in [0, 1].
FINAL_DEVIATION = deviation(1, 1)


def lagrangian_of(scale: float) -> float:
    """λ: bits per pixel that one unit of squared error (pixels in [0, 1]) costs under N(0, scale²)
    for each of three colours."""
    return 3 / (2 * math.log(2) * scale**2)


def quality_of(lagrangian: float) -> float:
    """The quality, around 0…100, at which a network for all qualities has this λ."""
    low, high = (math.log(v) for v in LAMBDA_RANGE)
    return 100 * (math.log(lagrangian) - low) / (high - low)


#: Quality of the λ that belongs to :data:`FINAL_DEVIATION`: about 46.
AT = quality_of(lagrangian_of(FINAL_DEVIATION))


def bits_per_dimension(bpp: float, mse: float, scale: float = FINAL_DEVIATION) -> float:
    """The bound on 8-bit values under N(picture, scale²), bits per colour of a pixel.

    Args:
        bpp: bits per pixel of the latents.
        mse: mean squared error of pixels in [0, 1].
        scale: σ. A density of values 1/255 apart stands for their probabilities.
    """
    of_pixels = 0.5 * math.log(2 * math.pi * scale**2) + 0.5 * mse / scale**2 + math.log(255)
    return bpp / 3 + of_pixels / math.log(2)


class OneRateConvDRAW(ConvDRAW):
    """ConvDRAW for the λ of :attr:`deviation`, whatever quality it is asked for."""

    def __init__(self, config: ConvDRAWConfig) -> None:
        super().__init__(config)
        self.deviation = FINAL_DEVIATION

    def lagrangian(self, quality: Tensor) -> Tensor:
        return torch.full_like(quality, lagrangian_of(self.deviation))

    def forward(
        self,
        image: Tensor,
        quality: Tensor,
        kept: Tensor,
        sample: Tensor | None = None,
        *,
        noisy: bool = True,
    ) -> TrainingPass:
        at = torch.full_like(quality, AT)
        return super().forward(image, at, kept, sample, noisy=noisy)


class AnnealingTrainer(Trainer):
    """Lets the deviation of a :class:`OneRateConvDRAW` fall over the first three quarters."""

    def train_step(self, batch: Batch, images: ImageSet | None = None) -> tuple[Record, Batch]:
        assert isinstance(self.model, OneRateConvDRAW)
        self.model.deviation = deviation(self.step, self.config.steps)
        return super().train_step(batch, images)
