"""MS-SSIM (Wang, Simoncelli & Bovik, 2003) over RGB: SSIM at five scales, each half as large as the
one before.

At each scale, with means μ, variances σ² and covariance σ_ab under a Gaussian window::

    contrast and structure   (2 σ_ab + C2) / (σ_a² + σ_b² + C2)
    SSIM                     that times (2 μ_a μ_b + C1) / (μ_a² + μ_b² + C1)

The score is the product over the scales of the mean of contrast and structure (at the last scale:
of SSIM) to the power of the scale's weight; averaged over the channels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2
#: Five scales of an 11-pixel window need sides above (11 − 1)·2⁴.
LEAST_SIDE = (_WINDOW - 1) * 2 ** (len(_WEIGHTS) - 1) + 1


@torch.no_grad()
def ms_ssim(original: np.ndarray, decoded: np.ndarray) -> float | None:
    """MS-SSIM of two uint8 H×W×3 pictures, 1 for equal ones; None where a side is below
    :data:`LEAST_SIDE` pixels: it is not defined there."""
    if min(original.shape[:2]) < LEAST_SIDE:
        return None
    scores = [
        _of_plane(_plane(original, channel), _plane(decoded, channel)) for channel in range(3)
    ]  # one after the other: a large picture has several maps of its size
    return float(np.mean(scores))


def _plane(pixels: np.ndarray, channel: int) -> Tensor:
    return torch.from_numpy(pixels[:, :, channel].astype(np.float32) / 255)[None, None]


def _of_plane(a: Tensor, b: Tensor) -> float:
    score = 1.0
    for scale, weight in enumerate(_WEIGHTS):
        if scale > 0:
            a, b = (F.avg_pool2d(x, 2, padding=(x.shape[2] % 2, x.shape[3] % 2)) for x in (a, b))
        ssim, structure = _terms(a, b)
        last = scale == len(_WEIGHTS) - 1
        score *= max(0.0, ssim if last else structure) ** weight
    return score


def _terms(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Means of SSIM, and of contrast and structure alone."""
    mean_a, mean_b = _blurred(a), _blurred(b)
    both = mean_a * mean_b
    squares = mean_a.square() + mean_b.square()
    covariance = _blurred(a * b) - both
    variances = _blurred(a * a + b * b) - squares
    structure = (2 * covariance + _C2) / (variances + _C2)
    ssim = structure * (2 * both + _C1) / (squares + _C1)
    return float(ssim.mean()), float(structure.mean())


def _blurred(x: Tensor) -> Tensor:
    offsets = torch.arange(_WINDOW, dtype=torch.float32) - _WINDOW // 2
    window = torch.exp(-offsets.square() / (2 * _SIGMA**2))
    window = window / window.sum()
    return F.conv2d(F.conv2d(x, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
