"""Where more quality would buy next to nothing.

A network has a ceiling: on what is unlike its training images (a page of text, say) the highest
qualities cost bits and bring hardly any detail. λ says what bits are worth: the best trade has
``d bits = λ · d MSE`` (Shoham & Gersho 1988), and most photographs stay within a quarter of that.
"""

from __future__ import annotations

import numpy as np
import torch

from codec.layer_coding import encode_layers, pad_image, tables_of
from models.protocol import CodingModel

#: Qualities above this one are looked at.
CEILING = 90
#: Larger images are judged by four pieces of this side, from the middles of their quarters.
_PIECE = 256
#: More bits than so many times their worth are not spent.
_DEAREST = 1.5


def worthwhile_quality(rgb: np.ndarray, model: CodingModel, quality: int) -> int:
    """``quality``, or :data:`CEILING` where going beyond it costs far more than it brings.

    The verdict is the same for all qualities above the ceiling, so that a higher one never gives a
    smaller file.

    Args:
        rgb: uint8 H×W×3.
        quality: 0 … 100; up to the ceiling nothing is looked at.
    """
    if quality <= CEILING:
        return quality
    sample = _sample(rgb)
    (bits, error), (more_bits, less_error) = (_measure(sample, model, q) for q in (CEILING, 100))
    worth = model.lagrangian(100) * (error - less_error)
    return CEILING if more_bits - bits > _DEAREST * worth else quality


def _sample(rgb: np.ndarray) -> np.ndarray:
    height, width = rgb.shape[:2]
    if height * width <= 4 * _PIECE**2 or min(height, width) < 2 * _PIECE:
        return rgb[: 4 * _PIECE**2 // min(width, 4 * _PIECE), : 4 * _PIECE]
    tops, lefts = ([side // 4 - _PIECE // 2, 3 * side // 4 - _PIECE // 2] for side in rgb.shape[:2])
    rows = [[rgb[t:, x:][:_PIECE, :_PIECE] for x in lefts] for t in tops]
    return np.concatenate([np.concatenate(row, axis=1) for row in rows], axis=0)


@torch.no_grad()
def _measure(rgb: np.ndarray, model: CodingModel, quality: int) -> tuple[float, float]:
    """Bits per pixel and mean squared error (pixels in [0, 1]) of a file of that quality."""
    height, width = rgb.shape[:2]
    image = pad_image(rgb, model.size_multiple)
    prior = model.prior(image.shape[-2], image.shape[-1], quality)
    posterior = model.posterior(image, quality)
    payloads = encode_layers(posterior, prior, model.layers, tables_of(model))
    drawn = model.synthesize(prior.latents, quality, 1)
    error = (drawn.float() - image.to(drawn.device))[:, :height, :width].div(255).square().mean()
    return 8 * sum(len(payload) for payload in payloads) / (height * width), float(error)
