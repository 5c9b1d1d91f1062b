"""Exact reduction: a pixel of a small picture is the mean of the square that it stands for."""

from __future__ import annotations

import numpy as np


def sums_of_squares(values: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of scale×scale squares, smaller ones at the edges, and how many values each has.

    Args:
        values: whole numbers 0 … 255 or bool, H×W or H×W×C.
        scale: 1, 2 or 4.

    Returns:
        Two uint32 arrays of ⌈H/scale⌉×⌈W/scale⌉: the first (×C) sums, the second counts.
    """
    height, width = (-(-side // scale) for side in values.shape[:2])
    sums = np.zeros((height, width, *values.shape[2:]), dtype=np.uint32)
    count = np.zeros((height, width), dtype=np.uint32)
    for row in range(scale):
        for column in range(scale):
            part = values[row::scale, column::scale]
            place = np.s_[: part.shape[0], : part.shape[1]]
            sums[place] += part
            count[place] += 1
    return sums, count


def mean_of_squares(sums: np.ndarray, count: np.ndarray) -> np.ndarray:
    """uint8 means, halves up."""
    return ((2 * sums + count) // (2 * count)).astype(np.uint8)
