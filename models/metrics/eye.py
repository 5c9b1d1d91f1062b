"""Distances as people see them, in the units of squared error: for training and refinement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from models.metrics.perceptual import LEAST_SIDE, XYB_SSIM_SCALES, xyb_ssim
from models.metrics.ssimulacra2 import LOSS_SCALES, ssimulacra2_loss


@dataclass(frozen=True)
class EyeLoss:
    """A distance as people see it, and how much squared error it stands for."""

    distance: Callable[[Tensor, Tensor], Tensor]
    """Of original and decoded, B×3×H×W in [0, 1] → (B,)."""
    unit: float
    """Mean squared error that one unit of distance is worth: what the shipped weights show on
    crops of 192² at all qualities, each weighed as the loss weighs it."""
    scales: int
    """Each half the one before."""

    @property
    def least_side(self) -> int:
        """Of the pictures, in pixels."""
        return LEAST_SIDE << (self.scales - 1)


EYE_LOSSES = {
    "xyb-ssim": EyeLoss(xyb_ssim, 0.0135, XYB_SSIM_SCALES),
    "ssimulacra2": EyeLoss(ssimulacra2_loss, 0.00014, LOSS_SCALES),
}

#: What weights tuned for the eye are refined by, and its share of the distortion.
DEFAULT_EYE_LOSS, DEFAULT_EYE_SHARE = "ssimulacra2", 0.8
