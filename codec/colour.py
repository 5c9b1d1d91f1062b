"""Colour management: profiles applied, with LittleCMS through Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image | None:
    """The image in sRGB, mode RGB, or None where its profile cannot be used.

    Args:
        image: RGB, L or CMYK.
        icc: the profile that describes its values.
    """
    if not icc:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(image, source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return None


def pixels_to_srgb(rgb: np.ndarray, icc: bytes, *, grey: bool) -> np.ndarray | None:
    """The same for uint8 H×W×3, whose channels are equal if ``grey``: they stay equal."""
    if not grey:
        shown = to_srgb(Image.fromarray(rgb, "RGB"), icc)
        return None if shown is None else np.array(shown)
    shown = to_srgb(Image.fromarray(np.ascontiguousarray(rgb[:, :, 0]), "L"), icc)
    if shown is None:
        return None
    level = np.asarray(shown)[:, :, 1]  # of a grey profile all channels are the same
    return np.repeat(level[:, :, None], 3, axis=2)
