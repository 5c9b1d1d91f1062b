"""What a graphics chunk (``g``) may hold: a lossless WebP, or a PNG for sides that WebP lacks.

Checked here, before any pixel is decoded: form, size and kind (``docs/format.md``).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bitstream.errors import CorruptError

#: The longest side of a WebP.
WEBP_SIDE = 16383

_PNG = b"\x89PNG\r\n\x1a\n"
_RGB, _RGBA = 2, 6


@dataclass(frozen=True)
class GraphicsHead:
    """Format (``WEBP`` or ``PNG``), size in pixels, and whether there is an alpha channel."""

    format: str
    width: int
    height: int
    alpha: bool


def read_head(payload: bytes) -> GraphicsHead:
    """What a payload declares. Raises CorruptError where it is neither of the two forms."""
    if payload[:4] == b"RIFF":
        return _webp(payload)
    if payload[:8] == _PNG:
        return _png(payload)
    raise CorruptError("neither a WebP nor a PNG")


def _webp(data: bytes) -> GraphicsHead:
    """A RIFF file of one VP8L chunk and nothing else."""
    if len(data) < 25:
        raise CorruptError("the WebP is too short")
    riff, form, kind, size = struct.unpack_from("<I4s4sI", data, 4)
    if form != b"WEBP" or kind != b"VP8L":
        raise CorruptError("the WebP is not a plain lossless one")
    if riff != len(data) - 8 or size + size % 2 != len(data) - 20:
        raise CorruptError("the WebP has another length than it says")
    signature, bits = struct.unpack_from("<BI", data, 20)
    if signature != 0x2F or bits >> 29:
        raise CorruptError("the WebP is not a plain lossless one")
    return GraphicsHead("WEBP", (bits & 16383) + 1, (bits >> 14 & 16383) + 1, bool(bits >> 28 & 1))


def _png(data: bytes) -> GraphicsHead:
    """IHDR, IDAT chunks and IEND, nothing else; 8 bits, not interlaced."""
    kinds, offset = [], len(_PNG)
    while offset + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        kinds.append(kind)
        offset += 12 + length
    count = len(kinds) - 2
    if offset != len(data) or kinds != [b"IHDR", *[b"IDAT"] * count, b"IEND"] or count < 1:
        raise CorruptError("the PNG is not a plain one")
    width, height, depth, colour, *rest = struct.unpack_from(">IIBBBBB", data, len(_PNG) + 8)
    if depth != 8 or colour not in (_RGB, _RGBA) or any(rest):
        raise CorruptError("the PNG is not a plain one")
    return GraphicsHead("PNG", width, height, colour == _RGBA)
