"""The self-supervised VAE as its paper writes it, at the size of a bench.

A picture x is modelled through smaller pictures of itself (Gatopoulos & Tomczak 2020). With
``y_0`` the smallest and ``y_L = x``, each half the side of the next, averaged and rounded::

    p(x) ≥ p(y_0, …, y_L),   since y_k = d(y_(k+1)) is a function of x: q(y|x) is one point

    log p(y_0) ≥ E_q [ log p(y_0|u) + log p(u) − log q(u|y_0) ]
    log p(y_k|y_(k−1)) ≥ E_q [ log p(y_k|y_(k−1), z_k)
                               + log p(z_k|y_(k−1), before) − log q(z_k|y_k, y_(k−1)) ]

    log p(x) ≥ RE_x + Σ RE_y − KL_u − Σ KL_z

where ``before`` is the latent one level up (u, then z_1). What passes from a level to the next is
the *picture*, not features of the network: a picture given from outside can stand in its place.
With one level this is :class:`models.studies.priors.small_vae.SmallVAE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import Down, Up, gated_blocks
from models.studies.priors.latent_priors import LatentPrior, Shape, normal_log_density
from models.studies.priors.small_vae import GaussianPosterior, PixelLikelihood, to_unit

#: Positions of a latent per pixel of its picture, in each direction, above the smallest picture.
STRIDE = 4


@dataclass(frozen=True)
class LevelsConfig:
    """All the numbers of the networks."""

    levels: int
    """Pictures: 1 (a VAE), 2 or 3."""
    first_stride: int = 4
    """Of u in the smallest picture: 4 or 8."""
    first_latent: int = 32
    """Channels of u."""
    latent: int = 8
    """Channels of each z."""
    width: int = 96
    depth: int = 3
    """Gated blocks of an encoder and of a decoder."""
    first_log_scale: float = -1.5
    """Of posteriors: narrow, so that latents tell something from the first step on."""


def latent_shape(config: LevelsConfig, size: int) -> Shape:
    """C, H, W of u for square images of a side.

    Raises:
        ValueError: the side is no multiple of what the levels need.
    """
    unit = config.first_stride << (config.levels - 1)
    if size <= 0 or size % unit:
        raise ValueError(f"the side of the images must be a multiple of {unit}, not {size}")
    return config.first_latent, size // unit, size // unit


def pictures(image: Tensor, levels: int) -> list[Tensor]:
    """The smaller pictures of a uint8 B×3×H×W image and itself, smallest first, uint8 each."""
    found = [image]
    for _ in range(levels - 1):
        found.insert(0, F.avg_pool2d(found[0].float(), 2).round().to(torch.uint8))
    return found


class Gaussian(NamedTuple):
    """A conditional prior of z, B×C×H×W each."""

    mean: Tensor
    log_scale: Tensor


class First(nn.Module):
    """The VAE of the smallest picture."""

    def __init__(self, config: LevelsConfig) -> None:
        super().__init__()
        w, d, stride = config.width, config.depth, config.first_stride
        self.encoder = nn.Sequential(
            Down(3, w, factor=4),
            *([] if stride == 4 else [gated_blocks(w, 1), Down(w, w)]),
            gated_blocks(w, d),
            nn.Conv2d(w, 2 * config.first_latent, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.first_latent, w, 1),
            gated_blocks(w, d),
            *([] if stride == 4 else [Up(w, w), gated_blocks(w, 1)]),
            Up(w, 9, factor=4),
        )


class Next(nn.Module):
    """What one more level needs: posterior, prior and likelihood of a picture given a smaller one.

    ``smaller`` has half the side; ``before`` is the latent of the level before, at half the
    resolution of this level's.
    """

    def __init__(self, config: LevelsConfig, before: int) -> None:
        super().__init__()
        w, d = config.width, config.depth
        self.see_own = Down(3, w, factor=4)
        self.see_smaller = nn.ModuleList(Down(3, w) for _ in range(3))
        self.see_before = Up(before, w)
        self.posterior = nn.Sequential(gated_blocks(w, d), nn.Conv2d(w, 2 * config.latent, 1))
        self.prior = nn.Sequential(gated_blocks(w, d), nn.Conv2d(w, 2 * config.latent, 1))
        self.take = nn.Conv2d(config.latent, w, 1)
        self.decoder = nn.Sequential(gated_blocks(w, d), Up(w, 9, factor=4))

    def posterior_raw(self, own: Tensor, smaller: Tensor) -> Tensor:
        return self.posterior(self.see_own(own) + self.see_smaller[0](smaller))

    def prior_of(self, smaller: Tensor, before: Tensor) -> Gaussian:
        x = self.see_smaller[1](smaller) + self.see_before(before)
        mean, raw = self.prior(x).chunk(2, dim=1)
        return Gaussian(mean, raw.clamp(-7, 2))

    def likelihood_raw(self, z: Tensor, smaller: Tensor) -> Tensor:
        """As of the decoder of a VAE; means are corrections of the enlarged smaller picture."""
        out = self.decoder(self.take(z) + self.see_smaller[2](smaller))
        enlarged = F.interpolate(smaller, scale_factor=2, mode="bilinear")
        return torch.cat([out[:, :3] + enlarged, out[:, 3:]], dim=1)


class LevelTerms(NamedTuple):
    """Of the bound, by level from the smallest picture on: nats, (B,) float64 each."""

    reconstruction: list[Tensor]
    """log p(y_k | …): RE."""
    divergence: list[Tensor]
    """log q − log p of u, then of each z; their means are the KL terms."""

    def total(self) -> Tensor:
        """The bound's sample: log weight of importance weighting."""
        return torch.stack(self.reconstruction).sum(0) - torch.stack(self.divergence).sum(0)


def likelihood_of(raw: Tensor) -> PixelLikelihood:
    mean, scale, mixing = raw.chunk(3, dim=1)
    return PixelLikelihood(mean, (scale - 2).clamp(-7, 2), torch.tanh(mixing))


class LevelsVAE(nn.Module):
    """The networks of :class:`LevelsConfig` around any prior of u."""

    def __init__(self, config: LevelsConfig, prior: LatentPrior) -> None:
        super().__init__()
        self.config, self.prior = config, prior
        self.first = First(config)
        befores = [config.first_latent, config.latent]
        self.next = nn.ModuleList(
            Next(config, befores[min(index, 1)]) for index in range(config.levels - 1)
        )

    def _posterior(self, raw: Tensor) -> GaussianPosterior:
        mean, scale = raw.chunk(2, dim=1)
        return GaussianPosterior(mean, (scale + self.config.first_log_scale).clamp(-7, 2))

    def terms(self, image: Tensor, generator: torch.Generator | None = None) -> LevelTerms:
        """The bound's terms for one sample of all latents.

        Args:
            image: uint8 B×3×H×W.
            generator: of the latents' noise.
        """
        smaller, *larger = pictures(image, self.config.levels)
        known = to_unit(smaller)
        posterior = self._posterior(self.first.encoder(known))
        latent = posterior.sample(_noise(posterior.mean, generator), self.prior.step)
        likelihood = likelihood_of(self.first.decoder(latent))
        reconstruction = [likelihood.log_prob(smaller)]
        own = posterior.log_prob(latent, self.prior.step).double()
        divergence = [own - self.prior.log_prob(latent).double()]
        for level, picture in zip(self.next, larger, strict=True):
            assert isinstance(level, Next)
            posterior = self._posterior(level.posterior_raw(to_unit(picture), known))
            prior = level.prior_of(known, latent)
            latent = posterior.sample(_noise(posterior.mean, generator))
            likelihood = likelihood_of(level.likelihood_raw(latent, known))
            reconstruction.append(likelihood.log_prob(picture))
            expected = normal_log_density(latent - prior.mean, prior.log_scale)
            spent = posterior.log_prob(latent).double()
            divergence.append(spent - expected.flatten(1).sum(1).double())
            known = to_unit(picture)
        return LevelTerms(reconstruction, divergence)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        generator: torch.Generator | None = None,
        temperature: float = 1.0,
        *,
        given: Tensor | None = None,
    ) -> list[Tensor]:
        """Pictures of all levels, smallest first: uint8 n×3×…; without the noise of p(y|…).

        Args:
            given: the smallest picture, uint8 n×3×h×w, instead of a drawn one: then z alone is
                drawn, u being what its posterior says.
        """
        if given is None:
            latent = self.prior.sample(n, generator, temperature)
            picture = likelihood_of(self.first.decoder(latent)).mode()
        else:
            picture, latent = given, self._posterior(self.first.encoder(to_unit(given))).mean
        found = [picture]
        for level in self.next:
            assert isinstance(level, Next)
            known = to_unit(picture)
            prior = level.prior_of(known, latent)
            noise = temperature * _noise(prior.mean, generator)
            latent = prior.mean + prior.log_scale.exp() * noise
            picture = likelihood_of(level.likelihood_raw(latent, known)).mode()
            found.append(picture)
        return found


def _noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randn(like.shape, generator=generator).to(like)
