"""Sizes as people write them."""

from __future__ import annotations

import re
from numbers import Integral

from codec.errors import ArgumentError

_UNITS = {"": 1, "k": 1000, "m": 1000_000, "ki": 1024, "mi": 1024**2}


def size_of(value: int | str) -> int:
    """Bytes, from their number or as people write it. Raises ArgumentError."""
    if isinstance(value, str):
        return parse_size(value)
    if isinstance(value, Integral):
        return int(value)
    raise ArgumentError(f"{value!r} is not a size; write 20000 or '20kB'")


def parse_size(text: str) -> int:
    """``20kB``, ``20000``, ``1.5MB``, ``16KiB`` → bytes. Raises ArgumentError."""
    match = re.fullmatch(r"\s*([0-9]{0,15}\.?[0-9]{1,15})\s*([kKmM]i?)?[bB]?\s*", text)
    if not match:
        raise ArgumentError(f"{text!r} is not a size; write 20000, 20kB, 16KiB or 1.5MB")
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])
