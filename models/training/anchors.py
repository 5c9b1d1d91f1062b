"""JPEG and JPEG 2000 as anchors, through Pillow, with settings that do them justice at low rates.

Above 36 dB JPEG needs chroma of full size. Here, and not among the benchmarks, because the training
loop's validation table shows them too.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from models.metrics.psnr import psnr

Coder = Callable[[np.ndarray, float], bytes]

#: Settings that span about 0.1 … 4 bpp on photographs. Chroma of half size: JPEG ends at 43 dB.
JPEG_QUALITIES = (5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 93, 95, 97, 99)
JPEG2000_BPP = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0)


def encode_jpeg(rgb: np.ndarray, quality: float, subsampling: str = "4:2:0") -> bytes:
    """JPEG with optimized Huffman tables."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(
        buffer, "JPEG", quality=int(quality), optimize=True, subsampling=subsampling
    )
    return buffer.getvalue()


def encode_jpeg2000(rgb: np.ndarray, bpp: float) -> bytes:
    """JPEG 2000 in rate mode; the 9/7 wavelet and the colour transform must be asked for."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(
        buffer,
        "JPEG2000",
        quality_mode="rates",
        quality_layers=[24 / bpp],
        irreversible=True,
        mct=1,
        no_jp2=True,
    )
    return buffer.getvalue()


ANCHORS: dict[str, tuple[Coder, tuple[float, ...]]] = {
    "jpeg": (encode_jpeg, JPEG_QUALITIES),
    "jpeg2000": (encode_jpeg2000, JPEG2000_BPP),
}


def decode_rgb(data: bytes) -> np.ndarray:
    """Coded image → uint8 H×W×3, through Pillow."""
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image.convert("RGB"))


def mean_curve(images: Sequence[np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean bpp and mean PSNR of an anchor over images, one entry per setting."""
    coder, settings = ANCHORS[name]
    points = np.zeros((len(settings), 2))
    for rgb in images:
        for row, setting in enumerate(settings):
            data = coder(rgb, setting)
            bpp = 8 * len(data) / (rgb.shape[0] * rgb.shape[1])
            points[row] += bpp, psnr(rgb, decode_rgb(data))
    points /= len(images)
    return points[:, 0], points[:, 1]
