"""Anchors at a given size: the best JPEG and JPEG 2000 of at most so many bytes."""

from __future__ import annotations

import numpy as np

from models.training.anchors import encode_jpeg, encode_jpeg2000


def jpeg_of_size(rgb: np.ndarray, limit: int) -> bytes | None:
    """The best JPEG of at most ``limit`` bytes, or None where even quality 1 is larger."""
    low, high, best = 0, 96, None
    while high - low > 1:
        middle = (low + high) // 2
        data = encode_jpeg(rgb, middle)
        if len(data) <= limit:
            low, best = middle, data
        else:
            high = middle
    return best


def jpeg2000_of_size(rgb: np.ndarray, limit: int) -> bytes | None:
    """A JPEG 2000 codestream of about ``limit`` bytes, never more, or None where impossible."""
    pixels = rgb.shape[0] * rgb.shape[1]
    for share in (1.0, 0.99, 0.97, 0.94, 0.9, 0.8, 0.6):
        data = encode_jpeg2000(rgb, 8 * limit * share / pixels)
        if len(data) <= limit:
            return data
    return None
