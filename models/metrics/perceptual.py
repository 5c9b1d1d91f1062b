"""How different two pictures look: structure compared in XYB, the colours of JPEG XL.

XYB imitates the eye's cones: linear light, mixed to cone responses, cube root, and their sums (Y:
luma; B: blue against luma) and difference (X: red against green). There each of 1, 1/2, 1/4, 1/8 of
the size is compared with SSIM (Wang et al. 2004) in the form of SSIMULACRA2 (Sneyers 2022):

    distance = 1 − (1 − (μ1 − μ2)²) · (2 σ12 + C2) / (σ11 + σ22 + C2)

All of it is float32 and has finite gradients everywhere. On the way pictures are laid out H×W×B×3:
a blur then sees B·3 channels beside each other, which CPUs are several times faster with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Constants of JPEG XL (ISO/IEC 18181-1, XYB colour encoding).
_CONES = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.55180986650955360),
)
_BIAS = 0.0037930732552754493
#: X, Y, B from the cube roots of the cones L, M, S, scaled and shifted as in SSIMULACRA2:
#: 14 (L − M) / 2 + 0.42, (L + M) / 2 + 0.01, S − (L + M) / 2 + 0.55.
_MIX = ((7.0, -7.0, 0.0), (0.5, 0.5, 0.0), (-0.5, -0.5, 1.0))
_SHIFT = (0.42, 0.01, 0.55)

_SIGMA, _RADIUS = 1.5, 5
#: Keeps the contrast term of flat regions from dividing by zero.
_C2 = 0.0009
#: Added to a mean before its root, whose slope would be infinite at 0.
_TINY = 1e-20

#: Smallest side at the coarsest scale.
LEAST_SIDE = 8
XYB_SSIM_SCALES = 4


def check_pair(original: Tensor, decoded: Tensor, scales: int) -> None:
    """Refuse pictures that cannot be compared at n scales, each half the one before.

    Raises:
        ValueError: not two B×3×H×W of one shape, or a side below 8·2^(scales − 1).
    """
    if original.shape != decoded.shape or original.dim() != 4 or original.shape[1] != 3:
        shapes = f"{tuple(original.shape)} and {tuple(decoded.shape)}"
        raise ValueError(f"two B×3×H×W pictures of one size are needed, not {shapes}")
    least = LEAST_SIDE << (scales - 1)
    if min(original.shape[2:]) < least:
        raise ValueError(
            f"{scales} scales need sides of at least {least} pixels, "
            f"not {original.shape[3]}×{original.shape[2]}"
        )


class _LinearLight(torch.autograd.Function):
    """sRGB in [0, 1] → linear light; value and slope share one power."""

    @staticmethod
    def forward(context: Any, image: Tensor) -> Tensor:
        base = (image + 0.055) / 1.055
        power = base**1.4
        dark = image <= 0.04045
        context.save_for_backward((power * (2.4 / 1.055)).masked_fill_(dark, 1 / 12.92))
        return torch.where(dark, image / 12.92, power.mul_(base))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (slope,) = context.saved_tensors
        return gradient * slope


class _CubeRoot(torch.autograd.Function):
    """Of numbers above zero; the slope is made from the root."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        root = x ** (1 / 3)
        context.save_for_backward(root)
        return root

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (root,) = context.saved_tensors
        return gradient / root.square().mul_(3)


def linear_light(image: Tensor) -> Tensor:
    """sRGB B×3×H×W → linear light H×W×B×3 in float32; what lies outside [0, 1] is clipped."""
    return _LinearLight.apply(image.float().permute(2, 3, 0, 1).contiguous().clamp(0, 1))


def xyb(linear: Tensor, channels: tuple[int, ...] = (0, 1, 2)) -> Tensor:
    """Linear light …×3 → those of X, Y, B that ``channels`` names, each about 0…1."""
    mix = linear.new_tensor([_MIX[c] for c in channels])
    cones = linear.new_tensor(_CONES)
    if 2 not in channels:  # X and Y need no blue cone
        mix, cones = mix[:, :2], cones[:2]
    roots = _CubeRoot.apply(F.linear(linear, cones, linear.new_full((len(cones),), _BIAS)))
    shift = linear.new_tensor([_SHIFT[c] for c in channels]) - mix.sum(1) * _BIAS ** (1 / 3)
    return F.linear(roots, mix, shift)


def halve(picture: Tensor) -> Tensor:
    """H×W×B×C → ⌈H/2⌉×⌈W/2⌉×B×C: means of 2×2 pixels."""
    h, w, *rest = picture.shape
    planes = picture.reshape(h, w, -1).permute(2, 0, 1)[None]
    smaller = F.avg_pool2d(planes, 2, ceil_mode=True, count_include_pad=False)
    return smaller[0].permute(1, 2, 0).reshape((h + 1) // 2, (w + 1) // 2, *rest)


def blur(picture: Tensor, *, zero_columns: bool = False) -> Tensor:
    """Gaussian of σ 1.5, 11 taps, of H×W×B×C.

    Beyond its border the picture is mirrored without its last pixel, which is fast; with
    ``zero_columns`` it is 0 left and right and mirrored with it above and below.
    """
    h, w, b, c = picture.shape
    taps = torch.arange(-_RADIUS, _RADIUS + 1, device=picture.device, dtype=picture.dtype)
    taps = torch.exp(-(taps**2) / (2 * _SIGMA**2))
    taps = (taps / taps.sum()).expand(b * c, 1, -1)
    zeros = 0
    if zero_columns:
        rows = torch.arange(-_RADIUS, h + _RADIUS, device=picture.device)
        rows = torch.where(rows < 0, -1 - rows, torch.where(rows < h, rows, 2 * h - 1 - rows))
        picture, zeros = picture[rows], _RADIUS
    planes = picture.reshape(-1, w, b * c).permute(2, 0, 1)[None]  # channels last in memory
    if not zero_columns:
        planes = F.pad(planes, (_RADIUS,) * 4, mode="reflect")
    planes = F.conv2d(planes, taps[..., None], groups=b * c)
    planes = F.conv2d(planes, taps[:, :, None], padding=(0, zeros), groups=b * c)
    return planes[0].permute(1, 2, 0).reshape(h, w, b, c)


class Pair(NamedTuple):
    """Two pictures at one scale and their local means, each H×W×B×C of XYB."""

    original: Tensor
    decoded: Tensor
    original_mean: Tensor
    decoded_mean: Tensor
    structure: Tensor
    """The SSIM distance of each pixel, 0 where they are equal."""


def compare(original: Tensor, decoded: Tensor, *, zero_columns: bool = False) -> Pair:
    """Local means and SSIM distances of two H×W×B×C pictures in XYB."""
    difference = decoded - original
    a = blur(original, zero_columns=zero_columns)
    b = blur(decoded, zero_columns=zero_columns)
    shift = (b - a).square()
    # σ11 + σ22, and σ11 + σ22 − 2 σ12: the variance of the difference.
    both = blur(torch.addcmul(original.square(), decoded, decoded), zero_columns=zero_columns)
    both = torch.addcmul(both - (a.square() - _C2), b, b, value=-1)  # C2 added
    ratio = (blur(difference.square(), zero_columns=zero_columns) - shift) / both
    return Pair(original, decoded, a, b, ratio + shift - ratio * shift)


class _MeanAndPeak(torch.autograd.Function):
    """1-norm and 4-norm over H×W of H×W×B×C; their slopes in few passes."""

    @staticmethod
    def forward(context: Any, distances: Tensor) -> tuple[Tensor, Tensor]:
        fourth = distances.square().square_().mean((0, 1)) + _TINY
        context.save_for_backward(distances, fourth)
        return distances.mean((0, 1)), fourth**0.25 - _TINY**0.25

    @staticmethod
    def backward(context: Any, mean: Tensor, peak: Tensor) -> Tensor:
        distances, fourth = context.saved_tensors
        count = distances.shape[0] * distances.shape[1]
        cube = distances.square().mul_(distances)
        return cube.mul_(peak * fourth**-0.75 / count).add_(mean / count)


def mean_and_peak(distances: Tensor) -> tuple[Tensor, Tensor]:
    """The 1-norm and the 4-norm of H×W×B×C over pixels, each B×C; the latter counts peaks."""
    return _MeanAndPeak.apply(distances)


def pyramid(original: Tensor, decoded: Tensor, scales: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Linear light H×W×B×3 of two B×3×H×W pictures at full size, half, a quarter, …"""
    a, b = linear_light(original), linear_light(decoded)
    yield a, b
    for _ in range(scales - 1):
        a, b = halve(a), halve(b)
        yield a, b


def xyb_ssim(
    original: Tensor,
    decoded: Tensor,
    *,
    weights: tuple[float, float, float] = (0.35, 1.0, 0.5),
) -> Tensor:
    """SSIM distance in XYB, averaged over four scales: B×3×H×W in [0, 1] → (B,), 0 for equal ones.

    Each scale adds the mean of its map and a quarter of its 4-norm. ``weights`` are those of X, Y
    and B; with less on X and B, training leaves colours weak.

    Raises:
        ValueError: shapes differ, or a side is below 64.
    """
    check_pair(original, decoded, XYB_SSIM_SCALES)
    with torch.autocast(original.device.type, enabled=False):
        share = torch.tensor(weights, dtype=torch.float32, device=original.device)
        total = torch.zeros(len(original), device=original.device)
        for a, b in pyramid(original, decoded, XYB_SSIM_SCALES):
            mean, peak = mean_and_peak(compare(xyb(a), xyb(b)).structure)
            total = total + (mean + peak / 4) @ share
        return total / XYB_SSIM_SCALES
