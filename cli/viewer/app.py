"""The viewer's addresses. Errors are JSON: {"error": "…"}."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

import codec
from bitstream.container import MAGIC
from cli.viewer.folder import Library, UnknownFileError
from cli.viewer.guard import Guard, error
from cli.viewer.measures import as_looked_at, decibels, points
from cli.viewer.memory import Item
from cli.viewer.offers import offers
from cli.viewer.pictures import describe, message, metadata_bytes, original_pixels, png
from cli.viewer.questions import number, of_encoding, of_extent, of_fill
from cli.viewer.rivals import rival
from cli.viewer.stream import play
from cli.viewer.thumbnails import Thumbnails
from cli.viewer.workers import StoppedError, Wanted, Workers
from codec.errors import ArgumentError, CodecError, ImageError
from codec.limits import DEFAULT_MAX_PIXELS

STATIC = Path(__file__).parent / "static"
MAX_BODY = 128 << 20
BINARY = "application/octet-stream"

#: Addresses below /api/, each a method of the viewer; the second ones make new files.
_ASKED = (
    "about", "files", "info", "stream", "decode", "original", "rival", "file", "thumbnail",
)  # fmt: skip
_SENT = ("encode", "recode")

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


def build(
    library: Library,
    *,
    hosts: frozenset[str],
    max_body: int = MAX_BODY,
    options: dict[str, Any] | None = None,
) -> Starlette:
    """The ASGI application.

    Args:
        hosts: accepted ``Host`` headers, with port.
        max_body: of a dropped file, bytes.
        options: ``device`` and ``max_pixels``, as of :func:`codec.decode_detailed`.

    Returns:
        The application; ``app.state.stop()``, called in its event loop, ends what is going on.
    """
    viewer = _Viewer(library, max_body, options or {})
    routes = [
        Route("/", _page),
        Mount("/static", StaticFiles(directory=STATIC)),
        *(Route(f"/api/{name}", _json_errors(getattr(viewer, name))) for name in _ASKED),
        *(
            Route(f"/api/{name}", _json_errors(getattr(viewer, name)), methods=["POST"])
            for name in _SENT
        ),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=hosts, max_body=max_body)],
        exception_handlers={HTTPException: _http_error, Exception: _any_error},
    )
    app.state.stop = viewer.stop
    return app


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html")


def _http_error(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    return error(problem.status_code, f"{request.url.path}: {problem.detail.lower()}")


def _any_error(request: Request, problem: Exception) -> Response:
    return error(500, f"{type(problem).__name__}: {problem}")


def _json_errors(handler: Handler) -> Handler:
    @wraps(handler)
    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except UnknownFileError as problem:
            return error(404, str(problem))
        except StoppedError as problem:
            return error(503, str(problem))
        except ArgumentError as problem:
            return error(400, str(problem))
        except CodecError as problem:
            return error(422, str(problem))

    return guarded


class _Viewer:
    def __init__(self, library: Library, max_body: int, options: dict[str, Any]) -> None:
        self._library, self._max_body, self._options = library, max_body, options
        self._max_pixels = options.get("max_pixels", DEFAULT_MAX_PIXELS)
        self._workers = Workers()
        self._thumbnails = Thumbnails()

    def stop(self) -> None:
        """End what is going on. To be called in the event loop."""
        self._workers.stop()

    def _item(self, request: Request) -> Item:
        return self._library.find(request.query_params.get("file", ""))

    async def about(self, request: Request) -> Response:
        """What the page's controls offer."""
        return JSONResponse(await self._workers.draw(offers))

    async def files(self, request: Request) -> Response:
        names, more = await self._workers.draw(self._library.names)
        return JSONResponse({"files": names} | ({"more": True} if more else {}))

    async def info(self, request: Request) -> Response:
        about = await self._workers.draw(describe, self._item(request), self._max_pixels)
        return JSONResponse(about)

    async def file(self, request: Request) -> Response:
        item = self._item(request)
        data = await self._workers.draw(item.read)
        name = Path(item.title).with_suffix(".cci").name
        response = Response(data, media_type="image/x-cci")
        response.headers["content-disposition"] = f"attachment; filename*=UTF-8''{_quoted(name)}"
        return response

    async def stream(self, request: Request) -> Response:
        item, rate = self._item(request), number(request, "rate", 0, 0, 1e12)
        data = await self._workers.draw(item.read)
        original = partial(original_pixels, item, self._max_pixels) if item.original else None
        options = self._options | of_fill(request)
        return StreamingResponse(
            play(data, rate, self._workers, original, options), media_type=BINARY
        )

    async def decode(self, request: Request) -> Response:
        """A frame; then, where there is an original, its score."""
        item = self._item(request)
        options = self._options | of_fill(request) | of_extent(request)
        data = await self._workers.draw(item.read)
        async with self._workers.wanted(request) as wanted:
            result = await self._workers.code(
                _while(wanted, codec.decode_detailed), data, progress=wanted, **options
            )
        picture = await self._workers.draw(png, result.image)
        width, height = result.image.size
        head = {
            "type": "frame",
            "layers": result.layers,
            "stages": result.stages,
            "scale": 1,
            "width": width,
            "height": height,
            "notes": list(result.notes),
        }
        original = None
        if item.original is not None:
            try:
                original = await self._workers.draw(original_pixels, item, self._max_pixels)
                shown = await self._workers.draw(as_looked_at, result.image, original)
                head["psnr"] = await self._workers.draw(decibels, shown, original)
            except CodecError as problem:
                head["notes"] = [*result.notes, str(problem)]
        if original is None:
            return Response(message(head, picture), media_type=BINARY)
        return self._scored(message(head, picture), shown, original)

    def _scored(self, first: bytes, shown: np.ndarray, original: np.ndarray) -> Response:
        """A picture's message at once, and SSIMULACRA2 in another one when it is known."""

        async def parts() -> AsyncIterator[bytes]:
            yield first
            seen = await self._workers.compare(points, shown, original)
            yield message({"type": "score", "ssimulacra2": seen})

        return StreamingResponse(parts(), media_type=BINARY)

    async def original(self, request: Request) -> Response:
        pixels = await self._workers.draw(original_pixels, self._item(request), self._max_pixels)
        picture = await self._workers.draw(lambda: png(Image.fromarray(pixels)))
        return Response(message({"type": "original"}, picture), media_type=BINARY)

    async def rival(self, request: Request) -> Response:
        item, limit = self._item(request), int(number(request, "bytes", 0, 1, 1e12))
        original = await self._workers.draw(original_pixels, item, self._max_pixels)
        beside = await self._workers.draw(metadata_bytes, item, self._max_pixels)
        limit = max(1, limit - beside)
        name = request.query_params.get("name", "")
        async with self._workers.wanted(request) as wanted:
            shown, head = await self._workers.compare(rival, original, name, limit, wanted)
        if beside:
            left_out = f"Compared without {beside} bytes of metadata and alpha."
            head["note"] = f"{left_out} {head['note']}".rstrip()
        picture = await self._workers.draw(lambda: png(Image.fromarray(shown)))
        return self._scored(message(head, picture), shown, original)

    async def thumbnail(self, request: Request) -> Response:
        item = self._item(request)
        made = await self._workers.draw(self._thumbnails.known, item)
        if made is None:
            try:
                made = await self._workers.code(self._thumbnails.make, item, self._options)
            except StoppedError:
                raise
            except CodecError:  # what is wrong with it is said when it is opened
                return Response(status_code=204)
        return Response(made, media_type="image/png")

    async def encode(self, request: Request) -> Response:
        """Take a dropped file: a .cci file, or a picture to encode."""
        options = self._options | of_encoding(request)
        title = Path(request.query_params.get("title", "dropped")).name[:200]
        data = bytearray()
        async for piece in request.stream():
            data += piece
            if len(data) > self._max_body:
                return error(413, f"the body is larger than the limit of {self._max_body} bytes")
        dropped, original = bytes(data), None
        if not dropped.startswith(MAGIC):
            original = dropped
            dropped = await self._encoded(request, original, options)
        # Described before it is remembered: what is refused costs no other its place.
        described = Item("", title, dropped, original)
        about = await self._workers.draw(describe, described, self._max_pixels)
        self._library.touch(request.query_params.get("shown", ""))
        return self._kept(self._library.add(title, dropped, original), about)

    async def recode(self, request: Request) -> Response:
        """Code a file's original anew. Ends without a trace where the page asks for another one
        before it is done."""
        item, options = self._item(request), self._options | of_encoding(request)
        if item.original is None:
            raise ImageError(f"{item.title}: there is no original beside it")
        data = await self._encoded(request, item.original, options)
        item = self._library.recoded(item, data)
        about = await self._workers.draw(describe, item, self._max_pixels)
        return self._kept(item, about)

    def _kept(self, item: Item, about: dict[str, Any]) -> Response:
        """A new file's description, and the names of all that are still in memory."""
        return JSONResponse(about | {"name": item.name, "held": self._library.held()})

    async def _encoded(
        self, request: Request, picture: bytes | Path, options: dict[str, Any]
    ) -> bytes:
        async with self._workers.wanted(request) as wanted:
            return await self._workers.code(
                _while(wanted, codec.encode), picture, progress=wanted, **options
            )


def _while(wanted: Wanted, work: Callable[..., T]) -> Callable[..., T]:
    """The work, which is not even begun where nobody waits any more when its turn comes."""

    def begun(*arguments: Any, **options: Any) -> T:
        wanted()
        return work(*arguments, **options)

    return begun


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
