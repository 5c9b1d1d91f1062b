"""Crops in other colours: what photographs hold too little of.

Saturated colours side by side (displays, signs, logos) are rare in photographs, and fine detail of
hue alone hardly occurs at all. A network that has seen neither does not just spend its bits badly
there: its activations run away, and the picture with them (docs/decisions/0017-colours.md).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Chroma is multiplied by 1 … so much.
LARGEST_GAIN = 4.0
#: Random numbers that one crop takes.
DRAWS = 7

_LUMA = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
_GREY = torch.full((3, 1), 1 / math.sqrt(3))


def change_colours(crop: Tensor, draws: list[float]) -> Tensor:
    """The crop in two colours or with shifted ones, an even chance for each.

    Args:
        crop: 3×H×W, RGB 0 … 255.
        draws: :data:`DRAWS` numbers in [0, 1).

    Returns:
        float 3×H×W, whole numbers 0 … 255.
    """
    if draws[0] < 0.5:
        first, second = ([min(max(2 * v - 0.5, 0), 1) * 255 for v in draws[i:][:3]] for i in (1, 4))
        if draws[0] < 0.25:  # opposite colours are what networks find hardest
            second = [255 - v for v in first]
        return two_colours(crop, first, second)
    turn, stretch, invert, which = draws[1:5]
    return shift_colours(
        crop,
        angle=2 * math.pi * turn,
        gain=LARGEST_GAIN**stretch,
        invert=int(which * 3) if invert < 0.25 else None,
    )


def two_colours(crop: Tensor, first: list[float], second: list[float]) -> Tensor:
    """Luma, stretched to its full range, as a mixture of two RGB colours: detail of hue alone.

    ``crop`` and the result are as in :func:`change_colours`; a flat crop becomes ``first``.
    """
    luma = (crop.float() * _LUMA.to(crop.device)).sum(0, keepdim=True)
    luma = (luma - luma.min()) / (luma.max() - luma.min()).clamp_min(1)
    a, b = (torch.tensor(c, device=crop.device).view(3, 1, 1) for c in (first, second))
    return (a + (b - a) * luma).round_()


def shift_colours(crop: Tensor, *, angle: float, gain: float, invert: int | None = None) -> Tensor:
    """Chroma turned by ``angle`` (radians) and multiplied by ``gain``, one channel inverted.

    ``crop`` and the result are as in :func:`change_colours`; greys stay, but for the inversion.
    """
    out = torch.einsum("ij,jhw->ihw", _turn(angle, gain).to(crop.device), crop.float())
    out = out.round_().clamp_(0, 255)
    if invert is not None:
        out[invert] = 255 - out[invert]
    return out


def _turn(angle: float, gain: float) -> Tensor:
    """3×3: rotation around the grey axis (Rodrigues' formula), chroma times ``gain``."""
    along = _GREY @ _GREY.T
    x, y, z = _GREY[:, 0].tolist()
    cross = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    chroma = torch.eye(3) - along
    return along + gain * (math.cos(angle) * chroma + math.sin(angle) * cross)
