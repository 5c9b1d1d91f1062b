"""Reconstructions from more and more layers, and given the half-size picture itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from codec.decoding import decode_detailed
from codec.encoding import encode_detailed
from codec.generation.checks import check_randomness, check_room
from codec.generation.projection import settle, shrink
from codec.generation.stack import as_image, synthesize
from codec.generation.subject import load_in_srgb
from codec.generation.upscaling import completed, layers_of
from codec.inspection import info
from codec.installed import get_model
from codec.limits import DEFAULT_MAX_PIXELS, out_of_memory_as_limit
from codec.options import DEFAULT_MODEL, DEFAULT_QUALITY, DEFAULT_TEMPERATURE
from codec.picture import Picture, to_pillow
from codec.picture_reading import ImageLike
from codec.progress import split
from codec.unseen import seen_squares
from codec.walk import Coded, Source, pad_image, walk
from models.protocol import CodingModel, Progress


@dataclass(frozen=True)
class Panel:
    """One picture of a comparison.

    ``name`` says what it is drawn from; ``bytes`` is the size of the file that suffices for it,
    None where there is no such file.
    """

    name: str
    image: Image.Image
    bytes: int | None = None

    @property
    def title(self) -> str:
        """Name and bytes."""
        return self.name if self.bytes is None else f"{self.name}: {self.bytes} B"


@out_of_memory_as_limit
def reconstruct(
    image: ImageLike | bytes,
    *,
    fill: str = "mean",
    seed: int = 0,
    temperature: float = DEFAULT_TEMPERATURE,
    quality: float = DEFAULT_QUALITY,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> list[Panel]:
    """The original, its reconstructions, and conditional ones (Gatopoulos & Tomczak 2020).

    In this order: the original; from u (RS1), from u + z1 (RS2), from all layers (RS3), each
    decoded from a cut of one coded file; *y2*: the half-size picture is known exactly, the rest
    expected by the prior (see :func:`codec.generation.upscale`); *y2 + z2*: the same with z2 of the
    original coded beside it.

    Args:
        image: path, coded bytes, PIL image or uint8 array H×W×3 (H×W grey, H×W×4 with alpha, which
            is left out).
        fill: how RS1 and RS2 are completed: ``mean`` of the prior, or ``sample`` of it.
        seed: makes samples reproducible.
        temperature: 0…10, of the samples.
        quality: 0…100.
        model: name of an installed model.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_pixels: refuse larger images; None: no limit.
        progress: called with the share done, 0…1.

    Returns:
        Panels with images of the original's size, RGB or L, in sRGB.

    Raises:
        codec.errors.CodecError: unreadable image, bad argument, missing model.
    """
    check_randomness(seed, temperature)
    picture = load_in_srgb(image, max_pixels=max_pixels)
    height, width = picture.rgb.shape[:2]
    check_room(1, width, height, max_pixels)
    plain = to_pillow(Picture(picture.rgb, picture.grey))
    encoding, *decoding, halving, refining = split(progress, [2.0, 1.0, 1.0, 1.0, 6.0, 3.0])
    coded = encode_detailed(
        plain,
        quality=quality,
        model=model,
        device=device,
        graphics=False,  # what is shown is what the layers know
        max_pixels=None,
        progress=encoding,
    )
    data, quality = coded.data, coded.quality
    ends = [layer.end for layer in info(data, max_pixels=None).layers]
    panels = [Panel("original", plain)]
    for name, end, report in zip(("u", "u + z1", "u + z1 + z2"), ends, decoding, strict=True):
        cut = decode_detailed(
            data[:end],
            fill=fill,
            seed=seed,
            temperature=temperature,
            device=device,
            max_pixels=None,
            progress=report,
        )
        panels.append(Panel(name, cut.image, end))
    network = get_model(model, device)
    original = torch.from_numpy(np.require(picture.rgb, requirements="W")).permute(2, 0, 1)
    half = shrink(original, 2)
    expected = completed(network, half, 2, halving)
    sharpened = _with_details(network, original, half, expected, quality, refining)
    for name, drawn in (("y2", expected), ("y2 + z2", sharpened)):
        panels.append(Panel(name, as_image(drawn[:, :height, :width], grey=picture.grey)))
    return panels


@torch.no_grad()
def _with_details(
    model: CodingModel,
    original: Tensor,
    half: Tensor,
    expected: Tensor,
    quality: float,
    progress: Progress | None,
) -> Tensor:
    """The picture given y2 and the finest layers of the original.

    Args:
        original: 3×H×W uint8.
        half: y2, 3×⌈H/2⌉×⌈W/2⌉ uint8.
        expected: 3×2⌈H/2⌉×2⌈W/2⌉ uint8, what is expected of y2 alone: anyone who knows y2 has it,
            and the layers that y2 depends on are taken from it.
    """
    coding, drawing = split(progress, [2.0, 1.0])
    size = (expected.shape[-2], expected.shape[-1])
    kept = model.layers_for_scale(2)
    padded = pad_image(original.permute(1, 2, 0).numpy(), model.size_multiple)
    seen = seen_squares(size, (padded.shape[-2], padded.shape[-1]))
    details = Coded(model.posterior(padded, quality), model.skip_index, seen[None])
    sources: list[Source] = [layers_of(model, expected, quality)] * kept
    sources += [details] * (len(model.layers) - kept)
    latents = walk(model, size, quality, sources, coding).latents
    return settle(synthesize(model, latents, quality, size, drawing).cpu(), half, 2, 0)
