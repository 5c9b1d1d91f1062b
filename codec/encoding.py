"""Image → bytes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from numbers import Integral
from typing import TypedDict, Unpack

import torch

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
from codec.errors import ArgumentError, LimitError, TargetError
from codec.filter_fitting import Sample, fit_filter
from codec.image_io import (
    ImageLike,
    Picture,
    convert_to_srgb,
    load_picture,
    pack_alpha,
    pack_metadata,
)
from codec.installed import DEFAULT_MODEL, get_model
from codec.layer_coding import encode_layers, fill_rest, pad_image, tables_of
from codec.limits import DEFAULT_MAX_PIXELS, out_of_memory_as_limit
from codec.progress import split
from models.protocol import CodingModel, Posterior, PriorState, Progress

DEFAULT_QUALITY = 50
DEFAULT_EFFORT = 1


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

    @property
    def bpp(self) -> float:
        """Bits per pixel of the whole file."""
        return 8 * len(self.data) / (self.width * self.height)


class EncodeOptions(TypedDict, total=False):
    """Options of :func:`encode`, explained at :func:`encode_detailed`."""

    layers: int
    stages: int | None
    quality: int | None
    target_bpp: float | None
    target_bytes: int | None
    model: str
    device: str
    strip: bool
    srgb: bool
    max_pixels: int | None
    effort: int
    filter: bool
    progress: Progress | None


def encode(image: ImageLike | bytes, **options: Unpack[EncodeOptions]) -> bytes:
    """Encode an image; see :func:`encode_detailed` for the options. Returns a .cci file's bytes."""
    return encode_detailed(image, **options).data


@out_of_memory_as_limit
def encode_detailed(
    image: ImageLike | bytes,
    *,
    layers: int = 3,
    stages: int | None = None,
    quality: int | None = None,
    target_bpp: float | None = None,
    target_bytes: int | None = None,
    model: str = DEFAULT_MODEL,
    device: str = "auto",
    strip: bool = False,
    srgb: bool = False,
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    effort: int = DEFAULT_EFFORT,
    filter: bool = True,
    progress: Progress | None = None,
) -> Encoded:
    """Encode an image.

    Args:
        image: path, PIL image, uint8 array H×W×3 (H×W grey, H×W×4 with alpha), or a coded image's
            bytes.
        layers: how many layers to store, 1…3; those of a file with fewer are the first of one with
            more.
        stages: store only the first so many stages of those; a finer cut where the model's layers
            consist of several.
        quality: 0…100, default 50. Excludes the targets.
        target_bpp: take the best quality whose file has at most so many bits per pixel.
        target_bytes: the same in bytes.
        model: name of an installed model.
        device: ``auto``, ``cpu`` or ``cuda``.
        strip: leave out ICC profile, EXIF and XMP.
        srgb: convert the pixels to sRGB by their ICC profile, which then need not be stored.
        max_pixels: refuse larger images; None: no limit.
        effort: 1…9, how long to look for a smaller file of the same quality; decoding is not
            affected. 1 takes one pass of the network.
        filter: fit a filter to the decoded picture, and store it where it earns its bytes
            (:mod:`codec.filter_fitting`).
        progress: called with the share done, 0…1.

    Raises:
        codec.errors.CodecError: unreadable image, bad argument, unreachable target, missing model.
    """
    _check_targets(quality, target_bpp, target_bytes)
    if not 1 <= layers <= 3:
        raise ArgumentError(f"layers must be 1, 2 or 3, not {layers}")
    quality = DEFAULT_QUALITY if quality is None else quality
    if not isinstance(quality, Integral) or not 0 <= quality <= 100:
        raise ArgumentError(f"quality must be a whole number between 0 and 100, not {quality}")
    if not isinstance(effort, Integral) or not 1 <= effort <= 9:
        raise ArgumentError(f"effort must be a whole number between 1 and 9, not {effort}")
    chosen = get_model(model, device)
    if layers > len(chosen.layers):
        raise ArgumentError(f"model {model} has {len(chosen.layers)} layers, not {layers}")
    if effort > chosen.max_effort:
        raise ArgumentError(f"model {model} has no effort above {chosen.max_effort} yet")
    _check_stages(chosen, layers, stages)
    picture = load_picture(image, max_pixels=max_pixels)
    if srgb:
        convert_to_srgb(picture)
    height, width = picture.rgb.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise LimitError(f"sides above {MAX_SIDE} pixels cannot be stored ({width}×{height})")
    frame = _Frame(picture, chosen, layers, stages, strip, filter=filter)
    del picture  # of a large image, one copy is enough
    if target_bpp is not None:
        target_bytes = int(target_bpp * width * height / 8)
    if target_bytes is None:
        return frame.encode(_Rung(int(quality), stages), int(effort), progress, last=True)
    return _search(frame, target_bytes, int(effort), progress)


def _check_stages(model: CodingModel, layers: int, stages: int | None) -> None:
    """Raises ArgumentError where the first layers have not so many stages."""
    there = sum(layer.stages for layer in model.layers[:layers])
    if stages is not None and not 1 <= stages <= there:
        raise ArgumentError(
            f"stages must be 1…{there} ({layers} layers of model {model.name}), not {stages}"
        )


def _check_targets(quality: int | None, bpp: float | None, size: int | None) -> None:
    if sum(value is not None for value in (quality, bpp, size)) > 1:
        raise ArgumentError("give only one of quality, target bpp and target size")
    if bpp is not None and not 0 < bpp < float("inf"):
        raise ArgumentError(f"the target bpp must be positive, not {bpp}")
    if size is not None and size <= 0:
        raise ArgumentError(f"the target size must be positive, not {size}")


@dataclass(frozen=True)
class _Rung:
    """A step of the ladder that a search for a size climbs; ``stages`` as of _Frame."""

    quality: int
    stages: int | None


#: Where a quality brings one more stage, its files are a good deal larger than those before. So
#: many qualities are tried without that stage too.
_BRIDGE = 5


def _ladder(model: CodingModel, layers: int, stages: int | None) -> list[_Rung]:
    """All there is to choose from, by rising size (about)."""

    def count(quality: int) -> int:
        there = sum(layer.stages for layer in model.layers_at(quality)[:layers])
        return there if stages is None else min(there, stages)

    rungs = [_Rung(0, stages)]
    for quality in range(1, 101):
        if (fewer := count(quality - 1)) < count(quality):
            rungs += [_Rung(q, fewer) for q in range(quality, min(100, quality + _BRIDGE))]
        rungs.append(_Rung(quality, stages))
    return rungs


def _bisect(
    frame: _Frame, limit: int, progress: Progress | None = None
) -> tuple[int, Encoded | None, int]:
    """The highest rung whose file has at most ``limit`` bytes at effort 1 (-1: none), its file,
    and the smallest size seen that has more."""
    low, high, smallest = -1, len(frame.ladder), 0  # low fits (or nothing does), high does not
    best = None
    steps = iter(split(progress, [1.0] * len(frame.ladder).bit_length()))
    while high - low > 1:
        middle = (low + high) // 2
        result = frame.encode(frame.ladder[middle], progress=next(steps))
        if len(result.data) <= limit:
            low, best = middle, result
        else:
            high, smallest = middle, len(result.data)
    return low, best, smallest


def _search(frame: _Frame, limit: int, effort: int, progress: Progress | None) -> Encoded:
    """The highest quality whose file has at most ``limit`` bytes.

    Found at effort 1. More effort then shrinks the file, which leaves room for a higher quality;
    the search goes on from where the shrinkage lets expect it.
    """
    rung, best, smallest = _bisect(frame, limit, progress if effort == 1 else None)
    if effort > 1:
        known = max(0, rung)
        refined = frame.encode(frame.ladder[known], effort, progress)
        plain = len(best.data) if best else smallest
        reach, _, _ = _bisect(frame, limit * plain // len(refined.data))
        start = max(known + 1, reach)
        best = _climb(frame, limit, effort, progress, known, refined, start) or best
        smallest = min(smallest, len(refined.data))
    if best is None:
        raise TargetError(
            f"{limit} bytes cannot be reached: quality 0 with {frame.layers} layers needs "
            f"{smallest}; use fewer --layers, --strip metadata, or reduce the image"
        )
    return best


def _climb(
    frame: _Frame,
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
    while known < rung < len(frame.ladder):
        result = frame.encode(frame.ladder[rung], effort, progress)
        fits = len(result.data) <= limit
        if fits:
            best = result
        if step and fits != (step > 0):
            break  # turned: the step before was the last that fits, or this one is the first
        step = 1 if fits else -1
        rung += step
    return best


class _Frame:
    """One image on its way into a file; what does not depend on quality is prepared once."""

    def __init__(
        self,
        picture: Picture,
        model: CodingModel,
        layers: int,
        stages: int | None,
        strip: bool,
        *,
        filter: bool,
    ) -> None:
        ends = list(itertools.accumulate(layer.stages for layer in model.layers))
        self.layers = layers if stages is None else 1 + sum(end < stages for end in ends)
        self.ladder = _ladder(model, self.layers, stages)
        self._model = model
        self._tables = tables_of(model)
        self._notes = tuple(picture.notes)
        self._height, self._width = picture.rgb.shape[:2]
        self._flags = FLAG_GREY if picture.grey else 0
        self._image = pad_image(picture.rgb, model.size_multiple)
        content = self._height, self._width
        self._sample = Sample.of(self._image, content) if filter else None
        alpha = None if picture.alpha is None else Chunk(ALPHA, pack_alpha(picture.alpha))
        self._before = self._metadata([(ICC, picture.icc)], strip)
        if alpha is not None:
            self._before.append(alpha)
        self._after = self._metadata([(EXIF, picture.exif), (XMP, picture.xmp)], strip)

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
        quality = rung.quality
        refining, coding = split(progress, [10.0 * (effort - 1) ** 2, 1.0])
        height, width = self._image.shape[-2:]
        posterior = self._model.posterior(
            self._image,
            quality,
            effort=effort,
            content=(self._height, self._width),
            progress=refining,
        )
        if last:
            del self._image
        prior = self._model.prior(height, width, quality)
        layers = self._model.layers_at(quality)[: self.layers]
        there = sum(layer.stages for layer in layers)
        stages = there if rung.stages is None else min(there, rung.stages)
        payloads = encode_layers(posterior, prior, layers, self._tables, coding, stages=stages)
        fitted = self._filter(posterior, prior, quality)
        del posterior
        header = Header(
            self._model.model_id,
            self._model.fingerprint,
            self._width,
            self._height,
            quality,
            self.layers,
            self._flags,
        )
        count = [Chunk(STAGES, bytes([stages]))] if stages < there else []
        *first, final = (Chunk(LAYER, payload) for payload in payloads)
        chunks = [*self._before, *count, *first, *fitted, final, *self._after]
        data = header.to_bytes() + b"".join(c.to_bytes() for c in chunks)
        sizes = tuple(len(p) for p in payloads)
        return Encoded(
            data,
            self._width,
            self._height,
            quality,
            sizes,
            self._notes,
            sum(len(chunk.payload) for chunk in fitted),
        )

    @torch.no_grad()
    def _filter(self, posterior: Posterior, prior: PriorState, quality: int) -> list[Chunk]:
        """The fitted filter's chunk, if there is to be one. Fills what is not stored."""
        if self._sample is None:
            return []
        fill_rest(self._model.layers_at(quality), prior, None, 0.0)
        grey = bool(self._flags & FLAG_GREY)
        chunk = fit_filter(self._sample, posterior, prior.latents, self._model, quality, grey=grey)
        return [] if chunk is None else [chunk]
