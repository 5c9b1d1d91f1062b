"""The networks of the ssVAE over images of any size: their features as maps, read tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from models.precision import fast, to_uint8
from models.protocol import EachFinish, Finish, Progress
from models.ssvae.networks import LAYER_STRIDES, SSVAE, STAGE_STRIDES
from models.tiles import Box, FeatureMap, assemble, finished, picked, tiles

#: Pixels per place of the features at 1/8, 1/16, 1/32.
_EIGHTH, _SIXTEENTH, _THIRTY_SECOND = 8, 16, 32


def _reach(*stages: tuple[int, int, int]) -> int:
    """Pixels that stages of (depth, kernel, stride) see beyond their output."""
    return sum(depth * (kernel // 2) * stride for depth, kernel, stride in stages)


class BottomUp:
    """Features of the analysis: ``maps[i]`` serves layer i (u at 1/32, z1 at 1/16, z2 at 1/8).

    Args:
        images: B×3×H×W, uint8 or float32 in [0, 1]; sides multiples of 64.
        quality: (1,) in [0, 100].
    """

    def __init__(self, model: SSVAE, images: Tensor, quality: Tensor) -> None:
        self._analysis, self._quality, self._images = model.analysis, quality, images
        config = model.config
        depth, fine, coarse = config.analysis_depths, config.kernel, config.coarse_kernel
        self._reach = (
            _reach((depth[0], coarse, _THIRTY_SECOND)),
            _reach((depth[1], coarse, _SIXTEENTH)),
            _reach((depth[2], fine, _EIGHTH), (depth[3], fine, 4)),
        )
        self.frame = frame = Box.of(*images.shape[-2:])
        self.device = quality.device
        compute = (self._thirty_second, self._sixteenth, self._eighth)
        self.maps = tuple(
            FeatureMap(frame, config.widths[i], LAYER_STRIDES[i], compute[i]) for i in range(3)
        )

    def pixels(self, box: Box) -> Tensor:
        """The images in a box, B×3×h×w float32 in [0, 1]."""
        piece = box.cut(self._images).to(self._quality.device)
        return piece.float().div_(255) if piece.dtype == torch.uint8 else piece

    def _eighth(self, box: Box) -> Tensor:
        seen = box.grown(self._reach[2], _EIGHTH, self.frame)
        features = self._analysis.eighth(fast(self.pixels(seen)), self._quality)
        return box.cut(features, _EIGHTH, seen)

    def _sixteenth(self, box: Box) -> Tensor:
        return self._further(1, box)

    def _thirty_second(self, box: Box) -> Tensor:
        return self._further(0, box)

    def _further(self, index: int, box: Box) -> Tensor:
        stride = LAYER_STRIDES[index]
        seen = box.grown(self._reach[index], stride, self.frame)
        finer = fast(self.maps[index + 1].read(seen))
        return box.cut(self._analysis.further(3 - index, finer, self._quality), stride, seen)


class TopDown:
    """Features of the synthesis, and the pictures drawn from them.

    Latents become known layer by layer: :meth:`know`. ``maps[0]`` (1/16) can be read once u is
    known, ``maps[1]`` (1/8) once z1 is. ``prepared`` is done with the picture before the fine stage
    is added.

    Args:
        quality: (1,) in [0, 100].
        frame: the image; sides multiples of 64.
    """

    def __init__(self, model: SSVAE, quality: Tensor, frame: Box) -> None:
        self._model, self._quality, self.frame = model, quality, frame
        config = model.config
        d, fine, coarse = config.synthesis_depths, config.kernel, config.coarse_kernel
        self._reach = (
            _reach((d[0], coarse, _THIRTY_SECOND), (d[1], coarse, _SIXTEENTH)),
            _reach((d[2], coarse, _SIXTEENTH), (d[3], fine, _EIGHTH)),
            _reach((d[4], fine, _EIGHTH), (d[5], fine, 4)),
        )
        self._latents: list[Tensor] = []
        self.prepared: EachFinish | None = None
        self._uncorrected: Tensor | None = None
        self.maps = (
            FeatureMap(frame, config.widths[1], _SIXTEENTH, self._coarse),
            FeatureMap(frame, config.widths[2], _EIGHTH, self._middle),
        )

    def know(self, latents: Sequence[Tensor]) -> None:
        """The stages so far, each B×C×H/s×W/s in symbol units; earlier ones stay what they were."""
        self._latents += latents[len(self._latents) :]

    def release(self) -> None:
        """Give the features' memory back, for good: from now on boxes are computed one by one."""
        for features in self.maps:
            features.release(keep=False)

    def picture(
        self,
        scale: int,
        progress: Progress | None = None,
        finish: Finish | None = None,
        box: Box | None = None,
    ) -> Tensor:
        """The images, or a box of them, at full, half or quarter size (``scale`` 1, 2, 4),
        B×3×H/scale×W/scale uint8."""
        draw: Callable[[Box], Tensor] = {1: self.x, 2: self._y2, 4: self._y1}[scale]
        if finish is not None:
            draw = finished(draw, finish, _EIGHTH, self.frame)

        def pixels(box: Box) -> Tensor:
            return to_uint8(draw(box))

        return assemble(self.frame, scale, pixels, progress, box)

    def _value(self, index: int, box: Box, images: Sequence[int] | None = None) -> Tensor:
        """The latent of a stage in a box as the synthesis takes it: divided by its gain."""
        latent = picked(box.cut(self._latents[index], STAGE_STRIDES[index]), images).float()
        return fast(latent / self._model.gain(index, self._quality))

    def _coarse(self, box: Box) -> Tensor:
        seen = box.grown(self._reach[0], LAYER_STRIDES[0], self.frame)
        features = self._model.synthesis.coarse(self._value(0, seen), self._quality)
        return box.cut(features, _SIXTEENTH, seen)

    def _middle(self, box: Box) -> Tensor:
        seen = box.grown(self._reach[1], _SIXTEENTH, self.frame)
        before = fast(self.maps[0].read(seen))
        value = self._value(1, seen)
        features = self._model.synthesis.middle(before, value, self._quality)
        return box.cut(features, _EIGHTH, seen)

    def before_fine(self, box: Box, images: Sequence[int] | None = None) -> Tensor:
        """The pictures that the fine stage corrects in a box on multiples of 8,
        B×3×h×w float32."""
        if self.prepared is None:
            return self.uncorrected(box, images)
        draw = partial(self.uncorrected, images=images)
        return finished(draw, self.prepared.of(images), _EIGHTH, self.frame)(box)

    def uncorrected(self, box: Box, images: Sequence[int] | None = None) -> Tensor:
        """What u, z1 and the first stage of z2 give in a box on multiples of 8,
        B×3×h×w float32. Of a frame of one tile all of it is drawn at once, and kept: a view,
        not to be written to."""
        if len(tiles(self.frame)) > 1:
            return self._draw_uncorrected(box, images)
        if self._uncorrected is None:
            self._uncorrected = self._draw_uncorrected(self.frame)
        return picked(box.cut(self._uncorrected), images)

    def _draw_uncorrected(self, box: Box, images: Sequence[int] | None = None) -> Tensor:
        seen = box.grown(self._reach[2], _EIGHTH, self.frame)
        before = fast(picked(self.maps[1].read(seen), images))
        value = self._value(2, seen, images)
        return box.cut(self._model.synthesis.fine(before, value, self._quality), 1, seen)

    def x(self, box: Box, images: Sequence[int] | None = None) -> Tensor:
        """The images in a box on multiples of 8, B×3×h×w float32 around [0, 1]; only some of the
        batch where ``images`` names them."""
        fine = self._model.fine
        if fine is None or len(self._latents) < 4:
            return self._draw_uncorrected(box, images)
        return self.before_fine(box, images) + fine(self._value(3, box, images))

    def _y1(self, box: Box) -> Tensor:
        return self._model.synthesis.y1(fast(self.maps[0].read(box)))

    def _y2(self, box: Box) -> Tensor:
        return self._model.synthesis.y2(fast(self.maps[1].read(box)))
