"""Windows of a spatial transformer: a small square picture, moved and scaled.

After *Spatial Transformer Networks* (Jaderberg et al. 2015) with the three numbers that
Attend-Infer-Repeat uses. On coordinates from −1 to 1 over a picture's whole width and height, a
window of scale s around (x, y) shows at its own (u, v) what the picture has at (x + s·u, y + s·v).
Sampling is bilinear; outside is zero.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Place(NamedTuple):
    """One window per picture of a batch, (B,) each."""

    scale: Tensor
    """Its side as a share of the picture's, positive."""
    x: Tensor
    """Of its middle; −1: the left edge."""
    y: Tensor


def _sample(picture: Tensor, scale: Tensor, x: Tensor, y: Tensor, side: int) -> Tensor:
    zero = torch.zeros_like(scale)
    rows = [torch.stack(row, dim=1) for row in ((scale, zero, x), (zero, scale, y))]
    theta = torch.stack(rows, dim=1)  # (B, 2, 3)
    shape = [len(picture), picture.shape[1], side, side]
    points = F.affine_grid(theta, shape, align_corners=False)
    return F.grid_sample(picture, points, align_corners=False)


def glimpse(picture: Tensor, place: Place, side: int) -> Tensor:
    """What a window shows: B×C×H×W → B×C×side×side."""
    return _sample(picture, place.scale, place.x, place.y, side)


def put(patch: Tensor, place: Place, side: int) -> Tensor:
    """A patch at its place on an empty picture, the inverse map: B×C×n×n → B×C×side×side."""
    inverse = 1 / place.scale
    return _sample(patch, inverse, -place.x * inverse, -place.y * inverse, side)
