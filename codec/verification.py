"""Is a file whole and undamaged?"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from bitstream.container import ALPHA, EXIF, ICC, XMP, Container
from bitstream.picture_filter import unpack_filter
from codec.errors import CorruptError, ImageError
from codec.inspection import FileInfo, describe, read_bytes, require_whole
from codec.limits import DEFAULT_MAX_PIXELS, out_of_memory_as_limit
from codec.options import DecodeOptions

if TYPE_CHECKING:
    from models.protocol import Progress

_METADATA = {ICC: "the ICC profile", EXIF: "EXIF", XMP: "XMP"}


@out_of_memory_as_limit
def verify(
    source: bytes | str | PathLike[str],
    *,
    deep: bool = False,
    device: str = "auto",
    max_pixels: int | None = DEFAULT_MAX_PIXELS,
    progress: Progress | None = None,
) -> FileInfo:
    """Check that a .cci file is complete and undamaged; returns what it contains.

    Every byte is covered by a checksum; metadata, alpha and graphics are unpacked. With ``deep``
    the symbols are decoded too and compared with their own checksums, which needs the file's
    weights and takes about half the time of decoding the picture.

    Args:
        source: the file's bytes or its path.
        deep: decode the symbols.
        device: ``auto``, ``cpu`` or ``cuda``, for ``deep``.
        max_pixels: refuse files that declare more; None: no limit.
        progress: called with the share done, 0…1, by a deep check.

    Raises:
        codec.errors.TruncatedError: the file is cut.
        codec.errors.CorruptError: it is damaged.
        codec.errors.CodecError: it is not a readable .cci file, or its weights are not installed.
    """
    data = read_bytes(source)
    container = Container.from_bytes(data, max_pixels=max_pixels)
    require_whole(container)
    _verify_side_data(container)
    if deep:
        _verify_symbols(container, DecodeOptions(device=device, strict=True, progress=progress))
    return describe(data, container)


def _verify_symbols(container: Container, options: DecodeOptions) -> None:
    """Raises CorruptError where a layer's symbols are not those that were encoded."""
    from codec.decoding import Decoder  # brings torch, which a quick check can do without

    decoder = Decoder(container, options, drawing=0.0)
    for layer in container.layers:
        decoder.push(layer)


def _verify_side_data(container: Container) -> None:
    header = container.header
    alpha, graphics = container.first(ALPHA), container.graphics
    if container.filter is not None:
        try:
            unpack_filter(container.filter)
        except CorruptError as error:
            raise CorruptError(f"the picture's filter: {error}") from error
    metadata = {kind: container.first(kind) for kind in _METADATA}
    if alpha is None and graphics is None and all(payload is None for payload in metadata.values()):
        return
    from codec.graphics import unpack_graphics  # brings numpy and Pillow
    from codec.side_data import unpack_alpha, unpack_metadata

    part = "the alpha plane"
    try:
        if alpha is not None:
            unpack_alpha(alpha, header.width, header.height)
        part = "the graphics"
        if graphics is not None:
            unpack_graphics(graphics, header.width, header.height)
        for kind, part in _METADATA.items():  # noqa: B007 - named by the error below
            if (payload := metadata[kind]) is not None:
                unpack_metadata(payload)
    except ImageError as error:
        raise CorruptError(f"{part}: {error}") from error
