"""A file as it would arrive over a line of a chosen bandwidth, and the frames it gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import numpy as np
from PIL import Image

import codec
from cli.viewer.pictures import message, png, quality_of
from codec.errors import CodecError

_TICK = 0.05  # seconds between two pieces

T = TypeVar("T")


class StoppedError(CodecError):
    """The viewer is being stopped; nothing new is begun."""


class Workers:
    """One thread that decodes, one for all other work on pixels.

    The decoder's networks use every core by themselves: two at once would only wait for each other.
    They take turns layer by layer, so that a second viewer soon has its first frame.
    """

    def __init__(self) -> None:
        self._decoding = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._pixels = ThreadPoolExecutor(1, thread_name_prefix="pixels")
        self._decoding.submit(getattr, codec, "decode")  # torch takes seconds to import: begin now
        self._stopped = False
        self.showings: set[asyncio.Queue[bytes | None]] = set()

    async def decode(self, work: Callable[..., T], *arguments: Any, **options: Any) -> T:
        return await self._run(self._decoding, partial(work, *arguments, **options))

    async def draw(self, work: Callable[..., T], *arguments: Any) -> T:
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

    def stop(self) -> None:
        """End every showing and drop what has not begun. To be called in the event loop."""
        self._stopped = True
        for queue in self.showings:
            queue.put_nowait(None)
        for thread in (self._decoding, self._pixels):
            thread.shutdown(wait=False, cancel_futures=True)


async def play(
    data: bytes,
    rate: float,
    workers: Workers,
    original: Callable[[], np.ndarray] | None,
    options: dict[str, Any],
) -> AsyncIterator[bytes]:
    """Messages of one showing; closing the iterator ends it.

    ``bytes`` {received}; ``frame`` {layers, scale, width, height, end, seconds} with a PNG;
    ``score`` {layers, scale, psnr}; at last ``end`` {notes, seconds} or ``error`` {error}.

    Args:
        rate: bytes per second; 0: all at once.
        original: gives the original's pixels, or None.
        options: of :class:`codec.ProgressiveDecoder`.
    """
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()
    showing = _Showing(data, rate, workers, original, options, queue)
    tasks = [asyncio.create_task(showing.receive()), asyncio.create_task(showing.decode())]
    workers.showings.add(queue)
    try:
        while (item := await queue.get()) is not None:
            yield item
    finally:
        workers.showings.discard(queue)
        for task in (*tasks, *showing.scores):
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, *showing.scores, return_exceptions=True)


class _Showing:
    def __init__(
        self,
        data: bytes,
        rate: float,
        workers: Workers,
        original: Callable[[], np.ndarray] | None,
        options: dict[str, Any],
        queue: asyncio.Queue[bytes | None],
    ) -> None:
        self._data, self._rate, self._workers, self._queue = data, rate, workers, queue
        self._original, self._options = original, options
        self._arrived = asyncio.Event()
        self._received = 0
        self._started = time.perf_counter()
        self.scores: list[asyncio.Task[None]] = []

    def _seconds(self) -> float:
        return round(time.perf_counter() - self._started, 3)

    def _send(self, kind: str, payload: bytes = b"", **head: Any) -> None:
        self._queue.put_nowait(message({"type": kind} | head, payload))

    async def receive(self) -> None:
        """The simulated line. It does not wait for the decoder."""
        total = len(self._data)
        while self._received < total:
            self._received = (
                total if not self._rate else min(total, int(self._seconds() * self._rate))
            )
            self._send("bytes", received=self._received)
            self._arrived.set()
            await asyncio.sleep(_TICK)

    async def decode(self) -> None:
        try:
            await self._decode()
        except CodecError as error:
            self._send("error", error=str(error))
        except Exception as error:  # noqa: BLE001 - the page must hear of it, whatever it is
            self._send("error", error=f"{type(error).__name__}: {error}")
        finally:
            self._queue.put_nowait(None)

    async def _decode(self) -> None:
        decoder = await self._workers.decode(codec.ProgressiveDecoder, **self._options)
        taken = 0
        while taken < len(self._data):
            await self._arrived.wait()
            self._arrived.clear()
            piece, taken = self._data[taken : self._received], self._received
            frames = decoder.frames(piece)
            while (frame := await self._workers.decode(next, frames, None)) is not None:
                await self._show(frame.image, frame.layers, frame.scale, frame.end)
        result = await self._workers.decode(decoder.finish)
        if result.layers < result.layers_declared or result.layers < 3:
            await self._show(result.image, result.layers, 1, len(self._data))
        await asyncio.gather(*self.scores)
        self._send("end", notes=list(result.notes), seconds=self._seconds())

    async def _show(self, image: Image.Image, layers: int, scale: int, end: int) -> None:
        coded = await self._workers.draw(png, image)
        width, height = image.size
        self._send(
            "frame",
            coded,
            layers=layers,
            scale=scale,
            width=width,
            height=height,
            end=end,
            seconds=self._seconds(),
        )
        if self._original is not None:
            self.scores.append(asyncio.create_task(self._score(image, layers, scale)))

    async def _score(self, image: Image.Image, layers: int, scale: int) -> None:
        assert self._original is not None
        with suppress(CodecError):  # an original that cannot be read costs the number alone
            pixels = await self._workers.draw(self._original)
            psnr = await self._workers.draw(quality_of, image, pixels)
            self._send("score", layers=layers, scale=scale, psnr=psnr)
