"""How a decoded picture is judged against its original: uint8 H×W×3 arrays both."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from models.metrics.psnr import psnr

__all__ = ["MS_SSIM_MINIMUM", "butteraugli", "ms_ssim", "psnr", "ssimulacra2"]

#: The program of libjxl (Debian's package libjxl-devtools) that computes it.
BUTTERAUGLI = "butteraugli_main"

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

    with _files(original, decoded) as paths, contextlib.redirect_stdout(None):
        return float(compute_ssimulacra2(*paths))


def butteraugli(original: np.ndarray, decoded: np.ndarray) -> float | None:
    """Butteraugli's 3-norm (program ``butteraugli_main`` of libjxl): 0 for equal pictures, 1 where
    differences begin to be seen. None where the program is not installed."""
    if shutil.which(BUTTERAUGLI) is None:
        return None
    with _files(original, decoded) as paths:
        done = subprocess.run([BUTTERAUGLI, *paths], capture_output=True, text=True, check=True)
    return float(done.stdout.rpartition("3-norm:")[2])


@contextlib.contextmanager
def _files(*pictures: np.ndarray) -> Iterator[list[str]]:
    """Pictures as PNG files, for what takes files only."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{number}.png") for number in range(len(pictures))]
        for path, pixels in zip(paths, pictures, strict=True):
            Image.fromarray(pixels).save(path, compress_level=0)
        yield paths
