"""Processes that do the jobs of a folder, several at a time."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from cli.jobs import Job, Outcome, Work
from codec.errors import BatchError, CodecError, naming

#: A process takes two seconds to start: for fewer jobs there are none.
FEWEST_JOBS = 8


def processes_for(count: int, threads: int | None, device: str) -> int:
    """How many processes do ``count`` jobs at a time: one of one thread for each core, or for each
    of ``threads``; a GPU is served by one."""
    if count < FEWEST_JOBS or device not in ("auto", "cpu"):
        return 1
    allowed = getattr(os, "sched_getaffinity", None)
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    wanted = min(threads or cores, count)
    if wanted > 1 and device == "auto" and _has_gpu():
        return 1
    return wanted


def _has_gpu() -> bool:
    """Asked of the system where that is quick: importing torch would take as long as a process."""
    if sys.platform == "linux":
        return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
    import torch

    return torch.cuda.is_available()


class Crew:
    """A pool of processes with one thread each. Use it as a context.

    Args:
        work: what each does with a job; it is sent to them.
    """

    def __init__(self, work: Work, processes: int) -> None:
        # Started afresh: a fork of a process that has used torch's threads may hang.
        context = multiprocessing.get_context("spawn")
        self._work = work
        self._pool = ProcessPoolExecutor(processes, context, _start)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *problem: Any) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def do(
        self, jobs: list[Job], first: Callable[[Job], None], show: Callable[[float], None]
    ) -> Iterator[tuple[Job, Outcome | CodecError]]:
        """See :data:`cli.jobs.Doing`; outcomes come in the order of the jobs."""
        handed: list[tuple[Job, Future[Outcome] | CodecError]] = []
        for job in jobs:
            try:
                first(job)
            except CodecError as error:
                handed.append((job, error))
            else:
                handed.append((job, self._pool.submit(_do, self._work, job)))
        for index, (job, given) in enumerate(handed, start=1):
            yield job, given if isinstance(given, CodecError) else _outcome(job, given)
            show(index)


def _outcome(job: Job, given: Future[Outcome]) -> Outcome | CodecError:
    try:
        return given.result()
    except CodecError as error:
        return error
    except BrokenProcessPool:
        with naming(job.source):
            raise BatchError(
                "the process that worked on it has ended, perhaps for want of memory; "
                "--threads 1 works on one picture at a time"
            ) from None


def _do(work: Work, job: Job) -> Outcome:
    return work(job, lambda share: None)


def _start() -> None:
    import logging
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command itself to hear
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    torch.set_num_threads(1)
