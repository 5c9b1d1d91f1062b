"""The trained ssVAE behind :class:`models.protocol.CodingModel`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import cast

import numpy as np
import torch
from torch import Tensor

from models.exact import ACTIVATION_BITS, thaw
from models.names import LAYER_NAMES
from models.protocol import LayerSpec, Prediction
from models.refinement import ITERATIONS, refine
from models.scales import scale_table
from models.ssvae import LAYER_STRIDES, SIZE_MULTIPLE, SSVAE

_UNIT = 2.0**ACTIVATION_BITS


def _full_precision() -> AbstractContextManager[None]:
    """No TF32 on GPUs: with it, pixels would differ by more than a level from other machines."""
    return torch.backends.cudnn.flags(allow_tf32=False)


class SSVAEPriorState:
    """Exact prior of one image; everything inside is integers in units of 2^-10 (float64)."""

    def __init__(
        self, model: SSVAE, thresholds: Tensor, height: int, width: int, quality: int
    ) -> None:
        self._model, self._thresholds = model, thresholds
        self._scales = scale_table()
        self._sizes = [(height // s, width // s) for s in LAYER_STRIDES]
        self._layer, self._step = 0, 0
        device = thresholds.device
        self._context = model.prior.first_context(
            torch.tensor([quality], device=device), *self._sizes[0]
        )
        self._latent: Tensor | None = None
        self._start_layer()

    def _next_layer(self) -> None:
        """Left until something is asked of the next layer: a first layer is drawn sooner so."""
        self._context = self._model.prior.next_context(
            self._layer, self._context, self._known[None]
        )
        self._layer, self._step = self._layer + 1, 0
        self._start_layer()

    def _start_layer(self) -> None:
        prior = self._model.prior.layer(self._layer)
        h, w = self._sizes[self._layer]
        self._known = torch.zeros(
            prior.channels, h, w, dtype=torch.float64, device=self._thresholds.device
        )
        order = prior.masks(h, w)
        self._places = [mask.flatten().nonzero().squeeze(1) for mask in order]

    def predict(self) -> Prediction:
        if self._step == len(self._places):
            self._next_layer()
        prior = self._model.prior.layer(self._layer)
        mean, raw = prior.predict(self._step, self._context, self._known[None])
        self._mean = self.gather(mean[0])
        scale_index = torch.bucketize(self.gather(raw[0]), self._thresholds, right=True)
        self._scale_index = scale_index
        return Prediction(self._mean / _UNIT, scale_index)

    def gather(self, target: Tensor) -> Tensor:
        return target.flatten()[self._places[self._step]]

    def push(self, symbols: Tensor) -> None:
        self._finish_step(symbols.to(self._mean) * _UNIT + self._mean)

    def push_fill(self, rng: np.random.Generator | None, temperature: float) -> None:
        values = self._mean
        if rng is not None:
            scales = self._scales[self._scale_index.cpu().numpy()]
            noise = np.round(rng.standard_normal(len(scales)) * scales * (temperature * _UNIT))
            values = values + torch.from_numpy(noise).to(values)
        self._finish_step(values)

    def _finish_step(self, values: Tensor) -> None:
        self._known.view(-1)[self._places[self._step]] = values
        self._step += 1
        if self._step == len(self._places):
            self._latent = self._known

    @property
    def latent(self) -> Tensor:
        if self._latent is None:
            raise RuntimeError("no layer is finished yet")
        return self._latent / _UNIT


class _Canvas:
    """Top-down features so far; grows layer by layer, never computed twice."""

    def __init__(self, model: SSVAE, quality: Tensor) -> None:
        self._model, self._quality = model, quality
        self.features: list[Tensor] = []

    def update(self, latents: Sequence[Tensor]) -> None:
        """Bring the features up to the layers in ``latents`` (u, z1)."""
        for index in range(len(self.features), min(len(latents), 2)):
            value = self.value(index, latents[index])
            synthesis = self._model.synthesis
            if index == 0:
                self.features.append(synthesis.coarse(value, self._quality))
            else:
                self.features.append(synthesis.middle(self.features[0], value, self._quality))

    def value(self, index: int, latent: Tensor) -> Tensor:
        top_down = (self.features[index - 1],) if index else ()
        value = self._model.dequantize(index, latent[None].float(), self._quality, top_down)
        return value.contiguous(memory_format=torch.channels_last)


class SSVAEPosterior:
    """Analysis of one image, refined as layers become known."""

    def __init__(
        self,
        model: SSVAE,
        image: Tensor,
        quality: Tensor,
        offsets: Sequence[Tensor] | None = None,
    ) -> None:
        self._model, self._quality, self._offsets = model, quality, offsets
        with _full_precision():
            self._bottom_up = model.analysis(image, quality)[::-1]  # 1/32, 1/16, 1/8
        self._canvas = _Canvas(model, quality)

    @torch.no_grad()
    def target(self, latents: Sequence[Tensor]) -> Tensor:
        index = len(latents)
        with _full_precision():
            self._canvas.update(latents)
            top_down = self._canvas.features[index - 1 : index] if index else []
            mean = self._model.heads[index](self._bottom_up[index], *top_down)
        target = mean * self._model.gain(index, self._quality)
        if self._offsets is not None:
            target = target + self._offsets[index]
        return target[0].double()


class SSVAECoding:
    """A frozen ssVAE: see :class:`models.protocol.CodingModel`."""

    size_multiple = SIZE_MULTIPLE

    def __init__(
        self,
        model: SSVAE,
        *,
        name: str,
        model_id: int,
        fingerprint: bytes,
        thresholds: Tensor,
        frequencies: list[np.ndarray],
        skip_index: int,
    ) -> None:
        self.name, self.model_id, self.fingerprint = name, model_id, fingerprint
        self.frequencies, self.skip_index = frequencies, skip_index
        self._model = model.eval().requires_grad_(False)
        self.thresholds = thresholds
        self.layers = tuple(
            LayerSpec(layer, channels, stride, model.config.coding_steps)
            for layer, channels, stride in zip(
                LAYER_NAMES, model.config.latents, LAYER_STRIDES, strict=True
            )
        )

    def _quality(self, quality: int) -> Tensor:
        return torch.tensor([float(quality)], device=self.thresholds.device)

    @cached_property
    def _float_face(self) -> SSVAE:
        """The same model with a differentiable prior."""
        return cast(SSVAE, thaw(copy.deepcopy(self._model))).requires_grad_(False)

    def posterior(
        self,
        image: Tensor,
        quality: int,
        *,
        effort: int = 1,
        content: tuple[int, int] | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> SSVAEPosterior:
        image = image[None].to(self.thresholds.device)
        image = image.contiguous(memory_format=torch.channels_last)
        level = self._quality(quality)
        offsets = None
        if iterations := ITERATIONS[effort - 1]:
            content = content or (image.shape[-2], image.shape[-1])
            with _full_precision():
                offsets = refine(self._float_face, image, level, content, iterations, progress)
        with torch.no_grad():
            return SSVAEPosterior(self._model, image, level, offsets)

    @torch.no_grad()
    def prior(self, height: int, width: int, quality: int) -> SSVAEPriorState:
        return SSVAEPriorState(self._model, self.thresholds, height, width, quality)

    def layers_for_scale(self, scale: int) -> int:
        return {1: 3, 2: 2, 4: 1}[scale]

    @torch.no_grad()
    def synthesize(self, latents: Sequence[Tensor], quality: int, scale: int) -> Tensor:
        with _full_precision():
            return self._draw(latents, self._quality(quality), scale)

    def _draw(self, latents: Sequence[Tensor], level: Tensor, scale: int) -> Tensor:
        canvas = _Canvas(self._model, level)
        canvas.update(latents[: self.layers_for_scale(scale)])
        if scale == 4:
            return self._model.synthesis.y1(canvas.features[0])[0]
        if scale == 2:
            return self._model.synthesis.y2(canvas.features[1])[0]
        value = canvas.value(2, latents[2])
        return self._model.synthesis.fine(canvas.features[1], value, level)[0]
