"""T-AIR: Attend, Infer, Repeat (Eslami et al. 2016) on toy pictures.

Per step t, with the same weights in every step::

    network     h ← LSTM(look(x, x − canvas), where, what of the step before; h)
    presence    go on with the probability that h and |x − canvas|² say, or stop for good
    where       scale and middle of a window ~ N(mean, scale² | h, attention over what is seen)
    what        ~ N(mean, scale² | glimpse of x and x − canvas through the window)
    object      what → one colour and a patch of cover, laid over the canvas through the window

What differs from the paper: the number of objects is summed over instead of sampled
(:mod:`models.studies.painter.latents`), since the canvas after t objects is that of the number t;
objects cover what is behind them instead of being added; the ground is a latent; the network sees
what the canvas lacks, and a first guess of the place is attention, as in Painter. Without the last
two it divided pictures into four fixed quarters in the time that it has here. The paper lowers the
prior probability of one more object to 1e-5 in training; here training pays for objects instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.studies.attention.networks import LSTM
from models.studies.painter.latents import (
    Gaussian,
    GaussianHead,
    bounded,
    count_divergence,
    log_counts,
    log_geometric,
)
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
from models.studies.painter.spatial import Place, glimpse, put

#: Latents of a window: of x, y, scale.
WHERE = 3
#: Bound of the log-odds of going on: probabilities of 0.08 and 0.92 and a slope that can be felt.
MOST_ODDS = 2.5


@dataclass(frozen=True)
class TAirConfig:
    """All the numbers of the model."""

    steps: int = 4
    """One more than the pictures hold shapes: so that it can count wrongly in both directions."""
    features: int = 160
    hidden: int = 192
    what: int = 10
    window: int = 14
    """Side of glimpses and patches in pixels."""
    width: int = 128
    """Of the networks of a single object."""
    go_on: float = 0.5
    """Prior probability of one more object."""
    scale: float = 0.42
    """Side of the windows that the prior expects, as a share of the picture's."""


def lacking(image: Tensor, canvas: Tensor) -> Tensor:
    """How much of an image a canvas lacks, in all and at the worst pixel: logarithms, B×2."""
    squares = (image - canvas).square().sum(1).flatten(1)
    return torch.stack([squares.mean(1), squares.amax(1)], dim=1).clamp_min(1e-6).log() + 4


class TAir(ToyModel):
    """See the head of this page."""

    def __init__(self, config: TAirConfig) -> None:
        super().__init__()
        self.config, self.steps = config, config.steps
        hidden, values = config.hidden, config.window**2
        self.look = Look(config.features)
        self.ground = Ground(config.features)
        self.network = LSTM(config.features + WHERE + config.what, hidden)
        self.presence = nn.Linear(hidden + 2, 1)
        self.search = Search(hidden)
        self.where = GaussianHead(hidden + LOCAL, WHERE)
        self.see = nn.Sequential(nn.Linear(6 * values, config.width), nn.SiLU())
        self.what = GaussianHead(config.width, config.what)
        self.object = nn.Sequential(
            nn.Linear(config.what, config.width), nn.SiLU(), nn.Linear(config.width, 3 + values)
        )
        with torch.no_grad():
            # It must try objects before it can know that they help.
            self.presence.bias.fill_(2.0)

    def place(self, where: Tensor) -> Place:
        """B×WHERE, standard normal in the prior → a window."""
        x, y, scale = where.unbind(1)
        return Place(self.config.scale * (0.3 * scale).exp(), torch.tanh(x), torch.tanh(y))

    def _laid(self, canvas: Tensor, what: Tensor, place: Place, ground: Tensor) -> Tensor:
        """The canvas with one more object."""
        side = self.config.window
        numbers = self.object(what)
        patch = torch.sigmoid(numbers[:, 3:]).unflatten(1, (1, side, side))
        cover = put(patch, place, SIDE)
        return canvas + cover * (plain(numbers[:, :3] + ground) - canvas)

    def terms(
        self, image: Tensor, generator: torch.Generator | None = None, *, noisy: bool = True
    ) -> Terms:
        first = self.look(image, torch.full_like(image, 0.5))
        posterior = self.ground.posterior(first.whole, image)
        ground = self.ground(drawn(posterior, generator, noisy))
        canvas = plain(ground)
        state = self.network.start(len(image))
        before = torch.zeros(len(image), WHERE + self.config.what).to(image)
        canvases, costs, go_on = [canvas], [posterior.divergence()], []
        for _ in range(self.steps):
            seen = self.look(image, canvas)
            state = self.network(torch.cat([seen.whole, before], dim=1), state)
            odds = self.presence(torch.cat([state.h, lacking(image, canvas)], dim=1))
            go_on.append(bounded(odds[:, 0], MOST_ODDS))
            guess, there = self.search(state.h, seen.local)
            mean, log_scale = self.where(torch.cat([state.h, there], dim=1))
            mean = torch.cat([mean[:, :2] + guess, mean[:, 2:]], dim=1)
            where_posterior = Gaussian(mean, log_scale)
            where = drawn(where_posterior, generator, noisy)
            place = self.place(where)
            both = torch.cat([image - 0.5, image - canvas], dim=1)
            view = glimpse(both, place, self.config.window).flatten(1)
            what_posterior = self.what(self.see(view))
            what = drawn(what_posterior, generator, noisy)
            canvas = self._laid(canvas, what, place, ground)
            before = torch.cat([where, what], dim=1)
            canvases.append(canvas)
            spent = where_posterior.divergence() + what_posterior.divergence()
            costs.append(costs[-1] + spent)
        log_q = log_counts(torch.stack(go_on, dim=1))  # (B, steps + 1), as all below
        log_p = log_geometric(self.steps, self.config.go_on).to(log_q)
        likelihoods = torch.stack([log_likelihood(image, c) for c in canvases], dim=1)
        shares, spent = log_q.exp(), torch.stack(costs, dim=1)
        counts = log_q.argmax(1)
        picture = torch.stack(canvases, dim=1)[torch.arange(len(image)), counts]
        return Terms(
            (shares * likelihoods).sum(1),
            (shares * spent).sum(1) + count_divergence(log_q, log_p),
            INK * shares @ torch.arange(self.steps + 1).to(shares),
            canvases,
            picture,
            counts,
        )

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        ground = self.ground(torch.randn(n, Ground.LATENT, generator=generator))
        canvas = plain(ground)
        alive = torch.ones(n, 1, 1, 1)
        for _ in range(self.steps):
            alive = alive * (torch.rand(n, 1, 1, 1, generator=generator) < self.config.go_on)
            where = torch.randn(n, WHERE, generator=generator)
            what = torch.randn(n, self.config.what, generator=generator)
            canvas = torch.lerp(canvas, self._laid(canvas, what, self.place(where), ground), alive)
        return canvas
