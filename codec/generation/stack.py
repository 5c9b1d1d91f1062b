"""A stack of latents whose layers come from different sources: coded, given, or invented."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from codec.image_io import Picture, to_pillow
from codec.layer_coding import symbols_of
from codec.progress import split
from models.protocol import CodingModel, Posterior, Prediction, PriorState, Progress

#: Latents are multiples of 1 / so much (see :class:`models.protocol.Prediction`).
_GRID = 2**10


class Source(Protocol):
    """Where the latents of a layer come from. Keeps state: one for each walk."""

    invents: bool
    """Whether nothing is known, so that there is nothing to correct either."""

    def begin(self, latents: Sequence[Tensor]) -> None:
        """A stage begins; the stages before it are ``latents``, each C×H×W in symbol units."""

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        """Push one coding step."""


class Analysed:
    """The posterior means of an image, given the stages before.

    Args:
        posterior: of the image.
    """

    invents = False

    def __init__(self, posterior: Posterior) -> None:
        self._posterior = posterior
        self._asked = 0

    def begin(self, latents: Sequence[Tensor]) -> None:
        while self._asked <= len(latents):  # a recurrent posterior must see every stage
            self._target = self._posterior.target(latents[: self._asked])
            self._asked += 1

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        _push(prior, prediction, self._target)


class Coded(Analysed):
    """The posterior means as a file would store them: rounded.

    Args:
        posterior: of the image.
        skip_index: of the model.
    """

    def __init__(self, posterior: Posterior, skip_index: int) -> None:
        super().__init__(posterior)
        self._skip_index = skip_index

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        prior.push(symbols_of(self._target, prior, prediction, self._skip_index))


class Given:
    """Known latents of all stages from the first on, each C×H×W in symbol units."""

    invents = False

    def __init__(self, latents: Sequence[Tensor]) -> None:
        self._latents = latents

    def begin(self, latents: Sequence[Tensor]) -> None:
        self._target = self._latents[len(latents)]

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        _push(prior, prediction, self._target)


def _push(prior: PriorState, prediction: Prediction, latent: Tensor) -> None:
    """Push a step so that the latent becomes the given one, to the precision that latents have."""
    residual = prior.gather(latent) - prediction.mean
    prior.push(residual.mul_(_GRID).round_().div_(_GRID))


class Invented:
    """The prior's mean, or samples of it from ``rng`` (Gregor et al. 2016)."""

    invents = True

    def __init__(self, rng: np.random.Generator | None, temperature: float) -> None:
        self._rng, self._temperature = rng, temperature

    def begin(self, latents: Sequence[Tensor]) -> None:
        pass

    def step(self, prior: PriorState, prediction: Prediction) -> None:
        prior.push_fill(self._rng, self._temperature)


def generator(seed: int, index: int = 0) -> np.random.Generator:
    """Random numbers of picture number ``index`` of a seed, whatever pictures stand beside it."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, index])))


@torch.no_grad()
def compose(
    model: CodingModel,
    size: tuple[int, int],
    quality: int,
    sources: Sequence[Source],
    progress: Progress | None = None,
) -> list[Tensor]:
    """Walk the prior through the first layers, as many as there are sources.

    Args:
        size: height and width of the image, any numbers.
        sources: of each layer in turn; a source may stand for several layers.

    Returns:
        Latents of all their stages, each C×H×W float32 in symbol units.
    """
    height, width = (side + -side % model.size_multiple for side in size)
    prior = model.prior(height, width, quality)
    layers = model.layers_at(quality)[: len(sources)]
    parts = split(progress, [layer.density for layer in layers])
    for layer, source, part in zip(layers, sources, parts, strict=True):
        stages = layer.stages - (layer.corrections if source.invents else 0)
        for report in split(part, [1.0] * stages):
            source.begin(prior.latents)
            for _ in range(layer.steps):
                source.step(prior, prior.predict())
            report(1.0)
    return prior.latents


@torch.no_grad()
def synthesize(
    model: CodingModel,
    latents: Sequence[Tensor],
    quality: int,
    size: tuple[int, int],
    progress: Progress | None = None,
) -> Tensor:
    """Latents of all stages → the picture, 3×height×width uint8."""
    drawn = model.synthesize(latents, quality, 1, progress)
    return drawn[:, : size[0], : size[1]]


def as_image(pixels: Tensor, *, grey: bool = False) -> Image.Image:
    """3×H×W uint8 → RGB image, or L."""
    return to_pillow(Picture(pixels.permute(1, 2, 0).contiguous().cpu().numpy(), grey))
