"""``codec batch``: thin face of :mod:`codec.batch`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from cli.jobs import FAILURE, errors_as_one_line
from cli.output import complain, progress_bar, say
from codec.errors import ArgumentError
from codec.limits import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from codec.batch.driver import Summary
    from codec.batch.worker import Done

EXAMPLES = """Examples:

\b
  codec batch photos/ coded/
  codec batch photos/ s3://bucket/coded --quality 60 --psnr --workers 8
  codec batch photos/ coded/ --resume              goes on where a run was stopped
  codec batch photos/ shards/ --shards 1000        tar shards of 1000 pictures
  codec batch 's3://bucket/train-*.tar' shards/    shard by shard; labels go along
  codec batch --decode coded/ decoded/ --to png
  codec batch --verify coded/
  codec batch --report page.html coded/

Several machines: start a Ray cluster, then add --engine ray.
"""


def batch(
    places: Annotated[
        list[str],
        typer.Argument(
            metavar="SRC DST",
            help="Folders or URLs (s3://, gs://, …); SRC may be tar shards. DST alone for --verify "
            "and --report.",
        ),
    ],
    decode: Annotated[bool, typer.Option("--decode", help="Decode .cci files instead.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the results in DST against their manifest.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="With --verify: decode the symbols too.")
    ] = False,
    report: Annotated[
        str | None, typer.Option(help="Write a page about the results in DST.", metavar="OUT.html")
    ] = None,
    layers: Annotated[
        int | None, typer.Option("--layers", "-l", min=1, max=3, help="How many layers.")
    ] = None,
    stages: Annotated[int | None, typer.Option(min=1, help="How many stages of them.")] = None,
    quality: Annotated[
        int | None, typer.Option("--quality", "-q", min=0, max=100, help="Default 50.")
    ] = None,
    target_bpp: Annotated[
        float | None, typer.Option(help="Best quality of at most so many bits per pixel.")
    ] = None,
    effort: Annotated[
        int, typer.Option("--effort", "-e", min=1, max=9, help="Time spent for size.")
    ] = 1,
    fitted: Annotated[
        bool,
        typer.Option("--filter/--no-filter", help="Fit a filter to each picture where it pays."),
    ] = True,
    model: Annotated[str, typer.Option(help="Which installed model.")] = "ssvae",
    device: Annotated[
        str, typer.Option(help="auto, cpu or cuda.", metavar="auto|cpu|cuda")
    ] = "auto",
    strip: Annotated[bool, typer.Option("--strip", help="Drop ICC, EXIF and XMP.")] = False,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Refuse larger images.")
    ] = DEFAULT_MAX_PIXELS,
    psnr: Annotated[
        bool, typer.Option("--psnr", help="Decode each result again and measure.")
    ] = False,
    to: Annotated[
        str, typer.Option(help="With --decode: format of the images.", metavar="png|jpg|webp|…")
    ] = "png",
    scale: Annotated[int, typer.Option(help="With --decode: 1, or 2 and 4 for less.")] = 1,
    strict: Annotated[
        bool, typer.Option("--strict", help="With --decode: fail on cut or damaged files.")
    ] = False,
    shards: Annotated[
        int | None,
        typer.Option(
            min=0, help="Write tar shards of so many pictures; 0: files, though SRC are shards."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-w", min=1, help="Default one per core, 4 on a GPU.")
    ] = None,
    engine: Annotated[str, typer.Option(help="Who works.", metavar="local|ray")] = "local",
    manifest: Annotated[
        str | None, typer.Option(help="Default DST/manifest.parquet.", metavar="OUT.parquet")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an earlier run was stopped.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="The same, and try again what failed.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Start anew, though there is a manifest.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
) -> None:
    """Encode, decode or check whole archives: on all cores, resumable, with a manifest."""
    with errors_as_one_line():
        from codec.batch import extra

        extra.require("batch")
        if decode + verify + (report is not None) > 1:
            raise ArgumentError("--decode, --verify and --report: one at a time")
        shared: dict[str, Any] = {"device": device, "max_pixels": max_pixels}
        if verify or report is not None:
            destination = _take(places, 1, "the finished set")[0]
            if report is not None:
                _report(report, destination, manifest)
            else:
                shared |= {"deep": deep}
                _verify(destination, manifest, workers, engine, shared, as_json)
            return
        source, destination = _take(places, 2, "SRC and DST")
        if decode:
            _only_for_encoding(quality=quality, target_bpp=target_bpp, psnr=psnr or None)
            options = shared | {
                "layers": layers,
                "stages": stages,
                "scale": scale,
                "strict": strict,
            }
        else:
            options = shared | {
                "layers": layers or 3,
                "stages": stages,
                "quality": quality,
                "target_bpp": target_bpp,
                "effort": effort,
                "filter": fitted,
                "model": model,
                "strip": strip,
            }
        from codec.batch import Settings, run

        settings = Settings(
            source,
            destination,
            kind="decode" if decode else "encode",
            options=options,
            suffix=f".{to.lstrip('.')}" if decode else ".cci",
            psnr=psnr,
            shards=shards,
        )
        with _progress("decoding" if decode else "encoding") as show:

            def watch(done: Done, summary: Summary, total: int) -> None:
                for row in done.rows:
                    if row["status"] != "ok":
                        complain(f"{row['path']}: {row['error']}")
                count = summary.ok + summary.failed
                show(summary.before + summary.units, total, f"{count / summary.seconds:.1f}/s")

            summary = run(
                settings,
                workers=workers,
                engine=engine,
                manifest=manifest,
                resume=resume,
                retry_failed=retry_failed,
                force=force,
                watch=watch,
                on_stop=lambda: complain("finishing what is begun; Ctrl-C again stops at once"),
            )
        say(json.dumps(summary.figures()) if as_json else _line(summary))
        if summary.interrupted:
            complain("stopped; the same command with --resume goes on")
    if summary.failed or summary.failed_before or summary.interrupted:
        raise typer.Exit(FAILURE)


def _take(places: list[str], count: int, what: str) -> list[str]:
    if len(places) != count:
        raise ArgumentError(f"give {what}, not {len(places)} places")
    return places


def _only_for_encoding(**options: object) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given:
        raise ArgumentError(f"{', '.join(given)}: not for --decode")


def _line(summary: Summary) -> str:
    total = summary.ok + summary.failed
    parts = [f"{summary.ok} of {total} pictures"]
    if summary.before:
        failed = f" ({summary.failed_before} failed)" if summary.failed_before else ""
        parts.append(f"{summary.before} units done before{failed}")
    parts.append(f"{summary.read} → {summary.written} bytes")
    if summary.bpp is not None:
        parts.append(f"{summary.bpp:.4f} bpp")
    parts.append(f"{summary.seconds:.1f} s, {summary.pictures_per_second:.1f} pictures/s")
    return ", ".join(parts) + f"; {summary.manifest}"


def _report(out: str, destination: str, manifest: str | None) -> None:
    from codec.batch import write_report

    write_report(out, destination, manifest=manifest)
    print(out)


def _verify(
    destination: str,
    manifest: str | None,
    workers: int | None,
    engine: str,
    options: dict[str, Any],
    as_json: bool,
) -> None:
    from codec.batch import verify_set

    deep = options.pop("deep")
    with _progress("checking") as show:
        findings = verify_set(
            destination,
            manifest=manifest,
            deep=deep,
            options=options,
            workers=workers,
            engine=engine,
            watch=lambda found, total: show(found.units, total, ""),
        )
    for name, problem in findings.problems:
        complain(f"{name}: {problem}")
    figures = {
        "sound": findings.sound,
        "unsound": len(findings.problems),
        "failed_before": findings.failed_before,
        "problems": [{"result": name, "problem": why} for name, why in findings.problems],
        "seconds": round(findings.seconds, 3),
    }
    if as_json:
        print(json.dumps(figures))
    else:
        count = findings.sound + len(findings.problems)
        before = findings.failed_before
        without = f"; {before} inputs have no result" if before else ""
        print(f"{findings.sound} of {count} results sound, {findings.seconds:.1f} s{without}")
    sys.stdout.flush()
    if findings.problems:
        raise typer.Exit(FAILURE)


@contextmanager
def _progress(verb: str) -> Iterator[Callable[[int, int, str], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    rate = TextColumn("{task.fields[rate]}")
    with progress_bar(*columns, rate) as bar:
        task = bar.add_task(verb, total=None, rate="")
        yield lambda done, total, rate: bar.update(task, completed=done, total=total, rate=rate)
