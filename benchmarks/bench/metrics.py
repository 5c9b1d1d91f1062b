"""How a decoded picture is judged against its original: uint8 H×W×3 arrays both."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.metrics.psnr import psnr

__all__ = ["MS_SSIM_MINIMUM", "ms_ssim", "psnr", "ssimulacra2"]

#: Five scales of an 11-pixel window need sides above (11 − 1)·2⁴.
MS_SSIM_MINIMUM = 161


def ms_ssim(original: np.ndarray, decoded: np.ndarray) -> float | None:
    """MS-SSIM over RGB, 0…1 (Wang et al. 2003; package ``pytorch-msssim``).

    None where a side is below :data:`MS_SSIM_MINIMUM` pixels: it is not defined there.
    """
    if min(original.shape[:2]) < MS_SSIM_MINIMUM:
        return None
    from pytorch_msssim import ms_ssim as measure

    x, y = (
        torch.from_numpy(np.ascontiguousarray(a)).permute(2, 0, 1)[None].float()
        for a in (original, decoded)
    )
    return float(measure(x, y, data_range=255))


def ssimulacra2(original: np.ndarray, decoded: np.ndarray) -> float:
    """SSIMULACRA2 (package ``ssimulacra2``): 90 is visually lossless, 50 medium, below 0 bad."""
    from ssimulacra2 import compute_ssimulacra2

    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, pixels in (("a", original), ("b", decoded)):
            paths.append(Path(folder) / f"{name}.png")  # the package takes files only
            Image.fromarray(pixels).save(paths[-1], compress_level=0)
        with contextlib.redirect_stdout(None):
            return float(compute_ssimulacra2(str(paths[0]), str(paths[1])))
