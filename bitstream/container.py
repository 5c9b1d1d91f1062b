"""The .cci container: a 24-byte header, then chunks (``docs/format.md`` is the specification).

Header, little endian::

    0   4   magic  8F 43 43 49
    4   1   version of the container and of the exact arithmetic (2)
    5   1   model id
    6   4   weights fingerprint
    10  4   width, pixels
    14  4   height, pixels
    18  1   quality, 0…100, its whole part
    19  1   layers (low four bits); flags: bit 4 grey, bits 5 and 6 quarters of quality, bit 7 a
            lossless part follows the layers
    20  4   CRC-32 of bytes 0…19

Chunk: type (1 byte, an ASCII letter), payload length (LEB128), CRC-32 of type, length and payload,
then the payload. An upper-case type is critical, a lower-case one may be skipped by a reader that
does not know it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from bitstream.errors import (
    CorruptError,
    FormatError,
    LimitError,
    NotACodecFileError,
    TruncatedError,
    UnsupportedFileError,
)

MAGIC = b"\x8fCCI"
VERSION = 2
_HEADER = struct.Struct("<4sBB4sIIBB")
HEADER_BYTES = _HEADER.size + 4
MAX_QUALITY = 100
MAX_SIDE = 2**24
SIZE_MULTIPLE = 64

LAYER = b"L"
ICC = b"i"
EXIF = b"e"
XMP = b"x"
ALPHA = b"a"
#: How many stages are stored, where the last layer does not hold all of its own.
STAGES = b"S"
#: Coefficients of the fitted filter (:mod:`bitstream.picture_filter`).
FILTER = b"f"
#: The lossless part of the picture (:mod:`bitstream.graphics`).
GRAPHICS = b"g"
KNOWN = {LAYER, ICC, EXIF, XMP, ALPHA, STAGES, FILTER, GRAPHICS}

FLAG_GREY = 1
#: Two bits: quarters that the quality has beyond its whole part.
_QUARTERS = 6
#: A chunk of graphics follows the layers: without it a file that ends there is cut.
FLAG_GRAPHICS = 8


def nearest_quality(value: float) -> float:
    """The nearest quality that a file can have: whole numbers (as int) and quarters."""
    quarters = round(value * 4)
    return quarters / 4 if quarters % 4 else quarters // 4


def padded_pixels(width: int, height: int) -> int:
    """Pixels that networks work on: sides rounded up to multiples of 64. Limits count these."""
    return (width + -width % SIZE_MULTIPLE) * (height + -height % SIZE_MULTIPLE)


@dataclass(frozen=True)
class Header:
    """What a decoder must know before the first chunk."""

    model_id: int
    fingerprint: bytes
    width: int
    height: int
    quality: float
    """0…100 in steps of 1/4."""
    layers: int
    flags: int = 0
    """Without the quarters of the quality."""

    @property
    def grey(self) -> bool:
        return bool(self.flags & FLAG_GREY)

    def to_bytes(self) -> bytes:
        whole, quarters = divmod(round(self.quality * 4), 4)
        body = _HEADER.pack(
            MAGIC,
            VERSION,
            self.model_id,
            self.fingerprint,
            self.width,
            self.height,
            whole,
            self.layers | (self.flags | quarters << 1) << 4,
        )
        return body + struct.pack("<I", zlib.crc32(body))

    @staticmethod
    def from_bytes(data: bytes, *, max_pixels: int | None = None) -> Header:
        """Parse and check the first 24 bytes.

        Raises:
            NotACodecFileError, TruncatedError, CorruptError, UnsupportedFileError, LimitError.
        """
        if not data:
            raise NotACodecFileError("the file is empty")
        if data[:4] != MAGIC[: len(data[:4])]:
            raise NotACodecFileError("this is not a .cci file (its first bytes are others)")
        if len(data) < HEADER_BYTES:
            raise TruncatedError(f"the file ends inside its header, after {len(data)} bytes")
        body = data[: _HEADER.size]
        if data[4] != VERSION:
            way = "a newer one is needed"
            if data[4] < VERSION:
                way = "decode it with release 0.1 and encode the picture anew"
            raise UnsupportedFileError(
                f"the file has format version {data[4]}; this program reads version {VERSION}: "
                f"{way}"
            )
        if struct.unpack_from("<I", data, _HEADER.size)[0] != zlib.crc32(body):
            raise CorruptError("the header is damaged (its checksum does not match)")
        _, _, model_id, fingerprint, width, height, whole, packed = _HEADER.unpack(body)
        layers, flags = packed & 15, packed >> 4
        if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise FormatError(f"the header declares an impossible size of {width}×{height} pixels")
        quality = nearest_quality(whole + (flags & _QUARTERS) / 8)
        if quality > MAX_QUALITY or layers < 1:
            raise FormatError(f"the header declares quality {quality} and {layers} layers")
        if max_pixels is not None and padded_pixels(width, height) > max_pixels:
            raise LimitError(
                f"the file declares {width}×{height} pixels, more than the limit of {max_pixels} "
                "(sides rounded up to multiples of 64); "
                "raise it with --max-pixels (max_pixels=…) if you trust the file"
            )
        return Header(model_id, fingerprint, width, height, quality, layers, flags & ~_QUARTERS)


@dataclass(frozen=True)
class Chunk:
    """One chunk; ``end`` is the offset in the file just after it."""

    type: bytes
    payload: bytes
    end: int = 0

    def to_bytes(self) -> bytes:
        head = self.type + encode_length(len(self.payload))
        crc = zlib.crc32(self.payload, zlib.crc32(head))
        return head + struct.pack("<I", crc) + self.payload


def encode_length(value: int) -> bytes:
    """Unsigned LEB128."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_length(data: bytes | bytearray, offset: int) -> tuple[int, int] | None:
    """(value, next offset), or None where the data ends inside the number."""
    value = 0
    for i in range(5):
        if offset + i >= len(data):
            return None
        byte = data[offset + i]
        value |= (byte & 127) << 7 * i
        if byte < 128:
            return value, offset + i + 1
    raise CorruptError(f"the chunk length at byte {offset} is damaged")


def read_chunks(data: bytes) -> Iterator[Chunk]:
    """The whole chunks after the header, in file order; stops where the data is cut.

    Raises:
        CorruptError: a checksum does not match or a chunk head makes no sense.
        UnsupportedFileError: an unknown critical chunk.
    """
    offset = HEADER_BYTES
    while chunk := next_chunk(data, offset):
        yield chunk
        offset = chunk.end


def next_chunk(data: bytes | bytearray, offset: int) -> Chunk | None:
    """The chunk at ``offset``, or None where it is not there whole.

    Raises:
        CorruptError, UnsupportedFileError: as :func:`read_chunks`.
    """
    if offset >= len(data):
        return None
    kind = bytes(data[offset : offset + 1])
    if not kind.isalpha():
        raise CorruptError(f"no chunk starts at byte {offset}: the file is damaged there")
    length = _read_length(data, offset + 1)
    if length is None:
        return None
    size, start = length
    end = start + 4 + size
    if end > len(data):
        return None
    payload = bytes(data[start + 4 : end])
    crc = zlib.crc32(payload, zlib.crc32(data[offset:start]))
    if struct.unpack_from("<I", data, start)[0] != crc:
        raise CorruptError(f"the chunk at byte {offset} is damaged (checksum mismatch)")
    if kind not in KNOWN and kind.isupper():
        raise UnsupportedFileError(
            f"the file contains a chunk of type {kind.decode('ascii')!r} that is needed to "
            "decode it and that this version does not know: a newer one is needed"
        )
    return Chunk(kind, payload, end)


@dataclass
class Container:
    """A parsed file: the header and the chunks that arrived whole.

    ``appended`` counts bytes after a complete file that are no part of it.
    """

    header: Header
    chunks: list[Chunk] = field(default_factory=list)
    truncated: bool = False
    damage: CorruptError | None = None
    appended: int = 0

    @property
    def layers(self) -> list[Chunk]:
        """Layer chunks, coarse to fine, at most as many as the header declares."""
        return [c for c in self.chunks if c.type == LAYER][: self.header.layers]

    @property
    def stages(self) -> int | None:
        """Stages in all layers, where the file says so (before its layers); else all are stored.

        Raises CorruptError for a count that is none.
        """
        for chunk in self.chunks:
            if chunk.type == STAGES:
                if len(chunk.payload) != 1:
                    raise CorruptError("the number of stages is damaged")
                return chunk.payload[0]
            if chunk.type == LAYER:
                break
        return None

    @property
    def filter(self) -> bytes | None:
        """Payload of the fitted filter, if one stands before the last layer of a whole file."""
        layers, payload = 0, None
        for chunk in self.chunks:
            if chunk.type == FILTER and payload is None:
                payload = chunk.payload
            layers += chunk.type == LAYER
            if layers == self.header.layers:
                return payload
        return None

    @property
    def graphics(self) -> bytes | None:
        """Payload of the first graphics chunk after the last layer that the header declares."""
        layers = 0
        for chunk in self.chunks:
            if chunk.type == GRAPHICS and layers >= self.header.layers:
                return chunk.payload
            layers += chunk.type == LAYER
        return None

    def first(self, kind: bytes) -> bytes | None:
        """Payload of the first chunk of a type, or None."""
        return next((c.payload for c in self.chunks if c.type == kind), None)

    @staticmethod
    def from_bytes(data: bytes, *, max_pixels: int | None = None) -> Container:
        """Parse; a file cut or damaged after its first layer still gives the layers before.

        Raises:
            FormatError: see :meth:`Header.from_bytes`; CorruptError where the first layer is
                damaged, TruncatedError where it is not whole.
        """
        container = Container(Header.from_bytes(data, max_pixels=max_pixels))
        end = HEADER_BYTES
        try:
            for chunk in read_chunks(data):
                end = chunk.end
                if chunk.type in KNOWN:
                    container.chunks.append(chunk)
        except CorruptError as error:
            if not container.layers:
                raise
            container.damage = error
        container.close(data, end)
        return container

    def close(self, data: bytes | bytearray, end: int) -> None:
        """All chunks are there; judge what follows the last of them, at ``end``.

        Raises TruncatedError where not even the first layer is whole.
        """
        if not self.layers:
            raise TruncatedError(
                f"the file ends after {len(data)} bytes, before its first layer is complete"
            )
        missing = len(self.layers) < self.header.layers
        lost = bool(self.header.flags & FLAG_GRAPHICS) and self.graphics is None
        first = bytes(data[end : end + 1])
        # Padding and the like. What begins as metadata do is taken for metadata cut or damaged.
        alien = not first.isalpha() or (first not in KNOWN and self.damage is None)
        if first and alien and not missing:
            self.appended, self.damage = len(data) - end, None
        self.truncated = missing or lost or end + self.appended < len(data)
