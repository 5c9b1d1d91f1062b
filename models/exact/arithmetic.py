"""Exact arithmetic: networks whose output has the same bits on every machine.

A file can only be decoded if encoder and decoder agree on every probability to the last bit, so
whatever decides how symbols are coded is computed in integers. They are carried in float64 tensors,
because every matrix library has a fast float64 product and none has a fast integer one:

* an activation ``a`` is stored as the integer ``round(a · 2^ACTIVATION_BITS)``, clamped to
  ±``ACTIVATION_LIMIT``;
* a weight ``w`` is stored as ``round(w · 2^WEIGHT_BITS)``;
* a product sum is an integer below 2^53 in magnitude (checked when a network is frozen). Float64
  represents every such integer, so each partial sum is exact and *every order of summation, with or
  without fused multiply-add, gives the same bits*;
* rescaling is a multiplication by a power of two, then a floor.

Every module here has two faces. While training it is an ordinary float32 layer with parameters.
:meth:`freeze` rounds the parameters to integers once and for all; from then on ``forward`` takes
and returns integers in float64. Rounding after training is enough (docs/decisions/0001):
the steps of 2^-12 and 2^-10 change the size of a file by less than 0.03%.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.pointwise import pointwise

ACTIVATION_BITS = 10
WEIGHT_BITS = 12
ACTIVATION_LIMIT = 2**23 - 1
WEIGHT_LIMIT = 2**18 - 1
#: Sums of a few clamped tensors (context, latent, phase) enter layers without another clamp.
_HEADROOM = 4
#: Products of images with so few places are computed as one for the whole batch.
_FEW_PLACES = 128


class ExactModule(nn.Module):
    """Base of the two-faced layers; ``frozen`` tells which face is shown."""

    units: ClassVar[dict[str, int]] = {}
    """Parameters of the layer, and how many fractional bits each has as an integer."""
    frozen: bool = False

    def freeze(self) -> None:
        """Replace parameters by buffers of integers. Raises ValueError where that is not exact."""
        for name, bits in self.units.items():
            value = torch.round(getattr(self, name).detach().double() * 2.0**bits)
            delattr(self, name)
            self.register_buffer(name, value)
        self.check()
        self.frozen = True

    def thaw(self) -> None:
        """Replace the integers by float32 parameters again."""
        for name, bits in self.units.items():
            value = (getattr(self, name) * 2.0**-bits).float()
            delattr(self, name)
            setattr(self, name, nn.Parameter(value))
        self.frozen = False

    def check(self) -> None:
        """Raises ValueError if the frozen face could leave the range of exact integers."""


def freeze(module: nn.Module) -> nn.Module:
    """Freeze every exact layer below ``module`` (float layers stay as they are)."""
    for child in module.modules():
        if isinstance(child, ExactModule) and not child.frozen:
            child.freeze()
    return module


def thaw(module: nn.Module) -> nn.Module:
    """Undo :func:`freeze`, in place: the float face of the same integers."""
    for child in module.modules():
        if isinstance(child, ExactModule) and child.frozen:
            child.thaw()
    return module


def _rescale(total: Tensor) -> Tensor:
    """Integers in units of 2^-(A+W) → units of 2^-A, rounded half up, clamped; in place."""
    total.mul_(2.0**-WEIGHT_BITS).add_(0.5).floor_()
    return total.clamp_(-ACTIVATION_LIMIT, ACTIVATION_LIMIT)


class _ExactSum(ExactModule):
    """A layer that sums products of weights and activations."""

    units: ClassVar[dict[str, int]] = {
        "weight": WEIGHT_BITS,
        "bias": WEIGHT_BITS + ACTIVATION_BITS,
    }
    weight: Tensor
    bias: Tensor

    def check(self) -> None:
        """Prove that no partial sum can leave the exact range."""
        reach = self.weight.abs().flatten(1).sum(1) * (_HEADROOM * ACTIVATION_LIMIT)
        if self.weight.abs().max() > WEIGHT_LIMIT or (reach + self.bias.abs()).max() >= 2**53:
            raise ValueError("weights are too large for exact arithmetic; train with decay")


class _ExactConstant(ExactModule):
    """A layer whose parameters are activations themselves."""

    def check(self) -> None:
        for name in self.units:
            if getattr(self, name).abs().max() > ACTIVATION_LIMIT:
                raise ValueError("a constant is too large for exact arithmetic; train with decay")


class ExactPointwise(_ExactSum):
    """1×1 convolution, B×in×H×W → B×out×H×W, as a matrix product."""

    def __init__(self, channels: int, out: int, *, gain: float = 1.0) -> None:
        super().__init__()
        bound = channels**-0.5
        self.weight = nn.Parameter(torch.empty(out, channels).uniform_(-bound, bound) * gain)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        if not self.frozen:
            return pointwise(x, self.weight[:, :, None, None], self.bias)
        return _pointwise(x, self.weight, self.bias)

    def some(self, x: Tensor, *channels: slice) -> Tensor:
        """Only some of the output channels."""
        weight = torch.cat([self.weight[c] for c in channels])
        bias = torch.cat([self.bias[c] for c in channels])
        if not self.frozen:
            return pointwise(x, weight[:, :, None, None], bias)
        return _pointwise(x, weight, bias)


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    total = _product(weight, x.flatten(2))
    total += bias[:, None]
    return _rescale(total).unflatten(2, x.shape[-2:])


def _product(weight: Tensor, x: Tensor) -> Tensor:
    """(out, in) @ B×in×N → B×out×N."""
    batch, _, places = x.shape
    if batch == 1:
        return torch.mm(weight, x[0])[None]
    if x.is_cpu and places <= _FEW_PLACES:  # the product of one image would be too narrow
        wide = torch.mm(weight, x.transpose(0, 1).flatten(1))  # (in, B*N)
        return wide.unflatten(1, (batch, places)).transpose(0, 1).contiguous()
    return torch.bmm(weight.expand(batch, -1, -1), x)


class ExactDepthwise(_ExactSum):
    """Depthwise k×k convolution with zero padding, as a sum of shifted products.

    A library convolution may choose an FFT or Winograd algorithm, whose intermediate values are not
    integers; shifted products leave it no choice.
    """

    def __init__(self, channels: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.kernel = kernel
        bound = 1.0 / kernel
        weight = torch.empty(channels, kernel, kernel).uniform_(-bound, bound) * 0.5
        weight[:, kernel // 2, kernel // 2] += 0.5
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        pad = self.kernel // 2
        if not self.frozen:
            return F.conv2d(
                x, self.weight[:, None], self.bias, padding=pad, groups=self.weight.shape[0]
            )
        h, w = x.shape[-2:]
        padded = F.pad(x, (pad, pad, pad, pad))
        total = self.bias[:, None, None].expand_as(x).clone()
        for row in range(self.kernel):
            for column in range(self.kernel):
                shifted = padded[:, :, row : row + h, column : column + w]
                total.addcmul_(shifted, self.weight[:, row, column, None, None])
        return _rescale(total)


class ExactLeakyReLU(ExactModule):
    """max(x, x/8); the division is a floor in the frozen face."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.frozen:
            return F.leaky_relu(x, 0.125)
        return torch.maximum(x, torch.floor(x * 0.125))


class ExactBias(_ExactConstant):
    """A learned constant of the given shape, in activation units."""

    units: ClassVar[dict[str, int]] = {"value": ACTIVATION_BITS}

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(*shape))

    def forward(self) -> Tensor:
        return self.value


class ExactQualityCurve(_ExactConstant):
    """Per-channel function of quality, linear between knots: (B,) → B×C×1×1.

    100 must be a multiple of ``knots - 1``. The frozen face is exact at multiples of a quarter.
    """

    units: ClassVar[dict[str, int]] = {"knots": ACTIVATION_BITS}

    def __init__(self, channels: int, *, knots: int) -> None:
        super().__init__()
        if 100 % (knots - 1):
            raise ValueError("100 must be a multiple of knots - 1")
        self.knots = nn.Parameter(torch.zeros(knots, channels))

    def forward(self, quality: Tensor) -> Tensor:
        count = self.knots.shape[0]
        span = 100 // (count - 1)
        index = torch.arange(count, device=quality.device) * span
        if not self.frozen:
            hat = (1 - (quality[:, None] - index).abs() / span).clamp_min(0).to(self.knots)
            return (hat @ self.knots)[:, :, None, None]
        hat = (span - (quality[:, None] - index).abs()).clamp_min(0).to(self.knots)  # integers
        # IEEE division is correctly rounded, and its floor exact for numbers this small. The
        # divisor is a tensor, since division by a scalar may become a product with 1/span.
        total = hat @ self.knots
        return torch.floor(total / torch.full_like(total, span))[:, :, None, None]


class ExactUp(nn.Module):
    """1×1 convolution, then pixel-shuffle(2): B×C×H×W → B×out×2H×2W."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.mix = ExactPointwise(channels, 4 * out)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.mix(x), 2)


class ExactBlock(ExactModule):
    """Residual block: depthwise 3×3, 1×1, leaky ReLU, 1×1. ``2 C² + 9 C`` MAC per position."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ExactDepthwise(channels),
            ExactPointwise(channels, channels, gain=1.5),
            ExactLeakyReLU(),
            ExactPointwise(channels, channels, gain=0.5),
        )

    def forward(self, x: Tensor) -> Tensor:
        out = x + self.body(x)
        return out.clamp_(-ACTIVATION_LIMIT, ACTIVATION_LIMIT) if self.frozen else out
