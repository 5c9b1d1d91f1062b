"""How near a shown picture comes to its original."""

from __future__ import annotations

import numpy as np
from PIL import Image

from codec.picture_writing import seen_pixels
from models.metrics.psnr import psnr

#: SSIMULACRA2 takes a second or two and 300 MB per megapixel; above this it is left out.
MOST_PIXELS = 4_000_000
_LEAST_SIDE = 8


def decibels(shown: np.ndarray, original: np.ndarray) -> float:
    """PSNR, in dB; 99 where they are equal."""
    return min(psnr(shown, original), 99.0)


def points(shown: np.ndarray, original: np.ndarray) -> float | None:
    """SSIMULACRA2; None where the picture is too large for it, or too small."""
    height, width = original.shape[:2]
    if height * width > MOST_PIXELS or min(height, width) < _LEAST_SIDE:
        return None
    from codec.measures import ssimulacra2_of  # brings torch

    return ssimulacra2_of(original, shown)


def as_looked_at(image: Image.Image, original: np.ndarray) -> np.ndarray:
    """Pixels of the original's size, over white: a small picture counts enlarged."""
    size = original.shape[1], original.shape[0]
    shown = Image.fromarray(seen_pixels(image))
    if shown.size != size:
        shown = shown.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(shown)
