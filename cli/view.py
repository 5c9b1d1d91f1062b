"""``codec view``: files in the browser or in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.jobs import errors_as_one_line
from cli.options import Device, MaxPixels, named
from cli.output import complain, printable, progress_bar, say
from codec.errors import ArgumentError, CodecError, naming
from codec.inspection import is_coded
from codec.limits import DEFAULT_MAX_PIXELS
from codec.sizes import parse_size

EXAMPLES = """Examples:

\b
  codec view photo.cci                  opens it in the browser
  codec view photo.png                  encodes a picture in memory, and shows it
  codec view holiday/ --port 8000       every .cci file of a folder and below
  codec view coded/ --originals raw/    compares with the pictures in raw/
  codec view holiday/ --no-browser      only prints the address
  codec view --terminal photo.cci       coloured half blocks, here
  codec view --terminal photo.cci --rate 4kB
"""


class MissingExtraError(CodecError):
    """The packages of the viewer are not installed."""


def view(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="FILE_OR_FOLDER",
            help="A .cci file, a folder of them, or a picture to encode.",
            parser=named,
        ),
    ],
    originals: Annotated[
        Path | None,
        typer.Option(
            help="Where originals lie, if not beside their files.", metavar="DIR", parser=named
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of the address; 0 takes a free one.")
    ] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print it.")] = False,
    terminal: Annotated[
        bool, typer.Option("--terminal", "-t", help="Show it here, as coloured half blocks.")
    ] = False,
    rate: Annotated[
        str | None,
        typer.Option(help="With --terminal: as if the file came at this rate a second, e.g. 4kB."),
    ] = None,
    device: Device = "auto",
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
) -> None:
    """Watch files sharpen as their bytes arrive: in the browser, or in the terminal."""
    options: dict[str, Any] = {"device": device, "max_pixels": max_pixels}
    with errors_as_one_line():
        if terminal:
            if originals is not None:
                raise ArgumentError("--originals goes with the page, not with --terminal")
            from cli.terminal_view import a_terminal, show

            speed = None if rate is None else parse_size(rate)
            console = a_terminal()
            show(place, rate=speed, options=options, console=console, coded=_coded(place, options))
            return
        if rate is not None:
            raise ArgumentError("--rate goes with --terminal; the page has its own control")
        _serve(place, originals, port, not no_browser, options)


def _coded(place: Path, options: dict[str, Any]) -> bytes | None:
    """The .cci file of a picture, encoded in memory; None where the place is none.

    Raises CodecError where it is a file, but neither one of ours nor a picture.
    """
    if place.suffix.lower() == ".cci" or not place.is_file() or is_coded(place):
        return None
    import codec

    started = time.perf_counter()
    with naming(str(place)), _progress(f"encoding {place}") as show:
        result = codec.encode_detailed(place, progress=show, **options)
    seconds = time.perf_counter() - started
    summary = f"{len(result.data)} bytes, {result.bpp:.4f} bpp, quality {result.quality:g}"
    say(f"{place}: encoded in memory: {summary}, {seconds:.2f} s", to_stderr=True)
    return result.data


@contextmanager
def _progress(title: str) -> Iterator[Callable[[float], None]]:
    """A bar that is gone when the work is done; what is yielded takes the share done."""
    from rich.progress import BarColumn, TextColumn

    with progress_bar(TextColumn("{task.description}", markup=False), BarColumn()) as bar:
        task = bar.add_task(printable(title), total=1.0)
        yield lambda share: bar.update(task, completed=share)


def _serve(
    place: Path, originals: Path | None, port: int, browser: bool, options: dict[str, Any]
) -> None:
    try:
        from cli.viewer.folder import Library
        from cli.viewer.serve import serve
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"codec view needs {error.name}: pip install 'conceptual-codec[view]' brings it; "
            "--terminal works without"
        ) from error

    def announce(address: str) -> None:
        print(f"{printable(str(place))}: {address} (Ctrl-C ends it)", flush=True)

    library = Library(place, originals=originals, coded=_coded(place, options))
    serve(library, port=port, browser=browser, options=options, announce=announce)
    complain("viewer stopped")
