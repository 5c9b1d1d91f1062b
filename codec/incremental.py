"""Bytes as they arrive → frames that sharpen.

>>> decoder = codec.ProgressiveDecoder()
>>> for piece in connection:
...     for frame in decoder.push(piece):
...         show(frame.image)  # a quarter, then half, then full size
>>> result = decoder.finish()  # what codec.decode_detailed gives for all the bytes
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Unpack

from PIL import Image

from bitstream.container import GRAPHICS, LAYER, Chunk, Header
from bitstream.incremental import ContainerReader
from codec.decoding import Decoded, Decoder
from codec.errors import ArgumentError, CodecError, ImageError
from codec.inspection import require_whole
from codec.limits import out_of_memory_as_limit
from codec.options import SCALES, DecodeKeywords, DecodeOptions
from codec.picture import to_pillow

_PIECE = 1 << 16


@dataclass(frozen=True)
class Frame:
    """The picture as far as the bytes go.

    ``image`` is the original's size divided by ``scale``, rounded up; ``layers`` of the file are in
    it; its first ``end`` bytes were enough for it. ``final`` marks the last frame of
    :func:`progressive`, which has all that the file holds, metadata included.
    """

    image: Image.Image
    layers: int
    scale: int
    end: int
    final: bool = False


class ProgressiveDecoder:
    """Decode a .cci file whose bytes arrive piece by piece.

    :meth:`push` gives a frame for each layer that a piece completes: u at a quarter of the size, z1
    at half, z2 the picture; and one more for a lossless part. Each layer is decoded once.
    :meth:`finish` gives exactly what :func:`codec.decode_detailed` gives for the same bytes and
    options; for a file cut after its first layer that is the picture in full size with the missing
    layers filled.

    Args:
        options: as of :func:`codec.decode_detailed`. ``scale`` 2 or 4 ends with the small frame,
            ``fill``, ``seed`` and ``temperature`` concern :meth:`finish` alone.

    Raises:
        codec.errors.CodecError: from any method, as soon as the bytes allow; the header's limits
            are checked before memory is taken.
    """

    def __init__(self, **options: Unpack[DecodeKeywords]) -> None:
        self._options = DecodeOptions.of("ProgressiveDecoder", options)
        if self._options.region is not None:
            raise ArgumentError("region: only where a file is decoded at once, not step by step")
        self._reader = ContainerReader(max_pixels=self._options.max_pixels)
        self._decoder: Decoder | None = None
        self._failure: CodecError | None = None
        self._result: Decoded | None = None
        self._laid_over = False  # one lossless part counts; more of them must cost nothing

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
                decoder = self._started()
                frame = None
                if chunk.type == LAYER and decoder.push(chunk):
                    frame = self._frame(decoder, chunk)
                elif chunk.type == GRAPHICS and not self._laid_over:
                    frame = self._graphics_frame(decoder, chunk)
                if frame is not None:
                    yield frame
        except CodecError as error:
            self._failure = error
            raise

    def finish(self) -> Decoded:
        """No more bytes will come: the picture they give, as of :func:`codec.decode_detailed`.

        Raises:
            codec.errors.CodecError: as there; TruncatedError where the first layer is not whole.
        """
        for _ in self.frames(b""):
            pass
        container = self._reader.finish()
        if self._options.strict:
            require_whole(container)
        if self._result is None:
            self._result = self._started().finish()
        return self._result

    def _started(self) -> Decoder:
        """The decoder, from the first chunk on."""
        if self._decoder is None:
            assert self._reader.container is not None
            self._decoder = Decoder(self._reader.container, self._options)
        return self._decoder

    @out_of_memory_as_limit
    def _frame(self, decoder: Decoder, chunk: Chunk) -> Frame | None:
        """What can be drawn since the layer was decoded; :meth:`finish` shows what needs a fill."""
        count = decoder.count
        if not decoder.cut.whole(count):
            return None
        scales = [s for s in SCALES if decoder.model.layers_for_scale(s) == count]
        if not scales:
            return None
        return Frame(to_pillow(decoder.draw(scales[0])), count, scales[0], chunk.end)

    def _graphics_frame(self, decoder: Decoder, chunk: Chunk) -> Frame | None:
        """The picture with the lossless part, where all layers that it needs are there."""
        self._laid_over = decoder.complete
        picture = decoder.draw_graphics()
        if picture is None:
            return None
        return Frame(to_pillow(picture), decoder.count, self._options.scale, chunk.end)


ByteSource = bytes | bytearray | memoryview | str | PathLike[str] | BinaryIO | Iterable[bytes]


def progressive(source: ByteSource, **options: Unpack[DecodeKeywords]) -> Iterator[Frame]:
    """Frames of a file, coarse to fine, each as soon as it is drawn.

    Args:
        source: the file's bytes or its path; or what brings them piece by piece: a binary stream,
            or an iterable of bytes.
        options: as of :func:`codec.decode_detailed`.

    Yields:
        A frame per layer (a quarter of the size, half, full) and one for a lossless part of
        graphics. The last has ``final`` set: exactly the picture of :func:`codec.decode`, with the
        metadata that stands after the layers. Of bytes and paths no picture comes twice; where
        bytes are waited for, the last layer's frame comes at once and again as ``final`` when
        the source has ended.

    Raises:
        codec.errors.ArgumentError: a bad option, or no source of bytes, at once.
        codec.errors.CodecError: while iterating, as :class:`ProgressiveDecoder`.
    """
    decoder = ProgressiveDecoder(**options)
    at_hand = isinstance(source, bytes | bytearray | memoryview | str | PathLike)
    return _frames(decoder, _pieces(source), options.get("scale", 1), at_hand)


def _frames(
    decoder: ProgressiveDecoder, pieces: Iterator[bytes], scale: int, at_hand: bool
) -> Iterator[Frame]:
    """``at_hand``: all bytes are there, so that nobody waits if the last frame waits for them."""
    held: Frame | None = None
    for piece in pieces:
        for frame in decoder.frames(piece):
            if held is not None:
                yield held
            held = frame if at_hand and frame.scale == scale else None
            if held is None:
                yield frame
    result = decoder.finish()
    if held is not None and not _same_pixels(held.image, result.image):
        yield held
    yield Frame(result.image, result.layers, scale, decoder.received, final=True)


def _same_pixels(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and one.size == other.size and one.tobytes() == other.tobytes()


def _pieces(source: ByteSource) -> Iterator[bytes]:
    """The bytes, as they come. Raises ArgumentError at once where the source brings none."""
    if isinstance(source, bytes | bytearray | memoryview):
        return iter([bytes(source)])
    if isinstance(source, str | PathLike):
        return _pieces_of_file(Path(source))
    if hasattr(source, "read"):
        return _pieces_of_stream(source)
    if isinstance(source, Iterable):
        return _checked(source)
    raise ArgumentError(
        "a file is bytes, a path, a binary stream or an iterable of bytes, "
        f"not {type(source).__name__}"
    )


def _pieces_of_stream(stream: Any) -> Iterator[bytes]:
    # read1 returns what is there; read would wait until the piece is full
    read = getattr(stream, "read1", stream.read)
    while piece := read(_PIECE):
        yield piece


def _checked(source: Iterable[bytes]) -> Iterator[bytes]:
    for piece in source:
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise ArgumentError(f"pieces of a file are bytes, not {type(piece).__name__}")
        yield bytes(piece)


def _pieces_of_file(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except IsADirectoryError as error:
        raise ImageError(f"{path}: is a folder, not a file") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error
