"""Attention windows: grids of Gaussian filters that read from an image and write to one.

After *DRAW: A Recurrent Neural Network For Image Generation* (Gregor et al. 2015), sections 3.2 and
3.3, whose equation numbers are given. On an image of A columns and B rows a window is a grid of N×N
points, δ pixels apart, around a centre::

    μ_1   μ_2   μ_3   μ_4          each point a Gaussian of variance σ²; with δ = 1 and a small
     ·     ·  g  ·     ·           σ² the window is a crop, with a large δ a reduced picture
     ←  δ  →

Pixels are counted from 1, as in the paper: the centre of the image is (A+1)/2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: What describes a window: g̃_X, g̃_Y, log σ², log δ̃, log γ (equation 21).
PARAMETERS = 5
#: Each parameter is clamped to its range, so that no exponential overflows and no filter is sharper
#: than a twentieth of a pixel. A centre beyond ±1 lies outside of the image, where it does no harm.
RANGES = ((-3.0, 3.0), (-3.0, 3.0), (-6.0, 10.0), (-6.0, 2.0), (-10.0, 10.0))


class Window(NamedTuple):
    """One window per image of a batch."""

    columns: Tensor
    """μ_X, B×N: horizontal places of the grid in pixels; 1 is the first column, A the last."""
    rows: Tensor
    """μ_Y, B×N: vertical places."""
    filter_x: Tensor
    """F_X, B×N×A; each row sums to one."""
    filter_y: Tensor
    """F_Y, B×N×B; each row sums to one."""
    intensity: Tensor
    """γ, (B,), positive."""


def window(parameters: Tensor, *, points: int, height: int, width: int) -> Window:
    """The window that a network asks for.

    Args:
        parameters: B×5 as in :data:`PARAMETERS`, any real numbers; float32 or better, since places
            need more bits than bfloat16 has. All zero: centred, as wide as the image, σ = γ = 1.
        points: N, points per row and column of the grid, at least 2.
        height, width: B and A, of the image.

    Raises:
        ValueError: a grid of fewer than 2 points has no stride.
    """
    if points < 2:
        raise ValueError(f"a window needs at least 2×2 points, not {points}×{points}")
    clamped = (p.clamp(*limits) for p, limits in zip(parameters.unbind(1), RANGES, strict=True))
    centre_x, centre_y, log_variance, log_stride, log_intensity = clamped
    g_x = (width + 1) / 2 * (centre_x + 1)  # (22)
    g_y = (height + 1) / 2 * (centre_y + 1)  # (23)
    stride = (max(width, height) - 1) / (points - 1) * log_stride.exp()  # (24)
    index = torch.arange(1, points + 1, device=parameters.device, dtype=parameters.dtype)
    offset = (index - points / 2 - 0.5) * stride[:, None]
    columns, rows = g_x[:, None] + offset, g_y[:, None] + offset  # (19), (20)
    variance = log_variance.exp()
    return Window(
        columns,
        rows,
        filter_bank(columns, variance, width),
        filter_bank(rows, variance, height),
        log_intensity.exp(),
    )


def filter_bank(places: Tensor, variance: Tensor, length: int) -> Tensor:
    """Gaussians over the pixels 1…length, normalized: equations 25 and 26.

    As a softmax the normalization cannot divide by zero: a Gaussian that lies outside of the image,
    all of whose values underflow, becomes the nearest pixel.

    Args:
        places: B×N, centres in pixels.
        variance: (B,), > 0.
        length: of the side of the image.

    Returns:
        B×N×length; rows sum to one.
    """
    pixels = torch.arange(1, length + 1, device=places.device, dtype=places.dtype)
    distance = pixels - places[:, :, None]
    return torch.softmax(-distance.square() / (2 * variance[:, None, None]), dim=2)


def read(image: Tensor, seen: Window) -> Tensor:
    """γ F_Y x F_Xᵀ for each channel (27): B×C×H×W → B×C×N×N."""
    patch = seen.filter_y[:, None] @ image @ seen.filter_x[:, None].mT
    return seen.intensity[:, None, None, None] * patch


def write(patch: Tensor, target: Window) -> Tensor:
    """γ⁻¹ F_Yᵀ w F_X for each channel (29): B×C×N×N → B×C×H×W."""
    drawn = target.filter_y[:, None].mT @ patch @ target.filter_x[:, None]
    return drawn / target.intensity[:, None, None, None]
