"""Training images in memory: decoded once to uint8, cropped where they lie.

A set of photographs of a few hundred megapixels fits into memory many times over, on the GPU too;
keeping it there leaves nothing for a data loader to do.
"""

from __future__ import annotations

import os
import sys
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeGuard

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.training.anchors import decode_rgb
from models.training.colours import DRAWS, change_colours
from models.training.pages import draw_pages

#: Qualities whose crops are clean, and the least factor by which these are reduced.
CLEAN_ABOVE, CLEAN_REDUCTION = 70.0, 1.5
#: Largest standard deviation of the noise in enlarged crops, in steps of 0…255.
LARGEST_NOISE = 2.0

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".jp2"}


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def read_files(folder: Path) -> Iterator[bytes]:
    """The coded images below ``folder``: files, and members of tar shards, in sorted order."""
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        if _is_image(path.name):
            yield path.read_bytes()
        elif path.suffix == ".tar":
            with tarfile.open(path) as tar:
                for member in sorted(tar.getmembers(), key=lambda m: m.name):
                    stream = tar.extractfile(member) if _is_image(member.name) else None
                    if stream is not None:
                        yield stream.read()


def _try_decode(data: bytes) -> np.ndarray | None:
    """Pixels, or None (with a line on standard error) for an image that cannot be read."""
    try:
        return decode_rgb(data)
    except Exception as error:  # noqa: BLE001 - Pillow's plugins raise anything on bad files
        print(f"left out an image that cannot be read ({error})", file=sys.stderr)
        return None


class ImageSet:
    """All images of a folder as one flat uint8 tensor on ``device``.

    Args:
        folder: images and tar shards, searched recursively.
        minimum: images with a smaller side are left out.
        limit: read at most n images (0: all).
        pages: how many pages of :mod:`models.training.pages` join them.
        recolour: share of the crops in other colours (:mod:`models.training.colours`), 0 … 1.
        enlarge: share of the crops that are enlarged, 0 … 1.
        seed: of the pages.

    Raises:
        ValueError: no such folder, or no usable image below it.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: torch.device,
        minimum: int = 64,
        limit: int = 0,
        pages: int = 0,
        recolour: float = 0.0,
        enlarge: float = 0.0,
        seed: int = 0,
    ) -> None:
        def keep(image: np.ndarray | None) -> TypeGuard[np.ndarray]:
            return image is not None and min(image.shape[:2]) >= minimum

        if not Path(folder).is_dir():
            raise ValueError(f"{folder}: no such folder")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            files = islice(read_files(folder), limit or None)
            images = [image for image in pool.map(_try_decode, files) if keep(image)]
        if not images:
            raise ValueError(f"{folder}: no image with sides of at least {minimum} pixels found")
        images += draw_pages(pages, seed)
        self.recolour, self.enlarge = recolour, enlarge
        self.sizes = [image.shape[:2] for image in images]
        pixels = np.array([h * w for h, w in self.sizes], dtype=np.float64)
        self.offsets = np.concatenate([[0], np.cumsum(pixels * 3)]).astype(np.int64)
        flat = torch.empty(int(self.offsets[-1]), dtype=torch.uint8)
        for i, image in enumerate(images):
            flat[self.offsets[i] : self.offsets[i + 1]] = torch.from_numpy(image.reshape(-1))
            images[i] = image[:0].copy()  # release as we go
        self.flat = flat.to(device)
        self.megapixels = float(pixels.sum() / 1e6)
        # Between "every image equally" and "every pixel equally": large photographs hold more.
        self.weights = torch.from_numpy(np.sqrt(pixels))

    def __len__(self) -> int:
        return len(self.sizes)

    def image(self, index: int) -> Tensor:
        """View of one image, uint8 H×W×3."""
        h, w = self.sizes[index]
        return self.flat[self.offsets[index] : self.offsets[index + 1]].view(h, w, 3)

    def crops(
        self,
        count: int,
        size: int,
        generator: torch.Generator,
        quality: Tensor | None = None,
    ) -> Tensor:
        """Random crops, count×3×size×size, uint8: half of them reduced by up to 2, half flipped.

        Images smaller than a crop are enlarged to it. A share of ``enlarge`` is enlarged by up to
        2, every second of these with noise as of a sensor: cameras deliver pictures smoother per
        pixel than most training sets hold. A share of ``recolour`` changes its colours.

        Args:
            quality: (count,) at which each crop will be coded. Above :data:`CLEAN_ABOVE` all crops
                that are not enlarged are reduced by at least :data:`CLEAN_REDUCTION`, which takes
                the artefacts of a training set that is itself lossy out of them.
        """
        draws = torch.rand(count, 4, generator=generator).tolist()
        indices = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        colours = (
            torch.rand(count, 1 + DRAWS, generator=generator).tolist() if self.recolour else []
        )
        smooth = torch.rand(count, 3, generator=generator).tolist() if self.enlarge else []
        out = torch.empty(count, 3, size, size, dtype=torch.uint8, device=self.flat.device)
        for i, index in enumerate(indices.tolist()):
            a, b, c, d = draws[i]
            image = self.image(index)
            h, w = image.shape[:2]
            enlarged = bool(smooth) and smooth[i][0] < self.enlarge
            if enlarged:
                reduction = 1 / (1 + a)
            elif quality is not None and quality[i] > CLEAN_ABOVE:
                reduction = CLEAN_REDUCTION + 0.7 * a
            else:
                reduction = 1.0 if a < 0.5 else 2 * a
            side = min(round(size * reduction), h, w)
            top, left = int(b * (h - side + 1)), int(c * (w - side + 1))
            crop = image[top : top + side, left : left + side].permute(2, 0, 1)
            if side != size:
                mode = "bicubic" if enlarged else "bilinear"
                crop = F.interpolate(crop[None].float(), (size, size), mode=mode, antialias=True)[0]
                if enlarged and smooth[i][1] < 0.5:
                    crop += _noise(crop.shape, smooth[i][2] * LARGEST_NOISE, generator).to(crop)
                crop = crop.round_().clamp_(0, 255)
            if colours and colours[i][0] < self.recolour:
                crop = change_colours(crop, colours[i][1:])
            out[i] = crop.flip(2) if d < 0.5 else crop
        return out


def _noise(shape: torch.Size, deviation: float, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator) * deviation
