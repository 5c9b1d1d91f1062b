"""Pieces of pictures at matched sizes, for the report.

Each codec is made to write a file of at most the size of ours; the piece shown is the one with the
most detail. Pieces are kept losslessly in ``crops.json``, so that the report can be drawn again.
"""

from __future__ import annotations

import base64
import io
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import codec
from benchmarks.bench.codecs import OTHERS, Ours, label
from benchmarks.bench.images import read_rgb, spread
from benchmarks.bench.sizes import between, largest_within
from models.metrics.psnr import psnr

SIDE = 224
QUALITIES = (30, 60)
IMAGES = 3


def busiest(rgb: np.ndarray) -> tuple[int, int]:
    """Top left corner (y, x) of the piece of SIDE² with the largest differences of neighbours."""
    luma = rgb.astype(np.float32).mean(axis=2)
    height, width = luma.shape
    side_y, side_x = min(SIDE, height), min(SIDE, width)
    activity = np.abs(np.diff(luma, axis=0))[:, :-1] + np.abs(np.diff(luma, axis=1))[:-1]
    places = [
        (y, x) for y in range(0, height - side_y + 1, 16) for x in range(0, width - side_x + 1, 16)
    ]
    return max(places, key=lambda p: activity[p[0] : p[0] + side_y, p[1] : p[1] + side_x].mean())


def _embed(pixels: np.ndarray, corner: tuple[int, int]) -> str:
    y, x = corner
    piece = Image.fromarray(np.ascontiguousarray(pixels[y : y + SIDE, x : x + SIDE]))
    buffer = io.BytesIO()
    piece.save(buffer, "WEBP", lossless=True, method=4)
    return base64.b64encode(buffer.getvalue()).decode()


def make(files: list[Path], pieces: list[Ours | str], device: str) -> list[dict[str, Any]]:
    """Groups of pieces: one per image and quality, the original first.

    Images are spread over ``files``. Without one of ours there is no size to match: no groups.
    """
    ours = [piece for piece in pieces if isinstance(piece, Ours)]
    if not ours:
        return []
    groups = []
    for path in spread(files, IMAGES):
        rgb = read_rgb(path)
        corner = busiest(rgb)
        for quality in QUALITIES:
            size = 0
            shown = [{"label": "original", "note": "", "webp": _embed(rgb, corner)}]
            others: list[Ours | str] = [p for p in pieces if isinstance(p, str)]
            for piece in [*ours, *others]:
                if isinstance(piece, Ours):
                    options = {"effort": piece.effort, "model": piece.model, "device": device}
                    data = codec.encode(rgb, quality=quality, **options)  # type: ignore[arg-type]
                    size = size or len(data)
                    decoded = np.array(codec.decode(data, device=device).convert("RGB"))
                    name = piece.label
                else:
                    other, name = OTHERS[piece], label(piece)
                    settings = between(other.settings[0], other.settings[-1])
                    fitting = largest_within(size, partial(other.encode, rgb), settings)
                    if fitting is None:
                        shown.append({"label": name, "note": "cannot be so small", "webp": ""})
                        continue
                    data = fitting[1]
                    decoded = other.decode(data)
                bpp = 8 * len(data) / (rgb.shape[0] * rgb.shape[1])
                note = f"{bpp:.3f} bpp, {psnr(rgb, decoded):.2f} dB"
                shown.append({"label": name, "note": note, "webp": _embed(decoded, corner)})
            bpp = 8 * size / (rgb.shape[0] * rgb.shape[1])
            groups.append({"image": path.name, "bpp": round(bpp, 4), "pieces": shown})
    return groups
