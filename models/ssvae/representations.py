"""What y1, the smallest picture of an ssVAE, shows of the image.

In a self-supervised VAE (Gatopoulos & Tomczak 2020) the representations of the image that the model
explains first are free to choose, as long as they are computed from it: the image reduced in
size, its greys, a drawing of it. What u stores follows from the choice.

A representation takes B×3×H×W in [0, 1], sides multiples of 4, and gives B×3×H/4×W/4 in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Representation = Callable[[Tensor], Tensor]

#: Weights of red, green, blue in brightness (ITU-R BT.601).
_LUMA = (0.299, 0.587, 0.114)
#: Bilateral filter: radius and standard deviation in pixels, standard deviation in brightness.
_SMOOTHING_RADIUS, _SMOOTHING_PIXELS, _SMOOTHING_RANGE = 2, 1.5, 0.1
#: Standard deviation, in pixels, of the blur that a pencil stroke is measured against.
_STROKE = 2.0
#: Exponent of the burn: above 1 darkens what is not paper.
_BURN = 3.0
#: Added to both sides of the division, so that noise in the dark does not become strokes.
_PAPER = 0.06


def downscale(image: Tensor) -> Tensor:
    """The mean of every 4×4 pixels."""
    return F.avg_pool2d(image, 4)


def greyscale(image: Tensor) -> Tensor:
    """Brightness of the reduced image, three times the same channel."""
    return _brightness(downscale(image)).expand(-1, 3, -1, -1)


def sketch(image: Tensor) -> Tensor:
    """A pencil drawing of the reduced image: dark strokes along edges, white paper elsewhere.

    Edge-preserving smoothing (bilateral filter, Tomasi & Manduchi 1998) takes texture away;
    *dodging* divides brightness by its own blur, which leaves 1 wherever nothing changes; *burning*
    deepens the strokes that remain.
    """
    grey = _bilateral(_brightness(downscale(image)))
    dodged = (grey + _PAPER) / (_blur(grey, _STROKE) + _PAPER)
    return dodged.clamp(0, 1).pow(_BURN).expand(-1, 3, -1, -1)


REPRESENTATIONS: dict[str, Representation] = {
    "downscale": downscale,
    "greyscale": greyscale,
    "sketch": sketch,
}


def _brightness(image: Tensor) -> Tensor:
    weights = image.new_tensor(_LUMA)[:, None, None]
    return (image * weights).sum(dim=1, keepdim=True)


def _bilateral(grey: Tensor) -> Tensor:
    """Mean of the neighbours, weighted by nearness in place and in brightness; B×1×H×W."""
    radius = _SMOOTHING_RADIUS
    height, width = grey.shape[-2:]
    around = F.pad(grey, (radius,) * 4, mode="replicate")
    total, weights = torch.zeros_like(grey), torch.zeros_like(grey)
    for dy in range(2 * radius + 1):
        for dx in range(2 * radius + 1):
            neighbour = around[..., dy : dy + height, dx : dx + width]
            distance = (dy - radius) ** 2 + (dx - radius) ** 2
            near = distance / _SMOOTHING_PIXELS**2
            alike = ((neighbour - grey) / _SMOOTHING_RANGE).square()
            weight = torch.exp(-0.5 * (alike + near))
            total, weights = total + weight * neighbour, weights + weight
    return total / weights


def _blur(grey: Tensor, deviation: float) -> Tensor:
    """Gaussian blur, B×1×H×W; the border is repeated."""
    radius = int(3 * deviation + 0.5)
    places = torch.arange(-radius, radius + 1, device=grey.device, dtype=grey.dtype)
    kernel = torch.exp(-0.5 * (places / deviation).square())
    kernel = kernel / kernel.sum()
    wide = F.pad(grey, (radius,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(wide, kernel[None, None, None, :]), kernel[None, None, :, None])
