"""``codec bench``: thin face of :mod:`benchmarks.bench.run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from cli.jobs import errors_as_one_line
from cli.options import named
from cli.output import complain
from codec.errors import ArgumentError
from codec.options import DEFAULT_MODEL
from models.names import MODEL_IDS

_Number = TypeVar("_Number", int, float)

EXAMPLES = """Examples:

\b
  codec bench photos/ -o results/
  codec bench photos/ --codecs ssvae,jpeg,jpeg2000,webp,avif,jxl -o results/
  codec bench photos/ --codecs ssvae,ssvae:effort=4,jpeg -o results/
  codec bench kodak/ -o results/ --kodak       with published curves of learned codecs
  codec bench photos/ -o results/ --limit 3 --processes 4
  codec bench --replot -o results/             tables, curves and report again, from what is there
  codec bench --speed -o results/              encode and decode times on this machine
  codec bench --speed --model convdraw --megapixels 0.4 --threads 1 -o results/

Running the same command again takes up an interrupted run. With one process per core (the default)
each has one thread; --processes 1 measures in this process with all of its threads.
"""


def bench(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Folder of images; not for --speed.", parser=named),
    ] = None,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder for the results.", metavar="OUT", parser=named),
    ] = Path("bench"),
    codecs: Annotated[
        str,
        typer.Option(help="Separated by commas: ssvae, ssvae:effort=2…9, jpeg, jpeg2000, webp, …"),
    ] = "ssvae,jpeg,jpeg2000,webp,avif,jxl",
    anchor: Annotated[
        list[str] | None,
        typer.Option(help="Codec that BD-rates refer to; repeatable. Default jpeg and jpeg2000."),
    ] = None,
    kodak: Annotated[
        bool, typer.Option("--kodak", help="Of the 24 Kodak images: show published curves too.")
    ] = False,
    replot: Annotated[
        bool, typer.Option("--replot", help="Draw again from OUT; measure nothing.")
    ] = False,
    speed: Annotated[
        bool, typer.Option("--speed", help="Time encoding and decoding instead.")
    ] = False,
    megapixels: Annotated[
        str, typer.Option(help="With --speed: image sizes, separated by commas.")
    ] = "0.1,0.4,1.6,6,24",
    threads: Annotated[
        str, typer.Option(help="With --speed: CPU threads, separated by commas.")
    ] = "1,2",
    model: Annotated[
        str, typer.Option(help=f"With --speed: {', '.join(MODEL_IDS)}.", metavar="MODEL")
    ] = DEFAULT_MODEL,
    runs: Annotated[int, typer.Option(min=1, help="With --speed: runs per median.")] = 5,
    peers: Annotated[
        bool, typer.Option(help="With --speed: time other codecs too, taking turns.")
    ] = True,
    processes: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; default one per core.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="Only the first N images; 0: all.")] = 0,
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda.", metavar="auto|cpu|cuda")
    ] = "auto",
) -> None:
    """Compare with other codecs on a folder of images: rate and quality, or speed."""
    with errors_as_one_line():
        from benchmarks.bench import run

        if speed + replot + (folder is not None) != 1:
            raise ArgumentError("give one of: a folder of images, --speed, --replot")
        if speed:
            text = run.speed(
                output,
                megapixels=_numbers(megapixels, "--megapixels", float),
                threads=_numbers(threads, "--threads", int),
                device=device,
                model=model,
                runs=runs,
                peers=peers,
            )
        elif folder is None:
            text = run.redraw(output, anchors=anchor or (), kodak=kodak)
        else:
            text, left_out = run.compare(
                folder,
                codecs,
                output,
                anchors=anchor or (),
                device=device,
                processes=processes,
                limit=limit,
                kodak=kodak,
            )
            for line in left_out:
                complain(line)
        print(text)
        print(f"Results are in {output}")


def _numbers(text: str, option: str, kind: type[_Number]) -> list[_Number]:
    try:
        values = [kind(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = []
    if not values or min(values) <= 0:
        raise ArgumentError(f"{option} takes positive numbers separated by commas, not {text!r}")
    return values
