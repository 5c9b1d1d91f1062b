"""``codec view``: files in the browser or in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.jobs import errors_as_one_line
from cli.options import Device, MaxPixels
from cli.output import complain
from cli.sizes import parse_size
from codec.errors import ArgumentError, CodecError
from codec.limits import DEFAULT_MAX_PIXELS

EXAMPLES = """Examples:

\b
  codec view photo.cci                  opens it in the browser
  codec view holiday/ --port 8000       every .cci file of a folder
  codec view holiday/ --no-browser      only prints the address
  codec view --terminal photo.cci       coloured half blocks, here
  codec view --terminal photo.cci --rate 4kB
"""


class MissingExtraError(CodecError):
    """The packages of the viewer are not installed."""


def view(
    place: Annotated[
        Path, typer.Argument(metavar="FILE_OR_FOLDER", help="A .cci file, or a folder of them.")
    ],
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
            from cli.terminal_view import show

            show(place, rate=None if rate is None else parse_size(rate), options=options)
            return
        if rate is not None:
            raise ArgumentError("--rate goes with --terminal; the page has its own control")
        _serve(place, port, not no_browser, options)


def _serve(place: Path, port: int, browser: bool, options: dict[str, Any]) -> None:
    try:
        from cli.viewer.folder import Library
        from cli.viewer.serve import serve
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"codec view needs {error.name}: pip install 'conceptual-codec[view]' brings it; "
            "--terminal works without"
        ) from error

    def announce(address: str) -> None:
        print(f"{place}: {address} (Ctrl-C ends it)", flush=True)

    serve(Library(place), port=port, browser=browser, options=options, announce=announce)
    complain("viewer stopped")
