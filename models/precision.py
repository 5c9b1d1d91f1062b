"""How the float networks of a codec are run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

_lock = threading.Lock()
_inside = 0
_allowed_outside = True


@contextmanager
def full_precision() -> Iterator[None]:
    """No TF32 on GPUs: with it, pixels would differ by several steps of 255 from other machines.

    The flag is one for the whole process. The first thread to enter takes TF32 away, the last one
    to leave gives it back: none does so while another still computes.
    """
    global _inside, _allowed_outside
    with _lock:
        if _inside == 0:
            _allowed_outside = torch.backends.cudnn.allow_tf32
            torch.backends.cudnn.allow_tf32 = False
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                torch.backends.cudnn.allow_tf32 = _allowed_outside


def fast(x: Tensor) -> Tensor:
    """The memory layout that convolutions like best."""
    return x.contiguous(memory_format=torch.channels_last)


def to_uint8(picture: Tensor) -> Tensor:
    """[0, 1] → 0…255; overwrites ``picture``."""
    return picture.mul_(255).round_().clamp_(0, 255).to(torch.uint8)
