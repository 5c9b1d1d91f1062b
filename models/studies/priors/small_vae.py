"""A small VAE for small crops whose prior is a plug-in: the bench on which priors are compared.

::

    x ─► encoder ─► mean, scale ─► u ~ q(u|x) ─► decoder ─► discretized logistics p(x|u)
                                        │
                                    p(u): latent_priors.py

The bound is in nats per image and true for 8-bit pixels: ``log p(x) ≥ E_q[log p(x|u) − log q(u|x) +
log p(u)]`` where p(x|u) is a probability of integers.

Where the prior lives on a grid (``IntegerDiscreteFlow``), so does the posterior: u is the sample of
the Gaussian rounded to the grid, which makes q(u|x) the Gaussian's mass in each cell, and the bound
is the same with sums instead of integrals. Both terms are probabilities, so the
grid's width cancels: on a fine grid the bound equals that of the dequantized latent with density
P(u)/step^D, and where the posterior is narrower than a cell, q(u|x) is rounding and the divergence
is −log P(u), the bits of the symbols. Bits per dimension are therefore comparable with those of
continuous priors. The gradient passes the rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.blocks import Down, Up, gated_blocks
from models.exact.scales import gaussian_bits
from models.quantization import round_through
from models.studies.priors.latent_priors import (
    LatentPrior,
    Shape,
    logistic_log_mass,
    normal_log_density,
)

#: u has one position for n pixels in each direction.
STRIDE = 8
_PIXEL = 2 / 255  # between neighbouring values, in [−1, 1]


@dataclass(frozen=True)
class SmallVAEConfig:
    """All the numbers of the networks, from coarse to fine: 0.98 M parameters."""

    latent: int = 32
    """Channels of u: 512 elements for 32×32 pixels."""
    widths: tuple[int, int] = (192, 96)
    """At 1/8 and 1/4."""
    depths: tuple[int, int] = (3, 2)
    first_log_scale: float = -1.5
    """Of the posterior: narrow, so that u tells something from the first step on."""


class GaussianPosterior(NamedTuple):
    """q(u|x), B×C×H×W each."""

    mean: Tensor
    log_scale: Tensor

    def sample(self, noise: Tensor, step: float | None = None) -> Tensor:
        """From standard normal noise of the same shape; rounded to multiples of ``step``."""
        u = self.mean + self.log_scale.exp() * noise
        return u if step is None else step * round_through(u / step)

    def log_prob(self, u: Tensor, step: float | None = None) -> Tensor:
        """log q(u|x) in nats, (B,): density, or mass of the cell of width ``step`` around u."""
        if step is None:
            terms = normal_log_density(u - self.mean, self.log_scale)
        else:
            bits = gaussian_bits((u - self.mean) / step, self.log_scale.exp() / step)
            terms = -math.log(2) * bits
        return terms.flatten(1).sum(1)


class PixelLikelihood(NamedTuple):
    """p(x|u): a discretized logistic for each colour of each pixel (Kingma et al. 2016), where
    green knows red, and blue red and green (Salimans et al. 2017)."""

    mean: Tensor
    """B×3×H×W in [−1, 1], before the colours already known have their say."""
    log_scale: Tensor
    """B×3×H×W."""
    mixing: Tensor
    """B×3×H×W: red in green, red in blue, green in blue."""

    def _means(self, known: Tensor) -> Tensor:
        red, green = known[:, 0], known[:, 1]
        a, b, c = self.mixing.unbind(1)
        shifts = torch.stack([torch.zeros_like(red), a * red, b * red + c * green], dim=1)
        return self.mean + shifts

    def log_prob(self, image: Tensor) -> Tensor:
        """log p(x|u) in nats, (B,) float64, of uint8 B×3×H×W."""
        x = to_unit(image)
        mass = logistic_log_mass(
            x - self._means(x), self.log_scale, _PIXEL, first=image == 0, last=image == 255
        )
        return mass.flatten(1).sum(1, dtype=torch.float64)

    def mode(self) -> Tensor:
        """The middle of each logistic, colour after colour: uint8 B×3×H×W."""
        x = self.mean
        for _ in range(2):  # green needs red, blue needs green
            x = self._means(x.clamp(-1, 1))
        return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


class Terms(NamedTuple):
    """Of the bound for one sample of u: nats, (B,) float64."""

    reconstruction: Tensor
    """log p(x|u)."""
    divergence: Tensor
    """log q(u|x) − log p(u); its mean is the KL term."""


class SmallVAE(nn.Module):
    """Encoder and decoder of :class:`SmallVAEConfig` around any prior.

    Args:
        prior: of latents C×H×W as :func:`latent_shape` says.
    """

    def __init__(self, config: SmallVAEConfig, prior: LatentPrior) -> None:
        super().__init__()
        coarse, fine = config.widths
        self.encoder = nn.Sequential(
            Down(3, fine, factor=4),
            gated_blocks(fine, config.depths[1]),
            Down(fine, coarse),
            gated_blocks(coarse, config.depths[0]),
            nn.Conv2d(coarse, 2 * config.latent, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.latent, coarse, 1),
            gated_blocks(coarse, config.depths[0]),
            Up(coarse, fine),
            gated_blocks(fine, config.depths[1]),
            Up(fine, 9, factor=4),
        )
        self.first_log_scale = config.first_log_scale
        self.prior = prior

    def posterior(self, image: Tensor) -> GaussianPosterior:
        """q(u|x) for uint8 B×3×H×W with sides that are multiples of 8."""
        mean, raw = self.encoder(to_unit(image)).chunk(2, dim=1)
        return GaussianPosterior(mean, (raw + self.first_log_scale).clamp(-7, 2))

    def likelihood(self, u: Tensor) -> PixelLikelihood:
        """p(x|u)."""
        mean, raw, mixing = self.decoder(u).chunk(3, dim=1)
        # A scale below a quarter of that would only make the few misses expensive.
        return PixelLikelihood(mean, (raw - 2).clamp(-7, 2), torch.tanh(mixing))

    def terms(self, image: Tensor, posterior: GaussianPosterior, noise: Tensor) -> Terms:
        """The bound's terms with the u that ``noise`` makes of the posterior.

        Args:
            image: uint8 B×3×H×W.
            noise: standard normal, like u.
        """
        step = self.prior.step
        u = posterior.sample(noise, step)
        divergence = posterior.log_prob(u, step).double() - self.prior.log_prob(u).double()
        return Terms(self.likelihood(u).log_prob(image), divergence)

    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        """``n`` pictures from the prior, without the noise of p(x|u): uint8 n×3×H×W."""
        return self.likelihood(self.prior.sample(n, generator, temperature)).mode()


def latent_shape(config: SmallVAEConfig, size: int) -> Shape:
    """C, H, W of u for square images.

    Raises:
        ValueError: ``size`` is no multiple of 8.
    """
    if size <= 0 or size % STRIDE:
        raise ValueError(f"the side of the images must be a multiple of {STRIDE}, not {size}")
    return config.latent, size // STRIDE, size // STRIDE


def to_unit(image: Tensor) -> Tensor:
    """uint8 → float32 in [−1, 1]."""
    return image.float() / 127.5 - 1


def importance_weighted(log_weights: Tensor) -> Tensor:
    """The bound of Burda et al. 2016 (equation 8) on log p(x): (B, samples) → (B,), float64.

    Args:
        log_weights: log p(x|u) + log p(u) − log q(u|x) in nats.
    """
    samples = log_weights.shape[1]
    return torch.logsumexp(log_weights.double(), dim=1) - math.log(samples)
