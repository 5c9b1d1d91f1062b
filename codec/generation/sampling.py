"""Pictures drawn from the prior: out of nothing, or below layers that are kept."""

from __future__ import annotations

from PIL import Image

from codec.generation.checks import check_randomness, check_room
from codec.generation.stack import as_image, generator, synthesize
from codec.generation.subject import SourceLike, subject_of
from codec.installed import get_model
from codec.limits import DEFAULT_MAX_PIXELS, out_of_memory_as_limit
from codec.options import DEFAULT_MODEL, DEFAULT_QUALITY, quality_of, whole_number
from codec.progress import split
from codec.walk import Filled, walk
from models.protocol import Progress

#: More pictures than this are asked for by mistake.
MAX_COUNT = 1000


@out_of_memory_as_limit
def sample(
    count: int = 1,
    *,
    size: int = 256,
    seed: int = 0,
    temperature: float = 1.0,
    quality: float = DEFAULT_QUALITY,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> list[Image.Image]:
    """Unconditional samples: every layer is drawn from the prior (Gatopoulos & Tomczak 2020).

    Args:
        count: how many pictures, 1…1000; fewer pictures of a seed are the first of more.
        size: side of the square pictures, in pixels.
        seed: makes them reproducible.
        temperature: 0…10, of the samples; 0 is the prior's mean, without any chance.
        quality: 0…100, at which the layers are drawn: how fine their steps are.
        model: name of an installed model.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_pixels: limit of the pixels of all pictures together; None: no limit.
        progress: called with the share done, 0…1.

    Returns:
        ``count`` RGB images of size × size.

    Raises:
        codec.errors.CodecError: bad argument, too many pixels, missing model.
    """
    whole_number("the number of pictures", count, 1, MAX_COUNT)
    whole_number("the size", size, 1, 2**16)
    quality = quality_of(quality)
    check_randomness(seed, temperature)
    check_room(count, size, size, max_pixels)
    network = get_model(model, device)
    pictures = []
    for index, report in enumerate(split(progress, [1.0] * count)):
        filled = Filled(generator(seed, index), temperature)
        sources = [filled] * len(network.layers)
        latents = walk(network, (size, size), quality, sources).latents
        pictures.append(as_image(synthesize(network, latents, quality, (size, size), report)))
    return pictures


@out_of_memory_as_limit
def vary(
    source: SourceLike,
    count: int = 8,
    *,
    keep: int = 1,
    seed: int = 0,
    temperature: float = 1.0,
    quality: float | None = None,
    model: str | None = None,
    device: str = "auto",
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> list[Image.Image]:
    """Variants of a picture that share its first layers; the others are drawn from the prior.

    This is how the decoder of *Towards Conceptual Compression* (Gregor et al. 2016) completes what
    is not stored.

    Args:
        source: image (path, coded bytes, PIL image, uint8 array) or .cci file (path, bytes).
        count: how many variants, 1…1000; fewer variants of a seed are the first of more.
        keep: layers that all variants share: 1 (u) or 2 (u and z1).
        seed: makes them reproducible.
        temperature: 0…10, of what is drawn; 0 is the prior's mean.
        quality: 0…100, of an image's layers, default 50; a .cci file brings its own.
        model: name of an installed model, default ssvae; a .cci file brings its own.
        device: ``auto``, ``cpu`` or ``cuda``.
        max_pixels: limit of the pixels of all variants together; None: no limit.
        progress: called with the share done, 0…1.

    Returns:
        ``count`` images of the source's size, RGB or L, in sRGB.

    Raises:
        codec.errors.CodecError: unreadable input, bad argument, too many pixels, missing model.
    """
    whole_number("the number of pictures", count, 1, MAX_COUNT)
    whole_number("the number of layers to keep", keep, 1, 2)
    check_randomness(seed, temperature)
    subject = subject_of(
        source, keep, quality=quality, model=model, device=device, max_pixels=max_pixels
    )
    check_room(count, subject.size[1], subject.size[0], max_pixels)
    return [
        subject.draw(Filled(generator(seed, index), temperature), report)
        for index, report in enumerate(split(progress, [1.0] * count))
    ]
