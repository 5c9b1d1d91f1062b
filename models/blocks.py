"""Float building blocks of analysis and synthesis.

Everything here runs in ordinary float32 or bfloat16: a pixel may differ by one step of 255 between
two machines. What decides how symbols are coded lives in :mod:`models.exact` instead.

Tensors are B×C×H×W. The expensive operations are 1×1 convolutions (matrix products); the only
spatial ones are depthwise, and nothing runs above quarter resolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.pointwise import Pointwise

#: On photographs gates rarely reach this bound, and bits and pictures do not change with it.
#: Products of activations square what is large: without it, a picture unlike all that a network was
#: trained on can drive one block after the other to infinity, and no pixel near it survives
#: (docs/decisions/0017-colours.md).
LARGEST_GATE = 2.0


class Depthwise(nn.Conv2d):
    """Depthwise k×k convolution with zero padding.

    With ``float32`` set it computes in float32 also under autocast: on CPUs, large kernels are
    several times slower in bfloat16 (the gradient of their weights falls back to a dense kernel).
    """

    float32 = False

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        if not self.float32:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class GatedBlock(nn.Module):
    """Residual block: depthwise k×k, then a gated pointwise pair.

    ``y = x + W2 clamp(a * silu(b))`` with ``a, b = split(W1 (dw(x)))``, after ConvNeXt (Liu et al.
    2022) with a gated linear unit (Shazeer 2020), its products within ±:data:`LARGEST_GATE`.
    Cost: ``3 C² + k² C`` MAC per position.
    """

    def __init__(self, channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.depthwise = Depthwise(channels, kernel)
        self.expand = Pointwise(channels, 2 * channels)
        self.project = Pointwise(channels, channels)
        with torch.no_grad():  # start close to the identity, so that depth does not slow the start
            self.project.weight.mul_(0.3)
            self.project.bias.zero_()  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.expand(self.depthwise(x)).chunk(2, dim=1)
        return x + self.project((a * F.silu(b)).clamp_(-LARGEST_GATE, LARGEST_GATE))


def gated_blocks(channels: int, depth: int, *, kernel: int = 3) -> nn.Sequential:
    """``depth`` gated blocks of equal width."""
    return nn.Sequential(*(GatedBlock(channels, kernel=kernel) for _ in range(depth)))


class Down(nn.Module):
    """Halve the resolution: pixel-unshuffle(2), then 1×1. B×C×H×W → B×out×H/2×W/2."""

    def __init__(self, channels: int, out: int, *, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor
        self.mix = Pointwise(channels * factor * factor, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(F.pixel_unshuffle(x, self.factor))


class Up(nn.Module):
    """Raise the resolution: 1×1, then pixel-shuffle. B×C×H×W → B×out×fH×fW."""

    def __init__(self, channels: int, out: int, *, factor: int = 2) -> None:
        super().__init__()
        self.factor = factor
        self.mix = Pointwise(channels, out * factor * factor)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.mix(x), self.factor)


class QualityCurve(nn.Module):
    """A per-channel function of quality, linear between equidistant knots.

    ``forward(quality)`` with quality in [0, 100], shape (B,), returns (B, C).
    """

    def __init__(self, channels: int, *, knots: int, start: Tensor | None = None) -> None:
        super().__init__()
        self.knots = nn.Parameter(torch.zeros(knots, channels))  # (K, C)
        if start is not None:
            with torch.no_grad():
                self.knots.copy_(start[:, None].expand_as(self.knots))

    def forward(self, quality: Tensor) -> Tensor:
        count = self.knots.shape[0]
        position = quality.to(self.knots.dtype) / 100 * (count - 1)  # (B,)
        index = torch.arange(count, device=position.device, dtype=position.dtype)
        hat = (1 - (position[:, None] - index).abs()).clamp_min(0)  # (B, K)
        return hat @ self.knots


class Modulate(nn.Module):
    """Scale and shift channels by quality, so that one network serves the whole range."""

    def __init__(self, channels: int, *, knots: int) -> None:
        super().__init__()
        self.scale = QualityCurve(channels, knots=knots)
        self.shift = QualityCurve(channels, knots=knots)

    def forward(self, x: Tensor, quality: Tensor) -> Tensor:
        scale = 1 + self.scale(quality)[:, :, None, None]
        return torch.addcmul(self.shift(quality)[:, :, None, None].to(x), x, scale.to(x))
