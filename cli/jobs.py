"""Which files a command reads and writes, and the loop over them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import typer

from cli.cores import sensible_threads
from cli.output import complain, printable, progress_bar, say
from codec import errors
from codec.errors import ArgumentError, CodecError, ImageError, ModelError, OutputError
from codec.files import files_in, result_names, write_atomic
from codec.quiet import libraries_silenced

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
        """Raises OutputError or ArgumentError where the result must not be written, before any work
        is done."""
        if self.target == STANDARD and sys.__stdout__ is None:
            raise OutputError("standard output: is closed; name a file with -o")
        if self.target == STANDARD and sys.stdout.isatty():
            raise ArgumentError(
                "standard output is a terminal, which cannot show the bytes of a file; "
                "redirect it (… -o - > FILE) or name a file with -o"
            )
        if self.keep and os.path.exists(self.target):
            raise OutputError(f"{self.target}: exists already; use -o to name it, or --force")
        if self.target != STANDARD and _same(self.source, self.target):
            raise OutputError(f"{self.target}: is the input itself; name another output")

    def check_folder(self) -> None:
        """Raises OutputError where the folder of the result is missing, likewise before any work is
        done."""
        if self.target == STANDARD:
            return
        folder = Path(self.target).parent
        if not folder.is_dir():
            raise OutputError(f"{self.target}: the folder {folder} does not exist")

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
        except OSError as error:  # closed by its reader, or the disk is full
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # no second complaint
            raise OutputError(f"standard output: cannot be written ({error.strerror})") from error


def _same(source: str, target: str) -> bool:
    """Whether both are one file, which exists."""
    return os.path.exists(source) and os.path.realpath(source) == os.path.realpath(target)


class Outcome(NamedTuple):
    """What came of a job: figures for ``--json``, a line for people, and notes."""

    figures: dict[str, Any]
    line: str
    notes: tuple[str, ...] = ()


#: Does a job; may call what it is given with the share done.
Work = Callable[[Job, Callable[[float], None]], Outcome]


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
    Several files, or a folder, go below the folder ``output``. What lies beside an input is not
    overwritten without ``force``, unless it is named itself: it may be an original.

    Raises:
        ArgumentError, ImageError, OutputError.
    """
    refuse_empty(*inputs, output)
    folders = [name for name in inputs if name != STANDARD and os.path.isdir(name)]
    if len(inputs) == 1 and not folders:
        return [_single(inputs[0], output, suffix, force)], False
    if STANDARD in inputs or output == STANDARD:
        raise ArgumentError("standard input and output (-) take one file at a time")
    if output is None and folders:
        raise ArgumentError("give the folder for the results with -o")
    if output is not None and os.path.exists(output) and not os.path.isdir(output):
        raise OutputError(f"{output}: is a file, but several results need a folder")
    if output is not None and _names_a_file(output):
        raise ArgumentError(
            f"{output}: looks like one file, but several results need a folder "
            f"(for a folder of that name, end it with {os.sep})"
        )
    places: list[tuple[Path, Path]] = []  # (file, where its result goes, but for the suffix)
    for name in inputs:
        path = Path(name)
        base = path.parent if output is None else Path(output)
        if name in folders:
            files = [p for p in files_in(path, recursive=recursive) if accepts(p.suffix)]
            if not files:
                hint = "" if recursive else "; --recursive looks into its subfolders"
                raise ImageError(f"{path}: the folder holds no file to work on{hint}")
            places += [(file, base / file.relative_to(path)) for file in files]
        else:
            places.append((path, base / path.name))
    wanted: dict[str, Path] = {}
    for file, place in places:
        if str(place) in wanted:
            raise ArgumentError(
                f"{wanted[str(place)]} and {file} would be written to the same file; work on them "
                "one after the other, into two folders"
            )
        wanted[str(place)] = file
    jobs = [
        Job(str(file), target, keep=_beside(file, target) and not force)
        for file, target in zip(wanted.values(), result_names(list(wanted), suffix), strict=True)
    ]
    return jobs, True


def refuse_empty(*names: str | None) -> None:
    """Raises ArgumentError for an empty name, which would be taken for the working folder."""
    if "" in names:
        raise ArgumentError("an empty name: perhaps a variable is not set")


def _beside(source: str | Path, target: str | Path) -> bool:
    """Whether both lie in one folder."""
    return os.path.realpath(Path(source).parent) == os.path.realpath(Path(target).parent)


def _names_a_file(output: str) -> bool:
    """Whether a path, which need not exist, has the suffix of a picture or of a coded file."""
    if os.path.isdir(output) or output.endswith(os.sep):
        return False
    return Path(output).suffix.lower() == ".cci" or _names_a_picture(output)


def _names_a_picture(output: str) -> bool:
    from PIL import Image

    suffix = Path(output).suffix.lower()
    return suffix != ".cci" and suffix in Image.registered_extensions()


def _single(source: str, output: str | None, suffix: str, force: bool) -> Job:
    if output is None:
        if source == STANDARD:
            return Job(source, STANDARD)
        if not Path(source).name:
            raise ImageError(f"{source}: is a folder; name the files in it")
        return Job(source, str(Path(source).with_suffix(suffix)), keep=not force)
    folder = output.endswith(os.sep) or os.path.isdir(output)
    if output != STANDARD and folder:
        if source == STANDARD:
            raise ArgumentError(f"{output}: is a folder; standard input needs a file name")
        target = Path(output) / Path(source).with_suffix(suffix).name
        return Job(source, str(target), keep=_beside(source, target) and not force)
    if suffix == ".cci" and _names_a_picture(output) and not _same(source, output):
        raise ArgumentError(
            f"{output}: coded files end in .cci; name it {Path(output).with_suffix(suffix).name}, "
            "of which codec decode makes pictures"
        )
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
    except OSError as error:
        if error.filename is None:  # the report itself: closed by its reader, or the disk is full
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        place = "standard output: cannot be written" if error.filename is None else error.filename
        complain(f"{place} ({error.strerror or error})")
        raise typer.Exit(FAILURE) from None


def naming(source: str) -> AbstractContextManager[None]:
    """Make the messages of errors begin with the file's name."""
    return errors.naming("standard input" if source == STANDARD else source)


def run(
    jobs: list[Job],
    batch: bool,
    work: Work,
    *,
    as_json: bool,
    verb: str,
    threads: int | None = None,
    processes: int = 1,
) -> None:
    """Do the jobs.

    In a batch one bad file does not stop the rest; the exit status tells.

    Args:
        work: done with each job. Where there are several processes it is sent to them, so it must
            be a function of a module (or a ``functools.partial`` of one).
        threads: that torch computes on; None: see :mod:`cli.cores`. Of a batch on several
            processes, each has one.
        processes: how many jobs of a batch are done at a time, see :mod:`cli.crew`.
    """
    if as_json and any(job.target == STANDARD for job in jobs):
        raise ArgumentError("--json and -o - both want standard output; write to a file")
    with libraries_silenced():
        if batch and processes > 1 and len(jobs) > 1:
            from cli.crew import Crew

            with Crew(work, min(processes, len(jobs))) as crew:
                _run_batch(jobs, crew.do, as_json=as_json, verb=verb)
            return
        with computing_on(threads):
            if batch:
                _run_batch(jobs, partial(_one_by_one, work), as_json=as_json, verb=verb)
            else:
                _run_single(jobs[0], work, as_json=as_json, verb=verb)


@contextmanager
def computing_on(threads: int | None) -> Iterator[None]:
    """Within, torch computes on n threads; None: on as many as there are cores to be had."""
    threads = sensible_threads() if threads is None else threads
    if threads is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _run_single(job: Job, work: Work, *, as_json: bool, verb: str) -> None:
    """Show a spinner that becomes a bar once the work reports its progress."""
    from rich.progress import BarColumn, SpinnerColumn, TextColumn

    job.check()
    job.check_folder()
    text = TextColumn("{task.description}", markup=False)
    with progress_bar(SpinnerColumn(), text, BarColumn()) as progress:
        task = progress.add_task(printable(f"{verb} {job.source}"), total=None)
        outcome = work(job, lambda share: progress.update(task, total=1.0, completed=share))
    _report(outcome, job, as_json)


#: Does jobs, each after what is called with it first; yields it with its outcome or error. Calls
#: what it is given last with the jobs done so far, parts of one included.
Doing = Callable[
    [list[Job], Callable[[Job], None], Callable[[float], None]],
    Iterator[tuple[Job, "Outcome | CodecError"]],
]


def _one_by_one(
    work: Work, jobs: list[Job], first: Callable[[Job], None], show: Callable[[float], None]
) -> Iterator[tuple[Job, Outcome | CodecError]]:
    for index, job in enumerate(jobs):
        try:
            first(job)
            outcome = work(job, lambda share, index=index: show(index + share))  # type: ignore[misc]
        except CodecError as error:
            yield job, error
        else:
            yield job, outcome
        show(index + 1)


def _run_batch(jobs: list[Job], do: Doing, *, as_json: bool, verb: str) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    started, failed, read, written = time.perf_counter(), 0, 0, 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with progress_bar(*columns) as progress, _folders() as make_folder:
        task = progress.add_task(verb, total=len(jobs))

        def first(job: Job) -> None:
            job.check()
            make_folder(Path(job.target).parent)

        for job, outcome in do(jobs, first, lambda done: progress.update(task, completed=done)):
            if isinstance(outcome, Outcome):
                read += _size(job.source)
                written += _size(job.target)
                _report(outcome, job, as_json, quiet=not as_json)
                continue
            if isinstance(outcome, ModelError):  # of all jobs alike
                raise outcome
            failed += 1
            message = str(outcome)
            if isinstance(outcome, ArgumentError):  # does not suit this picture, and has no name
                message = f"{job.source}: {message}"
            complain(message)
            if as_json:
                print(json.dumps({"input": job.source, "error": message}))
    seconds = time.perf_counter() - started
    say(
        f"{len(jobs) - failed} of {len(jobs)} files, {read} → {written} bytes, {seconds:.1f} s",
        to_stderr=as_json,
    )
    if failed:
        raise typer.Exit(FAILURE)


def _size(path: str) -> int:
    """Bytes of a file; 0 of one that has gone since it was read or written."""
    with suppress(OSError):
        return os.path.getsize(path)
    return 0


@contextmanager
def _folders() -> Iterator[Callable[[Path], None]]:
    """Makes folders; those that stay empty are removed again."""
    made: list[Path] = []

    def make(folder: Path) -> None:
        missing = [f for f in (folder, *folder.parents) if not f.exists()]
        made.extend(reversed(missing))
        _make_folder(folder)

    try:
        yield make
    finally:
        for folder in reversed(made):
            with suppress(OSError):  # not empty, or never made
                folder.rmdir()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created ({error.strerror})") from error


def _report(outcome: Outcome, job: Job, as_json: bool, *, quiet: bool = False) -> None:
    for note in outcome.notes:
        complain(note)
    if as_json:
        print(json.dumps({"input": job.source, "output": job.target} | outcome.figures))
    elif not quiet:
        # /dev/stdout is no place for words either.
        device = os.path.exists(job.target) and not os.path.isfile(job.target)
        say(outcome.line, to_stderr=job.target == STANDARD or device)
