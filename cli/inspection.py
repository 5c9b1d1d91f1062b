"""``codec verify`` and ``codec info``: what .cci files are, without a picture."""

from __future__ import annotations

import dataclasses
import json
import sys
from contextlib import nullcontext
from typing import Annotated, Any

import typer

import codec
from cli.jobs import FAILURE, STANDARD, Job, computing_on, errors_as_one_line, naming
from cli.options import Device, Json, MaxPixels, Threads
from cli.output import complain, say
from codec.errors import CodecError, ModelError
from codec.limits import DEFAULT_MAX_PIXELS

VERIFY_EXAMPLES = """Examples:

\b
  codec verify photo.cci
  codec verify --deep archive/*.cci
"""
INFO_EXAMPLES = """Examples:

\b
  codec info photo.cci
  codec info photo.cci --json
"""


def verify(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=".cci files.")],
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode the symbols too and compare their checksums.")
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: Json = False,
) -> None:
    """Check that .cci files are complete and undamaged; the exit status is 1 if any is not."""
    with errors_as_one_line():
        options: dict[str, Any] = {"deep": deep, "device": device, "max_pixels": max_pixels}
        with computing_on(threads) if deep else nullcontext():  # only deep checks compute
            failed = [name for name in files if not _verify_one(name, as_json, options)]
        sys.stdout.flush()
    if failed:
        raise typer.Exit(FAILURE)


def _verify_one(name: str, as_json: bool, options: dict[str, Any]) -> bool:
    """Print that one file is sound, or complain; whether it is."""
    problem = None
    try:
        with naming(name):
            about = codec.verify(Job(name, STANDARD).read(), **options)
    except ModelError:
        raise
    except CodecError as error:
        problem = str(error)
        complain(problem)
    if as_json:
        print(json.dumps({"file": name, "sound": problem is None, "problem": problem}))
    elif problem is None:
        say(f"{name}: sound, {len(about.layers)} layers, {about.bytes} bytes")
    return problem is None


def info(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help=".cci files.")],
    as_json: Json = False,
) -> None:
    """Show what .cci files contain, without decoding them."""
    with errors_as_one_line():
        failed = [name for name in files if not _info_one(name, as_json)]
        sys.stdout.flush()
    if failed:
        raise typer.Exit(FAILURE)


def _info_one(name: str, as_json: bool) -> bool:
    """Print what one file contains, or complain; whether it could be read."""
    try:
        with naming(name):
            about = codec.info(Job(name, STANDARD).read(), max_pixels=None)
    except CodecError as error:
        complain(str(error))
        return False
    if as_json:
        print(json.dumps({"file": name} | dataclasses.asdict(about)))
    else:
        for line in _describe(name, about):
            say(line)
    return True


def _describe(name: str, about: codec.FileInfo) -> list[str]:
    grey = ", grey" if about.grey else ""
    lines = [
        f"{name}: {about.width}×{about.height}{grey}, {about.bytes} bytes, {about.bpp:.4f} bpp",
        f"  model {about.model}, weights {about.weights}, quality {about.quality}",
    ]
    first = 1
    for layer in about.layers:
        stages = ""
        if layer.stages is not None and layer.stages > 1:
            stages = f", stages {first}–{first + layer.stages - 1}"
        first += layer.stages or 1
        lines.append(
            f"  layer {layer.name:3s} {layer.bytes:8d} bytes, ends at byte {layer.end}{stages}"
        )
    if len(about.layers) < about.layers_declared and not about.damage:
        lines.append(f"  cut: {about.layers_declared} layers were written")
    elif not about.complete and not about.damage:
        lines.append("  cut after the last layer: graphics or metadata are missing")
    if about.filter_bytes:
        lines.append(f"  filter    {about.filter_bytes:8d} bytes")
    if about.graphics_bytes:
        lines.append(f"  graphics  {about.graphics_bytes:8d} bytes, lossless")
    for kind, size in about.metadata.items():
        lines.append(f"  {kind:9s} {size:8d} bytes")
    if about.damage:
        lines.append(f"  damaged: {about.damage}")
    if about.appended_bytes:
        lines.append(f"  ignored   {about.appended_bytes:8d} bytes after the end of the file")
    return lines
