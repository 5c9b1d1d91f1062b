"""Image → bytes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Unpack

import numpy as np
import torch
from torch import Tensor

from bitstream.container import (
    ALPHA,
    EXIF,
    FLAG_GREY,
    ICC,
    LAYER,
    MAX_SIDE,
    STAGES,
    XMP,
    Chunk,
    Header,
)
from codec.errors import LimitError
from codec.filter_fitting import Fitted, Fitting
from codec.filter_sample import Sample
from codec.graphics_detection import find_graphics
from codec.graphics_fitting import encode_graphics, wants_graphics
from codec.inspection import metadata_of
from codec.installed import get_model
from codec.limits import out_of_memory_as_limit
from codec.measures import Measured, measure_for
from codec.options import DEFAULT_QUALITY, EncodeKeywords, EncodeOptions, quality_of
from codec.picture import Picture, convert_to_srgb, reduce_to_side, to_pillow
from codec.picture_reading import ImageLike, load_picture
from codec.picture_writing import seen_pixels
from codec.progress import split
from codec.search import Rung, Search, ladder
from codec.side_data import pack_alpha, pack_metadata
from codec.unseen import filled, seen_squares, shows_graphics
from codec.walk import Coded, Filled, Recorder, pad_image, tables_of, walk
from models.names import tuning_of
from models.protocol import CodingModel, LayerSpec, Progress


@dataclass(frozen=True)
class Encoded:
    """A coded image: the file's bytes, and what was done."""

    data: bytes
    width: int
    height: int
    quality: float
    layer_bytes: tuple[int, ...]
    notes: tuple[str, ...]
    filter_bytes: int = 0
    metadata: Mapping[str, int] = field(default_factory=dict)
    """Bytes of ICC profile, EXIF, XMP and alpha plane, as :attr:`codec.FileInfo.metadata`."""
    graphics_bytes: int = 0

    @property
    def bpp(self) -> float:
        """Bits per pixel of the whole file."""
        return 8 * len(self.data) / (self.width * self.height)


def encode(image: ImageLike | bytes, **options: Unpack[EncodeKeywords]) -> bytes:
    """Encode an image into the bytes of a .cci file; see :func:`encode_detailed`."""
    return encode_with(image, EncodeOptions.of("encode", options)).data


def encode_detailed(image: ImageLike | bytes, **keywords: Unpack[EncodeKeywords]) -> Encoded:
    """Encode an image.

    Args:
        image: path, PIL image, uint8 array H×W×3 (H×W grey, H×W×4 with alpha), or a coded image's
            bytes.
        keywords: explained at :class:`codec.options.EncodeOptions`.

    Raises:
        codec.errors.CodecError: unreadable image, bad argument, unreachable target, missing model.
    """
    return encode_with(image, EncodeOptions.of("encode_detailed", keywords))


@out_of_memory_as_limit
def encode_with(image: ImageLike | bytes, options: EncodeOptions) -> Encoded:
    """:func:`encode_detailed` with options that are read already."""
    model = get_model(options.weights, options.device)
    options.check_model(model)
    picture, blocks = analysed_picture(image, options, model)
    if blocks is not None:
        return encode_with_graphics(picture, blocks, options, model)
    encoder = ImageEncoder(picture, model, options)
    original = seen_pixels(to_pillow(picture)) if options.has_target else None
    del picture  # of a large image, one copy is enough
    return _encode_layers(encoder, original, model, options)


def analysed_picture(
    image: ImageLike | bytes, options: EncodeOptions, model: CodingModel
) -> tuple[Picture, np.ndarray | None]:
    """The picture that is encoded, and where graphics are in it, None: nowhere. Raises
    CodecError."""
    picture = prepared_picture(image, options)
    height, width = picture.rgb.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise LimitError(f"sides above {MAX_SIDE} pixels cannot be stored ({width}×{height})")
    wanted, alpha = wants_graphics(options, model), picture.alpha
    if alpha is not None and alpha.any() and not alpha.all():
        shown = filled(picture)
        # A lossless part stores what stands in transparent pixels at less cost than a filling.
        if not wanted or not shows_graphics(shown):
            return shown, None
    return picture, find_graphics(picture.rgb) if wanted else None


def encode_with_graphics(
    picture: Picture, blocks: np.ndarray, options: EncodeOptions, model: CodingModel
) -> Encoded:
    """The file of a picture with graphics in it. Raises CodecError."""

    def encode_part(part: Picture, how: EncodeOptions) -> Encoded:
        original = seen_pixels(to_pillow(part)) if how.has_target else None
        return _encode_layers(ImageEncoder(part, model, how), original, model, how)

    return encode_graphics(picture, blocks, options, model, encode_part)


def prepared_picture(image: ImageLike | bytes, options: EncodeOptions) -> Picture:
    """The picture that is encoded: what the options have made of its pixels. Raises CodecError."""
    picture = load_picture(image, max_pixels=options.max_pixels)
    if options.srgb:
        convert_to_srgb(picture)
    if options.max_side is not None:
        reduce_to_side(picture, options.max_side)
    return picture


def _encode_layers(
    encoder: ImageEncoder, original: np.ndarray | None, model: CodingModel, options: EncodeOptions
) -> Encoded:
    """The file of the quality, or the one that meets the target, which takes the original."""
    if original is not None and options.has_target:
        return _search(encoder, model, original, options)
    return encoder.encode(rung_of(options, model), options.effort, options.progress, last=True)


def rung_of(options: EncodeOptions, model: CodingModel) -> Rung:
    """Quality, layers and stages of options without a target."""
    quality = quality_of(DEFAULT_QUALITY if options.quality is None else options.quality)
    layers = len(model.layers) if options.layers is None else options.layers
    return Rung(quality, layers, options.stages)


def _search(
    encoder: ImageEncoder, model: CodingModel, original: np.ndarray, options: EncodeOptions
) -> Encoded:
    """The file that meets the target."""
    device = options.device
    tuned = Measured(measure_for(tuning_of(model.name), original), original, device)
    search = Search(encoder, model, options.effort, tuned, options.progress)
    if options.layers is None and options.stages is None:
        ladders = [ladder(model, count, None) for count in range(len(model.layers), 0, -1)]
    else:
        ladders = [ladder(model, options.layers or len(model.layers), options.stages)]
    if options.goal is not None:
        name, value = options.goal
        return search.reaching(Measured(name, original, device), value, ladders)
    limit = options.size_limit(original.shape[0] * original.shape[1])
    return search.within(limit or 0, ladders)


class ImageEncoder:
    """One image on its way into a file; what does not depend on quality is prepared once."""

    def __init__(self, picture: Picture, model: CodingModel, options: EncodeOptions) -> None:
        self.model = model
        self._notes = tuple(picture.notes)
        self.size = picture.rgb.shape[0], picture.rgb.shape[1]
        self.grey = picture.grey
        self._image = pad_image(picture.rgb, model.size_multiple)
        padded = self._image.shape[-2], self._image.shape[-1]
        self.seen = seen_squares(self.size, padded, picture.unseen, model.margin)
        uncounted = picture.unseen if picture.replaced is None else picture.replaced
        self.sample = None
        if options.filter:
            self.sample = Sample.of(self._image[0], self.size, uncounted)
        self._before = self._metadata([(ICC, picture.icc)], options.strip)
        if picture.alpha is not None:
            self._before.append(Chunk(ALPHA, pack_alpha(picture.alpha)))
        self._after = self._metadata([(EXIF, picture.exif), (XMP, picture.xmp)], options.strip)

    @staticmethod
    def _metadata(items: list[tuple[bytes, bytes | None]], strip: bool) -> list[Chunk]:
        return [Chunk(kind, pack_metadata(d)) for kind, d in items if d and not strip]

    def encode(
        self,
        rung: Rung,
        effort: int = 1,
        progress: Progress | None = None,
        *,
        last: bool = False,
    ) -> Encoded:
        """The file at one quality. ``last``: no other will be asked for, so that the image need not
        be kept while its layers are coded."""
        return encode_together([self], rung, effort, progress, last=last)[0]

    def take_image(self, *, last: bool) -> Tensor:
        """The padded image, 1×3×H×W uint8. ``last``: the encoder does not keep it."""
        image = self._image
        if last:  # else it would lie in memory while z2 is coded (docs/decisions/0009-tiles.md)
            del self._image
        return image

    def file(
        self, rung: Rung, stages: int, whole: int, payloads: Sequence[bytes], fitted: Fitted
    ) -> Encoded:
        """The file of ``payloads``, the data of its layers, and the filters that were fitted.

        Args:
            stages: how many are stored of the ``whole`` that the layers have.
        """
        height, width = self.size
        made_by = self.model.model_id, self.model.fingerprint
        flags = FLAG_GREY if self.grey else 0
        header = Header(*made_by, width, height, rung.quality, len(payloads), flags)
        count = [Chunk(STAGES, bytes([stages]))] if stages < whole else []
        *first, final = (Chunk(LAYER, payload) for payload in payloads)
        filters = fitted.chunks()
        chunks = [*self._before, *count, *first, *filters, final, *self._after]
        data = header.to_bytes() + b"".join(chunk.to_bytes() for chunk in chunks)
        sizes = tuple(len(payload) for payload in payloads)
        filter_bytes = sum(len(chunk.payload) for chunk in filters)
        about = rung.quality, sizes, self._notes, filter_bytes, metadata_of(chunks)
        return Encoded(data, width, height, *about)


def _stored_layers(model: CodingModel, rung: Rung) -> tuple[LayerSpec, ...]:
    """The layers that hold the stages that are to be stored."""
    layers = model.layers_at(rung.quality)[: rung.layers]
    ends = list(itertools.accumulate(layer.stages for layer in layers))
    if rung.stages is None:
        return layers
    return layers[: 1 + sum(end < rung.stages for end in ends[:-1])]


def encode_together(
    encoders: Sequence[ImageEncoder],
    rung: Rung,
    effort: int = 1,
    progress: Progress | None = None,
    *,
    last: bool = False,
) -> list[Encoded]:
    """The files of images of one padded size, in one walk; the same as one by one.

    Args:
        encoders: of one model, all with a filter or none; above effort 1 a single one.
        last: as of :meth:`ImageEncoder.encode`.
    """
    model, quality, count = encoders[0].model, rung.quality, len(encoders)
    size, fitted = encoders[0].size, encoders[0].sample is not None
    refining, coding, fitting = split(progress, [10.0 * (effort - 1) ** 2, 1.0, 0.25 * fitted])
    images = [encoder.take_image(last=last) for encoder in encoders]
    filters = Fitting(model, quality, [(e.sample, e.grey) for e in encoders if e.sample])
    posterior = model.posterior(
        images[0] if count == 1 else torch.cat(images),
        quality,
        effort=effort,
        content=size,
        prepare=filters.prepare if fitted else None,
        progress=refining,
    )
    del images
    layers = _stored_layers(model, rung)
    whole = sum(layer.stages for layer in layers)
    stages = whole if rung.stages is None else min(whole, rung.stages)
    recorder = Recorder(layers, tables_of(model), count)
    seen = torch.stack([encoder.seen for encoder in encoders])
    coded = Coded(posterior, model.skip_index, seen, recorder)
    prior = walk(model, size, quality, [coded] * len(layers), coding, stages=stages, batch=count)
    del coded  # with the target of the last stage, which is as large as z2
    payloads = recorder.payloads()
    if fitted:
        missing = [Filled()] * len(model.layers)
        latents = walk(model, size, quality, missing, prior=prior).latents
        del prior  # its maps are no longer needed, and as large as the picture
        filters.complete(partial(posterior.draw, latents))
    fitting(1.0)
    found = filters.results if fitted else [Fitted()] * count
    made = zip(encoders, payloads, found, strict=True)
    return [encoder.file(rung, stages, whole, data, each) for encoder, data, each in made]
