"""The exact prior of one image, walked step by step; large images in tiles.

Networks compute on integers in units of 2^-10, carried in float64 (see :mod:`models.exact`).
Between steps, contexts are kept as such integers in float32 and latents in symbol units in float32:
both have at most 24 bits, so nothing is lost.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from models.exact import ACTIVATION_BITS
from models.protocol import Prediction
from models.scales import scale_table
from models.ssvae import LAYER_STRIDES, SSVAE
from models.tiles import Box, FeatureMap, tiles

_UNIT = 2.0**ACTIVATION_BITS


class SSVAEPriorState:
    """See :class:`models.protocol.PriorState`.

    Args:
        model: with frozen priors.
        thresholds: raw scale → scale index.
        height, width: of the image, multiples of 64.
        quality: 0…100.
    """

    def __init__(
        self, model: SSVAE, thresholds: Tensor, height: int, width: int, quality: int
    ) -> None:
        self._prior, self._thresholds = model.prior, thresholds
        self._config = model.config
        self._scales = scale_table()
        self._frame = Box.of(height, width)
        self._latents: list[Tensor] = []
        level = torch.tensor([quality], device=thresholds.device)
        first = self._prior.first_context(level, 1, 1)
        widths = self._config.prior_widths
        self._contexts = [
            FeatureMap(
                self._frame,
                widths[0],
                LAYER_STRIDES[0],
                lambda box: first.expand(-1, -1, *box.size(LAYER_STRIDES[0])),
            )
        ]
        self._start_layer()

    def _start_layer(self) -> None:
        channels = self._config.latents[len(self._latents)]
        size = self._frame.size(LAYER_STRIDES[len(self._latents)])
        self._known = torch.zeros(channels, *size, device=self._thresholds.device)
        self._step = 0

    def predict(self) -> Prediction:
        index = len(self._latents)
        stride, channels = LAYER_STRIDES[index], self._config.latents[index]
        rows, columns = self._frame.size(2 * stride)
        mean = torch.empty(channels, rows, columns, device=self._thresholds.device)
        scale_index = torch.empty_like(mean, dtype=torch.uint8)
        for box in tiles(self._frame):
            tile_mean, tile_index = self._predict(index, box)
            box.cut(mean, 2 * stride).copy_(tile_mean)
            box.cut(scale_index, 2 * stride).copy_(tile_index)
        self._mean, self._scale_index = mean, scale_index
        return Prediction(mean.flatten(), scale_index.flatten())

    def _predict(self, index: int, box: Box) -> tuple[Tensor, Tensor]:
        """Mean in symbol units and scale index of the current step's places in a tile."""
        prior, stride = self._prior.layer(index), LAYER_STRIDES[index]
        seen = box.grown(stride, 2 * stride, self._frame)  # the block of a step is 3×3
        context = self._contexts[index].read(seen).double()
        known = seen.cut(self._known, stride)[None].double() * _UNIT
        coded = prior.predict_coded(self._step, context, known)
        mean, raw = (box.cut(x, 2 * stride, seen)[0] for x in coded)
        return mean / _UNIT, torch.bucketize(raw.contiguous(), self._thresholds, right=True)

    def gather(self, target: Tensor) -> Tensor:
        return self._prior.layer(len(self._latents)).gather(self._step, target).flatten()

    def push(self, symbols: Tensor) -> None:
        self._finish_step(self._mean + symbols.to(self._mean).view_as(self._mean))

    def push_fill(self, rng: np.random.Generator | None, temperature: float) -> None:
        values = self._mean
        if rng is not None:
            scales = self._scales[self._scale_index.flatten().cpu().numpy()]
            noise = np.round(rng.standard_normal(len(scales)) * scales * (temperature * _UNIT))
            values = values + torch.from_numpy(noise / _UNIT).to(values).view_as(values)
        self._finish_step(values)

    def _finish_step(self, values: Tensor) -> None:
        prior = self._prior.layer(len(self._latents))
        prior.scatter(self._step, values, self._known)
        self._step += 1
        if self._step < len(prior.steps):
            return
        self._latents.append(self._known)
        if len(self._latents) < len(LAYER_STRIDES):
            self._contexts.append(self._next_context(len(self._latents)))
            self._start_layer()

    def _next_context(self, index: int) -> FeatureMap:
        """The context of layer ``index``, from the one before and its latent."""
        before, stride = self._contexts[index - 1], LAYER_STRIDES[index - 1]
        latent = self._latents[index - 1]

        def compute(box: Box) -> Tensor:
            # Each block of the trunk is 3×3.
            seen = box.grown(self._config.prior_depth * stride, stride, self._frame)
            value = seen.cut(latent, stride)[None].double() * _UNIT
            context = self._prior.next_context(index - 1, before.read(seen).double(), value)
            return box.cut(context, stride // 2, seen).float()

        width = self._config.prior_widths[index]
        return FeatureMap(self._frame, width, LAYER_STRIDES[index], compute)

    @property
    def latent(self) -> Tensor:
        if not self._latents:
            raise RuntimeError("no layer is finished yet")
        return self._latents[-1]
