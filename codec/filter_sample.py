"""Which pieces of an image its filters are fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.tiles import Box

#: Side of the pieces that are looked at, and how many of them: all of a small image, a quarter of a
#: large one within these limits.
_PIECE, _FEWEST, _MOST = 256, 4, 16


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
        rows, columns = -(-height // _PIECE), -(-width // _PIECE)

        def box_of(row: int, column: int) -> Box:
            top, left = row * _PIECE, column * _PIECE
            return Box(top, left, min(top + _PIECE, height), min(left + _PIECE, width))

        every = {(i, k) for i in range(rows) for k in range(columns)}
        count = max(_FEWEST, min(_MOST, rows * columns // 4))
        if counted is not None:  # those where most of it counts
            shares = {place: int(box_of(*place).cut(counted).sum()) for place in sorted(every)}
            every = {place for place in every if shares[place]}
            places = set(sorted(every, key=lambda place: -shares[place])[:count])
        elif len(every) <= count:
            places = every
        else:  # spread out: rows in turn, columns by the golden ratio
            golden = (5**0.5 - 1) / 2
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
