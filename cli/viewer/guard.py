"""Who may ask: pages of this very server, on this machine. Everything else is refused in JSON."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def error(status: int, message: str) -> JSONResponse:
    """The one form of every error: {"error": message}."""
    closing = {"connection": "close"} if status == 413 else None
    return JSONResponse({"error": message}, status_code=status, headers=closing)


class Guard:
    """Refuses foreign hosts and origins and bodies above a limit; adds the safety headers.

    The ``Host`` check stops DNS rebinding: a page elsewhere whose name suddenly means 127.0.0.1.
    The origin checks stop other pages in the same browser from using the server (CSRF).

    Args:
        hosts: accepted ``Host`` headers, with port.
        max_body: bytes; larger requests are refused by their declared length.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str], max_body: int) -> None:
        self._app, self._hosts, self._max_body = app, hosts, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        refusal = self._refusal(Headers(scope=scope))
        await (refusal or self._app)(scope, receive, sending)

    def _refusal(self, headers: Headers) -> JSONResponse | None:
        if headers.get("host", "").lower() not in self._hosts:
            return error(403, "this server answers to 127.0.0.1 and localhost only")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in {f"http://{host}" for host in self._hosts}:
            return error(403, "requests from other origins are refused")
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return error(403, "requests from other sites are refused")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._max_body:
            return error(413, f"the body is larger than the limit of {self._max_body} bytes")
        return None
