"""``codec compare``: how near pictures come to their originals."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.jobs import FAILURE, computing_on, errors_as_one_line
from cli.options import Device, MaxPixels, Threads
from cli.output import complain, say
from cli.suffixes import is_picture
from codec.errors import ArgumentError, CodecError, ModelError
from codec.limits import DEFAULT_MAX_PIXELS
from codec.quiet import libraries_silenced

if TYPE_CHECKING:
    from codec.comparison import Comparison

EXAMPLES = """Examples:

\b
  codec compare photo.png photo.cci
  codec compare photo.png photo.jpg --json
  codec compare photos/ coded/                    files of the same name, and their mean
"""


def compare(
    original: Annotated[
        str, typer.Argument(metavar="A", help="The original: an image, a .cci file, or a folder.")
    ],
    other: Annotated[str, typer.Argument(metavar="B", help="What is compared with it, likewise.")],
    recursive: Annotated[
        bool,
        typer.Option("--recursive", "-r", help="Look into subfolders, links to folders aside."),
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print figures as JSON, one object per pair.")
    ] = False,
) -> None:
    """Measure PSNR, MS-SSIM and SSIMULACRA2 of two pictures, or of two folders."""
    failed = False
    with errors_as_one_line(), libraries_silenced(), computing_on(threads):
        pairs, alone = _pairs(original, other, recursive)
        for path in alone:
            failed = True
            complain(f"{path}: has no counterpart in the other folder")
        table = _Table(pairs, as_json)
        for a, b in pairs:
            try:
                from codec.comparison import compare as measure

                table.add(a, b, measure(a, b, device=device, max_pixels=max_pixels))
            except (ArgumentError, ModelError):
                raise
            except CodecError as error:
                if len(pairs) == 1:
                    raise
                failed = True
                complain(str(error))
        table.finish()
    if failed:
        raise typer.Exit(FAILURE)


def _pairs(
    original: str, other: str, recursive: bool
) -> tuple[Sequence[tuple[Path, Path]], Sequence[Path]]:
    folders = [os.path.isdir(name) for name in (original, other)]
    if all(folders):
        from codec.comparison import pairs_of

        return pairs_of(original, other, is_picture, recursive=recursive)
    if any(folders):
        raise ArgumentError("compare two files or two folders, not a file with a folder")
    return [(Path(original), Path(other))], []


class _Table:
    """A line for each pair as it is measured, and the means where there are several."""

    def __init__(self, pairs: Sequence[tuple[Path, Path]], as_json: bool) -> None:
        self._as_json = as_json
        self._several = len(pairs) > 1
        self._width = max(len("mean"), *(len(str(b)) for _, b in pairs))
        self._measured: list[Comparison] = []
        if not as_json:
            say(f"{'':{self._width}}  {'PSNR':>9}  {'MS-SSIM':>8}  {'SSIMULACRA2':>11}")

    def add(self, a: Path, b: Path, found: Comparison) -> None:
        self._measured.append(found)
        if self._as_json:
            figures = dataclasses.asdict(found) | {"psnr": None if found.equal else found.psnr}
            names: dict[str, Any] = {"original": str(a), "other": str(b), "equal": found.equal}
            print(json.dumps(names | figures))
        else:
            self._line(str(b), found.psnr, found.ms_ssim, found.ssimulacra2)

    def finish(self) -> None:
        if self._several and not self._as_json and self._measured:
            rows = self._measured
            self._line(
                "mean",
                _mean([row.psnr for row in rows if not row.equal]),
                _mean([row.ms_ssim for row in rows]),
                _mean([row.ssimulacra2 for row in rows]),
            )

    def _line(
        self, name: str, psnr: float | None, msssim: float | None, seen: float | None
    ) -> None:
        db = "–" if psnr is None else "equal" if psnr == float("inf") else f"{psnr:.2f} dB"
        others = "–" if msssim is None else f"{msssim:.5f}", "–" if seen is None else f"{seen:.2f}"
        say(f"{name:{self._width}}  {db:>9}  {others[0]:>8}  {others[1]:>11}")


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that there are."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
