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
from benchmarks.bench.runner import in_processes
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


def make(
    files: list[Path], pieces: list[Ours | str], device: str, processes: int
) -> list[dict[str, Any]]:
    """Groups of pieces: one per image and quality, the original first.

    Images are spread over ``files``. Without one of ours there is no size to match: no groups.
    """
    ours = [piece for piece in pieces if isinstance(piece, Ours)]
    if not ours:
        return []
    others = [piece for piece in pieces if isinstance(piece, str)]
    work = partial(_group, ours=ours, others=others, device=device)
    items = [(path, quality) for path in spread(files, IMAGES) for quality in QUALITIES]
    return list(in_processes(work, items, processes, "cutting pieces"))


def _group(
    item: tuple[Path, int], *, ours: list[Ours], others: list[str], device: str
) -> dict[str, Any]:
    """An image at a quality. Runs in worker processes."""
    path, quality = item
    rgb = read_rgb(path)
    pixels = rgb.shape[0] * rgb.shape[1]
    corner = busiest(rgb)
    shown = [{"label": "original", "note": "", "webp": _embed(rgb, corner)}]

    def show(name: str, data: bytes, decoded: np.ndarray) -> None:
        note = f"{8 * len(data) / pixels:.3f} bpp, {psnr(rgb, decoded):.2f} dB"
        shown.append({"label": name, "note": note, "webp": _embed(decoded, corner)})

    size = 0
    for piece in ours:
        data = codec.encode(
            rgb, quality=quality, effort=piece.effort, model=piece.model, device=device
        )
        size = size or len(data)
        show(piece.label, data, np.array(codec.decode(data, device=device).convert("RGB")))
    for piece_name in others:
        other = OTHERS[piece_name]
        settings = between(other.settings[0], other.settings[-1])
        fitting = largest_within(size, partial(other.encode, rgb), settings)
        if fitting is None:
            shown.append({"label": label(piece_name), "note": "cannot be so small", "webp": ""})
        else:
            show(label(piece_name), fitting[1], other.decode(fitting[1]))
    return {"image": path.name, "bpp": round(8 * size / pixels, 4), "pieces": shown}
