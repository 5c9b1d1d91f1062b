"""How near a file's picture comes to the original, by the measures that targets are given in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from codec.decoding import decode_detailed
from codec.errors import ArgumentError
from codec.picture_writing import seen_pixels
from models.metrics.psnr import psnr
from models.metrics.ssimulacra2 import scales_of, ssimulacra2

#: Smallest side that SSIMULACRA2 is defined for.
LEAST_SIDE = 8


class Measured:
    """One measure of the files of one picture.

    Args:
        name: ``psnr`` (dB) or ``ssimulacra2`` (points).
        original: H×W×3, uint8; of a transparent picture what is seen over white.
        device: for decoding.

    Raises:
        ArgumentError: the picture is too small for the measure.
    """

    def __init__(self, name: str, original: np.ndarray, device: str) -> None:
        self._original, self._device = original, device
        self._compare = MEASURES[name]
        self.unit, self.slope = _SCALES[name]
        if name == "ssimulacra2" and min(original.shape[:2]) < LEAST_SIDE:
            raise ArgumentError(f"SSIMULACRA2 needs sides of at least {LEAST_SIDE} pixels")

    def __call__(self, data: bytes) -> float:
        """Of a file with all its layers."""
        result = decode_detailed(data, device=self._device, max_pixels=None)
        return self._compare(self._original, seen_pixels(result.image))


def measure_for(tuning: str, original: np.ndarray) -> str:
    """The measure that says which of several files is best, by what a model is tuned for."""
    seen = tuning == "eye" and min(original.shape[:2]) >= LEAST_SIDE
    return "ssimulacra2" if seen else "psnr"


def ssimulacra2_of(original: np.ndarray, decoded: np.ndarray) -> float:
    """SSIMULACRA2 of two uint8 H×W×3 pictures, sides of at least 8; those below 256 pixels by
    fewer of its scales."""

    def planes(pixels: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255

    with torch.no_grad():
        scales = scales_of(*original.shape[:2])
        return float(ssimulacra2(planes(original), planes(decoded), scales=scales))


#: Unit, and rise of a quarter step of quality.
_SCALES = {"psnr": ("dB", 0.045), "ssimulacra2": ("points", 0.2)}
MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "psnr": psnr,
    "ssimulacra2": ssimulacra2_of,
}
