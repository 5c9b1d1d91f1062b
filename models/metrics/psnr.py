"""Peak signal-to-noise ratio."""

from __future__ import annotations

import numpy as np


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR in dB of two uint8 RGB images; infinity where they are equal."""
    difference = a.astype(np.int16) - b
    mse = float(np.mean(np.square(difference, dtype=np.int32), dtype=np.float64))
    return float("inf") if mse == 0 else 10 * float(np.log10(255**2 / mse))
