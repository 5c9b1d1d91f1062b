"""Painter: DRAW whose steps are strokes, and whose latents are the strokes' numbers.

Per step t, with the same weights in every step::

    encoder     h_e ← LSTM(look(x, x − canvas), h_d; h_e)
    place       where to work: attention of h_e over what is seen
    posterior   z ~ N(mean, scale² | h_e, place and what is seen there), prior N(0, 1)
    stroke      raw ← shift(h_d) + gain · z
    canvas      canvas ← paint(canvas, stroke)
    decoder     h_d ← LSTM(z; h_d)

It starts from a plain ground with a latent of its own. A stroke nobody needs can have no opacity,
for which training pays. The strokes that are more than half opaque are the count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.studies.attention.networks import LSTM
from models.studies.painter.latents import Gaussian, GaussianHead
from models.studies.painter.model import (
    INK,
    LOCAL,
    Ground,
    Look,
    Search,
    Terms,
    ToyModel,
    drawn,
    log_likelihood,
    plain,
)
from models.studies.painter.pictures import SIDE
from models.studies.painter.strokes import PARAMETERS, Stroke, paint, stroke_of


@dataclass(frozen=True)
class PainterConfig:
    """All the numbers of the model."""

    steps: int = 4
    """One more than the pictures hold shapes: so that it can count wrongly in both directions."""
    features: int = 160
    hidden: int = 192


class Painter(ToyModel):
    """See the head of this page."""

    def __init__(self, config: PainterConfig) -> None:
        super().__init__()
        self.config, self.steps = config, config.steps
        hidden = config.hidden
        self.look = Look(config.features)
        self.ground = Ground(config.features)
        self.encoder = LSTM(config.features + hidden, hidden)
        self.search = Search(hidden)
        self.head = GaussianHead(hidden + LOCAL, PARAMETERS)
        self.decoder = LSTM(PARAMETERS, hidden)
        self.shift = nn.Linear(hidden, PARAMETERS)
        self.log_gain = nn.Parameter(torch.zeros(PARAMETERS))
        with torch.no_grad():
            self.shift.weight.mul_(0.1)
            self.shift.bias.zero_()

    def _stroke(self, h: Tensor, z: Tensor, ground: Tensor) -> Stroke:
        return stroke_of(self.shift(h) + self.log_gain.exp() * z, SIDE, SIDE, ground)

    def terms(
        self, image: Tensor, generator: torch.Generator | None = None, *, noisy: bool = True
    ) -> Terms:
        first = self.look(image, torch.full_like(image, 0.5))
        posterior = self.ground.posterior(first.whole, image)
        ground = self.ground(drawn(posterior, generator, noisy))
        canvas = plain(ground)
        divergence, canvases, opacities = posterior.divergence(), [canvas], []
        encoder, decoder = (lstm.start(len(image)) for lstm in (self.encoder, self.decoder))
        for _ in range(self.steps):
            seen = self.look(image, canvas)
            encoder = self.encoder(torch.cat([seen.whole, decoder.h], dim=1), encoder)
            place, there = self.search(encoder.h, seen.local)
            mean, log_scale = self.head(torch.cat([encoder.h, there], dim=1))
            mean = torch.cat([mean[:, :2] + place, mean[:, 2:]], dim=1)
            posterior = Gaussian(mean, log_scale)
            z = drawn(posterior, generator, noisy)
            stroke = self._stroke(decoder.h, z, ground)
            canvas = paint(canvas, stroke)
            decoder = self.decoder(z, decoder)
            divergence = divergence + posterior.divergence()
            canvases.append(canvas)
            opacities.append(stroke.opacity)
        opacity = torch.stack(opacities, dim=1)  # (B, steps)
        return Terms(
            log_likelihood(image, canvas),
            divergence,
            INK * opacity.sum(1),
            canvases,
            canvas,
            (opacity > 0.5).sum(1),
        )

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        ground = self.ground(torch.randn(n, Ground.LATENT, generator=generator))
        canvas, decoder = plain(ground), self.decoder.start(n)
        for _ in range(self.steps):
            z = torch.randn(n, PARAMETERS, generator=generator)
            canvas = paint(canvas, self._stroke(decoder.h, z, ground))
            decoder = self.decoder(z, decoder)
        return canvas
