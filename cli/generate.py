"""``codec reconstruct | upscale | sample | interpolate | vary``: pictures from the prior."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.jobs import STANDARD, Job, Outcome, errors_as_one_line, naming, refuse_empty, run
from cli.options import Device, Fill, Threads
from cli.output import complain
from codec.errors import ArgumentError, ImageError
from codec.limits import DEFAULT_MAX_PIXELS
from codec.options import DEFAULT_MODEL, DEFAULT_QUALITY, DEFAULT_TEMPERATURE
from models.protocol import Progress

if TYPE_CHECKING:
    from PIL import Image

RECONSTRUCT_EXAMPLES = """Examples:

\b
  codec reconstruct photo.png                     writes photo-reconstruct.png
  codec reconstruct photo.png -o layers.png --fill sample --seed 7 --quality 30
"""
UPSCALE_EXAMPLES = """Examples:

\b
  codec upscale photo.png -o large.png            twice the size
  codec upscale photo.png -o larger.png --factor 4
"""
SAMPLE_EXAMPLES = """Examples:

\b
  codec sample -n 4 --size 64 -o dreams.png
  codec sample -n 4 --size 64 -o calm.png --temperature 0.7 --seed 3
"""
INTERPOLATE_EXAMPLES = """Examples:

\b
  codec interpolate photo.png other.png -o path.png
  codec interpolate photo.cci other.png -o path.png --steps 5 --detail interpolate
"""
VARY_EXAMPLES = """Examples:

\b
  codec vary photo.png -o variants.png            writes eight, side by side
  codec vary photo.cci -n 3 --keep 2 --seed 5 --separate -o variant.png
"""


class Detail(StrEnum):
    """What becomes of the layers after u."""

    mean = "mean"
    sample = "sample"
    interpolate = "interpolate"


_Image = Annotated[str, typer.Argument(metavar="IMAGE", help="An image; - is standard input.")]
_Source = Annotated[str, typer.Argument(metavar="IMAGE", help="An image or a .cci file.")]
_Output = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", help="The picture; the suffix chooses the format, - is standard output."
    ),
]
_Seed = Annotated[int, typer.Option(min=0, help="Of all samples.")]
_Temperature = Annotated[
    float, typer.Option(min=0.0, max=10.0, help="Of all samples; below 1 is calmer.")
]
_Quality = Annotated[
    float | None,
    typer.Option("--quality", "-q", min=0, max=100, help="Default 50, or that of a .cci file."),
]
_PlainQuality = Annotated[
    float, typer.Option("--quality", "-q", min=0, max=100, help="Of the layers.")
]
_Model = Annotated[str | None, typer.Option(help="Which installed model. Default ssvae.")]
_MaxPixels = Annotated[int, typer.Option(min=1, help="Refuse more, all pictures together.")]
_Force = Annotated[bool, typer.Option("--force", help="Overwrite a result beside the input.")]
_Separate = Annotated[
    bool, typer.Option("--separate", help="Single pictures, NAME-1.png and so on, no grid.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print figures as JSON.")]

#: Draws pictures, with the titles they get in a grid.
Draw = Callable[[Progress], "tuple[Sequence[Image.Image], Sequence[str] | None]"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=RECONSTRUCT_EXAMPLES)(reconstruct)
    app.command(epilog=UPSCALE_EXAMPLES)(upscale)
    app.command(epilog=SAMPLE_EXAMPLES)(sample)
    app.command(epilog=INTERPOLATE_EXAMPLES)(interpolate)
    app.command(epilog=VARY_EXAMPLES)(vary)


def reconstruct(
    image: _Image,
    output: _Output = None,
    fill: Annotated[
        Fill, typer.Option(help="Missing layers: mean of the prior, or a sample of it.")
    ] = Fill.mean,
    seed: _Seed = 0,
    temperature: _Temperature = DEFAULT_TEMPERATURE,
    quality: _PlainQuality = DEFAULT_QUALITY,
    model: _Model = None,
    device: Device = "auto",
    threads: Threads = None,
    separate: _Separate = False,
    force: _Force = False,
    max_pixels: _MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: _Json = False,
) -> None:
    """Show what u, u + z1 and all layers make of an image, and what its half-size picture does."""
    with errors_as_one_line():
        job = _job(image, output, "reconstruct", force)

        def draw(show: Progress) -> tuple[Sequence[Image.Image], Sequence[str]]:
            from codec.generation import reconstruct

            panels = reconstruct(
                job.read(),
                fill=fill.value,
                seed=seed,
                temperature=temperature,
                quality=quality,
                model=model or DEFAULT_MODEL,
                device=device,
                max_pixels=max_pixels,
                progress=show,
            )
            return [panel.image for panel in panels], [panel.title for panel in panels]

        _run(job, _named(job, draw), as_json, threads, "reconstructing", 6 if separate else 1)


def upscale(
    image: _Image,
    output: _Output = None,
    factor: Annotated[int, typer.Option("--factor", "-f", help="2 or 4.")] = 2,
    model: _Model = None,
    device: Device = "auto",
    threads: Threads = None,
    force: _Force = False,
    max_pixels: _MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: _Json = False,
) -> None:
    """Enlarge a small image: the model's prior fills in what it expects between the pixels."""
    with errors_as_one_line():
        job = _job(image, output, "upscale", force)

        def draw(show: Progress) -> tuple[Sequence[Image.Image], None]:
            from codec.generation import upscale

            enlarged = upscale(
                job.read(),
                factor=factor,
                model=model or DEFAULT_MODEL,
                device=device,
                max_pixels=max_pixels,
                progress=show,
            )
            return [enlarged], None

        _run(job, _named(job, draw), as_json, threads, "enlarging")


def sample(
    output: Annotated[
        str, typer.Option("--output", "-o", help="The picture; - is standard output.")
    ],
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")] = 16,
    size: Annotated[int, typer.Option(min=1, max=65535, help="Side of each, in pixels.")] = 256,
    seed: _Seed = 0,
    temperature: _Temperature = 1.0,
    quality: _PlainQuality = DEFAULT_QUALITY,
    model: _Model = None,
    device: Device = "auto",
    threads: Threads = None,
    separate: _Separate = False,
    max_pixels: _MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: _Json = False,
) -> None:
    """Draw pictures from the model's prior, from nothing."""
    with errors_as_one_line():
        job = Job(f"{count} samples", output)

        def draw(show: Progress) -> tuple[Sequence[Image.Image], None]:
            from codec.generation import sample

            pictures = sample(
                count,
                size=size,
                seed=seed,
                temperature=temperature,
                quality=quality,
                model=model or DEFAULT_MODEL,
                device=device,
                max_pixels=max_pixels,
                progress=show,
            )
            return pictures, None

        _run(job, draw, as_json, threads, "drawing", count if separate else 1)


def interpolate(
    first: Annotated[str, typer.Argument(metavar="A", help="An image or a .cci file.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another; - is standard input.")],
    output: _Output = None,
    steps: Annotated[int, typer.Option(min=2, max=1000, help="Pictures, ends included.")] = 8,
    detail: Annotated[
        Detail, typer.Option(help="Layers after u: mean or sample of the prior, or interpolated.")
    ] = Detail.mean,
    seed: _Seed = 0,
    temperature: _Temperature = 1.0,
    quality: _Quality = None,
    model: _Model = None,
    device: Device = "auto",
    threads: Threads = None,
    separate: _Separate = False,
    force: _Force = False,
    max_pixels: _MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: _Json = False,
) -> None:
    """Go from one picture to another in equal steps of u, the concept."""
    with errors_as_one_line():
        if first == second == STANDARD:
            raise ArgumentError("only one of the two pictures can come from standard input")
        job = _job(first, output, "interpolate", force)
        other = Job(second, job.target)

        def draw(show: Progress) -> tuple[Sequence[Image.Image], None]:
            from codec.generation import interpolate

            pictures = interpolate(
                job.read(),
                other.read(),
                steps=steps,
                detail=detail.value,
                seed=seed,
                temperature=temperature,
                quality=quality,
                model=model,
                device=device,
                max_pixels=max_pixels,
                progress=show,
            )
            return pictures, None

        count = steps if separate else 1
        _run(job, draw, as_json, threads, "interpolating", count, other=second)


def vary(
    image: _Source,
    output: _Output = None,
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")] = 8,
    keep: Annotated[
        int, typer.Option(min=1, max=2, help="Layers that stay: 1 is u, 2 is u and z1.")
    ] = 1,
    seed: _Seed = 0,
    temperature: _Temperature = 1.0,
    quality: _Quality = None,
    model: _Model = None,
    device: Device = "auto",
    threads: Threads = None,
    separate: _Separate = False,
    force: _Force = False,
    max_pixels: _MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: _Json = False,
) -> None:
    """Keep the concept of a picture and draw its detail anew, several times."""
    with errors_as_one_line():
        job = _job(image, output, "vary", force)

        def draw(show: Progress) -> tuple[Sequence[Image.Image], None]:
            from codec.generation import vary

            pictures = vary(
                job.read(),
                count,
                keep=keep,
                seed=seed,
                temperature=temperature,
                quality=quality,
                model=model,
                device=device,
                max_pixels=max_pixels,
                progress=show,
            )
            return pictures, None

        _run(job, _named(job, draw), as_json, threads, "varying", count if separate else 1)


def _job(source: str, output: str | None, what: str, force: bool) -> Job:
    """Without ``output``, the result goes beside the source, and over nothing that exists."""
    refuse_empty(source, output)
    if source == STANDARD:
        return Job(source, output or STANDARD)
    if os.path.isdir(source):
        raise ImageError(f"{source}: is a folder; name one file in it")
    name = f"{Path(source).stem}-{what}.png"
    if output is None:
        return Job(source, str(Path(source).with_name(name)), keep=not force)
    if output != STANDARD and (output.endswith(os.sep) or os.path.isdir(output)):
        return Job(source, str(Path(output) / name))
    return Job(source, output)


def _named(job: Job, draw: Draw) -> Draw:
    """Errors while drawing begin with the name of the input."""

    def named(show: Progress) -> tuple[Sequence[Image.Image], Sequence[str] | None]:
        with naming(job.source):
            return draw(show)

    return named


def _run(
    job: Job,
    draw: Draw,
    as_json: bool,
    threads: int | None,
    verb: str,
    separate: int = 1,
    *,
    other: str | None = None,
) -> None:
    """Draw and write: one file, or ``separate`` ones; over neither the job's source nor the
    ``other`` one."""
    if separate > 1 and job.target == STANDARD:
        raise ArgumentError("--separate writes several files; name the output with -o")
    targets = _numbered(job, separate) if separate > 1 else [job]
    inputs = [job.source] if other is None else [job.source, other]

    def work(job: Job, show: Progress) -> Outcome:
        from codec.generation import grid
        from codec.picture_writing import check_writable

        suffix = ".png" if job.target == STANDARD else Path(job.target).suffix
        check_writable(suffix)
        for target in targets:
            for source in inputs:
                replace(target, source=source).check()
        started = time.perf_counter()
        pictures, titles = draw(show)
        seconds = time.perf_counter() - started
        if len(targets) == 1:
            pictures = [grid(pictures, titles=titles)]
        for target, picture in zip(targets, pictures, strict=True):
            _write(target, picture, suffix)
        return Outcome(*_summary(job, targets, pictures, seconds))

    run(targets[:1], False, work, as_json=as_json, verb=verb, threads=threads)


def _numbered(job: Job, count: int) -> list[Job]:
    """The files of single pictures: their numbers have equally many digits."""
    path, digits = Path(job.target), len(str(count))
    names = [f"{path.stem}-{n:0{digits}d}{path.suffix}" for n in range(1, count + 1)]
    return [Job(job.source, str(path.with_name(name)), job.keep) for name in names]


def _write(target: Job, picture: Image.Image, suffix: str) -> None:
    from codec.picture_writing import coded_image

    with naming(target.target):
        data, lost = coded_image(picture, suffix)
    target.write(data)
    for note in lost:
        complain(f"{target.target}: note: {note}")


def _summary(
    job: Job, targets: Sequence[Job], pictures: Sequence[Image.Image], seconds: float
) -> tuple[dict, str]:
    width, height = pictures[0].size
    files = [target.target for target in targets]
    figures: dict[str, Any] = {
        "files": files,
        "width": width,
        "height": height,
        "seconds": round(seconds, 3),
    }
    if len(files) > 1:
        figures["output"] = None
    where = job.target if len(files) == 1 else f"{files[0]} … {files[-1]}"
    return figures, f"{where}: {width}×{height}, {seconds:.2f} s"
