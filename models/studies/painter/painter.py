"""Painter: DRAW whose steps are strokes.

Per step t, with the same weights in every step::

    encoder     h_e ← LSTM(look(x, canvas), h_d; h_e)
    posterior   z ~ N(mean, scale² | h_e), prior N(0, 1)
    decoder     h_d ← LSTM(z; h_d)
    canvas      canvas ← paint(canvas, stroke(h_d, z))

It starts from a plain ground with a latent of its own. A stroke nobody needs can have no opacity; as
the bound alone does not care whether one or two strokes make a shape, training adds a price per
opaque stroke. The strokes that are more than half opaque are the count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.studies.attention.networks import LSTM
from models.studies.painter.latents import GaussianHead
from models.studies.painter.model import Ground, Terms, ToyModel, drawn, log_likelihood, look
from models.studies.painter.pictures import SIDE
from models.studies.painter.strokes import PARAMETERS, Stroke, paint, stroke_of


@dataclass(frozen=True)
class PainterConfig:
    """All the numbers of the model."""

    steps: int = 4
    """One more than the pictures hold shapes: so that it can count wrongly in both directions."""
    features: int = 192
    hidden: int = 192
    latent: int = 12
    """Elements of z in one step."""
    ink: float = 5.0
    """Nats that an opaque stroke costs in training; a shape without one costs hundreds."""


class Painter(ToyModel):
    """See the head of this page."""

    def __init__(self, config: PainterConfig) -> None:
        super().__init__()
        self.config, self.steps = config, config.steps
        hidden, latent = config.hidden, config.latent
        self.look = look(6, config.features)
        self.ground = Ground(config.features)
        self.encoder = LSTM(config.features + hidden, hidden)
        self.head = GaussianHead(hidden, latent)
        self.decoder = LSTM(latent, hidden)
        self.stroke = nn.Linear(hidden + latent, PARAMETERS)

    def _stroke(self, h: Tensor, z: Tensor) -> Stroke:
        return stroke_of(self.stroke(torch.cat([h, z], dim=1)), SIDE)

    def terms(
        self, image: Tensor, generator: torch.Generator | None = None, *, noisy: bool = True
    ) -> Terms:
        blank = torch.full_like(image, 0.5)
        ground = self.ground.posterior(self.look(torch.cat([image, blank], dim=1)))
        canvas = self.ground(drawn(ground, generator, noisy))
        divergence, canvases, opacities = ground.divergence(), [canvas], []
        encoder, decoder = (lstm.start(len(image)) for lstm in (self.encoder, self.decoder))
        for _ in range(self.steps):
            seen = self.look(torch.cat([image, canvas], dim=1))
            encoder = self.encoder(torch.cat([seen, decoder.h], dim=1), encoder)
            posterior = self.head(encoder.h)
            z = drawn(posterior, generator, noisy)
            decoder = self.decoder(z, decoder)
            stroke = self._stroke(decoder.h, z)
            canvas = paint(canvas, stroke)
            divergence = divergence + posterior.divergence()
            canvases.append(canvas)
            opacities.append(stroke.opacity)
        opacity = torch.stack(opacities, dim=1)  # (B, steps)
        return Terms(
            log_likelihood(image, canvas),
            divergence,
            self.config.ink * opacity.sum(1),
            canvases,
            canvas,
            (opacity > 0.5).sum(1),
        )

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        canvas = self.ground(torch.randn(n, Ground.LATENT, generator=generator))
        decoder = self.decoder.start(n)
        for _ in range(self.steps):
            z = torch.randn(n, self.config.latent, generator=generator)
            decoder = self.decoder(z, decoder)
            canvas = paint(canvas, self._stroke(decoder.h, z))
        return canvas
