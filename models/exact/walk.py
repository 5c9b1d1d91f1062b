"""The exact prior of images, walked step by step; large images in tiles.

Networks compute on integers in units of 2^-10, carried in float64 (see
:mod:`models.exact.arithmetic`). Between steps, contexts are kept as such integers in float32 and
latents in symbol units in float32: both have at most 24 bits, so nothing is lost.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.exact.arithmetic import ACTIVATION_BITS
from models.exact.scales import scale_table
from models.exact.stage_prior import StagePrior
from models.protocol import Prediction
from models.tiles import Box, FeatureMap, WholeMap, tiles

UNIT = 2.0**ACTIVATION_BITS


class PriorWalk:
    """What all families share of :class:`models.protocol.PriorState`.

    A family calls :meth:`begin` for the first stage, and in :meth:`finished` for each further one.

    Args:
        thresholds: raw scale → scale index.
        batch: how many images.
        height, width: of each image, multiples of 64.
    """

    def __init__(self, thresholds: Tensor, batch: int, height: int, width: int) -> None:
        self._thresholds = thresholds
        self._scales = scale_table()
        self.batch, self.frame = batch, Box.of(height, width)
        self.latents: list[Tensor] = []

    def begin(self, prior: StagePrior, stride: int, context: FeatureMap | WholeMap) -> None:
        """Start a stage: its coding steps, its pixels per place, what is known beforehand."""
        self._stage, self._stride, self._context = prior, stride, context
        shape = self.batch, prior.channels, *self.frame.size(stride)
        self._known = torch.zeros(shape, dtype=torch.float32, device=self._thresholds.device)
        self._step = 0

    def finished(self, latent: Tensor) -> None:
        """A stage is complete: begin the next one, if there is one."""
        raise NotImplementedError

    def predict(self) -> Prediction:
        stride = self._stride
        rows, columns = self.frame.size(2 * stride)
        shape = self.batch, self._stage.channels, rows, columns
        mean = torch.empty(shape, dtype=torch.float32, device=self._thresholds.device)
        scale_index = torch.empty_like(mean, dtype=torch.uint8)
        for box in tiles(self.frame):
            tile_mean, tile_index = self._predict(box)
            box.cut(mean, 2 * stride).copy_(tile_mean)
            box.cut(scale_index, 2 * stride).copy_(tile_index)
        self._mean, self._scale_index = mean, scale_index
        return Prediction(mean.flatten(1), scale_index.flatten(1))

    def _predict(self, box: Box) -> tuple[Tensor, Tensor]:
        """Mean in symbol units and scale index of the current step's places in a tile."""
        stride = self._stride
        seen = box.grown(stride, 2 * stride, self.frame)  # the block of a step is 3×3
        context = self._context.read(seen).double()
        known = seen.cut(self._known, stride).double() * UNIT
        coded = self._stage.predict(self._step, context, known)
        mean, raw = (box.cut(x, 2 * stride, seen) for x in coded)
        return mean / UNIT, torch.bucketize(raw.contiguous(), self._thresholds, right=True)

    def gather(self, target: Tensor) -> Tensor:
        return self._stage.gather(self._step, target).flatten(1)

    def push(self, symbols: Tensor) -> None:
        self._finish_step(self._mean + symbols.to(self._mean).view_as(self._mean))

    def push_fill(self, rng: np.random.Generator | None, temperature: float) -> None:
        values = self._mean
        if rng is not None:
            scales = self._scales[self._scale_index.flatten().cpu().numpy()]
            noise = np.round(rng.standard_normal(len(scales)) * scales * (temperature * UNIT))
            values = values + torch.from_numpy(noise / UNIT).to(values).view_as(values)
        self._finish_step(values)

    def _finish_step(self, values: Tensor) -> None:
        self._stage.scatter(self._step, values, self._known)
        self._step += 1
        if self._step == len(self._stage.steps):
            self.latents.append(self._known)
            self.finished(self._known)
