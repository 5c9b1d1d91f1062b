"""The largest file within a size, and the rivals that are given the bytes of ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from models.training.anchors import encode_jpeg, encode_jpeg2000

_Setting = TypeVar("_Setting", int, float)

#: What JPEG 2000 is asked for, in shares of the bytes it may have.
_SHARES = np.linspace(0.5, 1.05, 56).tolist()
RIVALS = {"jpeg": "JPEG", "jpeg2000": "JPEG 2000"}


def largest_within(
    limit: int, encode: Callable[[_Setting], bytes], settings: Sequence[_Setting]
) -> tuple[_Setting, bytes] | None:
    """The last setting whose file has at most ``limit`` bytes, and that file, by bisection.

    ``settings`` come in order of rising size. None where even the first exceeds the limit.
    """
    setting, best = settings[0], encode(settings[0])
    if len(best) > limit:
        return None
    low, high = 0, len(settings)
    while high - low > 1:
        middle = (low + high) // 2
        data = encode(settings[middle])
        if len(data) <= limit:
            low, setting, best = middle, settings[middle], data
        else:
            high = middle
    return setting, best


def between(low: float, high: float) -> list[float]:
    """Settings from ``low`` to just below ``high``, fine enough to meet a size: whole numbers
    between whole numbers, since qualities are."""
    if isinstance(low, int) and isinstance(high, int):
        return list(range(low, high))
    return np.linspace(low, high, 513)[:-1].tolist()


def rival(name: str, rgb: np.ndarray, limit: int, close: float = 1.0) -> tuple[bytes, bool]:
    """The best JPEG or JPEG 2000 of at most ``limit`` bytes, or the smallest there is; whether it
    keeps the limit.

    Args:
        close: a JPEG 2000 of this share of the limit is good enough: it mostly is the first.
    """
    pixels = rgb.shape[0] * rgb.shape[1]

    def encode(setting: float) -> bytes:
        if name == "jpeg":
            return encode_jpeg(rgb, setting)
        return encode_jpeg2000(rgb, 8 * limit * setting / pixels)

    if name == "jpeg2000" and close < 1:
        data = encode(1.0)
        if close * limit <= len(data) <= limit:
            return data, True
    settings: list[float] = list(range(1, 101)) if name == "jpeg" else _SHARES
    fitting = largest_within(limit, encode, settings)
    return (encode(settings[0]), False) if fitting is None else (fitting[1], True)
