"""What of a padded picture nobody sees: the padding, and pixels that are wholly transparent.

No bits are spent on it (``docs/decisions/0034-unseen.md``).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from codec.graphics_detection import BLOCK, block_sums, find_graphics
from codec.picture import Picture

#: The places of all stages stand for one or more squares of n×n pixels.
SQUARE = 8


def seen_squares(
    size: tuple[int, int],
    padded: tuple[int, int],
    unseen: np.ndarray | None = None,
    margin: int = 0,
) -> Tensor:
    """Which squares show any of the picture, bool padded height/8 × width/8.

    Args:
        size: height and width without padding.
        padded: height and width, multiples of :data:`SQUARE`.
        unseen: bool of that size, pixels that are transparent; None: none.
        margin: so many squares around those are added, but for padding.
    """
    height, width = size
    pixels = torch.zeros(padded, dtype=torch.bool)
    pixels[:height, :width] = True
    inside = _any_of_squares(pixels)
    if unseen is None:
        return inside
    pixels[:height, :width] = torch.from_numpy(~unseen)
    shown = _any_of_squares(pixels)[None, None].float()
    return inside & F.max_pool2d(shown, 2 * margin + 1, 1, margin)[0, 0].bool()


def _any_of_squares(pixels: Tensor) -> Tensor:
    """bool H×W → which squares have any that are true, H/8×W/8."""
    rows, columns = (side // SQUARE for side in pixels.shape)
    return pixels.view(rows, SQUARE, columns, SQUARE).any(3).any(1)


def filled(picture: Picture) -> Picture:
    """The picture with other colours in its wholly transparent pixels, which are ``unseen`` then:
    those beside them go on, for black or whatever stands there would cost bits at every edge."""
    assert picture.alpha is not None
    seen = picture.alpha > 0
    weight = torch.from_numpy(seen)[None, None].float()
    rgb = torch.from_numpy(np.require(picture.rgb, requirements="W")).permute(2, 0, 1)
    colours = _filled(rgb[None] * weight, weight)[0].round_().to(torch.uint8)
    return replace(picture, rgb=colours.permute(1, 2, 0).contiguous().numpy(), unseen=~seen)


def shows_graphics(picture: Picture) -> bool:
    """Whether there are blocks of graphics of which at least half is seen."""
    assert picture.unseen is not None
    blocks = find_graphics(picture.rgb)
    return blocks is not None and bool(
        (blocks & (block_sums(picture.unseen) <= BLOCK**2 / 2)).any()
    )


def _filled(colour: Tensor, weight: Tensor) -> Tensor:
    """Colours where there are some; elsewhere those of the same with half the resolution.

    Pull and push, after Gortler et al. 1996 (The Lumigraph).

    Args:
        colour: 1×3×H×W, times the weight.
        weight: 1×1×H×W, 0 where there is no colour.
    """
    known = weight > 0
    found = colour / weight.clamp_min(1e-9)
    if bool(known.all()) or max(weight.shape[-2:]) == 1:
        return found
    half = _filled(*(F.avg_pool2d(x, 2, ceil_mode=True) for x in (colour, weight)))
    coarse = F.interpolate(half, size=weight.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(known, found, coarse)
