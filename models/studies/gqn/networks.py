"""A generative query network: from views of a scene to a view from somewhere else.

After *Neural scene representation and rendering* (Eslami et al. 2018). Views of a scene are encoded
one by one and added up; a convolutional DRAW, the core of :mod:`models.convdraw.networks`, draws
the view that a camera pose asks for::

    representation   r = Σ_k φ(x_k, v_k)                       any number of views, any order
    start            h_g ← tanh(W (v, r))
    prior of step t  π(z_t | h_g)
    posterior        q(z_t | h_e),  h_e ← ConvLSTM(x, v, r, h_g, canvas; h_e)
    generator        h_g ← ConvLSTM(z_t, v, r; h_g),  canvas ← canvas + W h_g
    picture          N(x | mean(canvas), σ²)

With no view at all, r is zero and the model says what rooms look like in general.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.blocks import Down, Up, gated_blocks
from models.convdraw.networks import ConvLSTM
from models.studies.gqn.scenes import POSE
from models.studies.priors.latent_priors import normal_log_density

#: Pixels per position of the states, in each direction.
STRIDE = 4


@dataclass(frozen=True)
class GQNConfig:
    """All the numbers of the model."""

    steps: int = 6
    hidden: int = 96
    latent: int = 8
    """Channels of z in one step."""
    representation: int = 96


class Moments(NamedTuple):
    """A Gaussian, B×C×H×W each."""

    mean: Tensor
    log_scale: Tensor

    @classmethod
    def of(cls, raw: Tensor) -> Moments:
        mean, log_scale = raw.chunk(2, dim=1)
        return cls(mean, log_scale.clamp(-5, 2))

    def log_prob(self, z: Tensor) -> Tensor:
        """Nats, (B,)."""
        return normal_log_density(z - self.mean, self.log_scale).flatten(1).sum(1)


def divergence(q: Moments, p: Moments) -> Tensor:
    """KL(q‖p) in nats, (B,), in closed form."""
    ratio = (2 * (q.log_scale - p.log_scale)).exp()
    distance = ((q.mean - p.mean) * torch.exp(-p.log_scale)).square()
    return (0.5 * (ratio + distance - 1) + p.log_scale - q.log_scale).flatten(1).sum(1)


class Drawing(NamedTuple):
    """What a pass yields."""

    picture: Tensor
    """Mean of the view, B×3×H×W around 0."""
    divergence: Tensor
    """Σ_t KL, nats, (B,); zero where z was drawn from the prior."""
    log_ratio: Tensor
    """Σ_t log p(z_t) − log q(z_t) of the z that were drawn, nats, (B,)."""


class Representation(nn.Module):
    """φ: one view and its pose → features at 1/4 (the paper's "tower", in gated blocks)."""

    def __init__(self, config: GQNConfig) -> None:
        super().__init__()
        width = config.representation
        self.see = Down(3, width, factor=4)
        self.pose = nn.Linear(POSE, width)
        self.blocks = gated_blocks(width, 3, kernel=5)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, view: Tensor, pose: Tensor) -> Tensor:
        x = self.see(view) + self.pose(pose)[:, :, None, None]
        return self.out(self.blocks(x))


class GQN(nn.Module):
    """All networks. Pictures are B×3×H×W around 0 (in −½ … ½), poses B×7."""

    def __init__(self, config: GQNConfig) -> None:
        super().__init__()
        self.config = config
        w, z, r = config.hidden, config.latent, config.representation
        self.representation = Representation(config)
        self.see = Down(3, w, factor=4)
        self.pose = nn.ModuleList(nn.Linear(POSE, w) for _ in range(2))
        self.scene = nn.ModuleList(nn.Conv2d(r, w, 1) for _ in range(2))
        self.start = nn.Conv2d(w, w, 1)
        self.infer_in = nn.ModuleList(nn.Conv2d(2 * w, w, 1) for _ in range(config.steps))
        self.infer = nn.ModuleList(ConvLSTM(w, kernel=5) for _ in range(config.steps))
        self.posterior = nn.ModuleList(nn.Conv2d(w, 2 * z, 1) for _ in range(config.steps))
        self.prior = nn.ModuleList(nn.Conv2d(w, 2 * z, 1) for _ in range(config.steps))
        self.inject = nn.ModuleList(nn.Conv2d(z, w, 1) for _ in range(config.steps))
        self.generate = nn.ModuleList(ConvLSTM(w, kernel=5) for _ in range(config.steps))
        self.write = nn.ModuleList(nn.Conv2d(w, w, 1) for _ in range(config.steps))
        self.draw = nn.Sequential(gated_blocks(w, 1), Up(w, 3, factor=4))
        with torch.no_grad():  # the output of a fresh LSTM is of the order of 0.05
            for head in [*self.posterior, *self.inject, *self.write]:
                assert isinstance(head, nn.Conv2d)
                head.weight.mul_(4)

    def represent(self, views: Tensor, poses: Tensor) -> Tensor:
        """Sum of φ over views: B×K×3×H×W and B×K×7 → B×R×H/4×W/4; K may be 0."""
        batch, count = views.shape[:2]
        size = views.shape[-2] // STRIDE, views.shape[-1] // STRIDE
        if count == 0:
            return views.new_zeros(batch, self.config.representation, *size)
        each = self.representation(views.flatten(0, 1), poses.flatten(0, 1))
        return each.unflatten(0, (batch, count)).sum(1)

    def forward(
        self,
        scene: Tensor,
        pose: Tensor,
        picture: Tensor | None = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Drawing:
        """Draw what a pose sees.

        Args:
            scene: as :meth:`represent` gives it.
            pose: of the query.
            picture: the true view: z comes from the posterior, as in training. None: from the
                prior.
            temperature: of the noise of z.
        """
        batch, _, height, width = scene.shape
        c = self.config
        zero = scene.new_zeros(batch, c.hidden, height, width)
        told = self.scene[0](scene) + self.pose[0](pose)[:, :, None, None]
        # The first prior, too, knows what is asked for and what was seen.
        h_g = torch.tanh(self.start(told))
        c_g, h_e, c_e, canvas = zero, zero, zero, zero
        seen = None
        if picture is not None:
            seen = self.see(picture) + self.scene[1](scene) + self.pose[1](pose)[:, :, None, None]
        spent = log_ratio = scene.new_zeros(batch)
        for t in range(c.steps):
            prior = Moments.of(self.prior[t](h_g))
            chosen = prior
            if seen is not None:
                x = seen + self.infer_in[t](torch.cat([h_g, canvas], dim=1))
                h_e, c_e = self.infer[t](x, h_e, c_e)
                chosen = Moments.of(self.posterior[t](h_e))
                spent = spent + divergence(chosen, prior)
            noise = torch.randn(chosen.mean.shape, generator=generator).to(scene)
            z = chosen.mean + temperature * chosen.log_scale.exp() * noise
            if seen is not None:
                log_ratio = log_ratio + prior.log_prob(z) - chosen.log_prob(z)
            h_g, c_g = self.generate[t](told + self.inject[t](z), h_g, c_g)
            canvas = canvas + self.write[t](h_g)
        return Drawing(self.draw(canvas), spent, log_ratio)


def log_likelihood(picture: Tensor, drawn: Tensor, scale: float) -> Tensor:
    """log N(x | mean, scale²), nats, (B,), of pixels in −½ … ½."""
    log_scale = torch.full((), math.log(scale))
    return normal_log_density(picture - drawn, log_scale).flatten(1).sum(1)


def deviation(step: int, last: int, first: float = 2.0, final: float = 0.7) -> float:
    """The paper's annealed standard deviation of pixels, here of values in units of 1/10: from 2.0
    to 0.7 over the first three quarters of the training."""
    share = min(1.0, step / max(1, 0.75 * last))
    return 0.1 * (first + (final - first) * share)


def prefixes(views: Tensor, poses: Tensor, counts: range) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The first n views of each scene, for each n of ``counts``."""
    for count in counts:
        yield count, views[:, :count], poses[:, :count]


def to_picture(drawn: Tensor) -> Tensor:
    """Around 0 → uint8."""
    return ((drawn + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)


def from_uint8(pixels: Tensor) -> Tensor:
    """uint8 → around 0."""
    return pixels.float() / 255 - 0.5


def mean_square(picture: Tensor, drawn: Tensor) -> Tensor:
    """Squared error per value of pictures around 0, clamped as they are shown, (B,)."""
    return F.mse_loss(drawn.clamp(-0.5, 0.5), picture, reduction="none").flatten(1).mean(1)
