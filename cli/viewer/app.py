"""The viewer's addresses. Errors are JSON: {"error": "…"}."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

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
from cli.viewer.memory import Item
from cli.viewer.pictures import describe, message, original_pixels, png, quality_of, rival
from cli.viewer.stream import StoppedError, Workers, play
from codec.errors import ArgumentError, CodecError
from codec.limits import DEFAULT_MAX_PIXELS
from codec.options import DecodeOptions, EncodeOptions

STATIC = Path(__file__).parent / "static"
MAX_BODY = 128 << 20
BINARY = "application/octet-stream"

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
        Route("/api/files", _json_errors(viewer.files)),
        Route("/api/info", _json_errors(viewer.info)),
        Route("/api/stream", _json_errors(viewer.stream)),
        Route("/api/decode", _json_errors(viewer.decode)),
        Route("/api/original", _json_errors(viewer.original)),
        Route("/api/rival", _json_errors(viewer.rival)),
        Route("/api/file", _json_errors(viewer.file)),
        Route("/api/encode", _json_errors(viewer.encode), methods=["POST"]),
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

    def stop(self) -> None:
        """End what is going on. To be called in the event loop."""
        self._workers.stop()

    def _item(self, request: Request) -> Item:
        return self._library.find(request.query_params.get("file", ""))

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
        item, rate = self._item(request), _number(request, "rate", 0, 0, 1e12)
        data = await self._workers.draw(item.read)
        original = partial(original_pixels, item, self._max_pixels) if item.original else None
        options = self._options | _fill(request)
        return StreamingResponse(
            play(data, rate, self._workers, original, options), media_type=BINARY
        )

    async def decode(self, request: Request) -> Response:
        item, layers = self._item(request), int(_number(request, "layers", 3, 1, 3))
        options = self._options | _fill(request) | {"layers": layers}
        result = await self._workers.decode(
            codec.decode_detailed, await self._workers.draw(item.read), **options
        )
        head, picture = await self._workers.draw(self._decoded, item, result)
        return Response(message(head, picture), media_type=BINARY)

    def _decoded(self, item: Item, result: codec.Decoded) -> tuple[dict[str, Any], bytes]:
        width, height = result.image.size
        head = {
            "type": "frame",
            "layers": result.layers,
            "scale": 1,
            "width": width,
            "height": height,
            "notes": list(result.notes),
        }
        if item.original is not None:
            try:
                head["psnr"] = quality_of(result.image, original_pixels(item, self._max_pixels))
            except CodecError as problem:
                head["notes"] = [*result.notes, str(problem)]
        return head, png(result.image)

    async def original(self, request: Request) -> Response:
        pixels = await self._workers.draw(original_pixels, self._item(request), self._max_pixels)
        picture = await self._workers.draw(lambda: png(Image.fromarray(pixels)))
        return Response(message({"type": "original"}, picture), media_type=BINARY)

    async def rival(self, request: Request) -> Response:
        item, limit = self._item(request), int(_number(request, "bytes", 0, 1, 1e12))
        pixels = await self._workers.draw(original_pixels, item, self._max_pixels)
        name = request.query_params.get("name", "")
        picture, head = await self._workers.draw(rival, pixels, name, limit)
        return Response(message(head, picture), media_type=BINARY)

    async def encode(self, request: Request) -> Response:
        aims = _aims(request)
        title = Path(request.query_params.get("title", "dropped")).name[:200]
        data = bytearray()
        async for piece in request.stream():
            data += piece
            if len(data) > self._max_body:
                return error(413, f"the body is larger than the limit of {self._max_body} bytes")
        dropped, original = bytes(data), None
        if not dropped.startswith(MAGIC):
            original = dropped
            options = aims | self._options
            dropped = await self._workers.decode(codec.encode, original, **options)
        item = self._library.add(title, dropped, original)
        return JSONResponse(await self._workers.draw(describe, item, self._max_pixels))


def _fill(request: Request) -> dict[str, Any]:
    return {
        "fill": request.query_params.get("fill", DecodeOptions.fill),
        "seed": int(_number(request, "seed", DecodeOptions.seed, 0, 2**53)),
    }


#: What a new file may aim at: options of :func:`codec.encode`, with their bounds.
_AIMS = {
    "quality": (0, 100),
    "target_ssimulacra2": (-100, 99),
    "target_psnr": (1, 99),
    "target_bytes": (1, 1e12),
}


def _aims(request: Request) -> dict[str, Any]:
    """Options of the encoder that the page asks for."""
    query = request.query_params
    aims: dict[str, Any] = {
        name: _number(request, name, 0, *bounds) for name, bounds in _AIMS.items() if name in query
    }
    if "target_bytes" in aims:
        aims["target_bytes"] = int(aims["target_bytes"])
    if "tune" in query:
        aims["tune"] = query["tune"]
    EncodeOptions(**aims)
    return aims


def _number(request: Request, name: str, default: float, low: float, high: float) -> float:
    text = request.query_params.get(name, str(default))
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ArgumentError(f"{name} must be a number from {low:g} to {high:g}, not {text!r}")
    return value


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
