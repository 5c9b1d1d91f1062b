"""Pictures in a terminal: every character is two pixels, an upper half block over its background.

Frames replace each other as they sharpen.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.color import Color
from rich.console import Console, Group
from rich.live import Live
from rich.segment import Segment, Segments
from rich.style import Style
from rich.text import Text

import codec
from cli.output import complain, printable
from codec.errors import ArgumentError, ImageError, naming
from codec.inspection import read_bytes

_HALF_BLOCK = "▀"
_TICK = 0.05  # seconds between two pieces of the simulated line


def half_blocks(
    image: Image.Image, columns: int, rows: int, full: tuple[int, int] | None = None
) -> Segments:
    """The image as characters, at most ``columns`` × ``rows``, each two pixels of about a square.

    ``full`` is the size it stands for, where it is a small picture of something larger; nothing is
    shown larger than that. Transparency is laid over a middle grey, which shows on dark and light
    terminals.
    """
    width, height = full or image.size
    factor = min(columns / width, 2 * rows / height, 1.0)
    size = max(1, round(width * factor)), max(2, 2 * round(height * factor / 2))
    if "A" in image.getbands():
        grey = Image.new("RGBA", image.size, (128, 128, 128))
        image = Image.alpha_composite(grey, image.convert("RGBA"))
    small = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    pixels = np.asarray(small)  # (2 rows, columns, 3)
    segments = []
    for upper, lower in zip(pixels[0::2], pixels[1::2], strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below))
            segments.append(Segment(_HALF_BLOCK, style))
        segments.append(Segment.line())
    return Segments(segments)


def a_terminal() -> Console:
    """Standard output. Raises ArgumentError where it is no terminal (FORCE_COLOR makes it one)."""
    console = Console(highlight=False)
    if not console.is_terminal:
        raise ArgumentError(
            "--terminal draws on a terminal, which standard output is not; "
            "codec decode writes pictures into files"
        )
    return console


def show(
    place: Path,
    *,
    rate: int | None,
    options: dict[str, Any],
    console: Console | None = None,
    coded: bytes | None = None,
) -> None:
    """Show a file, or the .cci files of a folder one after the other.

    Args:
        rate: bytes per second of a simulated line; None: no waiting.
        options: as of :class:`codec.ProgressiveDecoder`.
        coded: ``place`` is a picture, and these are the bytes of its .cci file.

    Raises:
        codec.errors.CodecError: no such file, or not one of ours.
    """
    console = console or a_terminal()
    if coded is not None:
        _show_one(place, coded, rate, options, console)
        return
    files = [place]
    if place.is_dir():
        files = sorted(p for p in place.iterdir() if p.suffix.lower() == ".cci" and p.is_file())
        if not files:
            raise ImageError(f"{place}: the folder holds no .cci file")
    for file in files:
        _show_one(file, read_bytes(file), rate, options, console)


def _show_one(
    file: Path, data: bytes, rate: int | None, options: dict[str, Any], console: Console
) -> None:
    decoder = codec.ProgressiveDecoder(**options)
    name = printable(file.name)
    # one line for the caption, one so that the prompt does not push the picture up
    columns, rows = console.width, max(1, console.height - 2)

    def drawn(image: Image.Image, layers: int, received: int) -> Group:
        header = decoder.header
        full = (header.width, header.height) if header else None
        declared = header.layers if header else 0
        caption = f"{name}: layer {layers} of {declared}, {received} of {len(data)} bytes"
        return Group(half_blocks(image, columns, rows, full), Text(caption, overflow="ellipsis"))

    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        with naming(str(file)):
            for piece in _arriving(data, rate):
                for frame in decoder.frames(piece):
                    live.update(drawn(frame.image, frame.layers, frame.end), refresh=True)
            result = decoder.finish()
        live.update(drawn(result.image, result.layers, len(data)), refresh=True)
    for note in result.notes:
        complain(f"{file}: note: {note}")


def _arriving(data: bytes, rate: int | None) -> Iterator[bytes]:
    """Pieces of the file as a line of n bytes a second would bring them."""
    if not rate:
        yield data
        return
    started, sent = time.perf_counter(), 0
    while sent < len(data):
        time.sleep(_TICK)
        arrived = min(len(data), int((time.perf_counter() - started) * rate))
        yield data[sent:arrived]
        sent = arrived
