"""Bytes as they arrive → frames that sharpen.

>>> decoder = codec.ProgressiveDecoder()
>>> for piece in connection:
...     for frame in decoder.push(piece):
...         show(frame.image)  # a quarter, then half, then full size
>>> result = decoder.finish()  # what codec.decode_detailed gives for all the bytes
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Unpack

import numpy as np
import torch
from PIL import Image

from bitstream.container import LAYER, Chunk, Container, Header
from bitstream.incremental import ContainerReader
from codec.decoding import (
    Decoded,
    DecodeOptions,
    LayerError,
    Stages,
    add_side_data,
    arrival_notes,
    check_options,
    decode_layer,
    fill_generator,
    fitted_filter,
    model_of,
    start_prior,
    to_pixels,
)
from codec.errors import ArgumentError, CodecError, CorruptError, ImageError
from codec.image_io import Picture, to_pillow
from codec.inspection import require_whole
from codec.layer_coding import fill_rest
from codec.limits import DEFAULT_MAX_PIXELS, out_of_memory_as_limit
from models.picture_filter import PictureFilter
from models.protocol import CodingModel, PriorState

_SCALES = (1, 2, 4)
_PIECE = 1 << 16


@dataclass(frozen=True)
class Frame:
    """The picture as far as the bytes go.

    ``image`` is the original's size divided by ``scale``, rounded up; ``layers`` of the file are in
    it; its first ``end`` bytes were enough for it. ``final`` marks the frame of
    :func:`progressive` behind which nothing follows.
    """

    image: Image.Image
    layers: int
    scale: int
    end: int
    final: bool = False


class ProgressiveDecoder:
    """Decode a .cci file whose bytes arrive piece by piece.

    :meth:`push` gives a frame for each layer that a piece completes: u at a quarter of the size, z1
    at half, z2 the picture. Each layer is decoded once. :meth:`finish` gives exactly what
    :func:`codec.decode_detailed` gives for the same bytes and options; for a file cut behind its
    first layer that is the picture in full size with the missing layers filled.

    Args:
        options: as of :func:`codec.decode_detailed`. ``scale`` 2 or 4 ends with the small frame,
            ``fill``, ``seed`` and ``temperature`` concern :meth:`finish` alone.

    Raises:
        codec.errors.CodecError: from any method, as soon as the bytes allow; the header's limits
            are checked before memory is taken.
    """

    def __init__(self, **options: Unpack[DecodeOptions]) -> None:
        self._layers = options.get("layers")
        self._stages = options.get("stages")
        self._scale = options.get("scale", 1)
        self._device = options.get("device", "auto")
        self._temperature = options.get("temperature", 1.0)
        self._strict = options.get("strict", False)
        self._fill, self._seed = options.get("fill", "mean"), options.get("seed", 0)
        check_options(
            self._layers, self._stages, self._fill, self._seed, self._temperature, self._scale
        )
        self._reader = ContainerReader(max_pixels=options.get("max_pixels", DEFAULT_MAX_PIXELS))
        self._model: CodingModel | None = None
        self._prior: PriorState
        self._stored = 0  # layers decoded
        self._checksums: list[int] = []
        self._failure: CodecError | None = None
        self._wrong: LayerError | None = None  # a later layer that decodes to nothing
        self._drawn: tuple[int, int, np.ndarray] | None = None  # layers, scale, pixels drawn last

    @property
    def header(self) -> Header | None:
        """Size, quality and number of layers; None until the first 24 bytes are there."""
        return self._reader.header

    @property
    def received(self) -> int:
        """Bytes so far."""
        return self._reader.received

    def push(self, data: bytes) -> list[Frame]:
        """Take more bytes; the frames they complete, coarse to fine."""
        return list(self.frames(data))

    def frames(self, data: bytes) -> Iterator[Frame]:
        """As :meth:`push`, but each frame as soon as it is drawn. Exhaust it before the next."""
        if self._failure is not None:  # what follows a layer that failed would be taken for it
            raise self._failure
        try:
            for chunk in self._reader.push(data):
                self._start()
                frame = self._advance(chunk) if chunk.type == LAYER else None
                if frame is not None:
                    yield frame
        except CodecError as error:
            self._failure = error
            raise

    @out_of_memory_as_limit
    def finish(self) -> Decoded:
        """No more bytes will come: the picture they give, as of :func:`codec.decode_detailed`.

        Raises:
            codec.errors.CodecError: as there; TruncatedError where the first layer is not whole.
        """
        for _ in self.frames(b""):
            pass
        container = self._reader.finish()
        if self._strict:
            require_whole(container)
        self._start()
        header, notes = container.header, arrival_notes(container)
        stored = self._stored
        before = len(notes)
        if self._wrong is not None:
            notes.append(self._wrong.note(header))
        finish = self._fitted_filter(container, notes)
        picture = Picture(self._complete(container, finish), header.grey)
        add_side_data(picture, container, self._scale, notes)
        if self._strict and len(notes) > before:
            raise CorruptError("; ".join(notes[before:]))
        return Decoded(
            to_pillow(picture),
            stored,
            header.layers,
            self._cut.used(stored),
            self._cut.declared,
            header.quality,
            tuple(self._checksums),
            tuple(notes),
            damaged=container.damage is not None or len(notes) > before,
            filtered=finish is not None,
        )

    def _start(self) -> None:
        header = self._reader.header
        if self._model is not None or header is None:
            return
        model = model_of(header, self._device)
        self._prior = start_prior(model, header)
        self._model = model

    @out_of_memory_as_limit
    @torch.no_grad()
    def _advance(self, chunk: Chunk) -> Frame | None:
        """Decode one more layer and draw what can be drawn from it."""
        model, container = self._model, self._reader.container
        assert model is not None
        assert container is not None
        index = self._stored
        if index == 0:  # what stands before the first layer has arrived
            self._specs = model.layers_at(container.header.quality)
            self._upto = model.layers_for_scale(self._scale)
            self._cut = Stages(model, container, self._stages)
            self._use = min(self._cut.layers(self._upto, self._layers), container.header.layers)
        if index == self._use or self._wrong is not None:
            return None
        try:
            layer = self._specs[index]
            crc = decode_layer(model, self._prior, layer, chunk.payload, stages=self._cut)
        except LayerError as error:
            if self._strict or index == 0:
                raise
            self._wrong = error
            return None
        self._checksums.append(crc)
        self._stored += 1
        if not self._cut.whole(self._stored):
            return None  # finish() shows the picture, filled
        scales = [s for s in _SCALES if model.layers_for_scale(s) == index + 1]
        if not scales:
            return None
        finish = self._fitted_filter(container, []) if scales[0] == 1 else None
        pixels = self._draw(container.header, scales[0], finish)
        picture = Picture(pixels, container.header.grey)
        add_side_data(picture, container, scales[0], [])
        return Frame(to_pillow(picture), index + 1, scales[0], chunk.end)

    @torch.no_grad()
    def _complete(self, container: Container, finish: PictureFilter | None) -> np.ndarray:
        """Pixels at the scale asked for, missing layers filled."""
        model, header = self._model, container.header
        assert model is not None
        rng = fill_generator(self._fill, self._seed)
        if self._wrong is not None:  # the prior stopped inside a layer: walk it once more
            self._prior = start_prior(model, header)
            whole = container.layers[: self._wrong.index]
            for layer, chunk in zip(self._specs, whole, strict=False):
                decode_layer(model, self._prior, layer, chunk.payload, stages=self._cut)
        fill_rest(self._specs[: self._upto], self._prior, rng, self._temperature)
        if self._drawn is not None and self._drawn[:2] == (self._upto, self._scale):
            return self._drawn[2]
        return self._draw(header, self._scale, finish)

    def _fitted_filter(self, container: Container, notes: list[str]) -> PictureFilter | None:
        """The filter for the picture of :meth:`finish`."""
        invented = self._fill == "sample" and self._temperature > 0
        return fitted_filter(
            container, self._cut, self._stored, notes, scale=self._scale, invented=invented
        )

    def _draw(self, header: Header, scale: int, finish: PictureFilter | None) -> np.ndarray:
        assert self._model is not None
        latents = self._prior.latents
        drawn = self._model.synthesize(latents, header.quality, scale, finish=finish)
        pixels = to_pixels(drawn, header, scale)
        self._drawn = self._stored, scale, pixels
        return pixels


def progressive(
    source: bytes | str | PathLike[str] | BinaryIO, **options: Unpack[DecodeOptions]
) -> Iterator[Frame]:
    """Frames of a file, coarse to fine, each as soon as it is drawn.

    Args:
        source: the file's bytes, its path, or a binary stream, which is read piece by piece.
        options: as of :func:`codec.decode_detailed`.

    Yields:
        A frame per layer, then one with ``final`` set: exactly the picture of
        :func:`codec.decode`, with the metadata that stands behind the layers.

    Raises:
        codec.errors.CodecError: while iterating, as :class:`ProgressiveDecoder`.
    """
    decoder = ProgressiveDecoder(**options)
    for piece in _pieces(source):
        yield from decoder.frames(piece)
    result = decoder.finish()
    yield Frame(result.image, result.layers, options.get("scale", 1), decoder.received, final=True)


def _pieces(source: bytes | str | PathLike[str] | BinaryIO) -> Iterator[bytes]:
    if isinstance(source, bytes | bytearray | memoryview):
        yield bytes(source)
        return
    if not isinstance(source, str | PathLike):
        if not hasattr(source, "read"):
            raise ArgumentError(
                f"a file is bytes, a path or a binary stream, not {type(source).__name__}"
            )
        # read1 returns what is there; read would wait until the piece is full
        read = getattr(source, "read1", source.read)
        while piece := read(_PIECE):
            yield piece
        return
    path = Path(source)
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except IsADirectoryError as error:
        raise ImageError(f"{path}: is a folder, not a file") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
