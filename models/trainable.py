"""What training asks of a model family, as :mod:`models.protocol` says what the codec asks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.exact.scales import Costs, gaussian_costs

#: Sides of images are extended to multiples of this.
SIZE_MULTIPLE = 64
#: λ (weight of the mean squared error of pixels in [0, 1]) at quality 0 and 100, log-linear.
LAMBDA_RANGE = (18.0, 18000.0)


def starting_gains(knots: int) -> Tensor:
    """Logarithms of gains over quality to start from, (knots,).

    The best step of a quantizer is proportional to sqrt(MSE) ~ λ^-1/2.
    """
    low, high = (0.5 * math.log(v / 1000.0) for v in LAMBDA_RANGE)
    return torch.linspace(low, high, knots)


def fine_gains(knots: int) -> Tensor:
    """The same for coefficients of an orthonormal transform of pixels in [0, 1].

    With λ bits per pixel for one unit of squared error, the mean over three channels, a uniform
    quantizer of step Δ is best where λ Δ²/12 = 3 / (2 ln 2), at high rates (Shannon's lower bound).
    """
    low, high = (0.5 * math.log(v / 26.0) for v in LAMBDA_RANGE)
    return torch.linspace(low, high, knots)


@dataclass
class TrainingPass:
    """What one training pass yields.

    ``image`` is B×3×H×W in [0, 1]; ``small`` holds pictures drawn on the way at H/f×W/f by their
    factor f; ``bits`` is (B, S) over the stages.
    """

    image: Tensor
    small: dict[int, Tensor]
    bits: Tensor


class TrainableModel(nn.Module):
    """The networks of a family."""

    #: How many stages each layer has in training: after every one an image may end. A file may
    #: divide them further (the fine stage of the ssVAE), see :attr:`table_sets`.
    stages: tuple[int, ...]
    #: Weight of the errors of pictures at 1/4 and 1/2 of the size relative to λ, so that early
    #: stops stay good.
    small_share: Mapping[int, float] = {4: 0.02, 2: 0.1}
    #: Factor of the weight of the errors of pictures at 1/f of the size, 1 the full one, where an
    #: image ends in the first layer; 1 where there is none.
    first_layer_share: Mapping[int, float] = MappingProxyType({})
    #: Costs of each stage's symbols by the tables of a weights file; empty while there are none.
    costs: Sequence[Costs] = ()

    @property
    def table_sets(self) -> tuple[int, ...]:
        """Which set of frequency tables each coded stage is coded with, numbered from 0."""
        return tuple(range(sum(self.stages)))

    def stage_costs(self, stage: int) -> Costs:
        """What whole-numbered symbols of a stage cost, as far as is known."""
        return self.costs[stage] if self.costs else gaussian_costs()

    def lagrangian(self, quality: Tensor) -> Tensor:
        """λ of a quality: bits per pixel that one unit of mean squared error is worth."""
        low, high = (math.log(v) for v in LAMBDA_RANGE)
        return torch.exp(low + (high - low) * quality / 100)

    def small_target(self, image: Tensor, factor: int) -> Tensor:
        """What the picture of 1/factor of the size ought to show: B×3×H/f×W/f.

        The reduced image, unless the family explains another representation of it.
        """
        return F.avg_pool2d(image, factor)

    def forward(
        self,
        image: Tensor,
        quality: Tensor,
        kept: Tensor,
        sample: Tensor | None = None,
        *,
        noisy: bool = True,
    ) -> TrainingPass:
        """One differentiable pass.

        Args:
            image: B×3×H×W in [0, 1], sides multiples of 64.
            quality: (B,) in [0, 100].
            kept: (B,) how many stages are kept, 1…S.
            sample: (B,) temperature of the fill of missing stages; default 0, the prior mean.
            noisy: price with additive uniform noise (training); else the rounded symbols, as coded.
        """
        raise NotImplementedError
