"""The lossless part of a picture: chunk ``g``, and how it is laid over the decoded pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, features

from bitstream.errors import CorruptError
from bitstream.graphics import WEBP_SIDE, read_head
from codec.errors import ImageError
from codec.side_data import open_stored
from codec.squares import mean_of_squares, sums_of_squares

if TYPE_CHECKING:  # brings torch, which a quick check can do without
    from models.tiles import Box


@dataclass(frozen=True)
class Graphics:
    """Pixels that replace decoded ones.

    ``rgb`` is uint8 H×W×3; ``mask``, bool H×W, says where it counts, None: everywhere.
    """

    rgb: np.ndarray
    mask: np.ndarray | None = None

    def part(self, region: Box, scale: int = 1) -> Graphics:
        """What lies in a region of the picture divided by ``scale``."""
        box = region.times(scale)  # ends at the picture's edge where it reaches beyond
        place = np.s_[box.top : box.bottom, box.left : box.right]
        return Graphics(self.rgb[place], None if self.mask is None else self.mask[place])

    def over(self, pixels: np.ndarray, scale: int = 1) -> np.ndarray:
        """The pixels with the lossless ones laid over them.

        Args:
            pixels: uint8 h×w×3, the picture's size divided by ``scale``, rounded up.
            scale: 1, 2 or 4; above 1 every pixel is the mean of the scale×scale pixels (fewer at
                the edges) that it stands for, those outside the mask being the decoded one.
        """
        if scale == 1:
            if self.mask is None:
                return self.rgb
            return np.where(self.mask[:, :, None], self.rgb, pixels)
        if self.mask is None:
            sums, total = sums_of_squares(self.rgb, scale)
        else:
            sums, total = sums_of_squares(self.rgb * self.mask[:, :, None], scale)
            inside, _ = sums_of_squares(self.mask, scale)
            sums += (total - inside)[:, :, None] * pixels
        return mean_of_squares(sums, total[:, :, None])


def pack_graphics(graphics: Graphics) -> bytes:
    """The chunk's payload."""
    mask = graphics.mask
    if mask is None:
        image = Image.fromarray(graphics.rgb, "RGB")
    else:
        pixels = np.dstack([graphics.rgb, np.where(mask, 255, 0).astype(np.uint8)])
        pixels[~mask] = 0
        image = Image.fromarray(pixels, "RGBA")
    buffer = io.BytesIO()
    if max(image.size) > WEBP_SIDE or not features.check("webp"):
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "WEBP", lossless=True, quality=100, method=4)
    return buffer.getvalue()


def unpack_graphics(payload: bytes, width: int, height: int) -> Graphics:
    """Inverse of :func:`pack_graphics`; ``width`` and ``height`` are the header's.

    Raises ImageError on other data, before memory is taken for pixels where the size is wrong.
    """
    try:
        head = read_head(payload)
    except CorruptError as error:
        raise ImageError(f"damaged ({error})") from error
    if (head.width, head.height) != (width, height):
        raise ImageError("of another size than the image")
    mode = "RGBA" if head.alpha else "RGB"
    try:
        with open_stored(payload, head.format, width * height) as image:
            if image.size != (width, height):
                raise ImageError("of another size than the image")
            pixels = np.array(image.convert(mode))
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"damaged ({error})") from error
    if not head.alpha:
        return Graphics(pixels)
    alpha = pixels[:, :, 3]
    mask = alpha == 255
    if not np.array_equal(mask, alpha != 0):
        raise ImageError("damaged (half-transparent pixels)")
    return Graphics(pixels[:, :, :3], mask)
