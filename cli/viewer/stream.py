"""A file as it would arrive over a line of a chosen bandwidth, and the frames it gives."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image

import codec
from cli.viewer.measures import as_looked_at, decibels, points
from cli.viewer.pictures import message, png
from cli.viewer.workers import Workers
from codec.errors import CodecError

_TICK = 0.05  # seconds between two pieces


async def play(
    data: bytes,
    rate: float,
    workers: Workers,
    original: Callable[[], np.ndarray] | None,
    options: dict[str, Any],
) -> AsyncIterator[bytes]:
    """Messages of one showing; closing the iterator ends it.

    ``bytes`` {received}; ``frame`` {layers, scale, width, height, end, seconds} with a PNG;
    ``score`` {layers, scale, psnr} and, of the frame that is the latest by then, once more with
    {ssimulacra2}; at last ``end`` {notes, seconds, cut} or ``error`` {error}.

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
        self._latest: Image.Image | None = None
        self._in_full = False
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
        decoder = await self._workers.code(codec.ProgressiveDecoder, **self._options)
        taken = 0
        while taken < len(self._data):
            await self._arrived.wait()
            self._arrived.clear()
            piece, taken = self._data[taken : self._received], self._received
            frames = decoder.frames(piece)
            while (frame := await self._workers.code(next, frames, None)) is not None:
                await self._show(frame.image, frame.layers, frame.scale, frame.end)
        result = await self._workers.code(decoder.finish)
        # A frame in full size is of all three layers: not of fewer, nor of some stages of z2.
        if not self._in_full or result.layers < result.layers_declared or result.layers < 3:
            await self._show(result.image, result.layers, 1, len(self._data))
        seconds = self._seconds()
        await asyncio.gather(*self.scores)
        self._send("end", notes=list(result.notes), seconds=seconds, cut=result.cut)

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
        self._latest, self._in_full = image, scale == 1
        if self._original is not None:
            self.scores.append(asyncio.create_task(self._score(image, layers, scale)))

    async def _score(self, image: Image.Image, layers: int, scale: int) -> None:
        assert self._original is not None
        with suppress(CodecError):  # an original that cannot be read costs the numbers alone
            original = await self._workers.draw(self._original)
            shown = await self._workers.draw(as_looked_at, image, original)
            near = await self._workers.draw(decibels, shown, original)
            self._send("score", layers=layers, scale=scale, psnr=near)
            seen = await self._workers.compare(self._points_of, image, shown, original)
            if image is self._latest:
                self._send("score", layers=layers, scale=scale, psnr=near, ssimulacra2=seen)

    def _points_of(
        self, image: Image.Image, shown: np.ndarray, original: np.ndarray
    ) -> float | None:
        """SSIMULACRA2 of the latest frame; of one that was replaced nobody looks at it."""
        return points(shown, original) if image is self._latest else None
