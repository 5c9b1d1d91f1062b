"""What the three models of the comparison share: their terms, their likelihood, how they look."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.blocks import Down
from models.studies.painter.latents import Gaussian, GaussianHead
from models.studies.painter.pictures import SIDE

#: Standard deviation of a colour around what a model says, on [0, 1]; the same for all models.
SIGMA = 0.1
#: Nats that a stroke or object costs in training beyond its latents. The bound alone does not mind
#: one that nobody sees, in the colour of the ground, or two in one place; a shape without one costs
#: hundreds.
INK = 10.0
#: Channels of what is seen at each place.
LOCAL = 48


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


class Seen(NamedTuple):
    """What a model sees of a picture."""

    whole: Tensor
    """B×features."""
    local: Tensor
    """B×LOCAL×SIDE/4×SIDE/4."""


class Look(nn.Module):
    """Features of a picture and of what a canvas still lacks of it."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.local = nn.Sequential(
            Down(6, LOCAL, factor=4), nn.SiLU(), nn.Conv2d(LOCAL, LOCAL, 1), nn.SiLU()
        )
        self.whole = nn.Sequential(
            Down(LOCAL, 64),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(64 * (SIDE // 8) ** 2, features),
            nn.SiLU(),
        )

    def forward(self, image: Tensor, canvas: Tensor) -> Seen:
        local = self.local(torch.cat([image - 0.5, image - canvas], dim=1))
        return Seen(self.whole(local), local)


class Search(nn.Module):
    """Attention over places: where a model's state wants to work next.

    Regressing a place from a whole picture takes long to learn; a mean of places, weighted by how
    well what is seen there answers the state's query, starts in the middle and moves as soon as the
    query means anything.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, LOCAL)

    def forward(self, h: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        """B×hidden and B×LOCAL×n×n → latents of the place, B×2, whose tanh is (x, y) from −1 to 1;
        and what is seen there, B×LOCAL."""
        n = local.shape[-1]
        score = torch.einsum("bc,bcyx->byx", self.query(h), local) / math.sqrt(LOCAL)
        weight = torch.softmax(score.flatten(1), dim=1)
        at = (torch.arange(n).to(local) + 0.5) * 2 / n - 1
        by_row, by_column = (weight.unflatten(1, (n, n)).sum(d) for d in (2, 1))
        place = torch.stack([by_column @ at, by_row @ at], dim=1)
        return torch.atanh(0.98 * place), torch.einsum("bn,bcn->bc", weight, local.flatten(2))


class Ground(nn.Module):
    """A plain ground with a latent of its own.

    What it draws is a colour's log-odds, B×3: colours of objects are told relative to it, so that
    an object about which nothing is known yet does no harm.
    """

    LATENT = 4

    def __init__(self, features: int) -> None:
        super().__init__()
        self.head = GaussianHead(features + 3, self.LATENT)
        self.colour = nn.Linear(self.LATENT, 3)

    def posterior(self, features: Tensor, image: Tensor) -> Gaussian:
        mean = image.flatten(2).mean(2) - 0.5
        return self.head(torch.cat([features, 4 * mean], dim=1))

    def forward(self, latent: Tensor) -> Tensor:
        """B×LATENT → B×3."""
        return self.colour(latent)


def plain(odds: Tensor) -> Tensor:
    """A picture of one colour: log-odds B×3 → B×3×SIDE×SIDE."""
    return torch.sigmoid(odds)[:, :, None, None].expand(-1, -1, SIDE, SIDE)
