"""Toy pictures: none to three shapes, apart from each other, on a plain ground, with their number.

A shape is a rectangle or an ellipse of any angle in one colour that differs from the ground's.
Edges are smoothed by averaging 3×3 points per pixel, which is how a drawing program would do it and
not how :mod:`models.studies.painter.strokes` does.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

SIDE = 32
MOST = 3
#: Half-lengths of a shape in pixels.
SMALLEST, LARGEST = 2.5, 6.0
#: Least distance between the middles of two shapes, in pixels.
APART = 11.0
#: Least distance between the colours of a shape and of the ground, as a length in the unit cube.
CONTRAST = 0.35
_POINTS = 3
_AT_ONCE = 256


class Pictures(NamedTuple):
    """What models learn from, and what they are asked about."""

    images: Tensor
    """uint8 N×3×SIDE×SIDE."""
    counts: Tensor
    """(N,): shapes in each, 0…MOST, all equally often."""


def draw_pictures(count: int, seed: int) -> Pictures:
    """``count`` pictures; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    parts = [_draw(min(_AT_ONCE, count - i), generator) for i in range(0, count, _AT_ONCE)]
    images, counts = (torch.cat(part) for part in zip(*parts, strict=True))
    return Pictures(images, counts)


def _middles(count: int, generator: torch.Generator) -> Tensor:
    """count×MOST×2 places of shapes that keep their distance, by drawing anew until they do."""
    middles = torch.zeros(count, MOST, 2)
    bad = torch.ones(count, dtype=torch.bool)
    i, j = torch.triu_indices(MOST, MOST, 1)
    while bool(bad.any()):
        fresh = torch.rand(int(bad.sum()), MOST, 2, generator=generator)
        middles[bad] = LARGEST + (SIDE - 2 * LARGEST) * fresh
        bad = ((middles[:, i] - middles[:, j]).norm(dim=2) < APART).any(1)
    return middles


def _colours(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Of the grounds, count×3, and of the shapes, count×MOST×3."""
    ground = torch.rand(count, 3, generator=generator)
    shapes = torch.zeros(count, MOST, 3)
    bad = torch.ones(count, MOST, dtype=torch.bool)
    while bool(bad.any()):
        shapes[bad] = torch.rand(int(bad.sum()), 3, generator=generator)
        bad = (shapes - ground[:, None]).norm(dim=2) < CONTRAST
    return ground, shapes


def _draw(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    counts = torch.randint(0, MOST + 1, (count,), generator=generator)
    middles = _middles(count, generator)
    ground, colours = _colours(count, generator)
    lengths = SMALLEST + (LARGEST - SMALLEST) * torch.rand(count, MOST, 2, generator=generator)
    angles = math.pi * torch.rand(count, MOST, generator=generator)
    round_ones = torch.rand(count, MOST, generator=generator) < 0.5
    places = (torch.arange(SIDE * _POINTS) + 0.5) / _POINTS
    picture = ground[:, :, None, None].expand(-1, -1, SIDE, SIDE)
    for k in range(MOST):
        dx = places[None, None] - middles[:, k, 0, None, None]
        dy = places[None, :, None] - middles[:, k, 1, None, None]
        cos, sin = (f(angles[:, k])[:, None, None] for f in (torch.cos, torch.sin))
        across = (cos * dx + sin * dy) / lengths[:, k, 0, None, None]
        along = (cos * dy - sin * dx) / lengths[:, k, 1, None, None]
        ellipse = across.square() + along.square() < 1
        rectangle = (across.abs() < 1) & (along.abs() < 1)
        inside = torch.where(round_ones[:, k, None, None], ellipse, rectangle)
        inside &= (k < counts)[:, None, None]
        cover = torch.nn.functional.avg_pool2d(inside[:, None].float(), _POINTS)  # B×1×S×S
        picture = picture + cover * (colours[:, k, :, None, None] - picture)
    return picture.mul(255).round().to(torch.uint8), counts
