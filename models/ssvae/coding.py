"""The trained ssVAE as a :class:`models.protocol.CodingModel`."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, cast

import torch
from torch import Tensor

from models.exact.arithmetic import thaw
from models.exact.frozen import FrozenModel
from models.exact.stage_prior import STEPS
from models.metrics.eye import DEFAULT_EYE_LOSS, EYE_LOSSES
from models.names import LAYER_NAMES, tuning_of
from models.precision import full_precision
from models.protocol import EachFinish, Finish, LayerSpec, Prepare, Progress
from models.ssvae.maps import BottomUp, TopDown
from models.ssvae.networks import LAYER_STRIDES, SSVAE, STAGE_STRIDES, PosteriorHead
from models.ssvae.prior import SSVAEPriorState
from models.ssvae.refinement import ITERATIONS, refine
from models.tiles import Box, assemble

#: Features of the synthesis of larger images are not kept while the finest layer is coded.
_KEPT_PIXELS = 2**22


class SSVAEPosterior:
    """Analysis of images, refined as layers become known."""

    def __init__(
        self,
        model: SSVAE,
        bottom_up: BottomUp,
        quality: float,
        offsets: Sequence[Tensor] | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        self._model, self._offsets, self._prepare = model, offsets, prepare
        self._has_fine = model.has_fine(quality)
        self._quality = torch.tensor([quality], dtype=torch.float32, device=bottom_up.device)
        self._bottom_up, self._frame = bottom_up, bottom_up.frame
        self._top_down = TopDown(model, self._quality, bottom_up.frame)

    @torch.no_grad()
    def target(self, latents: Sequence[Tensor], progress: Progress | None = None) -> Tensor:
        self._top_down.know(latents)
        if len(latents) == 3:
            return self._fine_target(progress)
        index = len(latents)
        head = cast(PosteriorHead, self._model.heads[index])
        gain = self._model.gain(index, self._quality)
        stride = LAYER_STRIDES[index]

        def compute(box: Box) -> Tensor:
            seen = box.grown(head.reach * stride, stride, self._frame)
            features = [self._bottom_up.maps[index].read(seen)]
            if index:
                features.append(self._top_down.maps[index - 1].read(seen))
            return box.cut(head(*features), stride, seen) * gain

        with full_precision():
            target = assemble(self._frame, stride, compute, progress)
        if self._offsets is not None:
            target += self._offsets[index]
        # No later layer needs the features of this one.
        self._bottom_up.maps[index].release()
        if index == 2 and not self._has_fine:
            self._end()
        return target

    def _fine_target(self, progress: Progress | None) -> Tensor:
        """Of the fine stage: the transform of what the picture so far lacks."""
        fine, gain = self._model.fine, self._model.gain(3, self._quality)
        assert fine is not None

        def compute(box: Box) -> Tensor:
            lacking = self._bottom_up.pixels(box) - self._top_down.before_fine(box)
            return fine.target(lacking) * gain

        with full_precision():
            if self._prepare is not None:
                self._top_down.prepared = self._prepare(self._top_down.uncorrected)
            target = assemble(self._frame, STAGE_STRIDES[3], compute, progress)
        if self._offsets is not None:
            target += self._offsets[3]
        self._end()
        return target

    def _end(self) -> None:
        """The last target is known: the image can go, and of a large one what is quicker drawn anew
        than kept."""
        del self._bottom_up
        if math.prod(self._frame.size()) > _KEPT_PIXELS:
            self._top_down.release()

    @torch.no_grad()
    def draw(
        self, latents: Sequence[Tensor], box: Box, images: Sequence[int] | None = None
    ) -> Tensor:
        self._top_down.know(latents)
        with full_precision():
            return self._top_down.x(box, images)


class SSVAECoding(FrozenModel[SSVAE]):
    """A frozen ssVAE: see :class:`models.protocol.CodingModel`."""

    max_effort = len(ITERATIONS)

    def __init__(self, model: SSVAE, **identity: Any) -> None:
        super().__init__(model, **identity)
        self._layers = tuple(
            LayerSpec(layer, (channels,), stride, STEPS)
            for layer, channels, stride in zip(
                LAYER_NAMES, model.config.latents, LAYER_STRIDES, strict=True
            )
        )
        *coarse, z2 = self._layers
        if model.config.fine:
            z2 = replace(z2, channels=(*z2.channels, model.config.fine), corrections=1)
        self.layers = (*coarse, z2)

    def layers_at(self, quality: float) -> tuple[LayerSpec, ...]:
        return self.layers if self._model.has_fine(quality) else self._layers

    @cached_property
    def _float_face(self) -> SSVAE:
        """The same model with a differentiable prior."""
        return cast(SSVAE, thaw(copy.deepcopy(self._model))).requires_grad_(False)

    def posterior(
        self,
        images: Tensor,
        quality: float,
        *,
        effort: int = 1,
        content: tuple[int, int] | None = None,
        prepare: Prepare | None = None,
        progress: Progress | None = None,
    ) -> SSVAEPosterior:
        images = images.to(self.thresholds.device)
        at = self._at(quality)
        offsets = None
        bottom_up = BottomUp(self._model, images, at)
        if iterations := ITERATIONS[effort - 1]:
            if len(images) > 1:
                raise ValueError("effort above 1 takes one image at a time")
            content = content or bottom_up.frame.size()
            with full_precision():
                eye = EYE_LOSSES[DEFAULT_EYE_LOSS] if tuning_of(self.name) == "eye" else None
                offsets = refine(
                    self._float_face, bottom_up, at, content, iterations, progress, eye=eye
                )
        return SSVAEPosterior(self._model, bottom_up, float(quality), offsets, prepare)

    @torch.no_grad()
    def prior(self, height: int, width: int, quality: float, batch: int = 1) -> SSVAEPriorState:
        return SSVAEPriorState(self._model, self.thresholds, batch, height, width, quality)

    @torch.no_grad()
    def synthesize(
        self,
        latents: Sequence[Tensor],
        quality: float,
        scale: int,
        progress: Progress | None = None,
        *,
        prepared: EachFinish | None = None,
        finish: Finish | None = None,
        box: Box | None = None,
    ) -> Tensor:
        rows, columns = latents[0].shape[-2:]
        frame = Box.of(rows * LAYER_STRIDES[0], columns * LAYER_STRIDES[0])
        with full_precision():
            top_down = TopDown(self._model, self._at(quality), frame)
            top_down.prepared = prepared
            top_down.know(latents)
            return top_down.picture(scale, progress, finish, box)
