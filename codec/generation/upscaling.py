"""Super-resolution: a small picture as y2 (half size) or y1 (quarter), the rest from the prior.

Generation given the small representation (Gatopoulos & Tomczak 2020). The decoder of this codec
does not take y2 itself, so that it is imposed: the picture is explained by the layers that y2
depends on (u and z1), the prior's mean completes the others, and what comes out is moved back
towards pictures that shrink to y2. A few rounds of this are alternating projections between what
the prior expects and what is known. ``docs/decisions/0013-super-resolution.md`` compares it with
gradient descent on the latents.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from codec.errors import ArgumentError
from codec.generation.checks import check_room
from codec.generation.projection import enlarge, project, settle
from codec.generation.stack import synthesize
from codec.installed import get_model
from codec.limits import DEFAULT_MAX_PIXELS, out_of_memory_as_limit
from codec.options import DEFAULT_MODEL
from codec.picture import Picture, to_pillow
from codec.picture_reading import ImageLike, load_picture
from codec.progress import split
from codec.walk import Analysed, Filled, Source, pad_image, walk
from models.protocol import CodingModel, Progress

FACTORS = (2, 4)
#: Quality at which layers explain the picture, by factor; and how often they do.
_QUALITY, _PASSES = {2: 65, 4: 30}, 3
#: Rounds of back-projection: of the first enlargement, and after each pass.
_FIRST_ROUNDS, _ROUNDS = 5, 3


@out_of_memory_as_limit
def upscale(
    image: ImageLike | bytes,
    *,
    factor: int = 2,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> Image.Image:
    """A picture of 2 or 4 times the size that the model's prior expects for a small one.

    The average of every 2×2 (4×4) pixels of the result is the pixel of the small image, exactly.

    Args:
        image: path, coded bytes, PIL image or uint8 array H×W×3 (H×W grey, H×W×4 with alpha). Made
            by averaging, it is what the model knows as y2; sharper reductions (Lanczos) work too.
        factor: 2 or 4.
        model: name of an installed model.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_pixels: refuse results of more pixels; None: no limit.
        progress: called with the share done, 0…1.

    Returns:
        An image of the same mode (RGB, L, RGBA, LA) with the metadata of the small one; alpha is
        enlarged bicubically.

    Raises:
        codec.errors.CodecError: unreadable image, bad argument, too many pixels, missing model.
    """
    if factor not in FACTORS:
        raise ArgumentError(f"the factor must be 2 or 4, not {factor}")
    picture = load_picture(image, max_pixels=max_pixels)
    height, width = (factor * side for side in picture.rgb.shape[:2])
    check_room(1, width, height, max_pixels)
    network = get_model(model, device)
    small = torch.from_numpy(np.require(picture.rgb, requirements="W")).permute(2, 0, 1)
    enlarged = completed(network, small, factor, progress)
    alpha = picture.alpha
    if alpha is not None:
        alpha = np.array(Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC))
    rgb = enlarged.permute(1, 2, 0).contiguous().numpy()
    return to_pillow(Picture(rgb, picture.grey, alpha, picture.icc, picture.exif, picture.xmp))


@torch.no_grad()
def completed(
    model: CodingModel, small: Tensor, factor: int, progress: Progress | None = None
) -> Tensor:
    """3×h×w uint8 → 3×fh×fw uint8 whose f×f averages are ``small``."""
    picture = enlarge(small, factor, _FIRST_ROUNDS)
    for index, report in enumerate(split(progress, [1.0] * _PASSES), start=1):
        drawn = _expected(model, picture, _QUALITY[factor], report)
        bring_back = settle if index == _PASSES else project
        picture = bring_back(drawn, small, factor, _ROUNDS)
    return picture


def _expected(
    model: CodingModel, picture: Tensor, quality: float, progress: Progress | None
) -> Tensor:
    """What the prior expects of a picture, 3×H×W uint8 both, from the layers that y2 depends on."""
    size = (picture.shape[-2], picture.shape[-1])
    coding, drawing = split(progress, [2.0, 1.0])
    kept = model.layers_for_scale(2)
    sources: list[Source] = [layers_of(model, picture, quality)] * kept
    sources += [Filled()] * (len(model.layers) - kept)
    latents = walk(model, size, quality, sources, coding).latents
    return synthesize(model, latents, quality, size, drawing).cpu()


def layers_of(model: CodingModel, picture: Tensor, quality: float) -> Analysed:
    """The layers of a picture, 3×H×W uint8, as they are before rounding."""
    rgb = picture.permute(1, 2, 0).numpy()
    return Analysed(model.posterior(pad_image(rgb, model.size_multiple), quality))
