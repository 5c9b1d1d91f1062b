"""Bytes → image."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Unpack

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bitstream.container import FLAG_GRAPHICS, Chunk, Container, Header
from bitstream.picture_filter import unpack_filter
from bitstream.range_coder import layer_decoder
from codec.arrival import LayerError, Stages, add_side_data, arrival_notes
from codec.decoding_plan import Plan
from codec.errors import (
    ArgumentError,
    CorruptError,
    DamageWarning,
    ImageError,
    TruncatedWarning,
    UnsupportedFileError,
)
from codec.filters import Filters
from codec.graphics import Graphics, unpack_graphics
from codec.inspection import read_bytes, require_whole
from codec.installed import model_for_file
from codec.limits import out_of_memory_as_limit
from codec.options import DecodeKeywords, DecodeOptions
from codec.picture import Picture, to_pillow
from codec.progress import split
from codec.walk import Filled, Source, Stored, tables_of, walk
from models.protocol import CodingModel, PriorState, Progress
from models.tiles import Box


@dataclass(frozen=True)
class Decoded:
    """A decoded picture.

    ``symbol_checksums`` holds the CRC-32 of each decoded layer's symbols (little-endian int32 in
    coding order): equal on every machine. ``stages`` of the ``stages_declared`` that the file
    declares are used. ``notes`` name what was missing or damaged; ``damaged``
    tells damage from a mere cut, ``cut`` that the file ends before what was asked for.
    ``spoilt``: a layer that arrived whole decodes to other symbols than were encoded.
    ``filtered``: the file's fitted filter was applied; ``graphics``: its lossless part was laid
    over the picture; ``graphics_missing``: it has one that was not.
    """

    image: Image.Image
    layers: int
    layers_declared: int
    stages: int
    stages_declared: int
    quality: float
    symbol_checksums: tuple[int, ...]
    notes: tuple[str, ...]
    damaged: bool = False
    filtered: bool = False
    graphics: bool = False
    graphics_missing: bool = False
    cut: bool = False
    spoilt: bool = False


def decode(data: bytes | str | PathLike[str], **options: Unpack[DecodeKeywords]) -> Image.Image:
    """Decode a .cci file (bytes or path) into an image; see :func:`decode_detailed`.

    Warns:
        codec.errors.DamageWarning: a later layer or metadata is damaged and was left out.
        codec.errors.TruncatedWarning: the file is cut, and something is missing of what was asked
            for: with ``layers=1`` the first layer is enough.

    Neither with ``warn=False``.
    """
    asked = DecodeOptions.of("decode", options)
    result = decode_with(data, asked)
    if asked.warn:
        warn_of(result, stacklevel=3)
    return result.image


def warn_of(result: Decoded, *, stacklevel: int) -> None:
    """Warn where a file is damaged or cut."""
    if result.damaged or result.cut:
        kind = DamageWarning if result.damaged else TruncatedWarning
        warnings.warn("; ".join(result.notes), kind, stacklevel=stacklevel)


def decode_detailed(
    data: bytes | str | PathLike[str], **keywords: Unpack[DecodeKeywords]
) -> Decoded:
    """Decode a .cci file, whole or cut anywhere after its first layer.

    Args:
        data: the file's bytes or its path.
        keywords: explained at :class:`codec.options.DecodeOptions`.

    Raises:
        codec.errors.CodecError: unreadable or damaged file, bad argument, missing weights.
    """
    return decode_with(data, DecodeOptions.of("decode_detailed", keywords))


def decode_with(data: bytes | str | PathLike[str], options: DecodeOptions) -> Decoded:
    """:func:`decode_detailed` with options that are read already."""
    container = Container.from_bytes(read_bytes(data), max_pixels=options.max_pixels)
    if options.strict:
        require_whole(container)
    decoder = Decoder(container, options)
    for layer in container.layers:
        decoder.push(layer)
    return decoder.finish()


class Decoder:
    """The layers of a file one by one, then the picture. All decoding goes through here.

    Args:
        container: the file; its header suffices, what stands before the first layer must be there
            with the first :meth:`push`, and all that will ever arrive with :meth:`finish`.
        options: of decoding.
        drawing: how long the picture takes, as a multiple of decoding the symbols.
        model: what wrote the file, where it is not an installed one.

    Raises:
        CodecError: the file's model is not installed, or of another version.
    """

    def __init__(
        self,
        container: Container,
        options: DecodeOptions,
        *,
        drawing: float = 2.0,
        model: CodingModel | None = None,
    ) -> None:
        self.header = container.header
        self.model = model_of(self.header, options.device) if model is None else model
        self.count = 0
        """Layers decoded."""
        self._container, self._options = container, options
        self._size = self.header.height, self.header.width
        self._layers = self.model.layers_at(self.header.quality)
        self._upto = self.model.layers_for_scale(options.scale)
        self._coding, self._drawing = split(options.progress, [1.0, drawing])
        self._prior: PriorState | None = None
        self._checksums: list[int] = []
        self._failure: LayerError | None = None  # of the first layer that decodes to nothing
        self._region = self._checked_region()
        self._drawn: tuple[int, int, np.ndarray] | None = None  # layers, scale, pixels drawn last

    def _checked_region(self) -> Box | None:
        """The part that is asked for, in pixels of the picture at the scale asked for."""
        region = self._options.region
        if region is None:
            return None
        assert not isinstance(region, str)  # the options have read it
        x, y, width, height = region
        rows, columns = self._shown(self._options.scale)
        if y + height > rows or x + width > columns:
            raise ArgumentError(
                f"the region {x},{y},{width},{height} reaches beyond the picture of "
                f"{columns}×{rows} pixels"
            )
        return Box(y, x, y + height, x + width)

    @property
    def latents(self) -> list[Tensor]:
        """The stages that are known, each 1×C×H×W float32 in symbol units."""
        return [] if self._prior is None else self._prior.latents

    @property
    def filters(self) -> Filters:
        """Of the picture of the layers that are decoded; none where they were fitted to another."""
        return self._fitted_filters([])

    @out_of_memory_as_limit
    def push(self, layer: Chunk) -> bool:
        """Decode the next layer. False where it is not wanted, or of no use.

        Raises:
            LayerError: its data are wrong, and there is no layer before it, or ``strict`` is asked.
            CodecError: the file cannot be, or the model has not the stages asked for.
        """
        if self._prior is None:
            self._begin()
        if self.count == self._wanted or self._failure is not None:
            return False
        try:
            self._read(layer, self.count)
        except LayerError as error:
            if self._options.strict or self.count == 0:
                raise
            self._failure = error
            return False
        self.count += 1
        return True

    def _begin(self) -> None:
        """What stands before the first layer is there. Raises CodecError."""
        self.cut = Stages(self.model, self._container, self._options.stages)
        wanted = self.cut.layers(self._upto, self._options.layers)
        self._wanted = min(wanted, self.header.layers)
        densities = [spec.density for spec in self._layers[: self._wanted]]
        self._reports = split(self._coding, densities)

    def plan(self) -> Plan | None:
        """What there is to do for a whole file, before the first :meth:`push`; None where the file
        is to be decoded alone. Raises CodecError."""
        self._begin()
        container, options, multiple = self._container, self._options, self.model.size_multiple
        special = options.region is not None or options.fill == "sample" or container.graphics
        if special or container.damage is not None or len(container.layers) < self._wanted:
            return None
        height, width = (side + -side % multiple for side in self._size)
        ends = tuple(self.cut.used(index + 1) for index in range(self._wanted))
        whole = tuple(self.cut.read_whole(index + 1) for index in range(self._wanted))
        quality, upto = self.header.quality, self._upto
        return Plan(self.model, (height, width), quality, ends, whole, upto, options.scale)

    def take(self, checksums: Sequence[int]) -> Filters:
        """All layers were decoded together with those of other files; ``checksums`` are those of
        their symbols. Gives the filters of the picture."""
        self.count, self._checksums = self._wanted, list(checksums)
        return self.filters

    def take_pixels(self, pixels: np.ndarray) -> None:
        """The picture was drawn together with others, filtered: padded, H×W×3 uint8."""
        height, width = self._shown(self._options.scale)
        self._drawn = self._upto, self._options.scale, pixels[:height, :width]

    def payload(self, index: int) -> bytes:
        """The data of a layer."""
        return self._container.layers[index].payload

    def _read(self, chunk: Chunk, index: int) -> None:
        """Walk on through a stored layer, as far as is wanted. Raises LayerError."""
        report, end = self._reports[index], self.cut.used(index + 1)
        try:
            coder = layer_decoder(chunk.payload)
            source = Stored([coder], tables_of(self.model))
            self._walk([source] * (index + 1), report, stages=end)
            if self.cut.read_whole(index + 1):
                coder.finish()
        except CorruptError as error:
            raise LayerError(f"layer {self._layers[index].name}: {error}", index) from error
        self._checksums[index:] = source.checksums

    def _walk(
        self, sources: Sequence[Source], progress: Progress | None, *, stages: int | None = None
    ) -> None:
        quality = self.header.quality
        self._prior = walk(
            self.model, self._size, quality, sources, progress, prior=self._prior, stages=stages
        )

    @torch.no_grad()
    def draw(self, scale: int) -> Picture:
        """The picture of what is decoded so far, without what the file holds after its layers."""
        filters = self.filters if scale == 1 else Filters()
        picture = Picture(self._pixels(scale, filters), self.header.grey)
        add_side_data(picture, self._container, scale, [])
        return picture

    @property
    def complete(self) -> bool:
        """Whether all layers that are asked for have been decoded."""
        return self.count >= self._upto

    @out_of_memory_as_limit
    @torch.no_grad()
    def draw_graphics(self) -> Picture | None:
        """The picture of :meth:`finish`, but for what may still arrive after the lossless part;
        None where there is none, or something would have to be filled first."""
        scale = self._options.scale
        if not self.complete:  # in a malformed file it may stand before the first layer
            return None
        graphics = self._graphics([])
        if graphics is None or not self.cut.whole(self.count):
            return None
        if self._drawn is not None and self._drawn[:2] == (self.count, scale):
            picture = Picture(self._drawn[2], self.header.grey)
            add_side_data(picture, self._container, scale, [])
        else:
            picture = self.draw(scale)
        picture.rgb = graphics.over(picture.rgb, scale)
        return picture

    @out_of_memory_as_limit
    @torch.no_grad()
    def finish(self) -> Decoded:
        """The picture, with what is missing filled. Nothing may be pushed after it.

        Raises:
            CorruptError: the alpha plane is damaged, or with ``strict`` anything is.
        """
        notes = arrival_notes(self._container)
        before = len(notes)
        if self._failure is not None:
            notes.append(self._failure.note(self.header))
        filters = self._fitted_filters(notes)
        graphics = self._graphics(notes)
        if graphics is not None and graphics.mask is None:  # nothing drawn would be seen
            self._drawing(1.0)
            shown = self._region.size() if self._region else self._shown(self._options.scale)
            pixels = np.zeros((*shown, 3), dtype=np.uint8)
        else:
            pixels = self._completed(filters)
        if graphics is not None:
            pixels = graphics.over(pixels, self._options.scale)
        picture = Picture(pixels, self.header.grey)
        add_side_data(picture, self._container, self._options.scale, notes, self._region)
        damaged = self._container.damage is not None or len(notes) > before
        if self._options.strict and len(notes) > before:
            raise CorruptError("; ".join(notes[before:]))
        return Decoded(
            to_pillow(picture),
            self.count,
            self.header.layers,
            self.cut.used(self.count),
            self.cut.declared,
            self.header.quality,
            tuple(self._checksums),
            tuple(notes),
            damaged=damaged,
            filtered=filters != Filters(),
            graphics=graphics is not None,
            graphics_missing=graphics is None and bool(self.header.flags & FLAG_GRAPHICS),
            cut=self._cut_short(),
            spoilt=self._failure is not None,
        )

    def _cut_short(self) -> bool:
        """Whether the file ends before the layers asked for, or before its end where all are."""
        arrived, options = len(self._container.layers), self._options
        if arrived < self.header.layers:
            return arrived < self._wanted
        return self._container.truncated and options.layers is None and options.stages is None

    def _completed(self, filters: Filters) -> np.ndarray:
        """Pixels at the scale asked for, missing layers filled."""
        options = self._options
        if self._drawn is not None and self._drawn[:2] == (self._upto, options.scale):
            self._drawing(1.0)
            return self._drawn[2]
        if self._failure is not None:  # the prior stopped inside a layer: walk it once more
            self._prior = None
            for index, chunk in enumerate(self._container.layers[: self.count]):
                self._read(chunk, index)
        rng = None
        if options.fill == "sample":
            rng = np.random.Generator(np.random.Philox(options.seed))
        self._walk([Filled(rng, options.temperature)] * self._upto, None)
        return self._pixels(options.scale, filters, last=True)

    def _fitted_filters(self, notes: list[str]) -> Filters:
        """The filters for the picture of :meth:`finish`, if the file has some that were fitted to
        it.

        That is the picture of all stages that the file declares, in full size, with the prior's
        mean for what it leaves out. A malformed filter is left out with a note.
        """
        payload, cut, options = self._container.filter, self.cut, self._options
        whole = self.count == self.header.layers and cut.used(self.count) == cut.declared
        invented = options.invents and cut.left_out
        if payload is None or not whole or options.scale > 1 or invented:
            return Filters()
        try:
            last, before = unpack_filter(payload)
        except CorruptError as error:
            notes.append(f"the picture's filter is left out: {error}")
            return Filters()
        return Filters.of(before, last)

    def _graphics(self, notes: list[str]) -> Graphics | None:
        """The lossless part, if the file has one and all is used that the file declares.

        One that is malformed is left out with a note.
        """
        payload, header, cut = self._container.graphics, self.header, self.cut
        layers, scale = self._options.layers, self._options.scale
        fewer = (layers is not None and layers < header.layers) or (
            cut.asked is not None and cut.asked < cut.declared
        )
        if payload is None or fewer or self._failure is not None:
            return None
        try:
            graphics = unpack_graphics(payload, header.width, header.height)
            return graphics if self._region is None else graphics.part(self._region, scale)
        except ImageError as error:
            notes.append(f"graphics left out: {error}")
            return None

    def _shown(self, scale: int) -> tuple[int, int]:
        """Height and width of the picture at a scale."""
        return -(-self._size[0] // scale), -(-self._size[1] // scale)

    def _pixels(self, scale: int, filters: Filters, *, last: bool = False) -> np.ndarray:
        """Draw, cropped to the image, H×W×3 uint8. ``last``: the walk is not needed after it."""
        latents = self.latents
        if last:  # the prior's maps and the latents take as much memory as a large picture
            self._prior = None
        progress = self._drawing if last else None
        region = self._region
        box = None if region is None else region.times(scale)
        drawn = self.model.synthesize(
            latents,
            self.header.quality,
            scale,
            progress,
            prepared=filters.prepared,
            finish=filters.last,
            box=box,
        )
        del latents
        height, width = self._shown(scale) if region is None else region.size()
        pixels = drawn[0, :, :height, :width].permute(1, 2, 0).contiguous().cpu().numpy()
        self._drawn = self.count, scale, pixels
        return pixels


def model_of(header: Header, device: str) -> CodingModel:
    """The model that a file asks for. Raises CodecError where there is none, or an older one."""
    model = model_for_file(header.model_id, header.fingerprint, device)
    if header.layers > len(model.layers):
        raise UnsupportedFileError(
            f"the file declares {header.layers} layers: a newer program is needed"
        )
    return model
