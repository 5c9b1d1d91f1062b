"""What a file keeps beside the picture, lossless: alpha planes and metadata."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image

from codec.errors import ImageError
from codec.pillow_limit import pillow_limit
from codec.squares import mean_of_squares, sums_of_squares


def pack_alpha(alpha: np.ndarray) -> bytes:
    """Lossless alpha plane, as a PNG image of mode L."""
    buffer = io.BytesIO()
    Image.fromarray(alpha, "L").save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def unpack_alpha(data: bytes, width: int, height: int) -> np.ndarray:
    """Inverse of :func:`pack_alpha`. Raises ImageError on other data."""
    try:
        with open_stored(data, "PNG", width * height) as image:
            if image.size != (width, height):
                raise ImageError("the alpha plane has another size than the image")
            if image.mode != "L":
                raise ImageError("the alpha plane is damaged (it is no plane of 8 bits)")
            return np.array(image)
    except ImageError:
        raise
    except Exception as error:
        raise ImageError(f"the alpha plane is damaged ({error})") from error


def reduced_plane(plane: np.ndarray, scale: int) -> np.ndarray:
    """A uint8 plane H×W divided by 1, 2 or 4, rounded up: each value is the mean, halves up, of the
    scale×scale ones (fewer at the right and lower edges) that it stands for."""
    sums, count = sums_of_squares(plane, scale)
    return mean_of_squares(sums, count)


@contextmanager
def open_stored(data: bytes, form: str, pixels: int) -> Iterator[Image.Image]:
    """An image of so many pixels in Pillow's format ``form``. Raises anything."""
    with pillow_limit.of(pixels), Image.open(io.BytesIO(data), formats=[form]) as image:
        yield image


def pack_metadata(data: bytes) -> bytes:
    """Deflate, since profiles and XMP shrink to a fraction."""
    return zlib.compress(data, 9)


def unpack_metadata(data: bytes, limit: int = 2**26) -> bytes:
    """Inverse of :func:`pack_metadata`; never more than ``limit`` bytes. Raises ImageError."""
    try:
        unpacker = zlib.decompressobj()
        out = unpacker.decompress(data, limit)
    except zlib.error as error:
        raise ImageError(f"a metadata chunk is damaged ({error})") from error
    if not unpacker.eof:
        raise ImageError("a metadata chunk is damaged or too large")
    return out
