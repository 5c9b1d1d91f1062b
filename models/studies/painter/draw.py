"""T-DRAW: DRAW with attention (Gregor et al. 2015) as a generative model of toy pictures.

The windows, the LSTM and the window heads are those of :mod:`models.studies.attention`; latents are
Gaussian with a standard normal prior as in the paper (equations 3 to 10), not quantized. It has no
notion of an object, so it counts nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.studies.attention.networks import LSTM, WindowHead, whole_stride
from models.studies.attention.windows import read, write
from models.studies.painter.latents import GaussianHead
from models.studies.painter.model import Terms, ToyModel, drawn, log_likelihood
from models.studies.painter.pictures import SIDE


@dataclass(frozen=True)
class TDrawConfig:
    """All the numbers of the model."""

    steps: int = 8
    hidden: int = 160
    latent: int = 12
    """Elements of z in one step."""
    read_points: int = 8
    write_points: int = 8


class TDraw(ToyModel):
    """See the head of this page."""

    def __init__(self, config: TDrawConfig) -> None:
        super().__init__()
        self.config, self.steps = config, config.steps
        hidden, points = config.hidden, config.write_points
        self.read_window = WindowHead(hidden, config.read_points, SIDE)
        self.encoder = LSTM(2 * 3 * config.read_points**2 + hidden, hidden)
        self.head = GaussianHead(hidden, config.latent)
        self.decoder = LSTM(config.latent, hidden)
        # Normalized filters spread a value of the patch over a stride's square: γ makes up for it.
        spread = -2 * math.log(whole_stride(SIDE, points))
        self.write_window = WindowHead(hidden, points, SIDE, log_intensity=spread)
        self.patch = nn.Linear(hidden, 3 * points**2)

    def _drawn(self, canvas: Tensor, h: Tensor) -> Tensor:
        """The canvas with the patch of one decoder state."""
        points = self.config.write_points
        return canvas + write(self.patch(h).unflatten(1, (3, points, points)), self.write_window(h))

    def terms(
        self, image: Tensor, generator: torch.Generator | None = None, *, noisy: bool = True
    ) -> Terms:
        canvas = torch.full_like(image, 0.5)
        divergence, canvases = torch.zeros(len(image)).to(image), []
        encoder, decoder = (lstm.start(len(image)) for lstm in (self.encoder, self.decoder))
        for _ in range(self.steps):
            both = torch.cat([image - 0.5, image - canvas], dim=1)
            seen = read(both, self.read_window(decoder.h)).flatten(1)
            encoder = self.encoder(torch.cat([seen, decoder.h], dim=1), encoder)
            posterior = self.head(encoder.h)
            decoder = self.decoder(drawn(posterior, generator, noisy), decoder)
            canvas = self._drawn(canvas, decoder.h)
            divergence = divergence + posterior.divergence()
            canvases.append(canvas)
        reconstruction = log_likelihood(image, canvas)
        penalty = torch.zeros_like(divergence)
        return Terms(reconstruction, divergence, penalty, canvases, canvas, None)

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        canvas = torch.full((n, 3, SIDE, SIDE), 0.5)
        decoder = self.decoder.start(n)
        for _ in range(self.steps):
            decoder = self.decoder(torch.randn(n, self.config.latent, generator=generator), decoder)
            canvas = self._drawn(canvas, decoder.h)
        return canvas
