"""How the float networks of a codec are run."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def full_precision() -> AbstractContextManager[None]:
    """No TF32 on GPUs: with it, pixels would differ by more than a level from other machines."""
    return torch.backends.cudnn.flags(allow_tf32=False)


def fast(x: Tensor) -> Tensor:
    """The memory layout that convolutions like best."""
    return x.contiguous(memory_format=torch.channels_last)


def to_uint8(picture: Tensor) -> Tensor:
    """[0, 1] → 0…255; overwrites ``picture``."""
    return picture.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
