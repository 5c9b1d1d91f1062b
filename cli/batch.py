"""``codec batch``: thin face of :mod:`codec.batch`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.jobs import FAILURE, errors_as_one_line, refuse_empty
from cli.options import DECODING, ENCODING, SAVING, decoding, encoding, flag, refuse, takes
from cli.output import complain, progress_bar, say
from codec.errors import ArgumentError

if TYPE_CHECKING:
    from codec.batch import Settings
    from codec.batch.driver import Summary
    from codec.batch.worker import Done

EXAMPLES = """Examples:

\b
  codec batch photos/ coded/
  codec batch photos/ s3://bucket/coded --quality 60 --psnr --workers 8
  codec batch photos/ coded/ --resume              goes on where a run was stopped
  codec batch photos/ coded/ --repair              makes again what is gone, damaged or outdated
  codec batch photos/ shards/ --shards 1000        tar shards of 1000 pictures
  codec batch 's3://bucket/train-*.tar' shards/    shard by shard; labels go along
  codec batch --decode coded/ decoded/ --to png
  codec batch --verify coded/
  codec batch --report page.html coded/

With --decode: --to, --output-quality, --fill, --seed, --temperature, --scale, --region, --strict.
Several machines: start a Ray cluster, then add --engine ray.
"""


#: How a run goes: keywords of :func:`codec.batch.run`.
RUNNING = {
    "workers": flag(int, "--workers", "-w", min=1, help="Default one per core, 4 on a GPU."),
    "engine": flag(str, help="Who works. Default local.", metavar="local|ray"),
    "manifest": flag(str, help="Default DST/manifest.parquet.", metavar="OUT.parquet"),
    "resume": flag(bool, "--resume", help="Go on where an earlier run was stopped."),
    "retry_failed": flag(bool, "--retry-failed", help="The same, and try again what failed."),
    "repair": flag(
        bool,
        "--repair",
        help="The same, and make again results that are missing, damaged or older than SRC.",
    ),
    "force": flag(bool, "--force", help="Start anew, though there is a manifest."),
}
#: What is made of the results, beside the options of encoding and decoding.
RESULTS = {
    "psnr": flag(bool, "--psnr", help="Decode each result again and measure."),
    "to": flag(str, help="Format of decoded images. Default png.", metavar="png|jpg|webp|…"),
    **SAVING,
    "shards": flag(
        int, min=0, help="Write tar shards of n pictures; 0: files, though SRC are shards."
    ),
}
#: Those of them that checking knows.
_CHECKING = {"workers", "engine", "manifest"}


@takes(options={**DECODING, **ENCODING}, results=RESULTS, running=RUNNING)
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
    *,
    options: dict[str, Any],
    results: dict[str, Any],
    running: dict[str, Any],
    as_json: Annotated[bool, typer.Option("--json", help="Print figures as JSON.")] = False,
) -> None:
    """Encode, decode or check whole archives: on all cores, resumable, with a manifest."""
    with errors_as_one_line():
        from codec.batch import extra

        extra.require("batch")
        if decode + verify + (report is not None) > 1:
            raise ArgumentError("--decode, --verify and --report: one at a time")
        if deep and not verify:
            raise ArgumentError("--deep: only with --verify")
        if report is not None:
            refuse(options | results | running, {"manifest"}, "not for --report")
            _report(report, _take(places, 1, "the finished set")[0], **running)
        elif verify:
            allowed = {"device", "max_pixels", *_CHECKING}
            refuse(options | results | running, allowed, "not for --verify")
            _verify(_take(places, 1, "the finished set")[0], deep, options, running, as_json)
        else:
            source, destination = _take(places, 2, "SRC and DST")
            settings = _settings(source, destination, decode, options, results)
            _run(settings, running, as_json)


def _settings(
    source: str, destination: str, decode: bool, options: dict[str, Any], results: dict[str, Any]
) -> Settings:
    """What the run is to do. Raises ArgumentError where flags do not go together."""
    from codec.batch import Settings

    to = results.pop("to", None)
    if decode:
        refuse(options | results, {*DECODING, *SAVING, "shards"}, "not for --decode")
        keywords, suffix = decoding(options), f".{(to or 'png').lstrip('.')}"
    else:
        saving = {name: value for name, value in results.items() if name in SAVING}
        refuse(options | saving | ({"to": to} if to else {}), ENCODING, "only for --decode")
        keywords, suffix = encoding(options), ".cci"
    kind = "decode" if decode else "encode"
    return Settings(source, destination, kind=kind, options=keywords, suffix=suffix, **results)


def _run(settings: Settings, running: dict[str, Any], as_json: bool) -> None:
    """Do the run under a progress bar; print its figures."""
    from codec.batch import run

    with _progress("decoding" if settings.kind == "decode" else "encoding") as show:

        def watch(done: Done, summary: Summary, total: int) -> None:
            for row in done.rows:
                if row["status"] != "ok":
                    complain(f"{row['path']}: {row['error']}")
            count = summary.ok + summary.failed
            show(summary.before + summary.units, total, f"{count / summary.seconds:.1f}/s")

        def on_stop() -> None:
            complain("finishing what is begun; Ctrl-C again stops at once")

        summary = run(settings, **running, watch=watch, on_stop=on_stop)
    checked = "repair" in running
    say(json.dumps(summary.figures()) if as_json else _line(summary, checked))
    if summary.interrupted:
        complain("stopped; the same command with --resume goes on")
    if summary.lost:
        complain(f"{summary.lost} missing or damaged results cannot be made again: no source")
    if summary.failed or summary.failed_before or summary.lost or summary.interrupted:
        raise typer.Exit(FAILURE)


def _take(places: list[str], count: int, what: str) -> list[str]:
    if len(places) != count:
        raise ArgumentError(f"give {what}, not {len(places)} places")
    refuse_empty(*places)
    return places


def _line(summary: Summary, checked: bool) -> str:
    """``checked``: what was done before was looked at again."""
    total = summary.ok + summary.failed
    if not total and summary.before and not summary.interrupted:
        failed = ""
        if summary.failed_before:
            failed = (
                f" (of their pictures {summary.failed_before} failed; --retry-failed tries again)"
            )
        whole = "" if checked else "; --repair looks whether their results are whole"
        return (
            f"nothing left to do: {summary.before} units were done before{failed}{whole}; "
            f"{summary.manifest}"
        )
    parts = [f"{summary.ok} of {total} pictures"]
    if summary.before:
        failed = f" ({summary.failed_before} failed)" if summary.failed_before else ""
        parts.append(f"{summary.before} units done before{failed}")
    parts.append(f"{summary.read} → {summary.written} bytes")
    if summary.bpp is not None:
        parts.append(f"{summary.bpp:.4f} bpp")
    parts.append(f"{summary.seconds:.1f} s, {summary.pictures_per_second:.1f} pictures/s")
    return ", ".join(parts) + f"; {summary.manifest}"


def _report(out: str, destination: str, manifest: str | None = None) -> None:
    from codec.batch import write_report

    write_report(out, destination, manifest=manifest)
    print(out)


def _verify(
    destination: str, deep: bool, options: dict[str, Any], running: dict[str, Any], as_json: bool
) -> None:
    """Check the results under a progress bar; print what is wrong, and figures."""
    from codec.batch import verify_set

    with _progress("checking") as show:
        findings = verify_set(
            destination,
            deep=deep,
            options=options,
            **running,
            watch=lambda so_far, total: show(so_far.units, total, ""),
        )
    for name, problem in findings.problems:
        complain(f"{name}: {problem}")
    figures = {
        "sound": findings.sound,
        "unsound": len(findings.problems),
        "failed_before": findings.failed_before,
        "unfinished": findings.unfinished,
        "problems": [{"result": name, "problem": why} for name, why in findings.problems],
        "seconds": round(findings.seconds, 3),
    }
    if as_json:
        print(json.dumps(figures))
    else:
        count = findings.sound + len(findings.problems)
        before = findings.failed_before
        without = (
            f"; inputs without a result: {before} (--retry-failed tries again)" if before else ""
        )
        without += "; the run did not finish, --resume goes on" if findings.unfinished else ""
        print(f"{findings.sound} of {count} results sound, {findings.seconds:.1f} s{without}")
    sys.stdout.flush()
    if findings.problems or findings.failed_before or findings.unfinished:
        raise typer.Exit(FAILURE)


@contextmanager
def _progress(verb: str) -> Iterator[Callable[[int, int, str], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    rate = TextColumn("{task.fields[rate]}")
    with progress_bar(*columns, rate) as bar:
        task = bar.add_task(verb, total=None, rate="")
        yield lambda done, total, rate: bar.update(task, completed=done, total=total, rate=rate)
