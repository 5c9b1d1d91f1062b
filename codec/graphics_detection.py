"""Where a picture is graphics: text, screenshots, pixel art, dithered and flat areas.

Photographs change by small steps from pixel to pixel, graphics by none or by large ones. Blocks of
16×16 pixels are judged by that, then cleaned of what is too small to be worth a border.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageFilter

BLOCK = 16
#: A block of graphics has so many pixels that equal the left or upper one, or so few colours, …
_EQUAL, _COLOURS = 1 / 2, 8
#: … and no more pixels than this that differ from either by a small step of green.
_SMALL_STEPS, _STEP = 1 / 8, 3
#: Rows of blocks that are looked at together, for the sake of memory.
_STRIP = 16
#: Fewer blocks of graphics than this share of the picture are left to the layers.
_LEAST = 1 / 200


def find_graphics(rgb: np.ndarray) -> np.ndarray | None:
    """Blocks of graphics in a picture, uint8 H×W×3: bool, ⌈H/16⌉×⌈W/16⌉; None where there are
    hardly any."""
    judged = [_judge(*strip) for strip in _strips(rgb)]
    graphics, possible = (np.concatenate(parts) for parts in zip(*judged, strict=True))
    filled = ~grow(~grow(graphics)) & possible  # holes closed
    blocks = opened(graphics | filled)
    return blocks if blocks.mean() >= _LEAST else None


def grow(blocks: np.ndarray) -> np.ndarray:
    """Blocks that are set or beside one that is, diagonally too."""
    image = Image.fromarray(blocks.astype(np.uint8))
    return np.array(image.filter(ImageFilter.MaxFilter(3))) > 0


def block_sums(pixels: np.ndarray) -> np.ndarray:
    """Numbers H×W → their sum in each block, float64."""
    rows, columns = (np.arange(0, side, BLOCK) for side in pixels.shape)
    sums = np.add.reduceat(pixels, rows, axis=0, dtype=np.float64)
    return np.add.reduceat(sums, columns, axis=1)


def to_pixels(blocks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Blocks → bool H×W."""
    return np.repeat(np.repeat(blocks, BLOCK, 0)[:height], BLOCK, 1)[:, :width]


def opened(blocks: np.ndarray) -> np.ndarray:
    """Without islands and bridges of fewer than 3×3 blocks."""
    return grow(~grow(~blocks))


def lossless_bits(rgb: np.ndarray) -> np.ndarray:
    """About how many bits a lossless coder needs for each block, float ⌈H/16⌉×⌈W/16⌉.

    Each pixel that equals neither the left nor the upper one takes its place among the colours of
    the block, and one bit more.
    """
    bits = []
    for strip, start in _strips(rgb):
        colours = _packed(strip)
        changing = 1 - _share(_equal(colours)[start:])
        counts = _count_colours(_blocks(colours[start:]).reshape(-1, BLOCK**2))
        bits.append(changing * BLOCK**2 * (1 + np.log2(counts.reshape(changing.shape))))
    return np.concatenate(bits)


def _strips(rgb: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Some rows of blocks at a time, from the second strip on with the row above them; and how many
    such rows there are."""
    rows = BLOCK * _STRIP
    for top in range(0, len(rgb), rows):
        above = min(top, 1)
        yield rgb[top - above : top + rows], above


def _judge(rgb: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    """Which blocks of a strip look like graphics, and which might belong to some."""
    colours = _packed(rgb)
    small = _share(_small_steps(rgb)[start:])
    steep = small <= _SMALL_STEPS
    graphics = steep & (_share(_equal(colours)[start:]) >= _EQUAL)
    unsure = steep & ~graphics
    graphics[unsure] = _count_colours(_blocks(colours[start:])[unsure]) <= _COLOURS
    return graphics, small <= 2 * _SMALL_STEPS


def _packed(rgb: np.ndarray) -> np.ndarray:
    """H×W×3 → one number for each colour, uint32 H×W."""
    packed = np.zeros((*rgb.shape[:2], 4), dtype=np.uint8)
    packed[:, :, :3] = rgb
    return packed.view("<u4")[:, :, 0]


#: Pixels with a neighbour before them, and that neighbour.
_LEFT = np.s_[:, 1:], np.s_[:, :-1]
_ABOVE = np.s_[1:], np.s_[:-1]


def _equal(colours: np.ndarray) -> np.ndarray:
    """Pixels that equal the left or the upper one."""
    equal = np.zeros(colours.shape, dtype=bool)
    for later, earlier in (_LEFT, _ABOVE):
        equal[later] |= colours[later] == colours[earlier]
    return equal


def _small_steps(rgb: np.ndarray) -> np.ndarray:
    """Pixels whose green differs from that of the left or the upper one by 1 … _STEP."""
    green = np.ascontiguousarray(rgb[:, :, 1])
    small = np.zeros(green.shape, dtype=bool)
    for later, earlier in (_LEFT, _ABOVE):
        a, b = green[later], green[earlier]
        small[later] |= (np.maximum(a, b) - np.minimum(a, b) - 1) < _STEP  # 0 wraps to 255
    return small


def _blocks(pixels: np.ndarray) -> np.ndarray:
    """H×W → ⌈H/16⌉×⌈W/16⌉×256, edges repeated."""
    height, width = pixels.shape
    pixels = np.pad(pixels, ((0, -height % BLOCK), (0, -width % BLOCK)), mode="edge")
    rows, columns = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
    return pixels.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(rows, columns, -1)


def _count_colours(blocks: np.ndarray) -> np.ndarray:
    """Different values in each row of N×256."""
    ordered = np.sort(blocks, axis=1)
    return 1 + np.count_nonzero(ordered[:, 1:] != ordered[:, :-1], axis=1)


def _share(pixels: np.ndarray) -> np.ndarray:
    """H×W → how much of each block is set, ⌈H/16⌉×⌈W/16⌉; those at the edges are smaller."""
    height, width = pixels.shape
    rows, columns = np.arange(0, height, BLOCK), np.arange(0, width, BLOCK)
    sums = np.add.reduceat(pixels.view(np.uint8), rows, axis=0, dtype=np.uint8)
    sums = np.add.reduceat(sums, columns, axis=1, dtype=np.uint32)
    heights, widths = np.minimum(BLOCK, height - rows), np.minimum(BLOCK, width - columns)
    return sums / (heights[:, None] * widths)
