"""What the page gets to see: pictures as lossless PNG, with their numbers."""

from __future__ import annotations

import io
import json
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import codec
from cli.viewer.memory import Item
from codec.errors import ImageError
from codec.picture import to_pillow
from codec.picture_reading import load_picture
from codec.picture_writing import seen_pixels
from models.names import STAGES, stages_filled


def message(head: dict[str, Any], payload: bytes = b"") -> bytes:
    """Two lengths (uint32, little endian), a JSON object, bytes: the form of picture answers."""
    text = json.dumps(head).encode()
    return struct.pack("<II", len(text), len(payload)) + text + payload


def png(image: Image.Image) -> bytes:
    """Fast rather than small: it travels within this machine."""
    buffer = io.BytesIO()
    kept = {"icc_profile": image.info["icc_profile"]} if "icc_profile" in image.info else {}
    image.save(buffer, "PNG", compress_level=1, **kept)
    return buffer.getvalue()


def describe(item: Item, max_pixels: int | None) -> dict[str, Any]:
    """What the page must know of a file before it shows it. Raises CodecError."""
    about = codec.info(item.read(), max_pixels=max_pixels)
    return {
        "name": item.name,
        "title": item.title,
        "width": about.width,
        "height": about.height,
        "bytes": about.bytes,
        "bpp": about.bpp,
        "quality": about.quality,
        "model": about.model,
        "layers": [_layer(x) for x in about.layers],
        "layers_declared": about.layers_declared,
        "filled_below": stages_filled(about.model) if about.model in STAGES else 0,
        "original": item.original is not None,
        "damage": about.damage,
    }


def metadata_bytes(item: Item, max_pixels: int | None) -> int:
    """Bytes of a file that hold ICC, EXIF, XMP and alpha: rivals are made without them."""
    return sum(codec.info(item.read(), max_pixels=max_pixels).metadata.values())


def _layer(about: codec.inspection.LayerInfo) -> dict[str, Any]:
    return {
        "name": about.name,
        "bytes": about.bytes,
        "end": about.end,
        "stages": about.stages or 1,
    }


def original_pixels(item: Item, max_pixels: int | None) -> np.ndarray:
    """The original, uint8 H×W×3. Raises ImageError where there is none of the same size."""
    if item.original is None:
        raise ImageError(f"{item.title}: there is no original beside it")
    source = item.original
    try:
        changed = source.stat().st_mtime_ns if isinstance(source, Path) else 0
    except OSError as error:
        raise ImageError(
            f"{item.title}: its original cannot be read ({error.strerror or error})"
        ) from error
    rgb = _pixels(source, changed, max_pixels)
    about = codec.info(item.read(), max_pixels=max_pixels)
    if rgb.shape[:2] != (about.height, about.width):
        raise ImageError(
            f"{item.title}: what stands beside it has another size "
            f"({rgb.shape[1]}×{rgb.shape[0]}, not {about.width}×{about.height})"
        )
    return rgb


@lru_cache(maxsize=2)
def _pixels(source: bytes | Path, changed: int, max_pixels: int | None) -> np.ndarray:
    return seen_pixels(to_pillow(load_picture(source, max_pixels=max_pixels)))
