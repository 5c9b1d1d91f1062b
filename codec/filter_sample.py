"""Which pieces of an image its filters are fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.tiles import Box

#: All of an image of a megapixel is looked at, in pieces of 256².
_SIDE, _MOST = 256, 16
#: Of a larger one as much, or an eighth if that is more, in smaller pieces: spread out they are
#: more like the whole than as many pixels in a few places.
_SMALL_SIDE, _FEWEST, _PART = 128, 64, 8
#: Of small images every pixel is looked at, of others every second row and column.
_EVERY_PIXEL, _STEP = 4 * _SIDE**2, 2


class Piece(NamedTuple):
    """A part of an image."""

    box: Box
    pixels: Tensor
    """uint8 3×h×w."""
    counted: Tensor | None
    """Bool h×w: where errors count; None: everywhere."""


@dataclass(frozen=True)
class Sample:
    """Pieces of an image, kept for the fit."""

    frame: Box
    pieces: list[Piece]
    content: tuple[int, int]
    """Height and width of the image without padding."""
    pixels: int
    """Of the content, those whose errors count."""
    whole: bool
    """Whether the pieces hold all of these."""

    @property
    def step(self) -> int:
        """Every nth row and column of the pieces is to be looked at."""
        return 1 if self.whole and self.pixels <= _EVERY_PIXEL else _STEP

    @classmethod
    def of(
        cls, image: Tensor, content: tuple[int, int], replaced: np.ndarray | None = None
    ) -> Sample:
        """Choose pieces.

        Args:
            image: 3×H×W uint8, padded.
            content: height and width without padding, which is never looked at.
            replaced: bool, of that size: where errors do not count.
        """
        height, width = content
        counted = None if replaced is None else torch.from_numpy(~replaced)
        large = -(-height // _SIDE) * -(-width // _SIDE) > _MOST
        side = _SMALL_SIDE if large else _SIDE
        rows, columns = -(-height // side), -(-width // side)
        count = max(_FEWEST, rows * columns // _PART) if large else _MOST

        def box_of(row: int, column: int) -> Box:
            top, left = row * side, column * side
            return Box(top, left, min(top + side, height), min(left + side, width))

        every = {(i, k) for i in range(rows) for k in range(columns)}
        golden = (5**0.5 - 1) / 2
        if counted is not None:  # those where most of it counts; of equal ones some all over
            shares = {place: int(box_of(*place).cut(counted).sum()) for place in sorted(every)}
            every = {place for place in every if shares[place]}

            def rank(place: tuple[int, int]) -> tuple[int, float]:
                row, column = place
                return -shares[place], golden * (row * columns + column) % 1

            places = set(sorted(every, key=rank)[:count])
        elif len(every) <= count:
            places = every
        else:  # spread out: rows in turn, columns by the golden ratio
            places = {
                ((2 * i + 1) * rows // (2 * count), int(golden * i % 1 * columns))
                for i in range(count)
            }
        pieces = [
            Piece(box, box.cut(image).clone(), None if counted is None else box.cut(counted))
            for box in (box_of(*place) for place in sorted(places))
        ]
        pixels = height * width if counted is None else int(counted.sum())
        return cls(Box.of(*image.shape[-2:]), pieces, content, pixels, places == every)
