"""Pictures that shrink to a given small one.

The small representations of the model are averages of f×f pixels (Gatopoulos & Tomczak 2020: y1 and
y2 are x made smaller). Iterative back-projection (Irani & Peleg 1991) enlarges what the average of
a picture lacks and adds it. Pictures are worked on in bands of rows, so that memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

#: Rows of the small picture in a band.
BAND = 256
#: Places of the small picture that one bicubic enlargement sees to each side.
_REACH = 2


def enlarge(small: Tensor, factor: int, rounds: int) -> Tensor:
    """3×h×w uint8 → 3×fh×fw uint8: bicubic, then back-projected."""
    return _in_bands(
        small, factor, rounds, lambda y, _, __: _back_project(_bicubic(y, factor), y, rounds)
    )


def project(picture: Tensor, small: Tensor, factor: int, rounds: int) -> Tensor:
    """The picture, 3×fh×fw uint8, moved towards one whose f×f averages are ``small`` (3×h×w
    uint8)."""

    def work(y: Tensor, top: int, bottom: int) -> Tensor:
        return _back_project(_floats(picture[:, factor * top : factor * bottom]), y, rounds)

    return _in_bands(small, factor, rounds, work)


def settle(picture: Tensor, small: Tensor, factor: int, rounds: int) -> Tensor:
    """As :func:`project`, but then every f×f average *is* the small picture's value exactly."""

    def work(y: Tensor, top: int, bottom: int) -> Tensor:
        x = _floats(picture[:, factor * top : factor * bottom])
        return _exact(_back_project(x, y, rounds), y, factor)

    return _in_bands(small, factor, rounds, work)


def shrink(picture: Tensor, factor: int) -> Tensor:
    """3×H×W uint8 → 3×⌈H/f⌉×⌈W/f⌉ uint8: averages, the last row and column repeated as needed."""
    height, width = picture.shape[-2:]
    x = picture[None].float()
    x = F.pad(x, (0, -width % factor, 0, -height % factor), mode="replicate")
    return F.avg_pool2d(x, factor)[0].round_().to(torch.uint8)


def _in_bands(
    small: Tensor, factor: int, rounds: int, work: Callable[[Tensor, int, int], Tensor]
) -> Tensor:
    """Results of ``work`` on bands, 3×fh×fw uint8.

    ``work`` gets rows top…bottom of the small picture, 1×3×rows×w float32 in 0…255, and top and
    bottom; what it returns is cut to the band.
    """
    _, height, width = small.shape
    out = torch.empty(3, factor * height, factor * width, dtype=torch.uint8, device=small.device)
    margin = _REACH * (rounds + 1)
    for first in range(0, height, BAND):
        last = min(height, first + BAND)
        top, bottom = max(0, first - margin), min(height, last + margin)
        band = work(_floats(small[:, top:bottom]), top, bottom)
        band = band[0, :, factor * (first - top) : factor * (last - top)]
        out[:, factor * first : factor * last] = band.round_().clamp_(0, 255).to(torch.uint8)
    return out


def _floats(picture: Tensor) -> Tensor:
    return picture[None].float()


def _bicubic(small: Tensor, factor: int) -> Tensor:
    return F.interpolate(small, scale_factor=factor, mode="bicubic", align_corners=False)


def _back_project(x: Tensor, small: Tensor, rounds: int) -> Tensor:
    factor = x.shape[-1] // small.shape[-1]
    for _ in range(rounds):
        x = x + _bicubic(small - F.avg_pool2d(x, factor), factor)
    return x


def _exact(x: Tensor, small: Tensor, factor: int) -> Tensor:
    """Whole numbers in 0…255 whose f×f averages are ``small``, near x."""
    blocks = F.pixel_unshuffle(x, factor)  # B×3·f²×h×w, the f² pixels of a channel together
    blocks = blocks.unflatten(1, (3, factor**2)).double()
    mean = small[:, :, None].double()
    detail = blocks - blocks.mean(2, keepdim=True)
    highest, lowest = detail.amax(2, keepdim=True), detail.amin(2, keepdim=True)
    # As much of the detail as fits between black and white.
    share = torch.minimum((255 - mean) / highest.clamp_min(1e-9), mean / -lowest.clamp_max(-1e-9))
    values = (mean + detail * share.clamp_max(1)).clamp(0, 255)
    whole = values.floor()
    # The largest remainders are rounded up, as many as the sum wants.
    missing = (factor**2 * mean - whole.sum(2, keepdim=True)).round()
    rank = (whole - values).argsort(dim=2, stable=True).argsort(dim=2, stable=True)
    whole += rank < missing
    return F.pixel_shuffle(whole.flatten(1, 2), factor).float()
