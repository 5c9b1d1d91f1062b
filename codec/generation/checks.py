"""Arguments that the functions of generation share."""

from __future__ import annotations

from numbers import Integral

from bitstream.container import MAX_SIDE, padded_pixels
from codec.errors import ArgumentError, LimitError


def check_randomness(seed: int, temperature: float) -> None:
    """Raises ArgumentError for a negative seed or a temperature outside 0…10."""
    if not isinstance(seed, Integral) or int(seed) < 0:
        raise ArgumentError(f"the seed must be a whole number of at least 0, not {seed}")
    if not 0 <= temperature <= 10:
        raise ArgumentError(f"the temperature must be between 0 and 10, not {temperature}")


def check_room(count: int, width: int, height: int, max_pixels: int | None) -> None:
    """Raises LimitError where ``count`` pictures of a size are more than the limit in all."""
    if max(width, height) > MAX_SIDE:
        raise LimitError(f"sides above {MAX_SIDE} pixels are not possible ({width}×{height})")
    if max_pixels is not None and count * padded_pixels(width, height) > max_pixels:
        what = "a picture" if count == 1 else f"{count} pictures"
        raise LimitError(
            f"{what} of {width}×{height} would have more pixels than the limit of {max_pixels} "
            "(sides rounded up to multiples of 64); ask for less, or raise it with --max-pixels "
            "(max_pixels=…)"
        )
