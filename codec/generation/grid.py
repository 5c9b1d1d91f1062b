"""Several pictures on one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from codec.errors import ArgumentError

#: Pixels between pictures, and height of a line of text.
GAP, LINE = 4, 16


def grid(
    images: Sequence[Image.Image],
    *,
    columns: int | None = None,
    titles: Sequence[str] | None = None,
    line: int = LINE,
) -> Image.Image:
    """Pictures in rows, left to right, on white.

    Args:
        images: of any sizes and modes; cells are as large as the largest.
        columns: how many beside each other; default about as many as rows.
        titles: a line above each picture; cut where it is wider than the cell.
        line: height of a title in pixels.

    Returns:
        An RGB image. A single picture without a title comes back as it is.

    Raises:
        codec.errors.ArgumentError: no images, no columns, or not one title per image.
    """
    if not images or (columns is not None and columns < 1):
        raise ArgumentError("a grid needs at least one picture and one column")
    if titles is not None and len(titles) != len(images):
        raise ArgumentError(f"{len(images)} pictures need as many titles, not {len(titles)}")
    if len(images) == 1 and titles is None:
        return images[0]
    across = min(columns or balanced(len(images)), len(images))
    width, height = (max(image.size[axis] for image in images) for axis in (0, 1))
    line = 0 if titles is None else line
    cell = width + GAP, height + line + GAP
    rows = math.ceil(len(images) / across)
    sheet = Image.new("RGB", (across * cell[0] - GAP, rows * cell[1] - GAP), "white")
    for index, image in enumerate(images):
        left, top = index % across * cell[0], index // across * cell[1]
        sheet.paste(image.convert("RGB"), (left, top + line))
        if titles is not None:
            sheet.paste(_text(titles[index], width, line), (left, top))
    return sheet


def balanced(count: int) -> int:
    """Columns for a grid that is about as wide as high, without holes where that can be."""
    least = math.isqrt(count - 1) + 1
    full = [c for c in range(least, 2 * least + 1) if count % c == 0]
    return full[0] if full else least


def _text(words: str, width: int, height: int) -> Image.Image:
    line = Image.new("RGB", (width, height), "white")
    font = ImageFont.load_default(height * 11 // LINE)
    ImageDraw.Draw(line).text((1, 1), words, fill="black", font=font)
    return line
