"""Entry point of the ``codec`` command."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

import codec
from cli import batch as batch_command
from cli import bench as bench_command
from cli import generate
from cli.compare import EXAMPLES as COMPARE_EXAMPLES
from cli.compare import compare
from cli.help import EXAMPLES as FIRST_EXAMPLES
from cli.help import Group
from cli.inspection import INFO_EXAMPLES, VERIFY_EXAMPLES, info, verify
from cli.jobs import (
    STANDARD,
    Job,
    Outcome,
    Work,
    errors_as_one_line,
    naming,
    plan,
    run,
)
from cli.models import EXAMPLES as MODELS_EXAMPLES
from cli.models import models
from cli.options import (
    DECODING,
    ENCODING,
    SAVING,
    Json,
    Threads,
    decoding,
    encoding,
    takes,
)
from cli.suffixes import is_coded, is_image
from cli.view import EXAMPLES as VIEW_EXAMPLES
from cli.view import view
from cli.web import EXAMPLES as WEB_EXAMPLES
from cli.web import web
from codec.options import SaveOptions

app = typer.Typer(
    name="codec",
    cls=Group,
    epilog=FIRST_EXAMPLES,
    help="Layered, learned image compression: .cci files that decode the same everywhere.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_ENCODE_EXAMPLES = """Examples:

\b
  codec encode photo.png                          writes photo.cci
  codec encode photo.png -o small.cci --layers 2
  codec encode photo.jpg -o mail.cci --target-size 20kB
  codec encode holiday/ -o coded/ --recursive --quality 30
  codec encode photo.png -o archive.cci --effort 9
  codec encode photo.jpg -o web.cci --max-side 1600
  cat photo.png | codec encode - -o - > photo.cci
"""
_DECODE_EXAMPLES = """Examples:

\b
  codec decode photo.cci -o photo.png
  codec decode photo.cci -o concept.png --layers 1
  codec decode photo.cci -o dream.png --layers 1 --fill sample --seed 7
  codec decode photo.cci -o thumb.jpg --scale 4
  codec decode photo.cci -o mail.webp --output-quality 85
  codec decode photo.cci -o part.png --region 20,30,60,40
  codec decode coded/ -o decoded/ --recursive
"""


_Recursive = Annotated[
    bool, typer.Option("--recursive", "-r", help="Look into subfolders, links to folders aside.")
]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite files found beside the input.")]
_Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help="Output file (- is standard output), or a folder."),
]


@app.command(epilog=_ENCODE_EXAMPLES)
@takes(options=ENCODING)
def encode(
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Images, or a folder; - is standard input.")
    ],
    output: _Output = None,
    *,
    options: dict[str, Any],
    threads: Threads = None,
    recursive: _Recursive = False,
    force: _Force = False,
    as_json: Json = False,
) -> None:
    """Encode images into .cci files."""
    with errors_as_one_line():
        keywords = encoding(options)
        jobs, batch = plan(
            inputs, output, ".cci", accepts=is_image, recursive=recursive, force=force
        )
        work = partial(_encode_one, options=keywords)
        _run(jobs, batch, work, keywords, as_json=as_json, verb="encoding", threads=threads)


def _run(
    jobs: list[Job], batch: bool, work: Work, keywords: dict[str, Any], **options: Any
) -> None:
    """Files of a folder are worked on several at a time."""
    processes = 1
    if batch:
        from cli.crew import processes_for

        device = keywords.get("device", "auto")
        processes = processes_for(len(jobs), options["threads"], device)
    run(jobs, batch, work, processes=processes, **options)


def _encode_one(job: Job, show: Callable[[float], None], *, options: dict[str, Any]) -> Outcome:
    source = job.read()
    started = time.perf_counter()
    with naming(job.source):
        result = codec.encode_detailed(source, progress=show, **options)
    seconds = time.perf_counter() - started
    job.write(result.data)
    notes = [f"{job.source}: note: {note}" for note in result.notes]
    if not job.target.lower().endswith(".cci") and os.path.isfile(job.target):
        notes.insert(0, f"{job.target}: note: this is a .cci file, and found as one by that suffix")
    layers = dict(zip(("u", "z1", "z2"), result.layer_bytes, strict=False))
    figures = {
        "bytes": len(result.data),
        "bpp": round(result.bpp, 5),
        "width": result.width,
        "height": result.height,
        "quality": result.quality,
        "layers": layers,
        "filter_bytes": result.filter_bytes,
        "graphics_bytes": result.graphics_bytes,
        "metadata": result.metadata,
        "notes": list(result.notes),
        "seconds": round(seconds, 3),
    }
    parts = ", ".join(f"{name} {size}" for name, size in layers.items())
    beside = f", graphics {result.graphics_bytes}" if result.graphics_bytes else ""
    beside += "".join(f", {name} {size}" for name, size in result.metadata.items())
    line = (
        f"{job.target}: {len(result.data)} bytes, {result.bpp:.4f} bpp, quality {result.quality}, "
        f"{len(layers)} layers ({parts}){beside}, {seconds:.2f} s"
    )
    return Outcome(figures, line, tuple(notes))


@app.command(epilog=_DECODE_EXAMPLES)
@takes(options=DECODING, saving=SAVING)
def decode(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IN...", help=".cci files, or a folder; - is standard input."),
    ],
    output: _Output = None,
    *,
    options: dict[str, Any],
    saving: dict[str, Any],
    threads: Threads = None,
    recursive: _Recursive = False,
    force: _Force = False,
    as_json: Json = False,
) -> None:
    """Decode .cci files into images; the suffix of the output chooses the format."""
    with errors_as_one_line():
        keywords = decoding(options)
        jobs, batch = plan(
            inputs, output, ".png", accepts=is_coded, recursive=recursive, force=force
        )
        work = partial(_decode_one, options=keywords, saving=SaveOptions(**saving))
        _run(jobs, batch, work, keywords, as_json=as_json, verb="decoding", threads=threads)


def _decode_one(
    job: Job, show: Callable[[float], None], *, options: dict[str, Any], saving: SaveOptions
) -> Outcome:
    source = job.read()
    suffix = ".png" if job.target == STANDARD else Path(job.target).suffix
    from codec.picture_writing import check_writable, coded_image

    check_writable(suffix, saving.output_quality)
    started = time.perf_counter()
    with naming(job.source):
        result = codec.decode_detailed(source, progress=show, **options)
    seconds = time.perf_counter() - started
    with naming(job.target):
        data, lost = coded_image(result.image, suffix, quality=saving.output_quality)
    job.write(data)
    remarks = [*result.notes, *lost]
    if result.graphics_missing:
        remarks.append(
            "text or graphics, which the file stores losslessly after its layers, are not shown"
        )
    notes = tuple(f"{job.source}: note: {note}" for note in remarks)
    width, height = result.image.size
    figures = {
        "width": width,
        "height": height,
        "mode": result.image.mode,
        "layers": result.layers,
        "layers_declared": result.layers_declared,
        "stages": result.stages,
        "stages_declared": result.stages_declared,
        "quality": result.quality,
        "symbol_checksums": [f"{crc:08x}" for crc in result.symbol_checksums],
        "notes": remarks,
        "seconds": round(seconds, 3),
    }
    line = (
        f"{job.target}: {width}×{height} from {result.layers} of {result.layers_declared} layers"
        f"{_in_stages(result)}, {seconds:.2f} s"
    )
    return Outcome(figures, line, notes)


def _in_stages(result: codec.Decoded) -> str:
    """The finer count, where layers consist of several stages."""
    if result.stages_declared == result.layers_declared:
        return ""
    return f" ({result.stages} of {result.stages_declared} stages)"


app.command(epilog=VERIFY_EXAMPLES)(verify)
app.command(epilog=INFO_EXAMPLES)(info)
app.command(epilog=COMPARE_EXAMPLES)(compare)
app.command(epilog=MODELS_EXAMPLES)(models)
app.command(epilog=batch_command.EXAMPLES)(batch_command.batch)
app.command(epilog=bench_command.EXAMPLES)(bench_command.bench)
generate.register(app)
app.command(epilog=VIEW_EXAMPLES)(view)
app.command(epilog=WEB_EXAMPLES)(web)


def _version(show: bool) -> None:
    if show:
        print(f"codec {codec.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Layered, learned image compression: .cci files that decode the same everywhere."""
    for name in ("stdin", "stdout", "stderr"):  # a daemon's may be closed
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


if __name__ == "__main__":
    app()
