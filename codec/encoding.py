"""Image → bytes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from codec.filter_fitting import Sample, fit_filter
from codec.graphics_detection import find_graphics
from codec.graphics_fitting import encode_graphics, wants_graphics
from codec.image_io import (
    ImageLike,
    Picture,
    convert_to_srgb,
    load_picture,
    pack_alpha,
    pack_metadata,
    reduce_to_side,
)
from codec.inspection import metadata_of
from codec.installed import get_model
from codec.limits import out_of_memory_as_limit
from codec.measures import Measured, measure_for
from codec.options import DEFAULT_QUALITY, EncodeKeywords, EncodeOptions, quality_of
from codec.progress import split
from codec.search import Rung, Search, ladder
from codec.walk import Coded, Filled, Recorder, pad_image, tables_of, walk
from models.names import tuning_of
from models.protocol import CodingModel, LayerSpec, Posterior, Progress


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
    return _encoded(image, EncodeOptions.of("encode", options)).data


def encode_detailed(image: ImageLike | bytes, **keywords: Unpack[EncodeKeywords]) -> Encoded:
    """Encode an image.

    Args:
        image: path, PIL image, uint8 array H×W×3 (H×W grey, H×W×4 with alpha), or a coded image's
            bytes.
        keywords: explained at :class:`codec.options.EncodeOptions`.

    Raises:
        codec.errors.CodecError: unreadable image, bad argument, unreachable target, missing model.
    """
    return _encoded(image, EncodeOptions.of("encode_detailed", keywords))


@out_of_memory_as_limit
def _encoded(image: ImageLike | bytes, options: EncodeOptions) -> Encoded:
    model = get_model(options.weights, options.device)
    options.check_model(model)
    picture = prepared_picture(image, options)
    height, width = picture.rgb.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise LimitError(f"sides above {MAX_SIDE} pixels cannot be stored ({width}×{height})")
    blocks = find_graphics(picture.rgb) if wants_graphics(options, model) else None
    if blocks is not None:

        def encode_part(part: Picture, how: EncodeOptions) -> Encoded:
            return _encode_layers(_Encoder(part, model, how), part.rgb, model, how)

        return encode_graphics(picture, blocks, options, model, encode_part)
    encoder = _Encoder(picture, model, options)
    original = picture.rgb if options.has_target else None
    del picture  # of a large image, one copy is enough
    return _encode_layers(encoder, original, model, options)


def prepared_picture(image: ImageLike | bytes, options: EncodeOptions) -> Picture:
    """The picture that is encoded: what the options have made of its pixels. Raises CodecError."""
    picture = load_picture(image, max_pixels=options.max_pixels)
    if options.srgb:
        convert_to_srgb(picture)
    if options.max_side is not None:
        reduce_to_side(picture, options.max_side)
    return picture


def _encode_layers(
    encoder: _Encoder, original: np.ndarray | None, model: CodingModel, options: EncodeOptions
) -> Encoded:
    """The file of the quality, or the one that meets the target, which takes the original."""
    if original is not None and options.has_target:
        return _search(encoder, model, original, options)
    quality = quality_of(DEFAULT_QUALITY if options.quality is None else options.quality)
    layers = len(model.layers) if options.layers is None else options.layers
    rung = Rung(quality, layers, options.stages)
    return encoder.encode(rung, options.effort, options.progress, last=True)


def _search(
    encoder: _Encoder, model: CodingModel, original: np.ndarray, options: EncodeOptions
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


class _Encoder:
    """One image on its way into a file; what does not depend on quality is prepared once."""

    def __init__(self, picture: Picture, model: CodingModel, options: EncodeOptions) -> None:
        self._model = model
        self._tables = tables_of(model)
        self._notes = tuple(picture.notes)
        self._size = picture.rgb.shape[0], picture.rgb.shape[1]
        self._flags = FLAG_GREY if picture.grey else 0
        self._image = pad_image(picture.rgb, model.size_multiple)
        self._sample = Sample.of(self._image, self._size) if options.filter else None
        self._before = self._metadata([(ICC, picture.icc)], options.strip)
        if picture.alpha is not None:
            self._before.append(Chunk(ALPHA, pack_alpha(picture.alpha)))
        self._after = self._metadata([(EXIF, picture.exif), (XMP, picture.xmp)], options.strip)

    @staticmethod
    def _metadata(items: list[tuple[bytes, bytes | None]], strip: bool) -> list[Chunk]:
        return [Chunk(kind, pack_metadata(d)) for kind, d in items if d and not strip]

    def _layers(self, rung: Rung) -> tuple[LayerSpec, ...]:
        """Those that hold the stages that are to be stored."""
        layers = self._model.layers_at(rung.quality)[: rung.layers]
        ends = list(itertools.accumulate(layer.stages for layer in layers))
        if rung.stages is None:
            return layers
        return layers[: 1 + sum(end < rung.stages for end in ends[:-1])]

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
        model, quality, size = self._model, rung.quality, self._size
        height, width = size
        fit = 0.0 if self._sample is None else 0.25
        refining, coding, fitting = split(progress, [10.0 * (effort - 1) ** 2, 1.0, fit])
        posterior = model.posterior(
            self._image, quality, effort=effort, content=size, progress=refining
        )
        if last:  # else it would lie in memory while z2 is coded (docs/decisions/0009-tiles.md)
            del self._image
        layers = self._layers(rung)
        whole = sum(layer.stages for layer in layers)
        stages = whole if rung.stages is None else min(whole, rung.stages)
        recorder = Recorder(layers, self._tables)
        coded = Coded(posterior, model.skip_index, recorder)
        prior = walk(model, size, quality, [coded] * len(layers), coding, stages=stages)
        del coded  # with the target of the last stage, which is as large as z2
        payloads = recorder.payloads()
        fitted: list[Chunk] = []
        if self._sample is not None:
            missing = [Filled()] * len(model.layers)
            latents = walk(model, size, quality, missing, prior=prior).latents
            del prior  # its maps are no longer needed, and as large as the picture
            fitted = self._filter(self._sample, posterior, latents, quality)
        fitting(1.0)
        del posterior
        made_by = model.model_id, model.fingerprint
        header = Header(*made_by, width, height, quality, len(layers), self._flags)
        count = [Chunk(STAGES, bytes([stages]))] if stages < whole else []
        *first, final = (Chunk(LAYER, payload) for payload in payloads)
        chunks = [*self._before, *count, *first, *fitted, final, *self._after]
        data = header.to_bytes() + b"".join(chunk.to_bytes() for chunk in chunks)
        sizes = tuple(len(payload) for payload in payloads)
        filter_bytes = sum(len(chunk.payload) for chunk in fitted)
        metadata = metadata_of(chunks)
        return Encoded(data, width, height, quality, sizes, self._notes, filter_bytes, metadata)

    @torch.no_grad()
    def _filter(
        self, sample: Sample, posterior: Posterior, latents: Sequence[Tensor], quality: float
    ) -> list[Chunk]:
        """The fitted filter's chunk, if there is to be one; ``latents`` are those of all stages."""
        grey = bool(self._flags & FLAG_GREY)
        chunk = fit_filter(sample, posterior, latents, self._model, quality, grey=grey)
        return [] if chunk is None else [chunk]
