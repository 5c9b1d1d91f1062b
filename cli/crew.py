"""Processes that do the jobs of a folder, several at a time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from cli.jobs import Job, Outcome, Work
from codec.cores import cores_allowed, has_gpu
from codec.errors import BatchError, CodecError

#: A process takes two seconds to start: for fewer jobs there are none.
FEWEST_JOBS = 8


def processes_for(count: int, threads: int | None, device: str) -> int:
    """How many processes do ``count`` jobs at a time: one of one thread for each core, or for each
    of ``threads``; a GPU is served by one."""
    if count < FEWEST_JOBS or device not in ("auto", "cpu"):
        return 1
    wanted = min(threads or cores_allowed(), count)
    if wanted > 1 and device == "auto" and has_gpu():
        return 1
    return wanted


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
        self._single: ProcessPoolExecutor | None = None
        self._context = context

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *problem: Any) -> None:
        for pool in (self._pool, self._single):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)

    def do(
        self, jobs: list[Job], first: Callable[[Job], None], show: Callable[[float], None]
    ) -> Iterator[tuple[Job, Outcome | CodecError]]:
        """See :data:`cli.jobs.Doing`; outcomes come in the order of the jobs.

        A process that dies takes all jobs along that are not done. Each of them is then given a
        process of its own, one after the other: the job that kills is found, and no other suffers.
        """
        handed: list[tuple[Job, Future[Outcome] | CodecError]] = []
        for job in jobs:
            try:
                first(job)
            except CodecError as error:
                handed.append((job, error))
            else:
                handed.append((job, self._handed(self._pool, job)))
        for index, (job, given) in enumerate(handed, start=1):
            yield job, given if isinstance(given, CodecError) else self._outcome(job, given)
            show(index)

    def _handed(self, pool: ProcessPoolExecutor, job: Job) -> Future[Outcome]:
        try:
            return pool.submit(_do, self._work, job)
        except BrokenProcessPool as error:
            broken: Future[Outcome] = Future()
            broken.set_exception(error)
            return broken

    def _outcome(self, job: Job, given: Future[Outcome]) -> Outcome | CodecError:
        try:
            return given.result()
        except CodecError as error:
            return error
        except BrokenProcessPool:
            return self._alone(job)

    def _alone(self, job: Job) -> Outcome | CodecError:
        if self._single is None:
            self._single = ProcessPoolExecutor(1, self._context, _start)
        try:
            return self._handed(self._single, job).result()
        except CodecError as error:
            return error
        except BrokenProcessPool:
            self._single = None
            return BatchError(
                f"{job.source}: the process that worked on it has ended, perhaps for want of "
                "memory; --threads 1 works on one picture at a time"
            )


def _do(work: Work, job: Job) -> Outcome:
    return work(job, lambda share: None)


def _start() -> None:
    import logging
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command itself to hear
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    torch.set_num_threads(1)
