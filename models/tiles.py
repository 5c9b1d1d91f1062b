"""Large images in bounded memory: feature maps computed tile by tile.

A convolutional network computes every place from a neighbourhood of bounded size, its *reach*. A
tile therefore comes out as in the whole image if its network sees the tile and a border as wide as
the reach. Only what the next step needs is kept for the whole image, and large maps not even that:
they are computed anew wherever they are read.

All boxes are in pixels of the full-size image; a map of stride s has one place per s×s pixels.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MethodType

import torch
from torch import Tensor

from models.protocol import Finish, Progress

#: Longest side of a tile. Larger tiles waste less on borders and take more memory.
TILE = 768
#: Maps of at most n bytes are kept; larger ones are computed anew wherever they are read.
KEPT_BYTES = 2**28


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows top…bottom, columns left…right, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def of(cls, height: int, width: int) -> Box:
        """The whole of an image."""
        return cls(0, 0, height, width)

    def grown(self, reach: int, align: int, frame: Box) -> Box:
        """With a border of at least ``reach`` within ``frame``, edges on multiples of ``align``."""
        return Box(
            max(frame.top, (self.top - reach) // align * align),
            max(frame.left, (self.left - reach) // align * align),
            min(frame.bottom, -(-(self.bottom + reach) // align) * align),
            min(frame.right, -(-(self.right + reach) // align) * align),
        )

    def cut(self, x: Tensor, stride: int = 1, origin: Box | None = None) -> Tensor:
        """The view of this box in a map ``x`` (…×H×W) that begins at ``origin``, or at 0, 0."""
        top, left = (origin.top, origin.left) if origin else (0, 0)
        return x[
            ...,
            (self.top - top) // stride : (self.bottom - top) // stride,
            (self.left - left) // stride : (self.right - left) // stride,
        ]

    def times(self, factor: int) -> Box:
        """The same box in an image that many times as large."""
        return Box(*(factor * edge for edge in (self.top, self.left, self.bottom, self.right)))

    def meets(self, other: Box) -> bool:
        """Whether the two have a pixel in common."""
        rows = self.top < other.bottom and other.top < self.bottom
        return rows and self.left < other.right and other.left < self.right

    def size(self, stride: int = 1) -> tuple[int, int]:
        """Height and width in places of a map of that stride."""
        return (self.bottom - self.top) // stride, (self.right - self.left) // stride


def tiles(frame: Box, side: int | None = None) -> list[Box]:
    """Tiles of about equal size with sides of at most ``side`` (default TILE), multiples of 64."""
    rows, columns = _cuts(frame.bottom, side or TILE), _cuts(frame.right, side or TILE)
    return [
        Box(top, left, bottom, right)
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
    ]


def _cuts(length: int, side: int) -> list[int]:
    units, count = length // 64, -(-length // side)
    return [64 * (units * i // count) for i in range(count + 1)]


def assemble(
    frame: Box,
    stride: int,
    compute: Callable[[Box], Tensor],
    progress: Progress | None = None,
    within: Box | None = None,
) -> Tensor:
    """A whole map, …×C×H/s×W/s, from a function that computes any box of it.

    Args:
        progress: called with the share that is done.
        within: compute only this part, edges on multiples of the stride. It comes from the tiles
            of the whole, so that it is the same to the last bit.
    """
    wanted = within or frame
    boxes = [box for box in tiles(frame) if box.meets(wanted)]
    cover = Box(boxes[0].top, boxes[0].left, boxes[-1].bottom, boxes[-1].right)
    whole: Tensor | None = None
    for index, box in enumerate(boxes):
        value = compute(box)
        if len(boxes) == 1:
            whole = value
        elif whole is None:
            whole = _room(value, cover.size(stride))
        if len(boxes) > 1:
            box.cut(whole, stride, cover).copy_(value)
        if progress is not None:
            progress((index + 1) / len(boxes))
    assert whole is not None
    return whole if within is None else within.cut(whole, stride, cover)


def picked(x: Tensor, images: Sequence[int] | None) -> Tensor:
    """Some images of a batch B×…; None: all of them."""
    return x if images is None else x[list(images)]


def finished(
    draw: Callable[[Box], Tensor], finish: Finish, align: int, frame: Box
) -> Callable[[Box], Tensor]:
    """A function that draws any box of a picture, and finishes it, from one that only draws.

    ``draw`` is asked for boxes on multiples of ``align``.
    """

    def compute(box: Box) -> Tensor:
        seen = box.grown(finish.reach, align, frame)
        return box.cut(finish(draw(seen)), 1, seen)

    return compute


def _room(value: Tensor, size: tuple[int, int]) -> Tensor:
    """An empty map of another size, laid out in memory like ``value``."""
    shape = (*value.shape[:-2], *size)
    layout = torch.contiguous_format if value.is_contiguous() else torch.channels_last
    return torch.empty(shape, dtype=value.dtype, device=value.device, memory_format=layout)


class FeatureMap:
    """A map of the whole image that can be read box by box; tiles that nobody reads are not
    computed.

    Args:
        frame: the image.
        channels: of the map; with the stride they tell its size.
        stride: pixels per place.
        compute: returns any box of it, B×C×h×w float32. A bound method is held weakly, for its
            object holds the map, and a cycle would keep an image's memory until the collector
            comes by; a function must not hold that object either.
    """

    def __init__(
        self, frame: Box, channels: int, stride: int, compute: Callable[[Box], Tensor]
    ) -> None:
        self.frame, self.stride = frame, stride
        self._compute = compute if not isinstance(compute, MethodType) else _weakly(compute)
        height, width = frame.size(stride)
        self._keep = channels * height * width * 4 <= KEPT_BYTES
        self._whole: Tensor | None = None
        self._missing: list[Box] = []  # tiles that are not computed yet, where the map is kept

    def read(self, box: Box) -> Tensor:
        """The values in a box."""
        if not self._keep:
            return self._compute(box)
        boxes = tiles(self.frame) if self._whole is None else self._missing
        for tile in [tile for tile in boxes if tile.meets(box)]:
            value = self._compute(tile)
            if self._whole is None and len(boxes) == 1:
                self._whole, self._missing = value, []
                break
            if self._whole is None:
                self._whole = _room(value, self.frame.size(self.stride))
                self._missing = boxes
            tile.cut(self._whole, self.stride).copy_(value)
            self._missing.remove(tile)
        assert self._whole is not None
        return box.cut(self._whole, self.stride)

    def release(self, *, keep: bool = True) -> None:
        """Give the memory back; a later read computes the map anew, or with ``keep`` off its box
        alone."""
        self._whole = None
        self._keep = self._keep and keep


def _weakly(method: Callable[[Box], Tensor]) -> Callable[[Box], Tensor]:
    """A function that calls a bound method as long as its object lives."""
    reference = weakref.WeakMethod(method)

    def call(box: Box) -> Tensor:
        alive = reference()
        assert alive is not None, "a map is read after its owner is gone"
        return alive(box)

    return call


class WholeMap:
    """A map in memory, read like a :class:`FeatureMap`: B×C×H/s×W/s for stride s."""

    def __init__(self, whole: Tensor, stride: int) -> None:
        self.whole, self.stride = whole, stride

    def read(self, box: Box) -> Tensor:
        """The values in a box."""
        return box.cut(self.whole, self.stride)
