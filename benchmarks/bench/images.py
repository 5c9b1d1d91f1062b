"""The images that are measured: found in a folder, read, cut, and shown on contact sheets.

A command takes a folder of images by :func:`folder_parser`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from codec.errors import ArgumentError, ImageError
from codec.generation.grid import grid
from models.training.data import IMAGE_SUFFIXES

PHOTOGRAPH = Path(__file__).parents[1] / "images" / "pier.png"

_Item = TypeVar("_Item")


def images_in(folder: Path) -> list[Path]:
    """Image files directly in ``folder``, sorted. Raises ImageError where there are none."""
    if not folder.is_dir():
        raise ImageError(f"{folder}: is not a folder; give the folder that holds the images")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise ImageError(f"{folder}: the folder holds no images")
    return files


def image_files(folder: str) -> list[Path]:
    """:func:`images_in` as the type of an argument."""
    try:
        return images_in(Path(folder))
    except ImageError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def folder_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The parser of a command that measures a folder: its images are the argument ``files``."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", type=image_files, metavar="FOLDER")
    return parser


def read_rgb(path: Path) -> np.ndarray:
    """Pixels, uint8 H×W×3, EXIF orientation applied."""
    with Image.open(path) as image:
        return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def sizes_of(files: Iterable[Path]) -> dict[str, int]:
    """How many images there are of each width and height, ``"768x512"``; nothing is decoded."""
    sizes = Counter[str]()
    for path in files:
        try:
            with Image.open(path) as image:
                sizes[f"{image.width}x{image.height}"] += 1
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            sizes["unreadable"] += 1
    return dict(sizes)


def require_kodak(sizes: Mapping[str, int]) -> None:
    """Raises ArgumentError unless the sizes are those of the 24 Kodak images, of which published
    curves speak."""
    kodak = sum(sizes.get(size, 0) for size in ("768x512", "512x768"))
    if kodak != 24 or sum(sizes.values()) != kodak:
        these = ", ".join(f"{count} × {size}" for size, count in sizes.items()) or "unknown"
        raise ArgumentError(
            "--kodak: published curves are means of the 24 Kodak images (768x512 or 512x768); "
            f"these images are {these}"
        )


def spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """``count`` of the items (or all), from the first to the last at equal distances."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)
    return [items[place] for place in places]


def piece(
    rgb: np.ndarray, height: int, width: int, *, x: float = 0.5, y: float = 0.5
) -> np.ndarray:
    """A piece of at most height × width pixels; its middle is at ``x`` and ``y`` (shares) as far
    as the image reaches."""
    left = min(max(0, int(x * rgb.shape[1]) - width // 2), max(0, rgb.shape[1] - width))
    top = min(max(0, int(y * rgb.shape[0]) - height // 2), max(0, rgb.shape[0] - height))
    return np.ascontiguousarray(rgb[top : top + height, left : left + width])


#: A picture and its title on a sheet; None: an empty place.
Cell = tuple[str, np.ndarray | Image.Image | None]


def contact_sheet(rows: Sequence[Sequence[Cell]], *, line: int = 16) -> Image.Image:
    """Rows of pictures under their titles; ``line``: height of a title in pixels.

    Short rows end in empty places.
    """
    columns = max(map(len, rows))
    cells = [cell for row in rows for cell in [*row, *[("", None)] * (columns - len(row))]]
    empty = Image.new("RGB", (1, 1), "white")
    pictures = [
        empty if p is None else p if isinstance(p, Image.Image) else Image.fromarray(p)
        for _, p in cells
    ]
    return grid(pictures, columns=columns, titles=[title for title, _ in cells], line=line)


def save_sheet(sheet: Image.Image, path: Path, quality: int = 90) -> None:
    """As the suffix says; ``quality`` is heeded by WebP."""
    sheet.save(path, quality=quality, method=6)
