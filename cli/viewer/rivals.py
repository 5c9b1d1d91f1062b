"""Other formats at the bytes of ours: JPEG, JPEG 2000, WebP and AVIF."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import features

from benchmarks.bench import sizes
from cli.viewer.measures import decibels
from codec.errors import ArgumentError, TargetError
from models.training.anchors import decode_rgb

#: Name → title, and what of Pillow it needs.
RIVALS = {
    "jpeg": ("JPEG", "jpg"),
    "jpeg2000": ("JPEG 2000", "jpg_2000"),
    "webp": ("WebP", "webp"),
    "avif": ("AVIF", "avif"),
}
#: Sizes grow by about this share from one quality of WebP or AVIF to the next.
_GROWTH = 0.035
#: A file this much below the limit is as good as one that fills it.
_CLOSE = 0.02


def available() -> list[dict[str, Any]]:
    """The rivals, and whether Pillow has them here."""
    return [
        {"name": name, "title": title, "missing": not features.check(needs)}
        for name, (title, needs) in RIVALS.items()
    ]


def rival(
    original: np.ndarray, name: str, limit: int, wanted: Callable[[], None]
) -> tuple[np.ndarray, dict[str, Any]]:
    """The best picture of at most ``limit`` bytes, uint8 H×W×3, and its numbers.

    Where a format has none that small it is the smallest there is, and ``note`` says so.

    Args:
        wanted: raises where the result is no longer wanted.

    Raises:
        ArgumentError: there is no such format here.
        TargetError: JPEG 2000 cannot be that small.
    """
    if name not in RIVALS:
        raise ArgumentError(f"the comparison is one of {', '.join(RIVALS)}, not {name!r}")
    title, needs = RIVALS[name]
    if not features.check(needs):
        raise ArgumentError(f"{title} needs a Pillow built with {needs}")
    wanted()
    note = ""
    if name in sizes.RIVALS:
        data, fits = sizes.rival(name, original, limit, close=0.98)
    else:
        data, fits = _largest(name, original, limit, wanted)
    if not fits:
        if name == "jpeg2000":
            raise TargetError(f"{title} cannot be as small as {limit} bytes")
        note = f"No {title} is as small as {limit} bytes. This is the smallest: {len(data)} bytes."
    shown = decode_rgb(data)
    height, width = original.shape[:2]
    head = {
        "type": "rival",
        "name": title,
        "bytes": len(data),
        "bpp": 8 * len(data) / (width * height),
        "psnr": decibels(shown, original),
        "note": note,
    }
    return shown, head


def _largest(
    name: str, original: np.ndarray, limit: int, wanted: Callable[[], None]
) -> tuple[bytes, bool]:
    """The largest file within the limit, or the smallest there is; whether it keeps the limit.

    A few tries suffice, since sizes grow evenly: AVIF takes a second for each megapixel.
    """
    from codec.search import highest_within

    encode = _encoder(name)
    files: dict[int, bytes] = {}

    def size(quality: int) -> float:
        wanted()
        files[quality] = encode(original, quality)
        return math.log(len(files[quality]))

    goal = math.log(limit)
    best = highest_within(size, goal, low=-1, high=101, slope=_GROWTH, start=40, close=_CLOSE)
    if best < 0:
        return files.get(0) or encode(original, 0), False
    return files[best], True


@lru_cache(maxsize=4)
def _encoder(name: str) -> Callable[[np.ndarray, float], bytes]:
    """As the benchmarks code them; AVIF tuned for the eye where its library can."""
    from benchmarks.bench.codecs import OTHERS

    if name != "avif":
        return OTHERS[name].encode
    tuned = OTHERS["avif-iq"].encode
    try:
        tuned(np.zeros((16, 16, 3), np.uint8), 50)
    except (ValueError, OSError):  # an older libaom does not know this tuning
        return OTHERS["avif"].encode
    return tuned
