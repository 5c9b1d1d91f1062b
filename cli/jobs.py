"""Which files a command reads and writes, and the loop over them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from codec.errors import ArgumentError, CodecError, ImageError, ModelError, OutputError
from codec.files import write_atomic

STANDARD = "-"
FAILURE, USAGE = 1, 2


@dataclass(frozen=True)
class Job:
    """One input and where its result goes; ``-`` is a standard stream.

    ``keep``: a target that exists is not overwritten.
    """

    source: str
    target: str
    keep: bool = False

    def check(self) -> None:
        """Raises OutputError where the result must not be written, before any work is done."""
        if self.keep and os.path.exists(self.target):
            raise OutputError(f"{self.target}: exists already; use -o to name it, or --force")
        same = os.path.realpath(self.source) == os.path.realpath(self.target)
        if same and self.target != STANDARD and os.path.exists(self.source):
            raise OutputError(f"{self.target}: is the input itself; name another output")

    def read(self) -> bytes | Path:
        """Bytes of standard input, or the path of the file."""
        if self.source != STANDARD:
            return Path(self.source)
        data = sys.stdin.buffer.read()
        if not data:
            raise ImageError("standard input: is empty")
        return data

    def write(self, data: bytes) -> None:
        """To standard output, or atomically to the file."""
        if self.target != STANDARD:
            write_atomic(Path(self.target), data)
            return
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except OSError as error:  # closed by its reader, or a full disk behind it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no second complaint
            raise OutputError(f"standard output: cannot be written ({error.strerror})") from error


def plan(
    inputs: list[str],
    output: str | None,
    suffix: str,
    *,
    accepts: Callable[[str], bool],
    recursive: bool,
    force: bool,
) -> tuple[list[Job], bool]:
    """Jobs for a command line, and whether they form a batch.

    One file goes to ``output`` (into it, if that is a folder) or beside itself with ``suffix``.
    Several files, or a folder, go below the folder ``output``.

    Raises:
        ArgumentError, ImageError, OutputError.
    """
    folders = [name for name in inputs if name != STANDARD and os.path.isdir(name)]
    if len(inputs) == 1 and not folders:
        return [_single(inputs[0], output, suffix, force)], False
    if STANDARD in inputs or output == STANDARD:
        raise ArgumentError("standard input and output (-) take one file at a time")
    if output is None and folders:
        raise ArgumentError("give the folder for the results with -o")
    if output is not None and os.path.exists(output) and not os.path.isdir(output):
        raise OutputError(f"{output}: is a file, but several results need a folder")
    if output is not None and Path(output).suffix == suffix and not os.path.isdir(output):
        raise ArgumentError(f"{output}: looks like one file, but several results need a folder")
    found: list[tuple[Path, Path]] = []  # (file, where its result goes, but for the suffix)
    for name in inputs:
        path = Path(name)
        base = path.parent if output is None else Path(output)
        if name in folders:
            pattern = path.rglob("*") if recursive else path.glob("*")
            files = sorted(p for p in pattern if accepts(p.suffix) and p.is_file())
            if not files:
                hint = "" if recursive else "; --recursive looks into its subfolders"
                raise ImageError(f"{path}: the folder holds no file to work on{hint}")
            found += [(file, base / file.relative_to(path)) for file in files]
        else:
            found.append((path, base / path.name))
    targets = [place.with_suffix(suffix) for _, place in found]
    count = Counter(targets)
    jobs = []
    for (file, place), target in zip(found, targets, strict=True):
        if count[target] > 1:  # a.png and a.jpg must not meet in a.cci
            target = place.with_name(place.name + suffix)
        jobs.append(Job(str(file), str(target), keep=output is None and not force))
    if len({job.target for job in jobs}) < len(jobs):
        raise ArgumentError("two inputs of the same name would be written to the same file")
    return jobs, True


def _single(source: str, output: str | None, suffix: str, force: bool) -> Job:
    if output is None:
        if source == STANDARD:
            return Job(source, STANDARD)
        return Job(source, str(Path(source).with_suffix(suffix)), keep=not force)
    folder = output.endswith(os.sep) or os.path.isdir(output)
    if output != STANDARD and folder:
        if source == STANDARD:
            raise ArgumentError(f"{output}: is a folder; standard input needs a file name")
        return Job(source, str(Path(output) / Path(source).with_suffix(suffix).name))
    return Job(source, output)


@contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Turn the library's errors into a line on standard error and an exit status."""
    try:
        yield
    except (ArgumentError, ModelError) as error:
        complain(str(error))
        raise typer.Exit(USAGE) from None
    except CodecError as error:
        complain(str(error))
        raise typer.Exit(FAILURE) from None
    except OSError as error:  # the report itself: files are read and written under CodecError
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        complain(f"standard output: cannot be written ({error.strerror})")
        raise typer.Exit(FAILURE) from None


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Make the messages of errors begin with the file's name."""
    name = "standard input" if source == STANDARD else source
    try:
        yield
    except (ArgumentError, ModelError):  # about the command line, not about this file
        raise
    except CodecError as error:
        message = str(error)
        if not message.startswith(name):
            error.args = (f"{name}: {message}",)
        raise


def complain(message: str) -> None:
    print("codec: " + " ".join(message.split()), file=sys.stderr)


def run(
    jobs: list[Job],
    batch: bool,
    work: Callable[[Job, Callable[[float], None]], tuple[dict, str]],
    *,
    as_json: bool,
    verb: str,
) -> None:
    """Do the jobs.

    ``work`` takes a job and a function that it may call with the share done; it returns figures for
    ``--json`` and a summary line for people.

    In a batch one bad file does not stop the rest; the exit status tells.
    """
    console = Console(stderr=True)
    if as_json and any(job.target == STANDARD for job in jobs):
        raise ArgumentError("--json and -o - both want standard output; write to a file")
    if not batch:
        jobs[0].check()
        with _single_progress(console, f"{verb} {jobs[0].source}") as show:
            figures, line = work(jobs[0], show)
        _report(figures, line, jobs[0], as_json)
        return
    started, failed, read, written = time.perf_counter(), 0, 0, 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(verb, total=len(jobs))
        for index, job in enumerate(jobs):

            def show(share: float, index: int = index) -> None:
                progress.update(task, completed=index + share)

            try:
                job.check()
                _make_folder(Path(job.target).parent)
                figures, line = work(job, show)
            except (ArgumentError, ModelError):
                raise
            except CodecError as error:
                failed += 1
                complain(str(error))
                if as_json:
                    print(json.dumps({"input": job.source, "error": str(error)}))
            else:
                read += os.path.getsize(job.source)
                written += os.path.getsize(job.target)
                if as_json:
                    _report(figures, line, job, as_json)
            progress.update(task, completed=index + 1)
    seconds = time.perf_counter() - started
    summary = (
        f"{len(jobs) - failed} of {len(jobs)} files, {read} → {written} bytes, {seconds:.1f} s"
    )
    print(summary, file=sys.stderr if as_json else sys.stdout)
    if failed:
        raise typer.Exit(FAILURE)


@contextmanager
def _single_progress(console: Console, text: str) -> Iterator[Callable[[float], None]]:
    """A spinner that becomes a bar once the work tells how far it is."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda share: progress.update(task, total=1.0, completed=share)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created ({error.strerror})") from error


def _report(figures: dict, line: str, job: Job, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"input": job.source, "output": job.target} | figures))
    else:
        print(line, file=sys.stderr if job.target == STANDARD else sys.stdout)
