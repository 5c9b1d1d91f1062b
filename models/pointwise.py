"""1×1 convolutions, which most of the networks' operations are."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: From so many images on, PyTorch gives 1×1 convolutions to oneDNN whatever the threads.
_MANY = 16
#: Below so many positions the way there costs more than it brings.
_FEW_POSITIONS = 512


def pointwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """1×1 convolution, B×in×H×W → B×out×H×W; ``weight`` is out×in×1×1.

    With one thread PyTorch computes it for few images as a plain matrix product, which takes twice
    as long as oneDNN does in single precision. To a 1×1 convolution rows are as good as images.
    """
    if x.is_cpu and not torch.is_grad_enabled() and _onednn(x):
        # For every size: what is computed of an image then has the same bits in every batch.
        return torch.ops.aten.mkldnn_convolution(x, weight, bias, (0, 0), (1, 1), (1, 1), 1)
    b, c, h, w = x.shape
    single = x.dtype == torch.float32 and x.is_cpu and not torch.is_autocast_enabled("cpu")
    if (
        not single
        or b >= _MANY
        or b * h < _MANY
        or b * h * w < _FEW_POSITIONS
        or torch.get_num_threads() > 1
        or not x.is_contiguous(memory_format=torch.channels_last)
    ):
        return F.conv2d(x, weight, bias)
    rows = x.permute(0, 2, 3, 1).reshape(b * h, 1, w, c).permute(0, 3, 1, 2)
    out = F.conv2d(rows, weight, bias)
    return out.permute(0, 2, 3, 1).reshape(b, h, w, -1).permute(0, 3, 1, 2)


def _onednn(x: Tensor) -> bool:
    return (
        x.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
    )


class Pointwise(nn.Conv2d):
    """The same as a layer."""

    def __init__(self, channels: int, out: int, *, bias: bool = True) -> None:
        super().__init__(channels, out, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return pointwise(x, self.weight, self.bias)
