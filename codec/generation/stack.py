"""What the functions of generation share: random numbers, and latents → picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from codec.filters import Filters
from codec.picture import Picture, convert_to_srgb, to_pillow
from models.protocol import CodingModel, Progress

NO_FILTERS = Filters()


def generator(seed: int, index: int = 0) -> np.random.Generator:
    """Random numbers of picture number ``index`` of a seed, whichever others are drawn with it."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, index])))


@torch.no_grad()
def synthesize(
    model: CodingModel,
    latents: Sequence[Tensor],
    quality: float,
    size: tuple[int, int],
    progress: Progress | None = None,
    filters: Filters = NO_FILTERS,
) -> Tensor:
    """Latents of all stages → the picture, 3×height×width uint8."""
    drawn = model.synthesize(
        latents, quality, 1, progress, prepared=filters.prepared, finish=filters.last
    )
    return drawn[0, :, : size[0], : size[1]]


def as_image(pixels: Tensor, *, grey: bool = False, icc: bytes | None = None) -> Image.Image:
    """3×H×W uint8 → RGB image, or L, in sRGB; ``icc`` is the profile of the pixels, None: sRGB."""
    picture = Picture(pixels.permute(1, 2, 0).contiguous().cpu().numpy(), grey, icc=icc)
    convert_to_srgb(picture)
    return to_pillow(picture)
