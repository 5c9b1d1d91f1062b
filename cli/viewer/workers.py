"""The threads that compute while the server answers, and how what nobody waits for is given up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

import codec
from codec.errors import CodecError

_LOOK = 0.1  # seconds between two looks whether somebody still waits

T = TypeVar("T")


class StoppedError(CodecError):
    """The viewer is being stopped, or who asked has gone: nothing new is begun."""


class Wanted:
    """Whether somebody still waits for a result. Called by long work now and then, as a report of
    progress: raises StoppedError where nobody does."""

    def __init__(self) -> None:
        self._gone = threading.Event()

    def __call__(self, _: float = 0.0) -> None:
        if self._gone.is_set():
            raise StoppedError("nobody waits for it any more")

    def give_up(self) -> None:
        self._gone.set()


class Workers:
    """One thread that codes, one that compares, one for all other work on pixels.

    The networks use every core by themselves: two at once would only wait for each other. Showings
    take turns layer by layer, so that a second viewer soon has its first frame.
    """

    def __init__(self) -> None:
        self._coding = ThreadPoolExecutor(1, thread_name_prefix="code")
        self._comparing = ThreadPoolExecutor(1, thread_name_prefix="compare")
        self._pixels = ThreadPoolExecutor(1, thread_name_prefix="pixels")
        self._coding.submit(getattr, codec, "decode")  # torch takes seconds to import: begin now
        self._stopped = False
        self._wanted: set[Wanted] = set()
        self.showings: set[asyncio.Queue[bytes | None]] = set()

    async def code(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Encode or decode."""
        return await self._run(self._coding, partial(work, *arguments, **options))

    async def compare(self, work: Callable[..., T], *arguments: Any) -> T:
        """Measure, or make a rival: what takes long and is no part of the picture."""
        return await self._run(self._comparing, partial(work, *arguments))

    async def draw(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do what takes little."""
        return await self._run(self._pixels, partial(work, *arguments))

    async def _run(self, thread: Executor, work: Callable[[], T]) -> T:
        stopped = StoppedError("the viewer was stopped")
        if self._stopped:
            raise stopped
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work)
        except asyncio.CancelledError:
            if self._stopped:  # the work was cancelled, not who waited for it
                raise stopped from None
            raise

    @asynccontextmanager
    async def wanted(self, request: Request) -> AsyncIterator[Wanted]:
        """What tells long work whether the request's sender still waits."""
        wanted = Wanted()
        self._wanted.add(wanted)
        watching = asyncio.create_task(_watch(request, wanted))
        try:
            yield wanted
        finally:
            watching.cancel()
            self._wanted.discard(wanted)

    def stop(self) -> None:
        """End every showing and drop what has not begun. To be called in the event loop."""
        self._stopped = True
        for queue in self.showings:
            queue.put_nowait(None)
        for wanted in self._wanted:
            wanted.give_up()
        for thread in (self._coding, self._comparing, self._pixels):
            thread.shutdown(wait=False, cancel_futures=True)


async def _watch(request: Request, wanted: Wanted) -> None:
    while not await request.is_disconnected():
        await asyncio.sleep(_LOOK)
    wanted.give_up()
