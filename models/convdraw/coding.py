"""The trained ConvDRAW as a :class:`models.protocol.CodingModel`.

States, canvas and features are kept for the whole image; each step is computed tile by tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from models.convdraw.networks import PATCH, Canvas, ConvDRAW, Enlarge, Memory, image_patches
from models.convdraw.prior import ConvDRAWPriorState
from models.exact.frozen import FrozenModel
from models.exact.stage_prior import STEPS
from models.names import LAYER_NAMES
from models.precision import fast, full_precision, to_uint8
from models.protocol import EachFinish, Finish, LayerSpec, Prepare, Progress
from models.tiles import Box, FeatureMap, assemble, finished, picked
from models.trainable import SIZE_MULTIPLE


class _Drawing:
    """The decoder's walk over images of any size: canvas and states after n steps."""

    def __init__(self, model: ConvDRAW, quality: Tensor, batch: int, frame: Box) -> None:
        self._model, self._quality, self.frame = model, quality, frame
        self._batch = batch
        self.done = 0
        self.canvas, self.memory = model.blank(batch, model.level_of[0], *frame.size())

    @property
    def stride(self) -> int:
        """Pixels per position of the canvas."""
        return self._model.level_of[max(0, self.done - 1)].stride

    def prepare(self) -> None:
        """Enlarge the canvas if the next step stands on a finer level."""
        number = self._model.level_starting(self.done)
        if not number or self.canvas.h.shape[-1] == self._columns(self.done):
            return
        coarse, level = self.stride, self._model.level_of[self.done]
        enlarge = self._model.enlarge[number - 1]
        assert isinstance(enlarge, Enlarge)
        before = self.canvas

        def compute(box: Box) -> Tensor:
            seen = box.grown(coarse, coarse, self.frame)  # enlarging blends with the next pixel
            return _join(box, level.stride, seen, enlarge(_part(before, seen, coarse)))

        self.canvas = Canvas(*_split(assemble(self.frame, level.stride, compute), level.hidden))
        _, self.memory = self._model.blank(self._batch, level, *self.frame.size())

    def _columns(self, index: int) -> int:
        return self.frame.size(self._model.level_of[index].stride)[1]

    def draw(self, latent: Tensor) -> None:
        """One step further, from its latent in symbol units, B×C×H/s×W/s."""
        self.prepare()
        index, before = self.done, self.canvas
        level, step = self._model.level_of[index], self._model.step(index)
        reach = level.kernel // 2 * level.stride
        gain = self._model.gain(index, self._quality)

        def compute(box: Box) -> Tensor:
            seen = box.grown(reach, level.stride, self.frame)
            z = fast(seen.cut(latent, level.stride).float()) / gain
            canvas = step.decode(z, _part(before, seen, level.stride), self._quality)
            return _join(box, level.stride, seen, canvas)

        self.canvas = Canvas(*_split(assemble(self.frame, level.stride, compute), level.hidden))
        self.done += 1

    def small(self, scale: int, within: Box | None) -> Tensor:
        """The canvas, or a box of it, at half or quarter size (``scale`` 2, 4),
        B×3×H/scale×W/scale uint8."""
        level = self._model.level_of[self.done - 1]

        def compute(box: Box) -> Tensor:
            canvas = _part(self.canvas, box, level.stride)
            return to_uint8(self._model.small_picture(canvas, level, scale))

        return assemble(self.frame, scale, compute, within=within)

    def final(self, progress: Progress | None, finish: Finish | None, within: Box | None) -> Tensor:
        """The final drawing, or a box of it, B×3×H×W uint8."""
        draw: Callable[[Box], Tensor] = self.piece
        if finish is not None:
            draw = finished(draw, finish, PATCH, self.frame)

        def compute(box: Box) -> Tensor:
            return to_uint8(draw(box))

        return assemble(self.frame, 1, compute, progress, within)

    def piece(self, box: Box, images: Sequence[int] | None = None) -> Tensor:
        """The final drawing in a box on multiples of the patch, B×3×h×w float32 around [0, 1]; only
        some of the batch where ``images`` names them."""
        config = self._model.config
        reach = config.final_depths[0] * PATCH + config.final_depths[1] * PATCH // 2
        seen = box.grown(reach, PATCH, self.frame)
        canvas = Canvas(*(picked(x, images) for x in self.canvas))
        drawn = self._model.final(_part(canvas, seen, PATCH), self._quality)
        return box.cut(drawn, 1, seen)


def _part(canvas: Canvas, box: Box, stride: int) -> Canvas:
    return Canvas(*(fast(box.cut(x, stride).float()) for x in canvas))


def _join(box: Box, stride: int, seen: Box, states: Canvas | Memory) -> Tensor:
    """States as one map, so that tiles can be assembled.

    Kept between steps in half precision, half the memory: an error of 0.03 of 255 at most.
    """
    return torch.cat([box.cut(x, stride, seen).half() for x in states], dim=1)


def _split(joined: Tensor, hidden: int) -> tuple[Tensor, ...]:
    sizes = [hidden, hidden]
    rest = joined.shape[1] - 2 * hidden
    return joined.split([*sizes, rest] if rest else sizes, dim=1)


class ConvDRAWPosterior:
    """The encoder's walk over images, which follows what is stored."""

    def __init__(self, model: ConvDRAW, images: Tensor, quality: Tensor) -> None:
        self._model, self._quality, self._images = model, quality, images
        frame = Box.of(*images.shape[-2:])
        self._drawing = _Drawing(model, quality, len(images), frame)
        self._maps = {
            level.stride: FeatureMap(
                frame,
                model.features.width(level.stride),
                level.stride,
                partial(_features, model, images, quality, frame, level.stride),
            )
            for level in model.config.levels
        }

    @torch.no_grad()
    def target(self, latents: Sequence[Tensor], progress: Progress | None = None) -> Tensor:
        drawing, model = self._drawing, self._model
        with full_precision():
            for latent in latents[drawing.done :]:
                drawing.draw(latent)
            drawing.prepare()
            index = drawing.done
            level, step = model.level_of[index], model.step(index)
            stride, frame, before = level.stride, drawing.frame, drawing.memory
            reach = level.kernel // 2 * stride
            gain = model.gain(index, self._quality)

            def compute(box: Box) -> Tensor:
                seen = box.grown(reach, stride, frame)
                canvas = _part(drawing.canvas, seen, stride)
                features = fast(self._maps[stride].read(seen))
                pixels = _pixels(self._images, gain.device, seen)
                patches = fast(image_patches(pixels, stride))
                memory = Memory(*(fast(seen.cut(x, stride).float()) for x in before))
                mean, memory = step.encode(features, patches, canvas, memory, self._quality)
                box.cut(target, stride).copy_(box.cut(mean * gain, stride, seen))
                return _join(box, stride, seen, memory)

            shape = len(self._images), level.channels, *frame.size(stride)
            target = torch.empty(shape, dtype=torch.float32, device=gain.device)
            joined = assemble(frame, stride, compute, progress)
        drawing.memory = Memory(*_split(joined, level.hidden))
        return target

    @torch.no_grad()
    def draw(
        self, latents: Sequence[Tensor], box: Box, images: Sequence[int] | None = None
    ) -> Tensor:
        if self._maps:  # all stages are known: what only their targets need is let go
            self._maps.clear()
            self._drawing.memory = Memory(*(x[..., :0].clone() for x in self._drawing.memory))
        with full_precision():
            for latent in latents[self._drawing.done :]:
                self._drawing.draw(latent)
            return self._drawing.piece(box, images)


def _pixels(images: Tensor, device: torch.device, box: Box) -> Tensor:
    """The images in a box, B×3×h×w in [0, 1]."""
    return fast(box.cut(images).to(device).float().div_(255))


def _features(
    model: ConvDRAW, images: Tensor, quality: Tensor, frame: Box, stride: int, box: Box
) -> Tensor:
    """What the encoder sees of the images at a stride, in a box."""
    wide = box.grown(model.features.reach, SIZE_MULTIPLE, frame)
    features = model.features(_pixels(images, quality.device, wide), quality)[stride]
    return box.cut(features, stride, wide)


class ConvDRAWCoding(FrozenModel[ConvDRAW]):
    """A frozen ConvDRAW: see :class:`models.protocol.CodingModel`."""

    margin = 1  # every step draws with the places beside (docs/decisions/0034-unseen.md)

    def __init__(self, model: ConvDRAW, **identity: Any) -> None:
        super().__init__(model, **identity)
        self.layers = tuple(_layers(model))

    @torch.no_grad()
    def posterior(
        self,
        images: Tensor,
        quality: float,
        *,
        effort: int = 1,
        content: tuple[int, int] | None = None,
        prepare: Prepare | None = None,
        progress: Progress | None = None,
    ) -> ConvDRAWPosterior:
        return ConvDRAWPosterior(self._model, images, self._at(quality))

    @torch.no_grad()
    def prior(self, height: int, width: int, quality: float, batch: int = 1) -> ConvDRAWPriorState:
        strides = [level.stride for level in self._model.level_of]
        return ConvDRAWPriorState(
            self._model.prior, strides, self.thresholds, batch, height, width, quality
        )

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
        batch, _, rows, columns = latents[0].shape
        stride = self._model.level_of[0].stride
        frame = Box.of(rows * stride, columns * stride)
        drawing = _Drawing(self._model, self._at(quality), batch, frame)
        needed = sum(self._model.stages[: self.layers_for_scale(scale)])

        def report(done: float) -> None:
            if progress is not None:  # the final drawing takes about as long as two steps
                progress(done / (needed + 2))

        with full_precision():
            for done, latent in enumerate(latents[:needed], start=1):
                drawing.draw(latent)
                report(done)
            if scale > 1:
                return drawing.small(scale, box)
            return drawing.final(lambda share: report(needed + 2 * share), finish, box)


def _layers(model: ConvDRAW) -> list[LayerSpec]:
    """The steps as layers. Raises ValueError for a layer of steps that differ in shape."""
    layers, first = [], 0
    for name, stages in zip(LAYER_NAMES, model.stages, strict=True):
        levels = {(v.channels, v.stride) for v in model.level_of[first : first + stages]}
        if len(levels) != 1:
            raise ValueError(f"layer {name} mixes steps of different shapes")
        ((channels, stride),) = levels
        layers.append(LayerSpec(name, (channels,) * stages, stride, STEPS))
        first += stages
    return layers
