"""From one picture to another, in the concept."""

from __future__ import annotations

from dataclasses import replace
from os import PathLike

import numpy as np
from PIL import Image, ImageOps

from codec.errors import ArgumentError
from codec.generation.checks import check_randomness, check_room
from codec.generation.sampling import MAX_COUNT
from codec.generation.stack import generator
from codec.generation.subject import (
    SourceLike,
    Subject,
    load_in_srgb,
    subject_of,
    subject_of_picture,
)
from codec.inspection import info, is_coded
from codec.limits import DEFAULT_MAX_PIXELS, out_of_memory_as_limit
from codec.options import whole_number
from codec.picture import Picture
from codec.progress import split
from codec.walk import Filled
from models.protocol import Progress

#: What becomes of the layers after u.
DETAILS = ("mean", "sample", "interpolate")


@out_of_memory_as_limit
def interpolate(
    first: SourceLike,
    second: SourceLike,
    *,
    steps: int = 8,
    detail: str = "mean",
    seed: int = 0,
    temperature: float = 1.0,
    quality: float | None = None,
    model: str | None = None,
    device: str = "auto",
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> list[Image.Image]:
    """Pictures whose u goes from that of one picture to that of another in equal steps.

    Args:
        first: image (path, coded bytes, PIL image, uint8 array) or .cci file (path, bytes).
        second: likewise. Of different sizes, an image is scaled and cut to the size of the .cci
            file, or else the second to that of the first; two .cci files must agree.
        steps: how many pictures, 2…1000, both ends included.
        detail: the layers after u: ``mean`` of the prior, ``sample`` of it (the same random numbers
            for every picture), or ``interpolate`` them as well. The ends then are the
            reconstructions from u, or from all layers; those of .cci files with the filters that
            were fitted to them.
        seed: makes samples reproducible.
        temperature: 0…10, of the samples.
        quality: 0…100, of images' layers; default that of a .cci file, else 50.
        model: name of an installed model; default that of a .cci file, else ssvae.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_pixels: limit of the pixels of all pictures together; None: no limit.
        progress: called with the share done, 0…1.

    Returns:
        ``steps`` images of one size; L where both pictures are grey, else RGB; in sRGB.

    Raises:
        codec.errors.CodecError: unreadable input, bad argument, .cci files that do not match, too
            many pixels, missing model.
    """
    whole_number("the number of steps", steps, 2, MAX_COUNT)
    if detail not in DETAILS:
        raise ArgumentError(f"detail must be {', '.join(DETAILS[:-1])} or {DETAILS[-1]}")
    check_randomness(seed, temperature)
    keep = 3 if detail == "interpolate" else 1
    start, end = _pair(first, second, keep, quality, model, device, max_pixels)
    check_room(steps, start.size[1], start.size[0], max_pixels)
    pictures = []
    shares = np.linspace(0.0, 1.0, steps)
    for share, report in zip(shares, split(progress, [1.0] * steps), strict=True):
        rest = Filled(generator(seed), temperature) if detail == "sample" else None
        pictures.append(start.towards(end, float(share)).draw(rest, report))
    return pictures


def _pair(
    first: SourceLike,
    second: SourceLike,
    keep: int,
    quality: float | None,
    model: str | None,
    device: str,
    max_pixels: int | None,
) -> tuple[Subject, Subject]:
    """Both pictures at one size, quality and model. Raises CodecError where that cannot be."""
    # What a file is cannot be changed: it decides what becomes of an image.
    swapped = is_coded(second) and not is_coded(first)
    leading, following = (second, first) if swapped else (first, second)
    leader = subject_of(
        leading, keep, quality=quality, model=model, device=device, max_pixels=max_pixels
    )
    follower = _beside(leader, following, device, max_pixels)
    if leader.icc != follower.icc:
        raise ArgumentError(
            "a .cci file whose ICC profile the other does not have: decode it to an image, whose "
            "colours are converted"
        )
    grey = leader.grey and follower.grey
    pair = replace(leader, grey=grey), replace(follower, grey=grey)
    return (pair[1], pair[0]) if swapped else pair


def _beside(leader: Subject, source: SourceLike, device: str, max_pixels: int | None) -> Subject:
    """The other picture, made to match."""
    quality, model = leader.quality, leader.model.name
    if not (isinstance(source, bytes | str | PathLike) and is_coded(source)):
        picture = load_in_srgb(source, max_pixels=max_pixels)
        fitted = Picture(fit(picture.rgb, leader.size), picture.grey)
        return subject_of_picture(
            fitted, leader.layers, quality=quality, model=model, device=device
        )
    about = info(source, max_pixels=max_pixels)
    if (about.model, about.quality) != (model, quality):
        raise ArgumentError(
            f"the .cci files are of model {model}, quality {quality:g}, and of model "
            f"{about.model}, quality {about.quality:g}; decode one to an image, which is then "
            "analysed like the other"
        )
    subject = subject_of(
        source, leader.layers, quality=quality, model=model, device=device, max_pixels=max_pixels
    )
    if subject.size != leader.size:
        sizes = " and ".join(f"{w}×{h}" for h, w in (leader.size, subject.size))
        raise ArgumentError(
            f"the .cci files have {sizes} pixels; decode one to an image, which can be scaled"
        )
    return subject


def fit(rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scaled to cover height × width, and cut to it around the middle."""
    if rgb.shape[:2] == size:
        return rgb
    image = ImageOps.fit(Image.fromarray(rgb), (size[1], size[0]), Image.Resampling.LANCZOS)
    return np.array(image)
