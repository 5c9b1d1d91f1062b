"""Image → bytes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Unpack

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
from codec.errors import LimitError, TargetError
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
)
from codec.inspection import metadata_of
from codec.installed import get_model
from codec.limits import out_of_memory_as_limit
from codec.options import DEFAULT_QUALITY, EncodeKeywords, EncodeOptions
from codec.progress import split
from codec.walk import Coded, Filled, Recorder, pad_image, tables_of, walk
from models.protocol import CodingModel, Posterior, Progress


@dataclass(frozen=True)
class Encoded:
    """A coded image: the file's bytes, and what was done."""

    data: bytes
    width: int
    height: int
    quality: int
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
    return encode_detailed(image, **options).data


@out_of_memory_as_limit
def encode_detailed(image: ImageLike | bytes, **keywords: Unpack[EncodeKeywords]) -> Encoded:
    """Encode an image.

    Args:
        image: path, PIL image, uint8 array H×W×3 (H×W grey, H×W×4 with alpha), or a coded image's
            bytes.
        keywords: explained at :class:`codec.options.EncodeOptions`.

    Raises:
        codec.errors.CodecError: unreadable image, bad argument, unreachable target, missing model.
    """
    options = EncodeOptions(**keywords)
    model = get_model(options.model, options.device)
    options.check_model(model)
    picture = load_picture(image, max_pixels=options.max_pixels)
    if options.srgb:
        convert_to_srgb(picture)
    height, width = picture.rgb.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise LimitError(f"sides above {MAX_SIDE} pixels cannot be stored ({width}×{height})")
    blocks = find_graphics(picture.rgb) if wants_graphics(options, model) else None
    if blocks is not None:

        def encode_part(part: Picture, how: EncodeOptions) -> Encoded:
            return _encode_layers(_Encoder(part, model, how), how)

        return encode_graphics(picture, blocks, options, model, encode_part)
    encoder = _Encoder(picture, model, options)
    del picture  # of a large image, one copy is enough
    return _encode_layers(encoder, options)


def _encode_layers(encoder: _Encoder, options: EncodeOptions) -> Encoded:
    """The file at the quality or for the size that is asked for."""
    effort, limit = int(options.effort), options.target_bytes
    if options.target_bpp is not None:
        limit = int(options.target_bpp * encoder.pixels / 8)
    if limit is not None:
        return _search(encoder, limit, effort, options.progress)
    quality = DEFAULT_QUALITY if options.quality is None else int(options.quality)
    return encoder.encode(_Rung(quality, options.stages), effort, options.progress, last=True)


@dataclass(frozen=True)
class _Rung:
    """A step of the ladder that a search for a size climbs; ``stages`` as of _Encoder."""

    quality: int
    stages: int | None


#: Where a quality brings one more stage, its files are a good deal larger than those before. So
#: many qualities are tried without that stage too.
_BRIDGE = 8


def _ladder(model: CodingModel, layers: int, stages: int | None) -> list[_Rung]:
    """All there is to choose from, by rising size (about)."""

    def count(quality: int) -> int:
        whole = sum(layer.stages for layer in model.layers_at(quality)[:layers])
        return whole if stages is None else min(whole, stages)

    rungs = [_Rung(0, stages)]
    for quality in range(1, 101):
        if (fewer := count(quality - 1)) < count(quality):
            rungs += [_Rung(q, fewer) for q in range(quality, min(100, quality + _BRIDGE))]
        rungs.append(_Rung(quality, stages))
    return rungs


def _bisect(
    encoder: _Encoder, limit: int, progress: Progress | None = None
) -> tuple[int, Encoded | None, int]:
    """The highest rung whose file has at most ``limit`` bytes at effort 1 (-1: none), its file,
    and the smallest size seen that has more."""
    low, high, smallest = -1, len(encoder.ladder), 0  # low fits (or nothing does), high does not
    best = None
    steps = iter(split(progress, [1.0] * len(encoder.ladder).bit_length()))
    while high - low > 1:
        middle = (low + high) // 2
        result = encoder.encode(encoder.ladder[middle], progress=next(steps))
        if len(result.data) <= limit:
            low, best = middle, result
        else:
            high, smallest = middle, len(result.data)
    return low, best, smallest


def _search(encoder: _Encoder, limit: int, effort: int, progress: Progress | None) -> Encoded:
    """The highest quality whose file has at most ``limit`` bytes.

    Found at effort 1. More effort then shrinks the file, which leaves room for a higher quality;
    the search goes on from where the shrinkage lets expect it.
    """
    rung, best, smallest = _bisect(encoder, limit, progress if effort == 1 else None)
    if effort > 1:
        known = max(0, rung)
        refined = encoder.encode(encoder.ladder[known], effort, progress)
        plain = len(best.data) if best else smallest
        reach, _, _ = _bisect(encoder, limit * plain // len(refined.data))
        start = max(known + 1, reach)
        best = _climb(encoder, limit, effort, progress, known, refined, start) or best
        smallest = min(smallest, len(refined.data))
    if best is None:
        raise TargetError(
            f"{limit} bytes cannot be reached: quality 0 with {encoder.layers} layers needs "
            f"{smallest}; use fewer --layers, --strip metadata, or reduce the image"
        )
    return best


def _climb(
    encoder: _Encoder,
    limit: int,
    effort: int,
    progress: Progress | None,
    known: int,
    refined: Encoded,
    start: int,
) -> Encoded | None:
    """The highest rung that fits with effort: up from ``start``, or down to ``known``, whose file
    is ``refined``."""
    best = refined if len(refined.data) <= limit else None
    rung, step = start, 0
    while known < rung < len(encoder.ladder):
        result = encoder.encode(encoder.ladder[rung], effort, progress)
        fits = len(result.data) <= limit
        if fits:
            best = result
        if step and fits != (step > 0):
            break  # turned: the step before was the last that fits, or this one is the first
        step = 1 if fits else -1
        rung += step
    return best


class _Encoder:
    """One image on its way into a file; what does not depend on quality is prepared once."""

    def __init__(self, picture: Picture, model: CodingModel, options: EncodeOptions) -> None:
        stages = options.stages
        ends = list(itertools.accumulate(layer.stages for layer in model.layers))
        self.layers = options.layers if stages is None else 1 + sum(end < stages for end in ends)
        self.ladder = _ladder(model, self.layers, stages)
        self._model = model
        self._tables = tables_of(model)
        self._notes = tuple(picture.notes)
        self._size = picture.rgb.shape[0], picture.rgb.shape[1]
        self.pixels = self._size[0] * self._size[1]
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

    def encode(
        self,
        rung: _Rung,
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
        layers = model.layers_at(quality)[: self.layers]
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
        header = Header(*made_by, width, height, quality, self.layers, self._flags)
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
        self, sample: Sample, posterior: Posterior, latents: Sequence[Tensor], quality: int
    ) -> list[Chunk]:
        """The fitted filter's chunk, if there is to be one; ``latents`` are those of all stages."""
        grey = bool(self._flags & FLAG_GREY)
        chunk = fit_filter(sample, posterior, latents, self._model, quality, grey=grey)
        return [] if chunk is None else [chunk]
