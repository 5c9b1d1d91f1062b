"""Strokes: soft rectangles and ellipses whose every number has a gradient.

With (u, v) the coordinates of a pixel's middle in the frame of a stroke (moved to its middle,
turned by its angle), half-lengths a and b and softness s in pixels, σ the logistic function::

    rectangle   σ((a − |u|) / s) σ((b − |v|) / s)
    ellipse     σ((1 − r) √(ab) / s),   r² = (u/a)² + (v/b)²
    mask        (1 − w) rectangle + w ellipse,   w the roundness
    canvas      canvas + opacity · mask · (colour − canvas)

After the differentiable brushes of *Neural Painters* (Nakano 2019) and *Stylized Neural Painting*
(Zou et al. 2021), in closed form instead of a learned renderer: small enough to differentiate
through directly.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

#: Numbers that describe a stroke.
PARAMETERS = 11
#: Softest and hardest edge in pixels. Soft ones are felt from farther away.
HARDEST, SOFTEST = 0.25, 3.0
#: No stroke is narrower than this half-length, in pixels.
THINNEST = 0.5


class Stroke(NamedTuple):
    """One stroke per picture of a batch; lengths in pixels, 0 the left or upper edge."""

    x: Tensor
    """(B,), as all but the colour."""
    y: Tensor
    length: Tensor
    """a, half of it, in the direction of the angle."""
    width: Tensor
    """b, half of it."""
    angle: Tensor
    roundness: Tensor
    softness: Tensor
    opacity: Tensor
    """0: no stroke."""
    colour: Tensor
    """B×3 in [0, 1]."""


def stroke_of(raw: Tensor, height: int, width: int, ground: Tensor | None = None) -> Stroke:
    """The stroke that a network asks for on a canvas.

    Args:
        raw: B×:data:`PARAMETERS`, any real numbers: x, y, length, width, angle, roundness,
            softness, opacity, colour. All zero: a half-round, soft spot in the middle, a quarter of
            the longer side long, mostly opaque, in the colour of the ground.
        height, width: of the canvas in pixels.
        ground: log-odds of its colour, B×3; None: grey.
    """
    half = 0.5 * max(height, width)
    x, y, a, b, angle, roundness, softness, opacity = raw[:, :8].unbind(1)
    return Stroke(
        width * torch.sigmoid(2 * x),
        height * torch.sigmoid(2 * y),
        THINNEST + half * torch.sigmoid(a - 1.2),
        THINNEST + half * torch.sigmoid(b - 1.2),
        0.5 * math.pi * angle,
        torch.sigmoid(roundness),
        HARDEST + (SOFTEST - HARDEST) * torch.sigmoid(softness),
        torch.sigmoid(opacity + 1),
        torch.sigmoid(raw[:, 8:] if ground is None else raw[:, 8:] + ground),
    )


def mask_of(stroke: Stroke, height: int, width: int) -> Tensor:
    """How much of each pixel a stroke covers, opacity apart: B×height×width in (0, 1)."""

    def each(value: Tensor) -> Tensor:
        return value[:, None, None]

    like = stroke.x
    dx = torch.arange(width, device=like.device, dtype=like.dtype) + 0.5 - each(stroke.x)
    dy = torch.arange(height, device=like.device, dtype=like.dtype)[:, None] + 0.5 - each(stroke.y)
    cos, sin = each(stroke.angle.cos()), each(stroke.angle.sin())
    u, v = cos * dx + sin * dy, cos * dy - sin * dx
    a, b, soft = each(stroke.length), each(stroke.width), each(stroke.softness)
    rectangle = torch.sigmoid((a - u.abs()) / soft) * torch.sigmoid((b - v.abs()) / soft)
    # The root has no slope at its zero, the very middle of a stroke.
    distance = ((u / a).square() + (v / b).square() + 1e-8).sqrt()
    ellipse = torch.sigmoid((1 - distance) * (a * b).sqrt() / soft)
    return rectangle + each(stroke.roundness) * (ellipse - rectangle)


def paint(canvas: Tensor, stroke: Stroke) -> Tensor:
    """The stroke laid over a canvas, B×3×H×W in [0, 1]."""
    cover = stroke.opacity[:, None, None] * mask_of(stroke, *canvas.shape[-2:])
    return canvas + cover[:, None] * (stroke.colour[:, :, None, None] - canvas)
