"""What the three models of the comparison share: their terms, their likelihood, how they look."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.blocks import Down, gated_blocks
from models.studies.painter.latents import Gaussian, GaussianHead
from models.studies.painter.pictures import SIDE

#: Standard deviation of a colour around what a model says, on [0, 1]; the same for all models.
SIGMA = 0.1


class Terms(NamedTuple):
    """Of the bound log p(x) ≥ reconstruction − divergence, in nats, (B,) each; and pictures."""

    reconstruction: Tensor
    divergence: Tensor
    penalty: Tensor
    """What training adds to the negative bound."""
    canvases: list[Tensor]
    """B×3×SIDE×SIDE after the ground (where there is one) and after each step."""
    picture: Tensor
    """The reconstruction, B×3×SIDE×SIDE; the last canvas, unless a model stops before."""
    counts: Tensor | None
    """How many objects the model says there are, (B,); None: it does not say."""


class ToyModel(nn.Module, ABC):
    """A generative model of pictures that draws in steps."""

    steps: int

    @abstractmethod
    def terms(
        self, image: Tensor, generator: torch.Generator | None = None, *, noisy: bool = True
    ) -> Terms:
        """One pass.

        Args:
            image: B×3×SIDE×SIDE in [0, 1].
            generator: of the latents' noise.
            noisy: latents are samples of the posterior; else its means.
        """

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Pictures drawn from the prior: n×3×SIDE×SIDE."""


def log_likelihood(image: Tensor, picture: Tensor) -> Tensor:
    """log N(image; picture, SIGMA²) summed over a picture: (B,) nats."""
    squares = (image - picture).square().flatten(1)
    constant = math.log(SIGMA) + 0.5 * math.log(2 * math.pi)
    return -squares.sum(1) / (2 * SIGMA**2) - squares.shape[1] * constant


def drawn(posterior: Gaussian, generator: torch.Generator | None, noisy: bool) -> Tensor:
    """A sample or the mean."""
    return posterior.sample(generator) if noisy else posterior.mean


def look(channels: int, out: int) -> nn.Sequential:
    """Convolutional features of a whole picture: B×channels×SIDE×SIDE → B×out."""
    positions = (SIDE // 8) ** 2
    return nn.Sequential(
        Down(channels, 48, factor=4),
        gated_blocks(48, 1),
        Down(48, 64),
        gated_blocks(64, 1),
        nn.Flatten(),
        nn.Linear(64 * positions, out),
        nn.SiLU(),
    )


class Ground(nn.Module):
    """A plain ground with a latent of its own."""

    LATENT = 4

    def __init__(self, features: int) -> None:
        super().__init__()
        self.head = GaussianHead(features, self.LATENT)
        self.colour = nn.Linear(self.LATENT, 3)

    def posterior(self, features: Tensor) -> Gaussian:
        return self.head(features)

    def forward(self, latent: Tensor) -> Tensor:
        """B×LATENT → B×3×SIDE×SIDE."""
        colour = torch.sigmoid(self.colour(latent))
        return colour[:, :, None, None].expand(-1, -1, SIDE, SIDE)
