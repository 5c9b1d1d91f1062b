"""An autoregressive prior of u: masked convolutions, after van den Oord et al. 2016 (PixelCNN).

Elements come in a fixed order: positions row by row, at each position groups of channels. Every
element is Gaussian given all before it::

    p(u) = ∏ N(u_i; m_i(u_<i), s_i(u_<i)²)

The density of a whole u is one pass of the network. Drawing (and decoding, where it were a codec's
prior) takes one pass for each group of each position: serial work that grows with the image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.studies.priors.latent_priors import (
    LOG_SCALE_BOUND,
    LatentPrior,
    Shape,
    normal_log_density,
)


class MaskedConv2d(nn.Conv2d):
    """k×k convolution that sees earlier positions, and at its own position earlier groups.

    Channels of inputs and outputs are divided into ``groups`` equal parts, one after the other.

    Args:
        own: whether a group sees itself at its own position ("mask B"); else only groups before
            it ("mask A"), as the first layer must.

    Raises:
        ValueError: channels cannot be divided into the groups.
    """

    mask: Tensor

    def __init__(self, channels: int, out: int, kernel: int, *, groups: int, own: bool) -> None:
        super().__init__(channels, out, kernel, padding=kernel // 2)
        if channels % groups or out % groups:
            raise ValueError(f"{channels} and {out} channels do not divide into {groups} groups")
        middle = kernel // 2
        mask = torch.zeros(out, channels, kernel, kernel)
        mask[:, :, :middle] = 1
        mask[:, :, middle, :middle] = 1
        of_out = torch.arange(out)[:, None] // (out // groups)
        of_in = torch.arange(channels)[None] // (channels // groups)
        mask[:, :, middle, middle] = ((of_in <= of_out) if own else (of_in < of_out)).float()
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class GatedLayer(nn.Module):
    """Residual layer: masked 3×3, gate, masked 1×1."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        # Value and gate of a group must lie in the same part: two convolutions, not one split.
        self.value = MaskedConv2d(width, width, 3, groups=groups, own=True)
        self.gate = MaskedConv2d(width, width, 3, groups=groups, own=True)
        self.out = MaskedConv2d(width, width, 1, groups=groups, own=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(torch.tanh(self.value(x)) * torch.sigmoid(self.gate(x)))


class PixelCNN(LatentPrior):
    """Gaussians given all earlier elements; a standard normal at the start.

    Args:
        groups: of the channels.
        width: channels inside, a multiple of ``groups``.
        depth: gated layers.
    """

    def __init__(self, shape: Shape, *, groups: int, width: int, depth: int) -> None:
        super().__init__(shape)
        c = shape[0]
        self.groups = groups
        self.enter = MaskedConv2d(c, width, 5, groups=groups, own=False)
        self.layers = nn.ModuleList(GatedLayer(width, groups) for _ in range(depth))
        self.mean = MaskedConv2d(width, c, 1, groups=groups, own=True)
        self.log_scale = MaskedConv2d(width, c, 1, groups=groups, own=True)
        for head in (self.mean, self.log_scale):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)  # type: ignore[arg-type]

    def predict(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of every element, B×C×H×W each, from the elements before it."""
        x = self.enter(u)
        for layer in self.layers:
            x = layer(x)
        return self.mean(x), LOG_SCALE_BOUND * torch.tanh(self.log_scale(x))

    def log_prob(self, u: Tensor) -> Tensor:
        mean, log_scale = self.predict(u)
        return normal_log_density(u - mean, log_scale).flatten(1).sum(1)

    @torch.no_grad()
    def sample(
        self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0
    ) -> Tensor:
        c, h, w = self.shape
        noise = temperature * torch.randn(n, c, h, w, generator=generator)
        u = torch.zeros(n, c, h, w)
        part = c // self.groups
        for row in range(h):
            for column in range(w):
                for first in range(0, c, part):
                    # Rows below see nothing that counts yet.
                    mean, log_scale = self.predict(u[:, :, : row + 1])
                    place = (slice(None), slice(first, first + part), row, column)
                    u[place] = mean[place] + log_scale[place].exp() * noise[place]
        return u
