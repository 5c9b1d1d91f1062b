"""Pixels, alpha and metadata of a picture, and what may be done to it before it is encoded."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from codec.colour import pixels_to_srgb


@dataclass
class Picture:
    """Pixels as the codec wants them.

    ``rgb`` is uint8 H×W×3; for grey pictures the three channels are equal. ``alpha`` is uint8 H×W.
    ``notes`` say what was changed on the way in. ``replaced``, bool H×W, are the pixels that a
    lossless part will replace, so that their errors do not count; ``unseen`` likewise those that
    are wholly transparent.
    """

    rgb: np.ndarray
    grey: bool = False
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    notes: list[str] = field(default_factory=list)
    replaced: np.ndarray | None = None
    unseen: np.ndarray | None = None


def convert_to_srgb(picture: Picture) -> None:
    """Apply the ICC profile of a picture, which is then no longer needed. A profile that cannot be
    used stays, with a note."""
    if picture.icc is None:
        return
    rgb = pixels_to_srgb(picture.rgb, picture.icc, grey=picture.grey)
    if rgb is None:
        picture.notes.append("not converted to sRGB: the ICC profile cannot be used, and is kept")
        return
    picture.rgb, picture.icc = rgb, None
    picture.notes.append("converted to sRGB by the ICC profile")


def reduce_to_side(picture: Picture, max_side: int) -> None:
    """Reduce a picture whose longer side has more pixels to that many, with a note."""
    height, width = picture.rgb.shape[:2]
    longer = max(height, width)
    if longer <= max_side:
        return
    size = max(1, round(width * max_side / longer)), max(1, round(height * max_side / longer))
    image = Image.fromarray(picture.rgb)
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))  # what is not seen must not tint the edges
    reduced = np.array(image.resize(size, Image.Resampling.LANCZOS))
    picture.rgb = np.ascontiguousarray(reduced[:, :, :3])
    picture.alpha = None if picture.alpha is None else np.ascontiguousarray(reduced[:, :, 3])
    picture.notes.append(f"reduced from {width}×{height} to {size[0]}×{size[1]} pixels")


def to_pillow(picture: Picture) -> Image.Image:
    """RGB, L, RGBA or LA image with ``info`` filled."""
    if picture.grey:
        image = Image.fromarray(np.round(picture.rgb.mean(axis=2)).astype(np.uint8), "L")
    else:
        image = Image.fromarray(picture.rgb, "RGB")
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha, "L"))
    for key, value in (("icc_profile", picture.icc), ("exif", picture.exif), ("xmp", picture.xmp)):
        if value:
            image.info[key] = value
    return image
