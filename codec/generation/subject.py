"""What is kept of an image or a .cci file, and what is drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike

import torch
from PIL import Image
from torch import Tensor

from bitstream.container import ICC, Container
from codec.decoding import Decoder
from codec.errors import ArgumentError, CorruptError, ImageError, naming
from codec.filters import Filters
from codec.generation.stack import NO_FILTERS, as_image, synthesize
from codec.inspection import is_coded, read_bytes
from codec.installed import get_model
from codec.options import DEFAULT_MODEL, DEFAULT_QUALITY, DecodeOptions, quality_of, whole_number
from codec.picture import Picture, convert_to_srgb
from codec.picture_reading import ImageLike, load_picture
from codec.side_data import unpack_metadata
from codec.unseen import seen_squares
from codec.walk import Coded, Filled, Given, Source, pad_image, walk
from models.protocol import CodingModel, Progress

#: An image, or a .cci file: path or bytes.
SourceLike = ImageLike | bytes


@dataclass(frozen=True)
class Subject:
    """The first layers of an image.

    ``latents`` are those of all stages of the first ``layers`` layers, each 1×C×H×W float32 in
    symbol units; ``size`` is height and width; ``filters`` those that a file fits to its picture,
    where all its layers are kept; ``icc`` the profile of the colours that are drawn, None: sRGB.
    """

    model: CodingModel
    quality: float
    size: tuple[int, int]
    grey: bool
    layers: int
    latents: Sequence[Tensor]
    filters: Filters = NO_FILTERS
    icc: bytes | None = None

    def towards(self, other: Subject, share: float) -> Subject:
        """A subject on the way to another of the same kind: ``share`` 0 gives this, 1 the other.

        Between one with a correction and one without, there is none.
        """
        if share in (0, 1):
            return other if share else self
        latents = [a.lerp(b, share) for a, b in zip(self.latents, other.latents, strict=False)]
        return replace(self, latents=latents, filters=self.filters.towards(other.filters, share))

    def draw(self, rest: Source | None = None, progress: Progress | None = None) -> Image.Image:
        """The picture in sRGB; ``rest`` completes the missing layers, by default the mean.

        Filters were fitted to the picture with the mean, and are left out with another ``rest``.
        """
        kept: list[Source] = [Given(self.latents)] * self.layers
        missing = len(self.model.layers) - self.layers
        sources = kept + [rest or Filled()] * missing
        # A file need not have the correction: a picture of all its layers is drawn without.
        stages = None if missing else len(self.latents)
        latents = walk(self.model, self.size, self.quality, sources, stages=stages).latents
        filters = self.filters if rest is None else NO_FILTERS
        drawn = synthesize(self.model, latents, self.quality, self.size, progress, filters)
        return as_image(drawn, grey=self.grey, icc=self.icc)


def subject_of(
    source: SourceLike,
    keep: int,
    *,
    quality: float | None,
    model: str | None,
    device: str,
    max_pixels: int | None,
) -> Subject:
    """The first ``keep`` layers of an image (analysed here) or of a .cci file.

    Args:
        keep: 1…3.
        quality: of the analysis, default 50; a file brings its own.
        model: for the analysis, default ssvae; a file brings its own.

    Raises:
        codec.errors.CodecError: unreadable input; a file with too few layers, or of another model
            or quality than asked for.
    """
    whole_number("the number of layers to keep", keep, 1, 3)
    if is_coded(source):
        assert isinstance(source, bytes | str | PathLike)
        with naming("" if isinstance(source, bytes) else str(source)):
            return _of_file(source, keep, quality, model, device, max_pixels)
    picture = load_in_srgb(source, max_pixels=max_pixels)
    return subject_of_picture(picture, keep, quality=quality, model=model, device=device)


def load_in_srgb(source: ImageLike | bytes, *, max_pixels: int | None) -> Picture:
    """An image by :func:`codec.picture_reading.load_picture`, converted by its ICC profile: what
    is drawn goes without one."""
    picture = load_picture(source, max_pixels=max_pixels)
    convert_to_srgb(picture)
    return picture


def subject_of_picture(
    picture: Picture, keep: int, *, quality: float | None, model: str | None, device: str
) -> Subject:
    """The first ``keep`` layers of an image, as a file would store them."""
    level = quality_of(DEFAULT_QUALITY if quality is None else quality)
    network = get_model(model or DEFAULT_MODEL, device)
    image = pad_image(picture.rgb, network.size_multiple)
    height, width = picture.rgb.shape[:2]
    with torch.no_grad():
        seen = seen_squares((height, width), (image.shape[-2], image.shape[-1]))
        coded = Coded(network.posterior(image, level), network.skip_index, seen[None])
    latents = walk(network, (height, width), level, [coded] * keep).latents
    return Subject(network, level, (height, width), picture.grey, keep, latents)


def _of_file(
    source: bytes | str | PathLike[str],
    keep: int,
    quality: float | None,
    model: str | None,
    device: str,
    max_pixels: int | None,
) -> Subject:
    container = Container.from_bytes(read_bytes(source), max_pixels=max_pixels)
    header = container.header
    decoder = Decoder(container, DecodeOptions(device=device, layers=keep, strict=True))
    network = decoder.model
    if quality not in (None, header.quality):
        raise ArgumentError(f"the .cci file has quality {header.quality}: leave out the quality")
    if model not in (None, network.name):
        raise ArgumentError(f"the .cci file is of model {network.name}: leave out the model")
    if container.graphics is not None:
        raise ArgumentError(
            "the .cci file keeps text or graphics beside its layers, which do not show them: take "
            "the image itself, or a file of it made with --no-graphics"
        )
    stored = container.layers[:keep]
    if len(stored) < keep and container.damage is not None:
        raise CorruptError(f"{container.damage}; {len(stored)} of its layers are whole")
    for layer in stored:
        decoder.push(layer)
    if len(stored) < keep or not decoder.cut.whole(keep):
        raise ArgumentError(
            f"the .cci file does not hold {keep} whole layers; keep fewer, or take the image itself"
        )
    size = header.height, header.width
    return Subject(
        network,
        header.quality,
        size,
        header.grey,
        keep,
        decoder.latents,
        decoder.filters,
        _profile_of(container),
    )


def _profile_of(container: Container) -> bytes | None:
    """The ICC profile that a file keeps; a damaged one is none."""
    payload = container.first(ICC)
    with suppress(ImageError):
        return None if payload is None else unpack_metadata(payload)
    return None
