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
from benchmarks.bench import sizes
from cli.viewer.memory import Item
from codec.errors import ArgumentError, ImageError, TargetError
from codec.image_io import load_picture
from models.metrics.psnr import psnr
from models.training.anchors import decode_rgb


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
        "layers": [{"name": x.name, "bytes": x.bytes, "end": x.end} for x in about.layers],
        "layers_declared": about.layers_declared,
        "original": item.original is not None,
        "damage": about.damage,
    }


def original_pixels(item: Item, max_pixels: int | None) -> np.ndarray:
    """The original, uint8 H×W×3. Raises ImageError where there is none of the same size."""
    if item.original is None:
        raise ImageError(f"{item.title}: there is no original beside it")
    source = item.original
    changed = source.stat().st_mtime_ns if isinstance(source, Path) else 0
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
    return load_picture(source, max_pixels=max_pixels).rgb


def quality_of(image: Image.Image, original: np.ndarray) -> float:
    """PSNR in dB as it is looked at: a small picture counts enlarged to the original's size."""
    size = original.shape[1], original.shape[0]
    shown = image.convert("RGB")
    if shown.size != size:
        shown = shown.resize(size, Image.Resampling.BICUBIC)
    return min(psnr(np.asarray(shown), original), 99.0)


def rival(original: np.ndarray, name: str, limit: int) -> tuple[bytes, dict[str, Any]]:
    """The best JPEG or JPEG 2000 of at most ``limit`` bytes, as PNG, and its numbers.

    Where no JPEG is that small it is the smallest there is, and ``note`` says so.

    Raises:
        TargetError: JPEG 2000 cannot be that small.
    """
    if name not in sizes.RIVALS:
        raise ArgumentError(f"the comparison is one of {', '.join(sizes.RIVALS)}, not {name!r}")
    title, note = sizes.RIVALS[name], ""
    data, fits = sizes.rival(name, original, limit, close=0.98)
    if not fits:
        if name != "jpeg":
            raise TargetError(f"{title} cannot be as small as {limit} bytes")
        note = f"No JPEG is as small as {limit} bytes. This is the smallest: {len(data)} bytes."
    shown = decode_rgb(data)
    height, width = original.shape[:2]
    head = {
        "type": "rival",
        "name": title,
        "bytes": len(data),
        "bpp": 8 * len(data) / (width * height),
        "psnr": min(psnr(shown, original), 99.0),
        "note": note,
    }
    return png(Image.fromarray(shown)), head
